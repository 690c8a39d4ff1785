//! Where the partitions of a run lie, so that one of them can be read without the others.

use super::{MAGIC, RunError, u32_at, u64_at};
use std::ops::Range;

const PLACE: usize = 24;
pub(super) const TAIL: usize = 16;

pub(super) const SHORT: RunError = RunError::Malformed("it is too short");
pub(super) const ENDS: RunError = RunError::Malformed("its ends are not a run's");

#[derive(Clone, Debug, Default)]
pub struct RunIndex {
    places: Vec<Place>,
}

#[derive(Clone, Debug)]
pub struct Place {
    pub offset: u64,
    pub length: u64,
    pub pairs: u64,
}

impl Place {
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.length
    }
}

impl RunIndex {
    /// Adds the place of the next partition.
    pub(super) fn push(&mut self, place: Place) {
        self.places.push(place);
    }

    /// The end of the run, with its magic.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.places.len() * PLACE + TAIL);
        for Place { offset, length, pairs } in &self.places {
            [offset, length, pairs].into_iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&self.partitions().to_le_bytes());
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.extend_from_slice(&MAGIC);
        bytes
    }

    /// How many of its last bytes tell a run's partitions, by the last ones of them.
    ///
    /// # Errors
    /// When they are not the end of a run.
    pub fn bytes(end: &[u8]) -> Result<u64, RunError> {
        let tail = end.len().checked_sub(TAIL).map(|start| &end[start..]).ok_or(SHORT)?;
        if tail[8..] != MAGIC {
            return Err(ENDS);
        }
        Ok(TAIL as u64 + PLACE as u64 * u64::from(u32_at(tail, 0)))
    }

    /// From the last bytes of a run of `length` bytes.
    ///
    /// # Errors
    /// When they are too few, or not the end of such a run.
    pub fn read(end: &[u8], length: u64) -> Result<Self, RunError> {
        let bytes = Self::bytes(end)?;
        let misfit = RunError::Malformed("its index does not fit");
        let index = length.checked_sub(bytes).filter(|&index| index >= MAGIC.len() as u64).ok_or(misfit)?;
        let end = end.len().checked_sub(bytes as usize).map(|start| &end[start..]).ok_or(misfit)?;
        let (places, tail) = end.split_at(end.len() - TAIL);
        if crc32fast::hash(places) != u32_at(tail, 4) {
            return Err(RunError::Malformed("its index does not have its checksum"));
        }
        // Each begins where the one before ends, so that no byte is read twice and none is nobody's.
        let mut next = MAGIC.len() as u64;
        let mut found = Vec::with_capacity(places.len() / PLACE);
        for place in places.chunks_exact(PLACE) {
            let (offset, length) = (u64_at(place, 0), u64_at(place, 8));
            let end = offset.checked_add(length).filter(|&end| offset == next && end <= index);
            next = end.ok_or(RunError::Malformed("a partition lies elsewhere"))?;
            found.push(Place { offset, length, pairs: u64_at(place, 16) });
        }
        if next != index {
            return Err(RunError::Malformed("some of its bytes are of no partition"));
        }
        Ok(Self { places: found })
    }

    pub fn partitions(&self) -> u32 {
        self.places.len() as u32
    }

    /// Pairs in all partitions.
    pub fn pairs(&self) -> u64 {
        self.places.iter().fold(0, |all, place| all.saturating_add(place.pairs))
    }

    /// The bytes of all blocks.
    pub fn range(&self) -> Range<u64> {
        let start = MAGIC.len() as u64;
        start..self.places.last().map_or(start, |last| last.range().end)
    }

    /// # Errors
    /// When there is no such partition.
    pub fn place(&self, partition: u32) -> Result<&Place, RunError> {
        self.places.get(partition as usize).ok_or(RunError::Malformed("it has fewer partitions"))
    }

    /// That a run is made for so many.
    ///
    /// # Errors
    /// When it has another number of them.
    pub fn is_for(&self, partitions: u32) -> Result<(), RunError> {
        match self.partitions().cmp(&partitions) {
            std::cmp::Ordering::Less => Err(RunError::Malformed("it has fewer partitions")),
            std::cmp::Ordering::Greater => Err(RunError::Malformed("it has more partitions")),
            std::cmp::Ordering::Equal => Ok(()),
        }
    }
}
