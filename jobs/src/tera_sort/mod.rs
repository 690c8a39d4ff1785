//! `tera-sort`: records of a hundred bytes by their first ten, as the sort benchmark has them.
//!
//! A sample of the input tells where to cut the keys, so that partitions hold about as much each and follow each other: the
//! parts, one after another, are the whole in order.

mod cuts;
pub mod records;
mod sets;

use arrow::array::{ArrayRef, BinaryBuilder, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
pub use sets::{generate, sum, validate};

use cuts::Cuts;
use mr_core::{Failure, JobPlan, JobSpec, ParamValue, Params, Source, StagePlan};
use mr_mapreduce::{
    Broadcast, BroadcastSource, Context, Job, MapOutput, Mapper, ObjectRecord, ParamError, ParamSpec, RecordError,
    ReduceOutput, Reducer, StageCode, ValueSource, plans,
};
use records::{KEY, RECORD};
use std::ops::Range;
use std::sync::Arc;

const SAMPLE: &str = "sample";
const CUTS: &str = "cuts";
const SPREAD: &str = "spread";
const SORT: &str = "sort";

const PARTITIONS_DEFAULT: i64 = 16;

/// Places of an object that the sample is drawn at, and records at each.
const PLACES: u64 = 8;
const DRAWN: u64 = 40;

/// Rows of a batch.
const ROWS: usize = 8192;

pub struct TeraSort;

impl Job for TeraSort {
    fn name(&self) -> &'static str {
        "tera-sort"
    }

    fn version(&self) -> u32 {
        1
    }

    fn about(&self) -> &'static str {
        "Records of 100 bytes in the order of their first 10, as of the sort benchmark"
    }

    fn params(&self) -> Vec<ParamSpec> {
        let partitions =
            ParamSpec { default: Some(ParamValue::Integer(PARTITIONS_DEFAULT)), ..plans::partitions_param() };
        vec![plans::extensions_param(&[]), partitions]
    }

    fn broadcasts(&self, _: &Params) -> Result<Vec<BroadcastSource>, ParamError> {
        Ok(Vec::new())
    }

    fn plan(&self, spec: &JobSpec, _: &[Broadcast]) -> Result<JobPlan, ParamError> {
        let partitions = plans::partitions(&spec.params)?;
        let emitted = |stage: &str, partitions| {
            let fan_in = plans::wide_fan_in(spec);
            Source::Emitted { stage: stage.to_owned(), partitions, fan_in }
        };
        // Neither depends on how many partitions there are.
        let plain = |name, source| StagePlan { params: Some(Vec::new()), ..plans::stage(name, source, self) };
        let cuts = plans::stage(CUTS, emitted(SAMPLE, 1), self);
        let spread = StagePlan { broadcasts_of: vec![CUTS.to_owned()], ..plain(SPREAD, Source::Input) };
        let stages = vec![plain(SAMPLE, Source::Input), cuts, spread, plain(SORT, emitted(SPREAD, partitions))];
        let cut = mr_core::Cut::Records(RECORD as u32);
        Ok(JobPlan { cut, ..plans::plan(self, spec, stages)? })
    }

    fn open(&self, context: &Context<'_>) -> Result<Arc<dyn StageCode>, Failure> {
        let unfit = |error: ParamError| Failure::permanent(error.to_string());
        Ok(match context.stage {
            SAMPLE => Arc::new(Sample),
            CUTS => Arc::new(Cut { partitions: plans::partitions(context.params).map_err(unfit)? }),
            SPREAD => Arc::new(Spread { cuts: Cuts::from_bytes(&context.broadcast(CUTS)?.bytes)? }),
            _ => Arc::new(Sort),
        })
    }
}

/// The records of an object.
fn records(object: &ObjectRecord) -> Result<impl Iterator<Item = (&[u8], &[u8])>, RecordError> {
    // Of the whole object, so that each piece of it comes to the same.
    if !object.size.is_multiple_of(RECORD as u64) {
        return Err(RecordError::Quarantine {
            class: "no-records",
            message: format!("its {} bytes are no whole number of records of {RECORD}", object.size),
        });
    }
    Ok(object.bytes.chunks_exact(RECORD).map(|record| record.split_at(KEY)))
}

/// Emits some keys of each object.
struct Sample;

