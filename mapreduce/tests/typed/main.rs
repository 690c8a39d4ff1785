//! Typed jobs and pipelines on the engine, against the same in one thread.

mod engine;
mod jobs;
mod pipelines;
