//! A [`MapOnly`] as the engine runs it: one stage, whose tasks write the result.

use crate::broadcast::Broadcast;
use crate::emit::MapOutput;
use crate::job::{BroadcastSource, Context, Job, Mapper, ObjectRecord, RecordError, StageCode};
use crate::params::{ParamError, ParamSpec};
use crate::plans;
use crate::typed::MapOnly;
use crate::typed::input::Input;
use crate::typed::row::Rows;
use mr_core::{Failure, JobPlan, JobSpec, Params, Source};
use std::marker::PhantomData;
use std::sync::Arc;

const MAP: &str = "map";

/// The engine's face of a [`MapOnly`].
pub(crate) struct MapOnlyJob<J>(pub PhantomData<fn() -> J>);

impl<J: MapOnly> Job for MapOnlyJob<J> {
    fn name(&self) -> &'static str {
        J::NAME
    }

    fn version(&self) -> u32 {
        J::VERSION
    }

    fn about(&self) -> &'static str {
        J::ABOUT
    }

    fn params(&self) -> Vec<ParamSpec> {
        let mut params = vec![plans::extensions_param(J::EXTENSIONS)];
        params.extend(J::params());
        params
    }

    fn broadcasts(&self, _: &Params) -> Result<Vec<BroadcastSource>, ParamError> {
        Ok(Vec::new())
    }

    fn plan(&self, spec: &JobSpec, _: &[Broadcast]) -> Result<JobPlan, ParamError> {
        // What it says of the parameters is to be heard now.
        J::open(&spec.params)?;
        let stages = vec![plans::stage(MAP, Source::Input, self)];
        Ok(JobPlan { cut: J::Input::CUT, ..plans::plan(self, spec, stages)? })
    }

    fn open(&self, context: &Context<'_>) -> Result<Arc<dyn StageCode>, Failure> {
        let job = J::open(context.params).map_err(|error| Failure::permanent(error.to_string()))?;
        Ok(Arc::new(Code { job }))
    }
}

struct Code<J> {
    job: J,
}

impl<J: MapOnly> StageCode for Code<J> {
    fn mapper(&self) -> Result<Box<dyn Mapper + '_>, Failure> {
        Ok(Box::new(Mapping { job: &self.job, rows: Rows::columns(J::COLUMNS), staged: Rows::plain() }))
    }
}

struct Mapping<'a, J: MapOnly> {
    job: &'a J,
    rows: Rows<J::Row>,
    /// Of the record at hand, as long as it may still be set aside.
    staged: Rows<J::Row>,
}

impl<J: MapOnly> Mapper for Mapping<'_, J> {
    fn map(&mut self, object: &ObjectRecord, out: &mut MapOutput) -> Result<(), RecordError> {
        let Self { job, rows, staged } = self;
        if J::Input::SETS_ASIDE {
            let mapped = J::Input::each(object, |record| job.map(record, staged));
            let made = staged.take_plain();
            staged.counted_to(&mut out.attempt);
            mapped?;
            made.into_iter().try_for_each(|row| rows.row(row))?;
        } else {
            J::Input::each(object, |record| job.map(record, rows))?;
            rows.counted_to(&mut out.attempt);
        }
        rows.full().for_each(|batch| out.keep(batch));
        Ok(())
    }

    fn finish(&mut self, out: &mut MapOutput) -> Result<(), Failure> {
        self.rows.rest()?.for_each(|batch| out.keep(batch));
        Ok(())
    }
}
