//! Facts as messages, with what the shell knows beside the scheduler: a job's plan, and where its listing lies.

use crate::job::Job;
use mr_core::{Books, Failure, FileRef, JobId, Listing, Piece, Split, TaskId, TaskKey};
use mr_proto::v1::journal_fact::What as Wire;
use mr_proto::{WireError, convert, v1};
use mr_scheduler::{Condemned, Ending, Fact, Remains, StageView, What};
use std::collections::BTreeMap;

/// Turns facts into messages.
pub struct Encoder<'a> {
    pub jobs: &'a BTreeMap<JobId, Job>,
}

impl Encoder<'_> {
    /// A fact of a job of which nothing is known any more has no reader either.
    pub fn encode(&self, fact: &Fact) -> Option<v1::JournalFact> {
        let job = self.jobs.get(&fact.job)?;
        let what = match &fact.what {
            What::Submitted { .. } => Wire::Submitted(v1::JournalSubmitted {
                plan: Some(convert::plan_to((*job.plan).clone())),
                prior_ms: job.prior_ms,
                renews_quarantined: job.renews_quarantined,
                framework_version: job.framework_version.clone(),
            }),
            What::Prepared { .. } => {
                let listing = job.input.as_ref().map(|input| convert::file_to(input.file.clone()));
                Wire::Prepared(v1::JournalPrepared { listing })
            }
            What::Bound { family } => Wire::Bound(v1::JournalBound { family: family.to_string() }),
            What::Unbound => Wire::Unbound(v1::JournalUnbound {}),
            What::Done { attempt, family, output } => Wire::Done(v1::JournalDone {
                attempt: Some(convert::attempt_to(attempt.clone())),
                family: family.to_string(),
                output: Some(convert::output_to((**output).clone())),
                task_key: job.shared_key(&attempt.task).map(Vec::from).unwrap_or_default(),
            }),
            What::Undone { stage, index } => {
                let (stage, index) = (*stage, *index);
                let task = TaskId { job: fact.job.clone(), stage, index };
                let task_key = job.task_key(&task).map(Vec::from).unwrap_or_default();
                Wire::Undone(v1::JournalUndone { stage, index, task_key })
            }
            What::Condemned { stage, index, condemned } => Wire::Condemned(v1::JournalCondemned {
                stage: *stage,
                index: *index,
                record: Some(match condemned {
                    Condemned::Verdict(verdict) => {
                        v1::journal_condemned::Record::Verdict(convert::quarantined_to((**verdict).clone()))
                    }
                    Condemned::Kills(position) => v1::journal_condemned::Record::Kills(*position),
                }),
            }),
            What::Committing => Wire::Committing(v1::JournalCommitting {}),
            What::Ended { ending, remains } => Wire::Ended(ended_to(ending, remains, job.skipped)),
        };
        Some(v1::JournalFact { at_ms: fact.at, job_id: fact.job.to_string(), what: Some(what) })
    }
}

fn ended_to(ending: &Ending, remains: &Remains, skipped: u64) -> v1::JournalEnded {
    let (phase, failure) = match ending {
        Ending::Committed => (v1::JobPhase::Committed, None),
        Ending::Failed(failure) => (v1::JobPhase::Failed, Some(failure.clone())),
        Ending::Cancelled => (v1::JobPhase::Cancelled, None),
    };
    let stage = |stage: &StageView| v1::EndedStage {
        name: stage.name.clone(),
        tasks: stage.total,
        tasks_done: stage.done,
        tasks_running: stage.running,
        records: stage.records,
        records_total: stage.records_total,
        rows: stage.rows,
        started_at_ms: stage.started_at,
        ended_at_ms: stage.ended_at,
    };
    v1::JournalEnded {
        phase: phase as i32,
        failure: failure.map(convert::failure_to),
        stages: remains.stages.iter().map(stage).collect(),
        listed: remains.books.listed,
        embedded: remains.books.embedded,
        quarantined: remains.books.quarantined,
        skipped,
        counters: remains.counters.clone().into(),
        quarantined_first: remains.quarantined_first.iter().cloned().map(convert::quarantined_to).collect(),
    }
}

/// The ending, what remains, and how many objects were skipped.
pub fn ended_from(ended: v1::JournalEnded, at: u64) -> Result<(Ending, Remains, u64), WireError> {
    let ending = match v1::JobPhase::try_from(ended.phase).map_err(|_| WireError::OutOfRange("ended.phase"))? {
        v1::JobPhase::Committed => Ending::Committed,
        v1::JobPhase::Cancelled => Ending::Cancelled,
        v1::JobPhase::Failed => {
            let failure = ended.failure.map(convert::failure_from).transpose()?;
            Ending::Failed(failure.unwrap_or_else(|| Failure::permanent("nobody wrote down why")))
        }
        v1::JobPhase::Unspecified | v1::JobPhase::Listing | v1::JobPhase::Running | v1::JobPhase::Committing => {
            return Err(WireError::OutOfRange("ended.phase"));
        }
    };
    let stage = |stage: v1::EndedStage| StageView {
        name: stage.name,
        total: stage.tasks,
        done: stage.tasks_done,
        running: stage.tasks_running,
        records: stage.records,
        records_total: stage.records_total,
        rows: stage.rows,
        started_at: stage.started_at_ms,
        ended_at: stage.ended_at_ms,
    };
    let (listed, embedded, quarantined) = (ended.listed, ended.embedded, ended.quarantined);
    let remains = Remains {
        ended_at: at,
        stages: ended.stages.into_iter().map(stage).collect(),
        books: Books { listed, embedded, quarantined, skipped: 0 },
        counters: ended.counters.into(),
        quarantined_first: ended.quarantined_first.into_iter().map(convert::quarantined_from).collect(),
    };
    Ok((ending, remains, ended.skipped))
}

