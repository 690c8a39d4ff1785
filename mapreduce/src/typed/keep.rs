//! Rows that the map of a [`MapReduce`] keeps beside what it emits, for a later stage of a pipeline.

use crate::emit::MapOutput;
use crate::typed::MapReduce;
use crate::typed::input::Input;
use crate::typed::row::{Row, Rows, columns};
use mr_core::Failure;
use std::any::Any;

/// A [`MapReduce`] whose map also keeps rows, [`Emit::keep`](crate::Emit::keep): they stay as its task's, and a later stage of
/// the same [`Pipeline`](crate::Pipeline) maps them as [`Kept`](crate::Kept). Of a record that is set aside they are dropped.
pub trait Keeps: MapReduce {
    type Kept: Row;
    /// The names of its columns.
    const KEPT: &'static [&'static str];
}

/// What makes the place for the rows that a job's map keeps.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Keeper {
    /// Says what is wrong with the names of their columns.
    pub(super) check: fn() -> Result<(), String>,
    pub(super) make: fn() -> Box<dyn Keeping>,
}

impl Keeper {
    pub(super) const fn of<J: Keeps>() -> Self {
        Self {
            check: || columns::<J::Kept>(J::KEPT).map_err(|why| why.replacen("`COLUMNS`", "`KEPT`", 1)),
            make: || Box::new(KeptRows::<J::Kept> { rows: Rows::columns(J::KEPT), staged: Vec::new() }),
        }
    }
}

/// Where kept rows go, of whatever type they are.
#[doc(hidden)]
pub trait Keeping {
    /// Takes those of the record at hand for good.
    ///
    /// # Errors
    /// When one can't be kept.
    fn accept(&mut self, out: &mut MapOutput) -> Result<(), Failure>;

    /// Drops those of the record at hand.
    fn refuse(&mut self);

    /// Hands on all that are left.
    ///
    /// # Errors
    /// When one can't be kept.
    fn finish(&mut self, out: &mut MapOutput) -> Result<(), Failure>;

    fn as_any(&mut self) -> &mut dyn Any;
}

struct KeptRows<R: Row> {
    rows: Rows<R>,
    /// Of the record at hand, as long as it may still be set aside.
    staged: Vec<R>,
}

/// Keeps a row in what the job's [`Keeper`] made.
///
/// # Errors
/// When a number does not fit into its column.
pub(super) fn keep<J: Keeps>(kept: &mut dyn Keeping, row: J::Kept) -> Result<(), Failure> {
    let kept = kept.as_any().downcast_mut::<KeptRows<J::Kept>>();
    let kept = kept.ok_or_else(|| Failure::permanent("what is kept goes to another job's rows"))?;
    if J::Input::SETS_ASIDE {
        row.check()?;
        kept.staged.push(row);
        Ok(())
    } else {
        kept.rows.row(row)
    }
}

impl<R: Row> Keeping for KeptRows<R> {
    fn accept(&mut self, out: &mut MapOutput) -> Result<(), Failure> {
        self.staged.drain(..).try_for_each(|row| self.rows.row(row))?;
        self.rows.full().for_each(|batch| out.keep(batch));
        Ok(())
    }

    fn refuse(&mut self) {
        self.staged.clear();
    }

    fn finish(&mut self, out: &mut MapOutput) -> Result<(), Failure> {
        self.rows.rest()?.for_each(|batch| out.keep(batch));
        Ok(())
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
