//! Plans that are drawn by chance, and the same ones from the same seed.

/// `MR_FAULT_SEEDS`, or as many as a test takes by itself.
pub fn fault_seeds(few: u64) -> u64 {
    std::env::var("MR_FAULT_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(few)
}

/// SplitMix64: Steele, Lea and Flood, OOPSLA 2014.
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
