//! The code of a [`MapOnly`].

use crate::emit::MapOutput;
use crate::job::{Mapper, ObjectRecord, RecordError, RowMapper, StageCode};
use crate::typed::MapOnly;
use crate::typed::input::{Chunk, Input};
use crate::typed::row::Rows;
use arrow::array::RecordBatch;
use mr_core::Failure;

pub(super) struct Code<J> {
    pub job: J,
}

impl<J: MapOnly> Code<J> {
    fn mapping(&self) -> Mapping<'_, J> {
        Mapping { job: &self.job, rows: Rows::columns(J::COLUMNS), staged: Rows::plain() }
    }
}

impl<J: MapOnly> StageCode for Code<J> {
    fn mapper(&self) -> Result<Box<dyn Mapper + '_>, Failure> {
        Ok(Box::new(self.mapping()))
    }

    fn row_mapper(&self) -> Result<Box<dyn RowMapper + '_>, Failure> {
        Ok(Box::new(self.mapping()))
    }
}

struct Mapping<'a, J: MapOnly> {
    job: &'a J,
    rows: Rows<J::Row>,
    /// Of the record at hand, as long as it may still be set aside.
    staged: Rows<J::Row>,
}

impl<J: MapOnly> Mapping<'_, J> {
    fn chunk(&mut self, chunk: &Chunk<'_>, out: &mut MapOutput) -> Result<(), RecordError> {
        let Self { job, rows, staged } = self;
        if J::Input::SETS_ASIDE {
            let mapped = J::Input::each(chunk, |record| job.map(record, staged));
            let made = staged.take_plain();
            staged.counted_to(&mut out.attempt);
            mapped?;
            made.into_iter().try_for_each(|row| rows.row(row))?;
        } else {
            J::Input::each(chunk, |record| job.map(record, rows))?;
            rows.counted_to(&mut out.attempt);
        }
        rows.full().for_each(|batch| out.keep(batch));
        Ok(())
    }

    fn rest(&mut self, out: &mut MapOutput) -> Result<(), Failure> {
        self.rows.rest()?.for_each(|batch| out.keep(batch));
        Ok(())
    }
}

impl<J: MapOnly> Mapper for Mapping<'_, J> {
    fn map(&mut self, object: &ObjectRecord, out: &mut MapOutput) -> Result<(), RecordError> {
        self.chunk(&Chunk::Object(object), out)
    }

    fn finish(&mut self, out: &mut MapOutput) -> Result<(), Failure> {
        self.rest(out)
    }
}

impl<J: MapOnly> RowMapper for Mapping<'_, J> {
    fn map(&mut self, rows: &RecordBatch, out: &mut MapOutput) -> Result<(), Failure> {
        self.chunk(&Chunk::Rows(rows), out).map_err(RecordError::of_rows)
    }

    fn finish(&mut self, out: &mut MapOutput) -> Result<(), Failure> {
        self.rest(out)
    }
}
