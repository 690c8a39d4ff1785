//! The jobs that a binary knows, by name.

use crate::Job;
use crate::typed::{MapOnly, MapReduce, Pipeline, TypedJob};
use mr_core::{JobCode, NO_KERNELS};
use std::sync::Arc;

#[derive(Clone)]
pub struct Registry {
    jobs: Vec<Arc<dyn Job>>,
    kernel_families: Vec<String>,
}

/// For jobs that need no kernels.
impl Default for Registry {
    fn default() -> Self {
        Self::new(NO_KERNELS)
    }
}

impl Registry {
    /// `kernel_family` names the arithmetic of this process: what it computes has the same bytes as on every other
    /// process of that family.
    pub fn new(kernel_family: impl Into<String>) -> Self {
        let mut families = vec![kernel_family.into()];
        // Whatever its kernels, a job that needs none has the same bytes here as anywhere.
        if families[0] != NO_KERNELS {
            families.push(NO_KERNELS.to_owned());
        }
        Self { jobs: Vec::new(), kernel_families: families }
    }

    /// Another family that this process can compute with, for jobs that wish for it.
    ///
    /// # Panics
    /// When it is there already.
    pub fn with_kernels(mut self, kernel_family: impl Into<String>) -> Self {
        let family = kernel_family.into();
        assert!(!self.kernel_families.contains(&family), "two kernels are of the family `{family}`");
        // `NO_KERNELS` stays the last.
        self.kernel_families.insert(self.kernel_families.len() - 1, family);
        self
    }

    /// # Panics
    /// When two jobs have one name, or the job's columns can't have theirs.
    pub fn with_map_only<J: MapOnly>(self) -> Self {
        self.with_typed(J::NAME, TypedJob::of_map_only::<J>())
    }

    /// # Panics
    /// When two jobs have one name, or the job's columns can't have theirs.
    pub fn with_map_reduce<J: MapReduce>(self) -> Self {
        self.with_typed(J::NAME, TypedJob::of_map_reduce::<J>())
    }

    /// # Panics
    /// When two jobs have one name, or its stages can't stand so: columns that can't have their names, rows that are read before they
    /// are made or by nobody, an input that is read as two things, parameters of one name.
    pub fn with_pipeline<P: Pipeline>(self) -> Self {
        self.with_typed(P::NAME, TypedJob::of_pipeline::<P>())
    }

    fn with_typed(self, name: &str, job: Result<TypedJob, String>) -> Self {
        self.with(job.unwrap_or_else(|why| panic!("job `{name}`: {why}")))
    }

    /// # Panics
    /// When two jobs have one name, or two of its parameters, or its name has none or more than 256 bytes.
    pub fn with(mut self, job: impl Job) -> Self {
        assert!((1..=256).contains(&job.name().len()), "`{}` is no name of 1 to 256 bytes", job.name());
        assert!(self.find(job.name()).is_none(), "two jobs are named `{}`", job.name());
        let mut names: Vec<_> = job.params().into_iter().map(|param| param.name).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        assert!(twice.is_none(), "job `{}` has two parameters `{}`", job.name(), twice.unwrap_or_default());
        self.jobs.push(Arc::new(job));
        self
    }

    pub fn find(&self, name: &str) -> Option<&Arc<dyn Job>> {
        self.jobs.iter().find(|job| job.name() == name)
    }

    pub fn jobs(&self) -> impl Iterator<Item = &Arc<dyn Job>> {
        self.jobs.iter()
    }

    /// What a worker over this registry can be given tasks of.
    pub fn codes(&self) -> impl Iterator<Item = JobCode> {
        self.jobs.iter().map(|job| JobCode::new(job.name(), job.version()))
    }

    /// At least one, and `NO_KERNELS` among them; the first serves jobs that have no wish.
    pub fn kernel_families(&self) -> &[String] {
        &self.kernel_families
    }
}
