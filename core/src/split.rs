//! Cutting a listing into splits. They depend on the listing and the settings alone, never on the number of workers.

use crate::{Object, Packing, SplitSettings};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Range;

/// A run of consecutive objects of the listing, or a piece of one: what one map task works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    pub first: u64,
    pub count: u32,
    pub bytes: u64,
    /// What it has of its only object; `None`: all of all.
    pub piece: Option<Piece>,
}

/// A part of an object, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub start: u64,
    /// The first that is not in it.
    pub end: u64,
    pub has: PieceHas,
}

impl Piece {
    /// What is added to a verdict on it, which is a verdict on a part of its object alone.
    pub fn told(&self) -> String {
        format!(" (in its bytes {} to {})", self.start, self.end)
    }
}

/// What of an object a piece has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PieceHas {
    /// Just its bytes.
    Bytes,
    /// The lines that begin in it, also what of the last one lies behind it.
    Lines,
    /// The row groups of a Parquet file whose middles lie in it.
    RowGroups,
}

/// Where an object may be cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// Nowhere: what is in it means something as a whole.
    #[default]
    Nowhere,
    /// At the ends of lines, unless it is packed by its name.
    Lines,
    /// Between records of so many bytes.
    Records(u32),
    /// Between row groups of Parquet.
    RowGroups,
}

/// An object that is not larger stays whole, and no piece is larger: a task has it in memory.
const PIECE_MAX: u64 = 32 << 20;

/// Each is a task, or two, which a coordinator has in memory.
const PIECES_MAX: u64 = 1 << 20;

/// How an object is cut.
#[derive(Clone, Copy, Debug)]
struct Pieces {
    has: PieceHas,
    count: u64,
    /// Bytes that stay together, and how many of these there are, the last of which may be short.
    unit: u64,
    units: u64,
}

impl Pieces {
    /// About as large each, one after another.
    fn of(self, object: &Object) -> impl Iterator<Item = Piece> {
        let at = move |place: u64| {
            // In 128 bits, since an object may have any size.
            let units = u128::from(self.units) * u128::from(place) / u128::from(self.count);
            (units as u64).saturating_mul(self.unit)
        };
        let bytes = object.bytes;
        (0..self.count).map(move |place| Piece { start: at(place), end: at(place + 1).min(bytes), has: self.has })
    }
}

impl Cut {
    /// How an object is to be cut, if it is.
    fn pieces(self, object: &Object, settings: &SplitSettings) -> Option<Pieces> {
        let (unit, has) = match self {
            Self::Nowhere => return None,
            Self::Lines if Packing::of(&object.key).is_some() => return None,
            Self::Lines => (1, PieceHas::Lines),
            // What is no whole number of records is for the job to refuse.
            Self::Records(bytes) => (u64::from(bytes.max(1)), PieceHas::Bytes),
            Self::RowGroups => (1, PieceHas::RowGroups),
        };
        let most = (settings.bytes_max.min(PIECE_MAX) / unit).max(1);
        let units = object.bytes.div_ceil(unit);
        let count = units.div_ceil(most);
        (count > 1).then_some(Pieces { has, count, unit, units })
    }
}

/// How many objects each split has, and which of them go on with the object of the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SplitObjects {
    each: Vec<u32>,
    continued: BTreeSet<u32>,
}

impl SplitObjects {
    pub fn of(splits: &[Split]) -> Self {
        let goes_on = |split: &Split| split.piece.is_some_and(|piece| piece.start > 0);
        let continued = splits.iter().zip(0..).filter(|(split, _)| goes_on(split)).map(|(_, index)| index);
        Self { each: splits.iter().map(|split| split.count).collect(), continued: continued.collect() }
    }

    /// Those of each split, one that another split goes on with among them.
    pub fn each(&self) -> &[u32] {
        &self.each
    }

    /// Whether the split's object is one that the split before has begun.
    pub fn goes_on(&self, split: u32) -> bool {
        self.continued.contains(&split)
    }

    /// All of them, each counted once.
    pub fn all(&self) -> u64 {
        self.each.iter().map(|&objects| u64::from(objects)).sum::<u64>() - self.continued.len() as u64
    }
}

/// Of whole objects.
impl From<Vec<u32>> for SplitObjects {
    fn from(each: Vec<u32>) -> Self {
        Self { each, continued: BTreeSet::new() }
    }
}

impl Split {
    pub fn range(&self) -> Range<usize> {
        self.first as usize..self.first as usize + self.count as usize
    }
}

/// Below this many objects a split's end is not worth choosing.
const CHOICE_MIN: usize = 8;