/// # Errors
/// When it names no record.
pub fn condemned_from(condemned: v1::JournalCondemned) -> Result<What, WireError> {
    let v1::JournalCondemned { stage, index, record } = condemned;
    let condemned = match record.ok_or(WireError::Missing("condemned.record"))? {
        v1::journal_condemned::Record::Verdict(verdict) => {
            Condemned::Verdict(Box::new(convert::quarantined_from(verdict)))
        }
        v1::journal_condemned::Record::Kills(position) => Condemned::Kills(position),
    };
    Ok(What::Condemned { stage, index, condemned })
}

pub fn to_listing(listing: &Listing, splits: &[Split]) -> v1::Listing {
    v1::Listing {
        objects: listing.objects.iter().cloned().map(convert::object_to).collect(),
        split_objects: splits.iter().map(|split| split.count).collect(),
        skipped: listing.skipped,
        pieces: splits.iter().zip(0..).filter_map(|(split, place)| Some(split_piece(place, split.piece?))).collect(),
    }
}

fn split_piece(split: u32, piece: Piece) -> v1::SplitPiece {
    v1::SplitPiece { split, piece: Some(convert::piece_to(piece)) }
}

/// # Errors
/// When the splits don't cover the objects, or pieces their object.
pub fn from_listing(listing: v1::Listing) -> Result<(Listing, Vec<Split>), WireError> {
    let objects: Vec<_> = listing.objects.into_iter().map(convert::object_from).collect();
    let mut pieces = BTreeMap::new();
    for v1::SplitPiece { split, piece } in listing.pieces {
        let piece = convert::piece_from(piece.ok_or(WireError::Missing("listing.pieces.piece"))?)?;
        if pieces.insert(split, piece).is_some() {
            return Err(WireError::OutOfRange("listing.pieces"));
        }
    }
    // The next object, and how many bytes of it pieces have had.
    let (mut first, mut had) = (0, 0);
    let mut splits = Vec::with_capacity(listing.split_objects.len());
    for (count, place) in listing.split_objects.into_iter().zip(0..) {
        let range = first..first + count as usize;
        let of_split = objects.get(range.clone()).ok_or(WireError::OutOfRange("listing.split_objects"))?;
        let piece = pieces.remove(&place);
        let bytes = match (piece, of_split) {
            (None, _) if had == 0 => of_split.iter().map(|object| object.bytes).sum(),
            (Some(Piece { start, end, .. }), [object]) if start == had && end <= object.bytes => {
                had = if end == object.bytes { 0 } else { end };
                end - start
            }
            _ => return Err(WireError::OutOfRange("listing.pieces")),
        };
        splits.push(Split { first: first as u64, count, bytes, piece });
        if had == 0 {
            first = range.end;
        }
    }
    if first != objects.len() || !pieces.is_empty() {
        return Err(WireError::OutOfRange("listing.split_objects"));
    }
    Ok((Listing { objects, skipped: listing.skipped }, splits))
}

/// # Errors
/// When it is none.
pub fn task_key_from(bytes: &[u8]) -> Option<TaskKey> {
    bytes.try_into().ok()
}

/// The file that a listing was written to.
pub fn listing_file(prepared: &v1::JournalPrepared) -> Result<FileRef, WireError> {
    convert::file_from(prepared.listing.clone().ok_or(WireError::Missing("prepared.listing"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::{Object, PieceHas};

    #[test]
    fn a_listing_comes_back_with_its_splits_and_one_that_they_do_not_cover_is_refused() {
        let object = |key: &str, bytes| Object { key: key.into(), bytes, etag: String::new() };
        let listing = Listing { objects: vec![object("a", 1), object("b", 2), object("c", 9)], skipped: 4 };
        let of_c = |start, end| {
            let piece = Some(Piece { start, end, has: PieceHas::Lines });
            Split { first: 2, count: 1, bytes: end - start, piece }
        };
        let splits = vec![Split { first: 0, count: 2, bytes: 3, piece: None }, of_c(0, 4), of_c(4, 9)];
        let written = to_listing(&listing, &splits);
        assert_eq!(from_listing(written.clone()), Ok((listing, splits)));

        let changed = |change: &dyn Fn(&mut v1::Listing)| {
            let mut listing = written.clone();
            change(&mut listing);
            from_listing(listing)
        };
        assert!(changed(&|listing| listing.split_objects.truncate(2)).is_err(), "the object is not over");
        assert!(changed(&|listing| listing.split_objects.push(1)).is_err(), "there are no more");
        assert!(changed(&|listing| listing.pieces.truncate(1)).is_err(), "one goes on without a piece");
        assert!(changed(&|listing| listing.pieces.swap_remove(0).split = 0).is_err(), "the first is not there");
        assert!(changed(&|listing| listing.pieces[0].split = 0).is_err(), "it has two objects");
        assert!(changed(&|listing| listing.pieces[1].split = 1).is_err(), "it is the other's");
        assert!(changed(&|listing| listing.pieces[1].split = 3).is_err(), "there is no such split");
        assert!(changed(&|listing| listing.pieces[1].piece = None).is_err(), "it has no bytes");
        let ends = |listing: &mut v1::Listing, end| listing.pieces[1].piece.as_mut().unwrap().end = end;
        assert!(changed(&|listing| ends(listing, 8)).is_err(), "bytes are left");
        assert!(changed(&|listing| ends(listing, 10)).is_err(), "there are not so many");
        assert!(changed(&|listing| ends(listing, 4)).is_err(), "it is empty");
    }
}
