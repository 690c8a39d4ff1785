//! Rows of an earlier stage of a pipeline as what a map is given.

use crate::job::RecordError;
use crate::typed::input::{Chunk, Input, Named, Reads};
use crate::typed::keep::{Keeper, Keeps};
use crate::typed::row::Row;
use crate::typed::{MapOnly, MapReduce, Sealed};
use mr_core::Failure;
use std::marker::PhantomData;

/// The rows that the reduce of an earlier stage made.
pub struct Reduced<J>(PhantomData<fn() -> J>);

/// The rows of an earlier stage that has a map alone.
pub struct Mapped<J>(PhantomData<fn() -> J>);

/// The rows that the map of an earlier stage [kept](Keeps).
pub struct Kept<J>(PhantomData<fn() -> J>);

macro_rules! stage_rows {
    ($input:ident, $job:ident, $row:ident, $reads:expr) => {
        impl<J: $job> Sealed for $input<J> {}

        impl<J: $job> Input for $input<J> {
            type Record<'a> = J::$row;
            type Error = Failure;
            const SETS_ASIDE: bool = false;
            const READS: Reads = $reads;

            fn each(chunk: &Chunk<'_>, mut map: impl FnMut(J::$row) -> Result<(), Failure>) -> Result<(), RecordError> {
                let rows = J::$row::read(chunk.rows()?).ok_or_else(|| {
                    Failure::permanent(format!("the rows of `{}` are not of the type that a stage reads", J::NAME))
                })?;
                Ok(rows.into_iter().try_for_each(&mut map)?)
            }
        }
    };
}

stage_rows!(Reduced, MapReduce, Row, Reads::Reduced(Named::new::<J>(J::NAME)));
stage_rows!(Mapped, MapOnly, Row, Reads::Mapped(Named::new::<J>(J::NAME)));
stage_rows!(Kept, Keeps, Kept, Reads::Kept(Named::new::<J>(J::NAME), Keeper::of::<J>()));
