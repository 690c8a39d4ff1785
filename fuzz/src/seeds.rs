//! Where a fuzzer begins: small inputs that are right, of every kind that a target tells apart. All are made here, so that
//! none need be kept.

mod messages;
mod photos;
mod texts;

use crate::journal::{BASE, ENTRY, LISTING};
use crate::pieces::joined;
use bytes::Bytes;
use mr_mapreduce::RunWriter;
use mr_proto::{convert, journal, v1};
use prost::Message;

/// The seeds of a target.
///
/// # Panics
/// When there is no such target.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "delta_log" => texts::DELTA_LOGS.map(|text| text.as_bytes().to_vec()).into(),
        "job_file" => texts::JOB_FILES.map(|text| text.as_bytes().to_vec()).into(),
        "journal" => journals(),
        "key_list" => texts::KEY_LISTS.map(|text| text.as_bytes().to_vec()).into(),
        "photo" => photos::photos(),
        "run_file" => run_files(),
        "wire" => wires(),
        other => panic!("no target is named {other:?}"),
    }
}

fn run_files() -> Vec<Vec<u8>> {
    let runs = [run(&[&[]]), run(&[&[("a", "1"), ("a", "2"), ("b", "")], &[], &[("", "xyz")]])];
    let read = runs.iter().flat_map(|run| [0, 1].map(|kind| [&[kind], run.as_ref()].concat()));
    let written = [&b"\x02\x01\x01a1\x02\x00bb\xff\x00\x00\x03xyz"[..], b"\x02"].map(<[u8]>::to_vec);
    read.chain(written).collect()
}

fn run(partitions: &[&[(&str, &str)]]) -> Bytes {
    let mut writer = RunWriter::new(Vec::new()).expect("it is memory");
    for (partition, pairs) in (0..).zip(partitions) {
        for (key, value) in *pairs {
            writer.push(partition, key.as_bytes(), value.as_bytes()).expect("it is small");
        }
    }
    writer.finish(partitions.len() as u32).expect("it is memory").0.into()
}

fn wires() -> Vec<Vec<u8>> {
    let messages: [Vec<u8>; crate::wire::KINDS as usize] = [
        convert::plan_to(messages::plan()).encode_to_vec(),
        convert::order_to(messages::order()).encode_to_vec(),
        convert::result_to(messages::result()).encode_to_vec(),
        convert::status_to(messages::status()).encode_to_vec(),
        convert::output_to(messages::output()).encode_to_vec(),
        convert::failure_to(messages::failure()).encode_to_vec(),
        convert::blob_to(messages::blob()).encode_to_vec(),
        convert::attempt_to(messages::attempt(0, 0)).encode_to_vec(),
        v1::Progress { attempt: Some(convert::attempt_to(messages::attempt(0, 0))), records: 3 }.encode_to_vec(),
        v1::StoreUsage { place: "bucket".into(), accepted: 3, throttled: 1 }.encode_to_vec(),
        v1::StoreShare { place: "bucket".into(), requests_per_second: 2.5 }.encode_to_vec(),
        convert::quarantined_to(messages::quarantined()).encode_to_vec(),
        v1::Object { key: "a/b.jpg".into(), bytes: 7, etag: "e".into() }.encode_to_vec(),
        convert::file_to(messages::file()).encode_to_vec(),
        convert::job_code_to(messages::plan().code()).encode_to_vec(),
        convert::terms_to(messages::terms()).encode_to_vec(),
    ];
    (0..).zip(messages).map(|(kind, message)| [&[kind], message.as_slice()].concat()).collect()
}

/// A job from its submission to its end, some of it in one entry and some over several, and from a base.
fn journals() -> Vec<Vec<u8>> {
    use v1::journal_fact::What;
    let fact = |at_ms, what| v1::JournalFact { at_ms, job_id: "j1".into(), what: Some(what) };
    let done = |at_ms, stage, index| {
        fact(
            at_ms,
            What::Done(v1::JournalDone {
                attempt: Some(convert::attempt_to(messages::attempt(stage, index))),
                family: "f32/avx2".into(),
                output: Some(convert::output_to(messages::output())),
                task_key: vec![7; 32],
            }),
        )
    };
    let plan = Some(convert::plan_to(messages::plan()));
    let object = |key: &str| v1::Object { key: key.into(), bytes: 10, etag: "e".into() };
    let piece = |split, start, end| v1::SplitPiece {
        split,
        piece: Some(v1::Piece { start, end, has: v1::PieceHas::Lines as i32 }),
    };
    let listing = v1::Listing {
        objects: ["a", "b", "c"].map(object).into(),
        split_objects: vec![2, 1, 1],
        skipped: 1,
        pieces: vec![piece(1, 0, 4), piece(2, 4, 10)],
    };
    let listing = journal::listing_to(&listing);
    let listed = v1::File { key: "l0".into(), bytes: listing.len() as u64, crc32: 0 };
    let submitted = fact(
        1,
        What::Submitted(v1::JournalSubmitted {
            plan,
            prior_ms: 5,
            renews_quarantined: true,
            framework_version: "0.1.0".into(),
        }),
    );
    let condemned =
        |record| fact(4, What::Condemned(v1::JournalCondemned { stage: 0, index: 1, record: Some(record) }));
    let ended = v1::JournalEnded {
        phase: v1::JobPhase::Failed as i32,
        failure: Some(convert::failure_to(messages::failure())),
        stages: vec![v1::EndedStage { name: "map".into(), tasks: 2, ended_at_ms: Some(9), ..Default::default() }],
        listed: 3,
        quarantined_first: vec![convert::quarantined_to(messages::quarantined())],
        ..Default::default()
    };
    let kept = v1::JournalKept {
        task_key: vec![9; 32],
        family: "f32".into(),
        output: Some(convert::output_to(messages::output())),
    };
    let story = [
        submitted,
        fact(2, What::Prepared(v1::JournalPrepared { listing: Some(listed) })),
        fact(3, What::Bound(v1::JournalBound { family: "f32/avx2".into() })),
        condemned(v1::journal_condemned::Record::Kills(0)),
        condemned(v1::journal_condemned::Record::Verdict(convert::quarantined_to(messages::quarantined()))),
        done(5, 0, 0),
        done(6, 0, 1),
        fact(6, What::Undone(v1::JournalUndone { stage: 0, index: 1, task_key: vec![7; 32] })),
        done(6, 0, 1),
        done(7, 1, 0),
        done(8, 2, 0),
        fact(9, What::Committing(v1::JournalCommitting {})),
        fact(10, What::Ended(ended)),
        fact(11, What::Kept(kept)),
    ];
    let entry = |facts: &[v1::JournalFact]| {
        let entry = v1::JournalEntry { epoch: 1, writer: "w".into(), facts: facts.to_vec(), ..Default::default() };
        journal::entry_to(&entry).split_off(journal::SEAL_BYTES)
    };
    let mut journals = Vec::new();
    for length in 0..=story.len() {
        journals.push(joined(&[(LISTING, &listing), (ENTRY, &entry(&story[..length]))]));
    }
    let unbound = fact(4, What::Unbound(v1::JournalUnbound {}));
    let entries = [entry(&[]), entry(&story[..1]), entry(&story[1..3]), entry(&[unbound])];
    let mut pieces: Vec<_> = entries.iter().map(|entry| (ENTRY, entry.as_slice())).collect();
    pieces.push((LISTING, &listing));
    journals.push(joined(&pieces));
    let base = entry(&story[..6]);
    journals.push(joined(&[(ENTRY, &entries[0]), (BASE, &base), (ENTRY, &entry(&story[6..8])), (LISTING, &listing)]));
    journals
}
