//! A [`MapReduce`] as the engine runs it: its plan of two stages, and code that turns bytes into its types and back.

use crate::broadcast::Broadcast;
use crate::emit::{MapOutput, ReduceOutput};
use crate::job::{
    BroadcastSource, Combiner, Context, Job, Mapper, ObjectRecord, RecordError, Reducer, StageCode, ValueSource,
};
use crate::params::{ParamError, ParamSpec};
use crate::plans;
use crate::run::partition_of;
use crate::typed::emit::{Emit, Emitted, combined, reduced};
use crate::typed::input::Input;
use crate::typed::row::Rows;
use crate::typed::{MapReduce, codec};
use mr_core::{Failure, JobPlan, JobSpec, Params, Source};
use std::marker::PhantomData;
use std::sync::Arc;

const MAP: &str = "map";
const REDUCE: &str = "reduce";

/// Runs that are merged at a time.
const FAN_IN: u32 = 64;

/// The engine's face of a [`MapReduce`].
pub(crate) struct MapReduceJob<J>(pub PhantomData<fn() -> J>);

impl<J: MapReduce> Job for MapReduceJob<J> {
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
        let mut params = vec![plans::extensions_param(J::EXTENSIONS), plans::partitions_param()];
        params.extend(J::params());
        params
    }

    fn broadcasts(&self, _: &Params) -> Result<Vec<BroadcastSource>, ParamError> {
        Ok(Vec::new())
    }

    fn plan(&self, spec: &JobSpec, _: &[Broadcast]) -> Result<JobPlan, ParamError> {
        // What it says of the parameters is to be heard now.
        J::open(&spec.params)?;
        let partitions = plans::partitions(&spec.params)?;
        let emitted = Source::Emitted { stage: MAP.to_owned(), partitions, fan_in: FAN_IN };
        let stages = vec![plans::stage(MAP, Source::Input, self), plans::stage(REDUCE, emitted, self)];
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

impl<J: MapReduce> StageCode for Code<J> {
    fn mapper(&self) -> Result<Box<dyn Mapper + '_>, Failure> {
        Ok(Box::new(Mapping { job: &self.job, emitted: Emitted::new() }))
    }

    fn reducer(&self) -> Result<Box<dyn Reducer + '_>, Failure> {
        Ok(Box::new(Reducing { job: &self.job, rows: Rows::columns(J::COLUMNS) }))
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

impl<J: MapReduce> Mapper for Mapping<'_, J> {
    fn map(&mut self, object: &ObjectRecord, out: &mut MapOutput) -> Result<(), RecordError> {
        let Self { job, emitted } = self;
        let mapped = J::Input::each(object, |record| job.map(record, &mut Emit { job, emitted, out }));
        match mapped {
            Ok(()) => emitted.accept(job, out),
            Err(_) => emitted.refuse(),
        }
        mapped
    }

    fn finish(&mut self, out: &mut MapOutput) -> Result<(), Failure> {
        self.emitted.finish(self.job, out);
        Ok(())
    }
}

struct Reducing<'a, J: MapReduce> {
    job: &'a J,
    rows: Rows<J::Row>,
}

impl<J: MapReduce> Reducer for Reducing<'_, J> {
    fn reduce(&mut self, key: &[u8], values: &mut dyn ValueSource, out: &mut ReduceOutput) -> Result<(), Failure> {
        reduced(self.job, key, values, &mut self.rows)?;
        self.rows.counted_to(&mut out.attempt);
        self.rows.full().for_each(|batch| out.keep(batch));
        Ok(())
    }

    fn finish(&mut self, out: &mut ReduceOutput) -> Result<(), Failure> {
        self.rows.rest()?.for_each(|batch| out.keep(batch));
        Ok(())
    }
}
