//! What a stage of a pipeline is given whole: all rows of an earlier reduce.

use crate::job::Context;
use crate::rows::from_ipc;
use crate::typed::MapReduce;
use crate::typed::job::reduce_of;
use crate::typed::row::Row;
use mr_core::Failure;

/// What a stage is [given](crate::Stage::given).
pub struct Given<'a> {
    pub(super) context: &'a Context<'a>,
}

impl Given<'_> {
    /// All rows that the reduce of that job made, in the order of their keys.
    ///
    /// # Errors
    /// When the pipeline does not say that this stage is given them.
    pub fn reduced<J: MapReduce>(&self) -> Result<Vec<J::Row>, Failure> {
        let name = reduce_of(J::NAME);
        let broadcast = self.context.broadcasts.iter().find(|broadcast| broadcast.name == name).ok_or_else(|| {
            let (stage, job) = (self.context.stage, J::NAME);
            Failure::permanent(format!("stage `{stage}` asks for the rows of `{job}`, which it is not `given`"))
        })?;
        let mut rows = Vec::new();
        for batch in from_ipc(broadcast.bytes.clone())? {
            let read = J::Row::read(&batch);
            let unfit = || Failure::permanent(format!("what `{}` broadcast is not of its rows' type", J::NAME));
            rows.extend(read.ok_or_else(unfit)?);
        }
        Ok(rows)
    }
}
