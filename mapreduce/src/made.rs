//! What an attempt made, and where it goes.

use crate::fetch;
use crate::spool::{Content, Spooled};
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use mr_core::{BlobRef, Failure, FileRef, Order, TaskOutput, sha256_hex};
use mr_storage::{DynStore, Put, check_key};
use std::collections::BTreeSet;

/// Files written at a time.
const IN_FLIGHT: usize = 8;

/// Encoded and ready to be stored.
#[derive(Default)]
pub struct Made {
    /// As far as it is known without the files.
    pub output: TaskOutput,
    pub rows: Option<Spooled>,
    pub run: Option<Spooled>,
    pub side: Vec<(String, Bytes)>,
    pub broadcast: Option<Bytes>,
    /// For people alone.
    pub log: Bytes,
}

enum What {
    Rows,
    Run,
    Side(String),
    Log,
    Broadcast { sha256: String },
}

impl Made {
    /// Puts everything into the state store under names of this attempt's own. `outlives` says whether others are to find
    /// it when this machine has gone down.
    ///
    /// # Errors
    /// When a file can't be stored, or could not be among the result's files.
    pub async fn store(self, order: &Order, state: &DynStore, outlives: bool) -> Result<TaskOutput, Failure> {
        let Made { mut output, rows, run, side, broadcast, log } = self;
        let mut paths = BTreeSet::new();
        for (path, _) in &side {
            let fault = match check_key(path) {
                Err(error) => mr_storage::story(&error),
                Ok(()) if paths.insert(path.clone()) => continue,
                Ok(()) => "it is there twice".to_owned(),
            };
            return Err(Failure::permanent(format!("the job's side file {path:?}: {fault}")));
        }
        let rows_name = match order.writes_output {
            true => format!("part.{}", order.format.extension()),
            false => "kept.arrow".to_owned(),
        };
        let rows = rows.map(|bytes| (What::Rows, rows_name, bytes));
        let run = run.map(|bytes| (What::Run, "pairs.run".to_owned(), bytes));
        let broadcast = broadcast.map(|bytes| {
            let sha256 = sha256_hex(&bytes);
            (What::Broadcast { sha256 }, "broadcast".to_owned(), Spooled::of(bytes))
        });
        let side = side
            .into_iter()
            .map(|(path, bytes)| (What::Side(path.clone()), format!("side/{path}"), Spooled::of(bytes)));
        let log = (!log.is_empty()).then(|| (What::Log, "log.txt".to_owned(), Spooled::of(log)));
        let base = order.attempt.work_folder();
        let files = rows.into_iter().chain(run).chain(broadcast).chain(log).chain(side).map(|(what, name, made)| {
            let (state, key) = (state.clone(), format!("{base}{name}"));
            let becomes_result = match &what {
                What::Rows => order.writes_output,
                What::Side(_) => true,
                What::Run | What::Broadcast { .. } | What::Log => false,
            };
            let how = if becomes_result || outlives { Put::Overwrite } else { Put::Temporary };
            async move {
                let file = FileRef { key, bytes: made.bytes, crc32: made.crc32 };
                let put = match made.content {
                    Content::Memory(bytes) => state.put(&file.key, bytes, how).await,
                    Content::File(path) => state.put_file(&file.key, path.path(), how).await,
                };
                put.map_err(|error| fetch::failure(&error))?;
                Ok::<_, Failure>((what, file))
            }
        });
        // All of them first: made one by one within the stream they would borrow from a closure across an await.
        let files: Vec<_> = files.collect();
        let mut stored = stream::iter(files).buffered(IN_FLIGHT);
        while let Some((what, file)) = stored.try_next().await? {
            match what {
                What::Rows if order.writes_output => output.part = Some(file),
                What::Rows => output.kept = Some(file),
                What::Run => output.run = Some(file),
                What::Log => {}
                What::Side(path) => output.side.push((path, file)),
                What::Broadcast { sha256 } => {
                    output.broadcast = Some(BlobRef { key: file.key, sha256, bytes: file.bytes });
                }
            }
        }
        Ok(output)
    }
}
