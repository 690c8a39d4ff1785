//! Several jobs as the stages of one.

use crate::job::{Context, StageCode};
use crate::params::{ParamError, ParamSpec};
use crate::typed::given::Given;
use crate::typed::input::{Input, Named, Reads};
use crate::typed::keep::Keeper;
use crate::typed::row::{Row, columns};
use crate::typed::{MapOnly, MapReduce, map_only, map_reduce};
use mr_core::{Failure, Params};
use std::marker::PhantomData;
use std::sync::Arc;

/// A job of several stages, each of which is a [`MapReduce`] or a [`MapOnly`] and could be a job by itself.
///
/// A stage reads the input, as [`Lines`](crate::Lines) for instance, or what an earlier one made: its `Input` says which,
/// [`Reduced`](crate::Reduced), [`Mapped`](crate::Mapped) or [`Kept`](crate::Kept). It may also be [given](Stage::given) all
/// rows of an earlier reduce at once. The rows of the last stage are the result.
///
/// Its parameters are those of its stages, each of which sees its own and `partitions`. A stage with a reduce has `partitions`
/// tasks that reduce, and one if others are given its rows.
pub trait Pipeline: Sized + 'static {
    /// What `job = "…"` in a job file calls it.
    const NAME: &'static str;
    /// Raised when the stages are others, or stand otherwise. Those of the stages count as well.
    const VERSION: u32;
    /// A line for `--help`.
    const ABOUT: &'static str;

    /// That of the last stage.
    type Row: Row;

    /// Adds the stages, each behind those whose rows it reads, and returns the last.
    fn stages(stages: &mut Stages) -> Stage<'_, Self::Row>;
}

/// The stages of a [`Pipeline`], one after another.
pub struct Stages(pub(super) Vec<Step>);

/// A stage just added.
pub struct Stage<'a, R> {
    step: &'a mut Step,
    rows: PhantomData<fn() -> R>,
}

/// A stage without its types.
pub(super) struct Step {
    pub job: Named,
    pub version: u32,
    pub reduces: bool,
    pub reads: Reads,
    /// The jobs whose rows it is given.
    pub given: Vec<Named>,
    pub extensions: &'static [&'static str],
    pub params: Vec<ParamSpec>,
    /// What is wrong with the names of its columns.
    pub columns: Result<(), String>,
    pub check: fn(&Params) -> Result<(), ParamError>,
    pub open: fn(&Opening<'_>) -> Result<Arc<dyn StageCode>, Failure>,
}

/// What the code of a stage is made from.
pub(super) struct Opening<'a> {
    pub context: &'a Context<'a>,
    /// Its own.
    pub params: Params,
    /// Of the rows that its map keeps, if a later stage reads them.
    pub keeper: Option<Keeper>,
    /// Whether later stages are given its rows.
    pub gives: bool,
}

/// A step of a job, whichever of the two kinds it is of: both say the same of themselves.
macro_rules! step {
    ($job:ident, reduces: $reduces:literal, |$opened:ident, $opening:ident| $code:expr) => {
        Step {
            job: Named::new::<$job>($job::NAME),
            version: $job::VERSION,
            reduces: $reduces,
            reads: $job::Input::READS,
            given: Vec::new(),
            extensions: $job::EXTENSIONS,
            params: $job::params(),
            columns: columns::<$job::Row>($job::COLUMNS),
            check: |params| $job::open(params).map(drop),
            open: |$opening| {
                let opened = $job::open(&$opening.params);
                let mut $opened = opened.map_err(|error| Failure::permanent(error.to_string()))?;
                $opened.receive(&Given { context: $opening.context })?;
                Ok(Arc::new($code))
            },
        }
    };
}

impl Stages {
    /// Adds a stage with a reduce.
    pub fn map_reduce<J: MapReduce>(&mut self) -> Stage<'_, J::Row> {
        self.add(step!(J, reduces: true, |job, opening| {
            map_reduce::Code { job, keeper: opening.keeper, gives: opening.gives }
        }))
    }

    /// Adds a stage without one.
    pub fn map_only<J: MapOnly>(&mut self) -> Stage<'_, J::Row> {
        self.add(step!(J, reduces: false, |job, opening| map_only::Code { job }))
    }

    fn add<R>(&mut self, step: Step) -> Stage<'_, R> {
        self.0.push(step);
        Stage { step: self.0.last_mut().expect("it was pushed"), rows: PhantomData }
    }
}

impl<R> Stage<'_, R> {
    /// Broadcasts all rows of that job's reduce, an earlier stage's, to this one, which [receives](MapReduce::receive) them
    /// before its first record. They are in the memory of every worker, so there should not be many: that reduce is one task.
    pub fn given<J: MapReduce>(self) -> Self {
        self.step.given.push(Named::new::<J>(J::NAME));
        self
    }
}
