//! The code of a [`MapReduce`]: what turns bytes into its types and back.

use crate::emit::{MapOutput, ReduceOutput};
use crate::job::{Combiner, Mapper, ObjectRecord, RecordError, Reducer, RowMapper, StageCode, ValueSource};
use crate::rows::to_ipc;
use crate::run::partition_of;
use crate::typed::emit::{Emit, Emitted, combined, reduced};
use crate::typed::input::{Chunk, Input};
use crate::typed::keep::Keeper;
use crate::typed::row::Rows;
use crate::typed::{MapReduce, codec};
use arrow::array::RecordBatch;
use mr_core::Failure;

/// What later stages are given is in the memory of every worker, as bytes and as rows.
const GIVEN_BYTES_MAX: usize = 256 << 20;

pub(super) struct Code<J> {
    pub job: J,
    /// Of the rows that its map keeps, if a later stage reads them.
    pub keeper: Option<Keeper>,
    /// Whether later stages are given all its rows.
    pub gives: bool,
}

impl<J: MapReduce> Code<J> {
    fn mapping(&self) -> Mapping<'_, J> {
        Mapping { job: &self.job, emitted: Emitted::new(self.keeper.map(|keeper| (keeper.make)())) }
    }
}

impl<J: MapReduce> StageCode for Code<J> {
    fn mapper(&self) -> Result<Box<dyn Mapper + '_>, Failure> {
        Ok(Box::new(self.mapping()))
    }

    fn row_mapper(&self) -> Result<Box<dyn RowMapper + '_>, Failure> {
        Ok(Box::new(self.mapping()))
    }

    fn reducer(&self) -> Result<Box<dyn Reducer + '_>, Failure> {
        let rows = Rows::columns(J::COLUMNS).with_side_files();
        Ok(Box::new(Reducing { job: &self.job, rows, given: self.gives.then(GivenRows::default) }))
    }

    fn partition(&self, key: &[u8], partitions: u32) -> u32 {
        if !J::PARTITIONS {
            return partition_of(key, partitions);
        }
        // Bytes that are no key are found out when they are reduced, if not here.
        codec::key(key).map_or(u32::MAX, |key| self.job.partition(key, partitions))
    }

    fn combiner(&self) -> Option<&dyn Combiner> {
        J::COMBINES.then_some(self)
    }
}

impl<J: MapReduce> Combiner for Code<J> {
    fn combine(&self, _: &[u8], values: &mut dyn ValueSource, into: &mut Vec<u8>) -> Result<(), Failure> {
        combined(&self.job, values, into)
    }
}

struct Mapping<'a, J: MapReduce> {
    job: &'a J,
    emitted: Emitted<J>,
}

impl<J: MapReduce> Mapping<'_, J> {
    fn chunk(&mut self, chunk: &Chunk<'_>, out: &mut MapOutput) -> Result<(), RecordError> {
        let Self { job, emitted } = self;
        let mapped = J::Input::each(chunk, |record| job.map(record, &mut Emit { job, emitted, out }));
        match mapped {
            Ok(()) => emitted.accept(job, out)?,
            Err(_) => emitted.refuse(),
        }
        mapped
    }
}

impl<J: MapReduce> Mapper for Mapping<'_, J> {
    fn map(&mut self, object: &ObjectRecord, out: &mut MapOutput) -> Result<(), RecordError> {
        self.chunk(&Chunk::Object(object), out)
    }

    fn finish(&mut self, out: &mut MapOutput) -> Result<(), Failure> {
        self.emitted.finish(self.job, out)
    }
}

impl<J: MapReduce> RowMapper for Mapping<'_, J> {
    fn map(&mut self, rows: &RecordBatch, out: &mut MapOutput) -> Result<(), Failure> {
        self.chunk(&Chunk::Rows(rows), out).map_err(RecordError::of_rows)
    }

    fn finish(&mut self, out: &mut MapOutput) -> Result<(), Failure> {
        self.emitted.finish(self.job, out)
    }
}

struct Reducing<'a, J: MapReduce> {
    job: &'a J,
    rows: Rows<J::Row>,
    /// All rows so far, if later stages are given them.
    given: Option<GivenRows>,
}

#[derive(Default)]
struct GivenRows {
    batches: Vec<RecordBatch>,
    bytes: usize,
}

impl<J: MapReduce> Reducing<'_, J> {
    fn hand_on(&mut self, batches: Vec<RecordBatch>, out: &mut ReduceOutput) -> Result<(), Failure> {
        if let Some(given) = &mut self.given {
            given.bytes += batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
            given.batches.extend(batches.iter().cloned());
            if given.bytes > GIVEN_BYTES_MAX {
                return Err(Failure::permanent(format!(
                    "later stages are given all rows of `{}`, which are more than {} MiB: every worker has them in memory, so \
                     give less, or read them as `Reduced`",
                    J::NAME,
                    GIVEN_BYTES_MAX >> 20
                )));
            }
        }
        batches.into_iter().for_each(|batch| out.keep(batch));
        Ok(())
    }
}

impl<J: MapReduce> Reducer for Reducing<'_, J> {
    fn reduce(&mut self, key: &[u8], values: &mut dyn ValueSource, out: &mut ReduceOutput) -> Result<(), Failure> {
        reduced(self.job, key, values, &mut self.rows)?;
        self.rows.beside_to(out);
        let full = self.rows.full().collect();
        self.hand_on(full, out)
    }

    fn finish(&mut self, out: &mut ReduceOutput) -> Result<(), Failure> {
        let rest = self.rows.rest()?.collect();
        self.hand_on(rest, out)?;
        match &self.given {
            Some(given) => to_ipc(&given.batches).map(|bytes| out.broadcast(bytes)),
            None => Ok(()),
        }
    }
}
