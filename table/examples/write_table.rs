//! Writes a small table into a directory, as many times over as asked, to try readers on:
//! `cargo run --release -p mr-table --example write_table -- /tmp/out 3 [--adopt]`.

use arrow::array::{ArrayRef, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Float32Type;
use mr_core::{JobId, Mode, QuarantineSource, Quarantined};
use mr_storage::{DynStore, Memory, Put};
use mr_table::{Commit, RunFile, RunSource, StagedPart, after_commit, commit, quarantine_parquet, verify};
use parquet::arrow::ArrowWriter;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, times, flags @ ..] = arguments.as_slice() else { return Err("a folder and a count, please".into()) };
    let output = mr_storage::open(folder).await?;
    for round in 0..times.parse()? {
        let now_ms = SystemTime::UNIX_EPOCH.elapsed()?.as_millis() as u64;
        let job = JobId::parse(&format!("job-{now_ms}-{round}"))?;
        let staging: DynStore = Arc::new(Memory::new());
        let mut parts = Vec::new();
        for index in 0..4 {
            let bytes = rows(round, index)?;
            let (key, crc32) = (index.to_string(), crc32fast::hash(&bytes));
            let part = StagedPart { store: staging.clone(), key, bytes: bytes.len() as u64, rows: 25, crc32 };
            staging.put(&part.key, bytes.into(), Put::Overwrite).await?;
            parts.push(part);
        }
        let quarantine = RunSource::Bytes(quarantine_parquet(&[lost()], "file:///photos/")?);
        let committed = commit(Commit {
            job: &job,
            output: &output,
            mode: Mode::Overwrite,
            format: Default::default(),
            adopt: flags.iter().any(|flag| flag == "--adopt"),
            parts,
            schema: None,
            run_files: vec![RunFile { path: "quarantine.parquet".into(), source: quarantine }],
            info: Default::default(),
            now_ms,
        })
        .await?;
        // Time for readers to meet both.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let settled = after_commit(&output).await?;
        println!("{committed:?} {settled:?}");
    }
    println!("{:?}", verify(&output).await?);
    Ok(())
}

/// 25 rows, all of them saying which round they are of.
fn rows(round: i64, index: i64) -> Result<Vec<u8>, Box<dyn Error>> {
    let numbers = index * 25..(index + 1) * 25;
    let lists = numbers.clone().map(|n| Some((0..8).map(move |i| Some((n + i) as f32))));
    let columns: [(&str, ArrayRef); 4] = [
        (
            "path",
            Arc::new(StringArray::from_iter_values(numbers.clone().map(|n| format!("file:///photos/a b/ü{n}.jpg")))),
        ),
        ("number", Arc::new(Int64Array::from_iter_values(numbers.clone()))),
        ("round", Arc::new(Int64Array::from_iter_values(numbers.clone().map(|_| round)))),
        ("features", Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists))),
    ];
    let batch = RecordBatch::try_from_iter(columns)?;
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None)?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

fn lost() -> Quarantined {
    Quarantined {
        key: "a b/broken.jpg".into(),
        etag: "e".into(),
        bytes: 5,
        stage: "embed".into(),
        class: "undecodable".into(),
        message: "it is no image".into(),
        source: QuarantineSource::Content,
        attempts: 1,
    }
}