/// Consecutive splits that cover the listing. Only an object larger than `bytes_max` that may not be cut makes a split larger
/// than that. One that is cut has its pieces for itself.
///
/// A split ends where the next one would begin with the key of the smallest hash, in the second half of what the limits
/// allow. So ends are a matter of the keys around them: one object more or less moves a few splits, and after them the
/// others are as they were. Limits of less than eight objects are simply filled.
///
/// # Errors
/// A sentence when objects would be cut into more pieces than a job may have.
pub fn plan_splits(objects: &[Object], settings: &SplitSettings, cut: Cut) -> Result<Vec<Split>, String> {
    let pieces = objects.iter().filter_map(|object| Some(cut.pieces(object, settings)?.count));
    let pieces = pieces.fold(0u64, u64::saturating_add);
    if pieces > PIECES_MAX {
        let bytes_max = settings.bytes_max;
        return Err(format!(
            "with split.bytes_max = {bytes_max} large objects would be cut into {pieces} pieces, and {PIECES_MAX} is the most: \
             set it higher"
        ));
    }
    let mut splits = Vec::new();
    let mut first = 0;
    // Where the next object is that is cut: nothing goes past it.
    let next_cut = |from: usize| {
        let mut rest = objects.iter().enumerate().skip(from);
        rest.find_map(|(at, object)| Some((at, cut.pieces(object, settings)?)))
    };
    let mut ahead = next_cut(0);
    while first < objects.len() {
        if let Some((at, pieces)) = &ahead
            && *at == first
        {
            splits.extend(pieces.of(&objects[first]).map(|piece| {
                let bytes = piece.end - piece.start;
                Split { first: first as u64, count: 1, bytes, piece: Some(piece) }
            }));
            first += 1;
            ahead = next_cut(first);
            continue;
        }
        let until = ahead.as_ref().map_or(objects.len(), |(at, _)| *at);
        let most = fits(&objects[first..until], settings);
        let ends = first + most;
        let count = if ends == until || most < CHOICE_MIN {
            most
        } else {
            let begins = ends - most / 2..=ends;
            let chosen = begins.min_by_key(|next| hash(&objects[*next].key)).expect("it is not empty");
            chosen - first
        };
        let bytes = objects[first..first + count].iter().map(|object| object.bytes).sum();
        splits.push(Split { first: first as u64, count: count as u32, bytes, piece: None });
        first += count;
    }
    Ok(splits)
}

/// How many objects from the front the limits allow, one at least.
fn fits(objects: &[Object], settings: &SplitSettings) -> usize {
    let mut bytes = 0u64;
    let within = |object: &&Object| {
        bytes = bytes.saturating_add(object.bytes);
        bytes <= settings.bytes_max
    };
    objects.iter().take(settings.objects_max as usize).take_while(within).count().max(1)
}

