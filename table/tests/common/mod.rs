//! What the tests of this room share: small jobs with their parts, ways to read the result, and a store that can be
//! watched and made to fail at any operation.
#![allow(dead_code, reason = "each test file uses some of it")]

use arrow::array::{ArrayRef, AsArray, Int64Array, ListArray, RecordBatch};
use arrow::datatypes::{Float32Type, Int64Type};
use async_trait::async_trait;
use bytes::Bytes;
use mr_core::{JobId, Mode, Object, OutputFormat};
use mr_storage::{DynStore, GetOptions, Got, Memory, Put, Store, StoreError};
use mr_table::{
    Commit, Committed, Late, OutputState, RunFile, RunSource, Settled, StagedPart, TableError, after_commit, commit,
    inspect, quarantine_parquet,
};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub fn id(text: &str) -> JobId {
    JobId::parse(text).unwrap()
}

pub fn memory() -> DynStore {
    Arc::new(Memory::new())
}

/// Rows `number` with a list beside each, as Parquet.
pub fn parquet(numbers: &[i64]) -> Bytes {
    let lists = numbers.iter().map(|n| Some(vec![Some(*n as f32), Some(0.5)]));
    let columns: [(&str, ArrayRef); 2] = [
        ("number", Arc::new(Int64Array::from(numbers.to_vec()))),
        ("features", Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap().into()
}

pub fn numbers(parquet: Bytes) -> Vec<i64> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap().build().unwrap();
    reader.flat_map(|batch| batch.unwrap()["number"].as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// A job that is done but for its commit.
#[derive(Clone)]
pub struct Job {
    pub id: JobId,
    pub mode: Mode,
    pub format: OutputFormat,
    pub adopt: bool,
    pub staging: DynStore,
    pub parts: Vec<StagedPart>,
    pub rows: Vec<i64>,
    pub run_files: Vec<RunFile>,
}

impl Job {
    /// `parts` are the rows of each part.
    pub async fn new(name: &str, parts: &[&[i64]]) -> Self {
        let staging = memory();
        let mut staged = Vec::new();
        for (index, rows) in parts.iter().enumerate() {
            let bytes = parquet(rows);
            let key = format!("{name}/{index}");
            let crc32 = crc32fast::hash(&bytes);
            let (store, rows) = (staging.clone(), rows.len() as u64);
            let part = StagedPart { store, key, bytes: bytes.len() as u64, rows, crc32 };
            staging.put(&part.key, bytes, Put::Overwrite).await.unwrap();
            staged.push(part);
        }
        let mean = Bytes::from(format!("mean of {name}"));
        let crc32 = crc32fast::hash(&mean);
        staging.put("mean", mean, Put::Overwrite).await.unwrap();
        let report = RunSource::Bytes(Bytes::from(format!("report of {name}")));
        Self {
            id: id(name),
            mode: Mode::Overwrite,
            format: Default::default(),
            adopt: false,
            parts: staged,
            rows: parts.concat(),
            run_files: vec![
                RunFile { path: "report.json".into(), source: report },
                RunFile {
                    path: "quarantine.parquet".into(),
                    source: RunSource::Late(Late(Arc::new(|| quarantine_parquet(&[], "file:///in/").unwrap()))),
                },
                RunFile {
                    path: "pca/mean.npy".into(),
                    source: RunSource::Stored { store: staging.clone(), key: "mean".into(), crc32 },
                },
            ],
            staging,
        }
    }

    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    pub fn adopt(mut self) -> Self {
        self.adopt = true;
        self
    }

    pub async fn commit(&self, output: &DynStore) -> Result<Committed, TableError> {
        let commit_ = Commit {
            job: &self.id,
            output,
            mode: self.mode,
            adopt: self.adopt,
            format: self.format,
            parts: self.parts.clone(),
            schema: None,
            run_files: self.run_files.clone(),
            info: [("input".to_owned(), json!("file:///in/"))].into_iter().collect(),
            now_ms: 1_700_000_000_000,
        };
        commit(commit_).await
    }

    /// Commits and clears up.
    pub async fn run(&self, output: &DynStore) -> Result<Committed, TableError> {
        let committed = self.commit(output).await?;
        after_commit(output).await?;
        Ok(committed)
    }
}

pub async fn settle(output: &DynStore) -> Settled {
    after_commit(output).await.unwrap().expect("it is a table of ours")
}

pub async fn keys(output: &DynStore) -> BTreeSet<String> {
    let listing = match output.list("").await {
        Err(StoreError::NotFound { .. }) => Vec::new(),
        listing => listing.unwrap(),
    };
    listing.into_iter().map(|object| object.key).collect()
}

pub async fn text(output: &DynStore, key: &str) -> String {
    String::from_utf8(output.get(key, GetOptions::default()).await.unwrap().bytes.to_vec()).unwrap()
}

/// The rows as a reader of the log sees them; nothing when there is no table.
pub async fn table_rows(output: &DynStore) -> Option<Vec<i64>> {
    let OutputState::Ours(table) = inspect(output).await.unwrap() else { return None };
    let mut rows = Vec::new();
    for file in &table.files {
        let bytes = output.get(file.key.as_deref().unwrap(), GetOptions::default()).await.unwrap().bytes;
        assert_eq!(bytes.len() as u64, file.bytes);
        let found = numbers(bytes);
        assert_eq!(Some(found.len() as u64), file.rows);
        rows.extend(found);
    }
    Some(rows)
}

/// The rows as `*.parquet` brings them.
pub async fn glob_rows(output: &DynStore) -> Vec<i64> {
    let mut rows = Vec::new();
    for key in keys(output).await.iter().filter(|key| !key.contains('/')) {
        if key.ends_with(".parquet") {
            rows.extend(numbers(output.get(key, GetOptions::default()).await.unwrap().bytes));
        }
    }
    rows
}

/// A folder where nothing is left to do: log and glob say the same, copies are the newest run's, nothing is too much.
pub async fn check_settled(output: &DynStore, newest: &Job, committed: &[&JobId]) {
    assert_eq!(table_rows(output).await.as_ref(), Some(&newest.rows), "by the log");
    assert_eq!(glob_rows(output).await, newest.rows, "by the glob");
    let verified = mr_table::verify(output).await.unwrap();
    assert_eq!(verified.strays, Vec::<String>::new());
    let mut expected: BTreeSet<String> = (0..=verified.version).map(|v| format!("_delta_log/{v:020}.json")).collect();
    let runs = committed.iter().rev().take(mr_table::RUNS_KEPT);
    expected.extend(runs.flat_map(|job| {
        ["job.json", "report.json", "pca/mean.npy", "quarantine.parquet"].map(|path| format!("_runs/{job}/{path}"))
    }));
    let copies = ["_SUCCESS", "_report.json", "_pca/mean.npy", "_quarantine.parquet/quarantine.parquet"];
    expected.extend(copies.map(str::to_owned));
    let count = newest.parts.len();
    expected.extend((0..count).map(|index| mr_table::part_name(index, count, &newest.id, newest.format)));
    assert_eq!(keys(output).await, expected);
    assert_eq!(text(output, "_report.json").await, format!("report of {}", newest.id));
    assert_eq!(text(output, "_pca/mean.npy").await, format!("mean of {}", newest.id));
    assert!(text(output, "_SUCCESS").await.contains(newest.id.as_str()));
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Go,
    /// It does not take place.
    Fail(Kind),
    /// It takes place, and the answer is lost.
    Lose(Kind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Fatal,
    Transient,
}

pub type Watch = Box<dyn Fn(u32) -> Pin<Box<dyn Future<Output = Verdict> + Send>> + Send + Sync>;

/// A store whose every operation is numbered from 0 and asked about.
pub struct Watched {
    inner: DynStore,
    count: AtomicU32,
    watch: Watch,
}

impl Watched {
    pub fn over(inner: DynStore, watch: Watch) -> DynStore {
        Arc::new(Self { inner, count: AtomicU32::new(0), watch })
    }

    /// Dies at operation `n`, which may or may not take place, and is dead from then on.
    pub fn dies_at(inner: DynStore, n: u32, takes_place: bool) -> DynStore {
        Self::over(
            inner,
            Box::new(move |operation| {
                let verdict = match operation.cmp(&n) {
                    std::cmp::Ordering::Less => Verdict::Go,
                    std::cmp::Ordering::Equal if takes_place => Verdict::Lose(Kind::Fatal),
                    _ => Verdict::Fail(Kind::Fatal),
                };
                Box::pin(async move { verdict })
            }),
        )
    }

    async fn ask<T>(&self, act: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        match (self.watch)(self.count.fetch_add(1, Ordering::SeqCst)).await {
            Verdict::Go => act.await,
            Verdict::Fail(kind) => Err(kind.error()),
            Verdict::Lose(kind) => {
                let _ = act.await;
                Err(kind.error())
            }
        }
    }
}

impl Kind {
    fn error(self) -> StoreError {
        let (doing, source) = ("acting".to_owned(), None);
        match self {
            Kind::Fatal => StoreError::Fatal { doing, source },
            Kind::Transient => StoreError::Transient { doing, source },
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({:?})", self.inner)
    }
}

#[async_trait]
impl Store for Watched {
    fn url(&self) -> &str {
        self.inner.url()
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        self.ask(self.inner.list(prefix)).await
    }

    async fn get(&self, key: &str, options: GetOptions) -> Result<Got, StoreError> {
        self.ask(self.inner.get(key, options)).await
    }

    async fn head(&self, key: &str) -> Result<Object, StoreError> {
        self.ask(self.inner.head(key)).await
    }

    async fn put(&self, key: &str, bytes: Bytes, how: Put) -> Result<String, StoreError> {
        self.ask(self.inner.put(key, bytes, how)).await
    }

    async fn sync(&self, keys: &[&str]) -> Result<(), StoreError> {
        self.ask(self.inner.sync(keys)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.ask(self.inner.delete(key)).await
    }
}
