//! Parquet by its row groups: where those of a piece lie, and a file of which only they are there.

use crate::fetch::{self, NotFetched};
use crate::job::ObjectRecord;
use bytes::{Buf, Bytes};
use mr_core::Object;
use mr_storage::DynStore;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use std::ops::Range;

/// Most footers fit; a longer one costs a second request.
const TAIL_BYTES: u64 = 64 << 10;

/// What has to be read of an object for the row groups of a piece: those, and the footer, in the order of the object.
pub(crate) async fn places(
    store: &DynStore,
    object: &Object,
    piece: &Range<u64>,
    bytes_max: u64,
) -> Result<Vec<Range<u64>>, NotFetched> {
    let verdict = |class, message| NotFetched::Verdict { class, message, environment: false };
    let mut tail = object.bytes.saturating_sub(TAIL_BYTES)..object.bytes;
    let metadata = loop {
        let bytes = fetch::one(store, object, &tail).await?;
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&bytes, object.bytes).and_then(|()| reader.finish()) {
            Ok(metadata) => break metadata,
            Err(ParquetError::NeedMoreData(needed)) if needed as u64 <= bytes_max.min(object.bytes) => {
                tail.start = object.bytes - needed as u64;
            }
            Err(error) => return Err(verdict("broken-parquet", format!("its footer can't be read: {error}"))),
        }
    };
    let mut places: Vec<Range<u64>> = Vec::new();
    for place in of_piece(&metadata, piece).map(|(_, place)| place).chain([tail]) {
        match places.last_mut() {
            // They mostly lie one after another.
            Some(last) if place.start <= last.end => last.end = last.end.max(place.end),
            _ => places.push(place),
        }
    }
    let bytes: u64 = places.iter().map(|place| place.end.saturating_sub(place.start)).sum();
    if places.iter().any(|place| place.start > place.end || place.end > object.bytes) {
        return Err(verdict("broken-parquet", "its footer names bytes that it does not have".to_owned()));
    }
    if bytes > bytes_max {
        let message = format!("a row group has {bytes} bytes, where up to {bytes_max} are read: write smaller ones");
        return Err(verdict("too-large", message));
    }
    Ok(places)
}

/// The row groups of a piece: those whose middles lie in it, so that each is in one piece.
fn of_piece<'a>(
    metadata: &'a ParquetMetaData,
    piece: &'a Range<u64>,
) -> impl Iterator<Item = (usize, Range<u64>)> + 'a {
    let groups = metadata.row_groups().iter().map(place).enumerate();
    groups.filter(|(_, place)| piece.contains(&(place.start + place.end.saturating_sub(place.start) / 2)))
}

/// From its first byte to its last.
fn place(group: &RowGroupMetaData) -> Range<u64> {
    let columns = || group.columns().iter().map(|column| column.byte_range());
    let start = columns().map(|(start, _)| start).min().unwrap_or_default();
    start..columns().map(|(start, bytes)| start.saturating_add(bytes)).max().unwrap_or(start)
}

/// The row groups that a record has, and how many rows of its object come before the first of them.
pub(crate) fn of_record(metadata: &ParquetMetaData, record: &ObjectRecord) -> (Vec<usize>, u64) {
    let groups: Vec<_> = of_piece(metadata, &record.range).map(|(group, _)| group).collect();
    let before = &metadata.row_groups()[..groups.first().copied().unwrap_or_default()];
    (groups, before.iter().map(|group| u64::try_from(group.num_rows()).unwrap_or_default()).sum())
}

/// A file of which only what a record has is there.
pub(crate) struct Sparse {
    size: u64,
    /// Where the parts lie in the file, and their bytes.
    parts: Vec<(Range<u64>, Bytes)>,
}

impl Sparse {
    pub fn of(record: &ObjectRecord) -> Self {
        let mut rest = record.bytes.clone();
        let part = |place: &Range<u64>| (place.clone(), rest.split_to((place.end - place.start) as usize));
        Self { size: record.size, parts: record.from.iter().map(part).collect() }
    }

    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let part = self.parts.iter().find(|(place, _)| place.start <= start && start <= place.end);
        let (place, bytes) = part.ok_or_else(|| ParquetError::EOF(format!("byte {start} was not read")))?;
        Ok(bytes.slice((start - place.start) as usize..))
    }
}

impl Length for Sparse {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Sparse {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let from = self.from(start)?;
        match from.len() < length {
            true => Err(ParquetError::EOF(format!("{length} bytes from byte {start} were not read"))),
            false => Ok(from.slice(..length)),
        }
    }
}