/// FNV-1a, whose high bits hardly depend on the last bytes, mixed by the last step of splitmix64. Results depend on it,
/// so it stays as it is. <http://www.isthe.com/chongo/tech/comp/fnv/>, <https://prng.di.unimi.it/splitmix64.c>
fn hash(key: &str) -> u64 {
    let fnv = key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3) //
    });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn cut(sizes: &[u64], objects_max: u32, bytes_max: u64) -> Vec<Vec<u64>> {
        let objects: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(i, &bytes)| Object { key: format!("{i:03}"), bytes, etag: String::new() })
            .collect();
        let splits = plan_splits(&objects, &SplitSettings { objects_max, bytes_max }, Cut::Nowhere).unwrap();
        splits.iter().map(|s| objects[s.range()].iter().map(|o| o.bytes).collect()).collect()
    }

    #[test]
    fn a_split_ends_at_either_limit_and_covers_everything_once() {
        assert_eq!(cut(&[], 2, 10), Vec::<Vec<u64>>::new());
        assert_eq!(cut(&[1, 1, 1, 1, 1], 2, 10), [vec![1, 1], vec![1, 1], vec![1]]);
        assert_eq!(cut(&[6, 4, 1], 9, 10), [vec![6, 4], vec![1]]);
        assert_eq!(cut(&[50, 1, 50], 9, 10), [vec![50], vec![1], vec![50]]);
        assert_eq!(cut(&[0, 0, 0], 9, 10), [vec![0, 0, 0]]);
    }

    /// What a split has: of the first and so many objects, these bytes.
    type Has = (u64, u32, Option<(u64, u64)>);

    fn pieces(objects: &[(&str, u64)], bytes_max: u64, cut: Cut) -> Vec<Has> {
        let object = |&(key, bytes): &(&str, u64)| Object { key: key.into(), bytes, etag: String::new() };
        let objects: Vec<_> = objects.iter().map(object).collect();
        let splits = plan_splits(&objects, &SplitSettings { objects_max: 9, bytes_max }, cut).unwrap();
        for split in &splits {
            let of_all = objects[split.range()].iter().map(|object| object.bytes).sum();
            assert_eq!(split.bytes, split.piece.map_or(of_all, |piece| piece.end - piece.start));
            assert!(split.piece.is_none_or(|piece| (piece.has == PieceHas::Lines) == (cut == Cut::Lines)));
        }
        let told = |split: &Split| (split.first, split.count, split.piece.map(|piece| (piece.start, piece.end)));
        splits.iter().map(told).collect()
    }

    #[test]
    fn what_is_too_large_is_cut_where_it_may_be_into_pieces_about_as_large() {
        let objects = [("a", 10), ("b", 1), ("c", 25), ("d.gz", 25), ("e", 5), ("f", 5)];
        let whole = [(0, 1, None), (1, 1, None), (2, 1, None), (3, 1, None), (4, 2, None)];
        assert_eq!(pieces(&objects, 10, Cut::Nowhere), whole);
        let c = [(2, 1, Some((0, 8))), (2, 1, Some((8, 16))), (2, 1, Some((16, 25)))];
        assert_eq!(pieces(&objects, 10, Cut::Lines), [&whole[..2], &c, &whole[3..]].concat());
        // Three records to a piece at most; 25 bytes are eight of them and a byte.
        let c = [(2, 1, Some((0, 9))), (2, 1, Some((9, 18))), (2, 1, Some((18, 25)))];
        let d = c.map(|(_, count, piece)| (3, count, piece));
        let a = [(0, 1, Some((0, 6))), (0, 1, Some((6, 10)))];
        assert_eq!(pieces(&objects, 10, Cut::Records(3)), [&a[..], &whole[1..2], &c, &d, &whole[4..]].concat());
        // One that is larger than a split may be is a piece, and so is one of the last object.
        assert_eq!(pieces(&[("a", 7)], 2, Cut::Records(4)), [(0, 1, Some((0, 4))), (0, 1, Some((4, 7)))]);
        assert_eq!(pieces(&[("a", 4)], 2, Cut::Records(4)), [(0, 1, None)]);
        // In memory it is whole.
        let large = pieces(&[("a", 2 * PIECE_MAX + 1)], u64::MAX, Cut::Lines);
        assert_eq!(large.len(), 3);
        let tera = pieces(&[("a", 1 << 40)], u64::MAX, Cut::Lines);
        assert_eq!((tera.len(), tera.last().unwrap().2.unwrap().1), (1 << 15, 1 << 40));
        // A file may say that it has any number of bytes.
        let huge = Object { key: "a".into(), bytes: u64::MAX, etag: String::new() };
        let refused = plan_splits(std::slice::from_ref(&huge), &SplitSettings::default(), Cut::Lines).unwrap_err();
        assert!(refused.contains("into 549755813888 pieces, and 1048576 is the most"), "{refused}");
        let many = plan_splits(&[huge.clone(), huge], &SplitSettings { objects_max: 1, bytes_max: 1 }, Cut::RowGroups);
        assert!(many.unwrap_err().contains("18446744073709551615 pieces"));
    }

    #[test]
    fn an_object_that_is_cut_counts_once() {
        let piece = |start| Some(Piece { start, end: start + 1, has: PieceHas::Lines });
        let split =
            |piece: Option<Piece>| Split { first: 0, count: if piece.is_some() { 1 } else { 3 }, bytes: 1, piece };
        let objects = SplitObjects::of(&[split(None), split(piece(0)), split(piece(1)), split(piece(2)), split(None)]);
        assert_eq!((objects.each(), objects.all()), (&[3, 1, 1, 1, 3][..], 7));
        assert_eq!([0, 1, 2, 3, 4].map(|split| objects.goes_on(split)), [false, false, true, true, false]);
    }

    fn named(keys: impl Iterator<Item = u32>) -> Vec<Object> {
        let object = |n| Object { key: format!("photos/{:03}/{n:06}.jpg", n / 100), bytes: 1000, etag: String::new() };
        keys.map(object).collect()
    }

    #[test]
    fn the_ends_of_splits_are_pinned() {
        assert_eq!(hash(""), 0xf52a_15e9_a9b5_e89b);
        let counts = |settings| {
            plan_splits(&named(0..300), &settings, Cut::Nowhere)
                .unwrap()
                .iter()
                .map(|split| split.count)
                .collect::<Vec<_>>()
        };
        assert_eq!(counts(SplitSettings::default()), [49, 34, 63, 46, 57, 51]);
        assert_eq!(
            counts(SplitSettings { objects_max: 1000, bytes_max: 40_500 }),
            [32, 33, 36, 39, 20, 32, 31, 26, 20, 31]
        );
        assert_eq!(counts(SplitSettings { objects_max: 300, ..SplitSettings::default() }), [300]);
    }

    #[test]
    fn one_object_more_moves_few_splits() {
        let settings = SplitSettings::default();
        let keys = |objects: &[Object]| -> BTreeSet<Vec<String>> {
            let splits = plan_splits(objects, &settings, Cut::Nowhere).unwrap();
            assert!(splits.iter().all(|split| split.count <= settings.objects_max));
            assert_eq!(splits.iter().map(|split| split.count as usize).sum::<usize>(), objects.len());
            splits.iter().map(|split| objects[split.range()].iter().map(|o| o.key.clone()).collect()).collect()
        };
        let objects = named((0..20_000).map(|n| 2 * n));
        let before = keys(&objects);
        let (mut moved, mut most) = (0, 0);
        for n in 0..100 {
            let mut more = objects.clone();
            more.insert(200 * n + 1, named(std::iter::once(400 * n as u32 + 1)).remove(0));
            assert!(more.is_sorted_by_key(|object| object.key.clone()));
            let new = keys(&more).difference(&before).count();
            (moved, most) = (moved + new, most.max(new));
        }
        // Of about four hundred splits.
        assert!(moved <= 300 && most <= 12, "{moved} splits moved in all, {most} at once");
    }
}
