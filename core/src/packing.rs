//! How the bytes of an object are packed, by its name.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// `None`: it is as it is.
    pub fn of(key: &str) -> Option<Self> {
        let (_, extension) = key.rsplit_once('.')?;
        [Self::Gzip, Self::Zstd].into_iter().find(|packing| extension.eq_ignore_ascii_case(packing.extension()))
    }

    /// What such names end in, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_by_how_a_name_ends() {
        assert_eq!(
            ["a.gz", "a.b.ZST", "gz", "a.gz/b"].map(Packing::of),
            [Some(Packing::Gzip), Some(Packing::Zstd), None, None]
        );
    }
}