impl StageCode for Sample {
    fn reads(&self, bytes: Range<u64>) -> Option<Vec<Range<u64>>> {
        let (all, drawn) = drawn(&bytes);
        if all == drawn {
            return None;
        }
        let place = |place: u64| {
            let first = bytes.start + (all - DRAWN) * place / (PLACES - 1) * RECORD as u64;
            first..first + DRAWN * RECORD as u64
        };
        Some((0..PLACES).map(place).collect())
    }

    fn mapper(&self) -> Result<Box<dyn Mapper + '_>, Failure> {
        Ok(Box::new(self))
    }
}

/// How many records these bytes of an object are, and how many of them are drawn.
fn drawn(bytes: &Range<u64>) -> (u64, u64) {
    let all = (bytes.end - bytes.start) / RECORD as u64;
    (all, if all <= PLACES * DRAWN { all } else { PLACES * DRAWN })
}

impl Mapper for &Sample {
    fn map(&mut self, object: &ObjectRecord, out: &mut MapOutput) -> Result<(), RecordError> {
        // Each stands for as many as were passed over for one that was drawn.
        let (all, drawn) = drawn(&object.range);
        let weight = all.div_ceil(drawn.max(1));
        records(object)?.for_each(|(key, _)| out.emit(key, weight.to_be_bytes()));
        Ok(())
    }
}

/// Makes cuts of the sample.
struct Cut {
    partitions: u32,
}

impl StageCode for Cut {
    fn reducer(&self) -> Result<Box<dyn Reducer + '_>, Failure> {
        Ok(Box::new(Cutting { partitions: self.partitions, sample: Vec::new() }))
    }
}

struct Cutting {
    partitions: u32,
    sample: Vec<([u8; KEY], u64)>,
}

impl Reducer for Cutting {
    fn reduce(&mut self, key: &[u8], values: &mut dyn ValueSource, _: &mut ReduceOutput) -> Result<(), Failure> {
        let unfit = |_| Failure::permanent("what was emitted is no part of a sample");
        let key = key.try_into().map_err(unfit)?;
        while let Some(weight) = values.next()? {
            self.sample.push((key, u64::from_be_bytes(weight.try_into().map_err(unfit)?)));
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut ReduceOutput) -> Result<(), Failure> {
        out.broadcast(Cuts::of(&self.sample, self.partitions).to_bytes());
        Ok(())
    }
}

/// Sends each record to the partition of its key.
struct Spread {
    cuts: Cuts,
}

impl StageCode for Spread {
    fn mapper(&self) -> Result<Box<dyn Mapper + '_>, Failure> {
        Ok(Box::new(self))
    }

    fn partition(&self, key: &[u8], _: u32) -> u32 {
        self.cuts.partition(key)
    }
}

impl Mapper for &Spread {
    fn map(&mut self, object: &ObjectRecord, out: &mut MapOutput) -> Result<(), RecordError> {
        records(object)?.for_each(|(key, rest)| out.emit(key, rest));
        Ok(())
    }
}

/// Writes the records of a partition as they come.
struct Sort;

impl StageCode for Sort {
    fn reducer(&self) -> Result<Box<dyn Reducer + '_>, Failure> {
        Ok(Box::new(Sorting::default()))
    }
}

#[derive(Default)]
struct Sorting {
    keys: BinaryBuilder,
    values: BinaryBuilder,
    rows: usize,
}

impl Sorting {
    fn batch(&mut self) -> RecordBatch {
        self.rows = 0;
        let columns: [ArrayRef; 2] = [Arc::new(self.keys.finish()), Arc::new(self.values.finish())];
        let fields = ["key", "value"].map(|name| Field::new(name, DataType::Binary, false));
        RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns.into()).expect("both have their rows")
    }
}

impl Reducer for Sorting {
    fn reduce(&mut self, key: &[u8], values: &mut dyn ValueSource, out: &mut ReduceOutput) -> Result<(), Failure> {
        while let Some(value) = values.next()? {
            self.keys.append_value(key);
            self.values.append_value(value);
            self.rows += 1;
            if self.rows == ROWS {
                out.keep(self.batch());
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut ReduceOutput) -> Result<(), Failure> {
        out.keep(self.batch());
        Ok(())
    }
}
