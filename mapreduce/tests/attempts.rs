//! One attempt at a time, through the one door: orders in, files and verdicts out.

mod toy;

use arrow::ipc::reader::StreamReader;
use mr_core::{
    AttemptId, BlobRef, BroadcastRef, Failure, FailureClass, FileRef, JobId, Object, ObjectsDigest, Order, Params,
    QuarantineSource, TaskId, TaskOutput, Work, sha256_hex,
};
use mr_mapreduce::{Broadcast, Control, Host, HostSettings, RunReader, RunWriter, execute, recompute};
use mr_storage::{Directory, GetOptions, Put, Store};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tempfile::TempDir;
use toy::World;

/// An input, a state store and a host, in folders of their own.
struct Place {
    folder: TempDir,
    world: Arc<World>,
    host: Host,
}

impl Place {
    fn new() -> Self {
        Self::with_slots(2)
    }

    fn with_slots(slots: u32) -> Self {
        let (folder, world) = (tempfile::tempdir().unwrap(), Arc::new(World::default()));
        fs::create_dir(folder.path().join("input")).unwrap();
        let host = host(&world, slots, folder.path());
        Self { folder, world, host }
    }

    fn url(&self, name: &str) -> String {
        format!("file://{}/{name}/", self.folder.path().display())
    }

    fn store(&self, name: &str) -> Directory {
        Directory::open(&self.folder.path().join(name)).unwrap()
    }

    fn write(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            fs::write(self.folder.path().join("input").join(name), text).unwrap();
        }
    }

    async fn listed(&self) -> Vec<Object> {
        self.store("input").list("").await.unwrap()
    }

    fn order(&self, stage: &str, index: u32, work: Work) -> Order {
        let job = JobId::parse("job").unwrap();
        let stages = ["map", "sum", "rows"];
        let position = stages.iter().position(|name| *name == stage).unwrap() as u32;
        // The levels of combining are stages of their own.
        let position = if matches!(work, Work::Combine { .. }) { 7 } else { position };
        Order {
            attempt: AttemptId { task: TaskId { job, stage: position, index }, epoch: 1, number: 1 },
            job: "toy".into(),
            job_version: 1,
            kernel_family: toy::FAMILY.into(),
            params: Params::new(),
            stage: stage.into(),
            input: self.url("input"),
            state: self.url("state"),
            landmark: String::new(),
            broadcasts: Vec::new(),
            footer: BTreeMap::from([("toy.footer".into(), "shapes the data".into())]),
            writes_output: stage == "rows",
            format: Default::default(),
            one_row_per_record: stage != "sum",
            partitions: 1,
            memory_bytes_max: 256 << 20,
            record_seconds_max: 300,
            piece: None,
            work,
        }
    }

    async fn run(&self, order: &Order) -> Result<TaskOutput, Failure> {
        execute(&self.host, order, &Control::default()).await
    }

    async fn map(&self, index: u32, objects: Vec<Object>) -> Result<TaskOutput, Failure> {
        self.run(&self.order("map", index, Work::MapObjects { objects, condemned: Vec::new() })).await
    }

    /// One map task for each object.
    async fn map_each(&self) -> Vec<TaskOutput> {
        let mut outputs = Vec::new();
        for (index, object) in self.listed().await.into_iter().enumerate() {
            outputs.push(self.map(index as u32, vec![object]).await.unwrap());
        }
        outputs
    }

    async fn reduce(&self, runs: Vec<FileRef>, partition: u32) -> Result<TaskOutput, Failure> {
        self.run(&self.order("sum", partition, Work::Reduce { runs, partition })).await
    }

    async fn read(&self, file: &FileRef) -> bytes::Bytes {
        let got = self.store("state").get(&file.key, GetOptions::default()).await.unwrap();
        assert_eq!((got.bytes.len() as u64, crc32fast::hash(&got.bytes)), (file.bytes, file.crc32), "{}", file.key);
        got.bytes
    }

    /// Damages a file of the state store without changing its reference.
    fn damage(&self, file: &FileRef, how: impl FnOnce(&mut Vec<u8>)) {
        let path = self.folder.path().join("state").join(&file.key);
        let mut bytes = fs::read(&path).unwrap();
        how(&mut bytes);
        fs::write(&path, bytes).unwrap();
    }

    async fn kept_names(&self, output: &TaskOutput) -> Vec<String> {
        let bytes = self.read(output.kept.as_ref().unwrap()).await;
        let batches: Vec<_> = StreamReader::try_new(&*bytes, None).unwrap().map(Result::unwrap).collect();
        toy::names(&batches)
    }

    async fn pairs(&self, output: &TaskOutput) -> Vec<(String, String)> {
        let run = RunReader::open(self.read(output.run.as_ref().unwrap()).await).unwrap();
        assert_eq!(run.partitions(), 1);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        run.partition(0).unwrap().iter().map(|pair| (text(&pair.key), text(&pair.value))).collect()
    }

    async fn side_text(&self, output: &TaskOutput) -> String {
        assert_eq!(output.side.len(), 1);
        assert_eq!(output.side[0].0, "words.txt");
        String::from_utf8(self.read(&output.side[0].1).await.to_vec()).unwrap()
    }
}

fn host(world: &Arc<World>, slots: u32, folder: &Path) -> Host {
    let settings =
        HostSettings { slots, scratch: folder.join("scratch"), decode_budget_bytes: 1 << 20, work_outlives: true };
    Host::new(toy::registry(world), settings)
}

fn runs(outputs: &[TaskOutput]) -> Vec<FileRef> {
    outputs.iter().map(|output| output.run.clone().unwrap()).collect()
}

fn kept(outputs: &[TaskOutput]) -> Vec<FileRef> {
    outputs.iter().map(|output| output.kept.clone().unwrap()).collect()
}

fn digest(objects: &[Object]) -> Option<String> {
    let mut digest = ObjectsDigest::default();
    objects.iter().for_each(|object| digest.add(object));
    Some(digest.finish())
}

#[tokio::test]
async fn a_map_keeps_rows_in_order_and_emits_a_sorted_run() {
    let place = Place::new();
    place.write(&[("b.txt", "pear tree"), ("a.txt", "apple"), ("c.txt", "fig fig fig")]);
    let output = place.map(0, place.listed().await).await.unwrap();
    assert_eq!((output.records, output.rows), (3, 3));
    assert_eq!((&output.quarantined, &output.part, &output.broadcast, output.side.len()), (&vec![], &None, &None, 0));
    assert_eq!(place.kept_names(&output).await, ["a.txt", "b.txt", "c.txt"]);
    // The values of one key are combined, in the order in which they were emitted.
    assert_eq!(place.pairs(&output).await, [("words".to_owned(), "apple pear fig ".to_owned())]);
    assert_eq!(output.mapped_sha256, digest(&place.listed().await));
}

#[tokio::test]
async fn what_the_job_refuses_is_quarantined_and_the_rest_goes_on() {
    let place = Place::new();
    place.write(&[("a.txt", "bad"), ("b.txt", "good")]);
    let objects = place.listed().await;
    let control = Control::default();
    let order = place.order("map", 0, Work::MapObjects { objects: objects.clone(), condemned: Vec::new() });
    let output = execute(&place.host, &order, &control).await.unwrap();
    assert_eq!((output.records, output.rows), (2, 1));
    let verdict = &output.quarantined[0];
    let of = (&verdict.key, &verdict.etag, verdict.bytes);
    assert_eq!(of, (&objects[0].key, &objects[0].etag, objects[0].bytes));
    assert_eq!((&*verdict.stage, &*verdict.class, &*verdict.message), ("map", "bad", "a.txt is no good"));
    assert_eq!((verdict.source, verdict.attempts), (QuarantineSource::Content, 1));
    assert_eq!(output.mapped_sha256, digest(&objects[1..]));
    assert_eq!(control.progress.records.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_is_not_the_object_that_was_listed_is_a_verdict_by_its_cause() {
    let place = Place::new();
    let large = "x".repeat(toy::OBJECT_BYTES_MAX as usize + 1);
    place.write(&[("changed.txt", "one"), ("gone.txt", "two"), ("large.txt", &large), ("ok.txt", "three")]);
    let objects = place.listed().await;
    place.write(&[("changed.txt", "one and more")]);
    fs::remove_file(place.folder.path().join("input/gone.txt")).unwrap();
    let output = place.map(0, objects).await.unwrap();
    let verdicts: Vec<_> = output.quarantined.iter().map(|q| (&*q.key, &*q.class, q.source)).collect();
    let expected = [
        ("changed.txt", "changed", QuarantineSource::Environment),
        ("gone.txt", "missing", QuarantineSource::Environment),
        ("large.txt", "too-large", QuarantineSource::Content),
    ];
    assert_eq!(verdicts, expected);
    assert_eq!((output.records, output.rows), (4, 1));
}

/// It may be mounted elsewhere and not here, or it is gone: either says nothing of one object.
#[tokio::test]
async fn a_worker_that_does_not_see_the_input_says_so_and_condemns_no_object() {
    for is_there in [true, false] {
        let place = Place::new();
        place.write(&[("a.txt", "one")]);
        let objects = place.listed().await;
        let input = place.folder.path().join("input");
        fs::remove_dir_all(&input).unwrap();
        if is_there {
            fs::create_dir(&input).unwrap();
        }
        let failure = place.map(0, objects).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Transient, "{failure}");
        assert!(failure.message.contains("is it mounted here?") && failure.blames.is_none(), "{failure}");
    }
}

#[tokio::test]
async fn a_record_gives_one_row_or_the_attempt_fails() {
    for text in ["twice", "none"] {
        let place = Place::new();
        place.write(&[("a.txt", text), ("b.txt", "bad")]);
        let failure = place.map(0, place.listed().await).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Application, "{failure}");
        assert!(failure.message.starts_with("2 records gave "), "{failure}");
    }
}

#[tokio::test]
async fn a_panic_in_the_jobs_code_is_the_applications_failure_and_costs_no_slot() {
    let place = Place::with_slots(1);
    place.write(&[("a.txt", "panic"), ("b.txt", "fine")]);
    let objects = place.listed().await;
    for _ in 0..3 {
        let failure = place.map(0, objects[..1].to_vec()).await.unwrap_err();
        let story = "the job's code panicked: a.txt made it panic";
        assert_eq!((failure.class, &*failure.message), (FailureClass::Application, &*format!("a.txt: {story}")));
        let blamed = failure.blames.expect("it is known which record it was");
        assert_eq!((&*blamed.key, &*blamed.class, &*blamed.message), ("a.txt", "panicked", story));
        assert_eq!((&blamed.etag, blamed.source), (&objects[0].etag, QuarantineSource::Environment));
    }
    assert!(place.map(1, objects[1..].to_vec()).await.is_ok());
}

#[tokio::test]
async fn a_condemned_record_is_left_out_with_its_verdict_and_a_probe_shows_nothing() {
    let place = Place::new();
    place.write(&[("a.txt", "fine"), ("b.txt", "panic"), ("c.txt", "fine")]);
    let objects = place.listed().await;
    let blamed = place.map(0, objects.clone()).await.unwrap_err().blames.expect("it says which record it was");
    let probe = place.order("map", 0, Work::Probe { objects: objects[..1].to_vec() });
    let shown = place.run(&probe).await.unwrap();
    assert_eq!(shown, TaskOutput { probed: true, ..TaskOutput::default() });
    let probe = place.order("map", 0, Work::Probe { objects: objects.clone() });
    assert!(place.run(&probe).await.is_err());

    let order = place.order("map", 0, Work::MapObjects { objects: objects.clone(), condemned: vec![*blamed.clone()] });
    let output = place.run(&order).await.unwrap();
    assert_eq!((output.records, output.rows, output.quarantined), (3, 2, vec![*blamed]));
    let mut digest = ObjectsDigest::default();
    [&objects[0], &objects[2]].into_iter().for_each(|object| digest.add(object));
    assert_eq!(output.mapped_sha256, Some(digest.finish()));
}

#[tokio::test]
async fn failures_of_the_jobs_code_keep_their_class() {
    let place = Place::new();
    place.write(&[("a.txt", "fail"), ("b.txt", "permanent")]);
    let objects = place.listed().await;
    let classes = [FailureClass::Application, FailureClass::Permanent];
    for (object, class) in objects.into_iter().zip(classes) {
        assert_eq!(place.map(0, vec![object]).await.unwrap_err().class, class);
    }
}

#[tokio::test]
async fn a_cancelled_attempt_ends_at_once_and_its_slot_with_the_record() {
    let place = Place::with_slots(1);
    place.write(&[("a.txt", "wait"), ("b.txt", "never read")]);
    let objects = place.listed().await;
    let control = Control::default();
    let order = place.order("map", 0, Work::MapObjects { objects: objects.clone(), condemned: Vec::new() });
    let attempt = execute(&place.host, &order, &control);
    let stop = async {
        while place.world.at_gate.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        control.cancel.cancel();
    };
    let bound = Duration::from_secs(10);
    let (ended, ()) = tokio::time::timeout(bound, async { tokio::join!(attempt, stop) }).await.unwrap();
    assert_eq!(ended.unwrap_err().class, FailureClass::Cancelled);
    // The job's code can't be cut short: the slot is free when its record is done, and the next record is not begun.
    let next = place.map(1, objects[1..].to_vec());
    tokio::pin!(next);
    assert!(tokio::time::timeout(Duration::from_millis(30), &mut next).await.is_err());
    place.world.open_gate();
    assert!(tokio::time::timeout(bound, next).await.unwrap().is_ok());
    assert_eq!(control.progress.records.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_order_for_other_code_is_refused_for_good() {
    let place = Place::new();
    let order = place.order("map", 0, Work::MapObjects { objects: Vec::new(), condemned: Vec::new() });
    let unknown = Order { job: "other".into(), ..order.clone() };
    let failure = place.run(&unknown).await.unwrap_err();
    assert_eq!(failure, Failure::permanent("this worker knows no job `other`; it knows toy"));
    let newer = Order { job_version: 2, ..order };
    let failure = place.run(&newer).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Permanent);
    assert!(failure.message.contains("version 2") && failure.message.contains("version 1"), "{failure}");
    let other = Order {
        kernel_family: "abacus".into(),
        ..place.order("map", 0, Work::MapObjects { objects: Vec::new(), condemned: Vec::new() })
    };
    let failure = place.run(&other).await.unwrap_err();
    let wanted = "the order is for kernels of family `abacus`, and this worker has toy-kernels, none";
    assert_eq!(failure, Failure::permanent(wanted));
}

impl Place {
    /// The order with a broadcast, whose blob is put into the state store as `stored`.
    async fn with_broadcast(&self, order: Order, content: &'static [u8], stored: &'static [u8]) -> Order {
        let blob = BlobRef::shared(sha256_hex(content), content.len() as u64);
        self.store("state").put(&blob.key, bytes::Bytes::from_static(stored), Put::Overwrite).await.unwrap();
        Order { broadcasts: vec![BroadcastRef { name: "sum".into(), blob }], ..order }
    }

    fn drop_blobs(&self) {
        fs::remove_dir_all(self.folder.path().join("state/blobs")).unwrap();
    }
}

#[tokio::test]
async fn a_broadcast_with_another_hash_fails_for_good_and_names_both() {
    let place = Place::new();
    let order = place.order("rows", 0, Work::MapKept { rows: Vec::new() });
    let order = place.with_broadcast(order, b"right", b"wrong").await;
    let failure = place.run(&order).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Permanent);
    for hash in [sha256_hex(b"right"), sha256_hex(b"wrong")] {
        assert!(failure.message.contains(&hash), "{failure}");
    }
}

#[tokio::test]
async fn code_and_its_broadcasts_are_made_once_for_all_slots_and_found_again_by_the_next_process() {
    let place = Place::with_slots(4);
    let order = place.order("rows", 0, Work::MapKept { rows: Vec::new() });
    let order = place.with_broadcast(order, b"dictionary", b"dictionary").await;
    let all = futures::future::join_all((0..8).map(|_| place.run(&order))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(place.world.stages_opened.load(Ordering::SeqCst), 1);

    place.drop_blobs();
    let other_job = |order: &Order| {
        let mut order = order.clone();
        order.attempt.task.job = JobId::parse("another").unwrap();
        order
    };
    place.run(&other_job(&order)).await.unwrap();
    let next = host(&place.world, 1, place.folder.path());
    execute(&next, &order, &Control::default()).await.unwrap();
    assert_eq!(place.world.stages_opened.load(Ordering::SeqCst), 3);

    // A damaged copy is noticed, and serves nobody.
    let copy = place.folder.path().join("scratch/broadcasts").join(&order.broadcasts[0].blob.sha256);
    fs::write(&copy, "dictionarx").unwrap();
    let next = host(&place.world, 1, place.folder.path());
    assert!(execute(&next, &order, &Control::default()).await.is_err(), "there is no other copy");
    let order = place.with_broadcast(order, b"dictionary", b"dictionary").await;
    execute(&next, &order, &Control::default()).await.unwrap();
    assert_eq!(fs::read(&copy).unwrap(), b"dictionary");
}

#[tokio::test]
async fn idle_hosts_let_code_go() {
    let place = Place::new();
    let order = place.order("map", 0, Work::MapObjects { objects: Vec::new(), condemned: Vec::new() });
    place.run(&order).await.unwrap();
    place.host.rest(Duration::from_secs(60));
    place.run(&order).await.unwrap();
    assert_eq!(place.world.stages_opened.load(Ordering::SeqCst), 1);
    place.host.rest(Duration::ZERO);
    place.run(&order).await.unwrap();
    assert_eq!(place.world.stages_opened.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_reduce_sees_values_in_task_order_whatever_the_shape_of_the_tree() {
    let place = Place::new();
    let words = ["ape", "bee", "cat", "dog", "elk", "fox", "gnu"];
    for (index, word) in words.iter().enumerate() {
        place.write(&[(&format!("{index}.txt"), word)]);
    }
    let maps = place.map_each().await;
    let flat = place.reduce(runs(&maps), 0).await.unwrap();
    assert_eq!(place.side_text(&flat).await, "ape bee cat dog elk fox gnu ");
    assert_eq!(flat.records, 1);
    let broadcast = flat.broadcast.unwrap();
    assert_eq!((broadcast.sha256, broadcast.bytes), (sha256_hex(b"ape bee cat dog elk fox gnu "), 28));

    for fan_in in [2, 3, 5] {
        let mut level = runs(&maps);
        while level.len() > 1 {
            let mut combined = Vec::new();
            for (index, group) in level.chunks(fan_in).enumerate() {
                let order = place.order("sum", index as u32, Work::Combine { runs: group.to_vec() });
                let output = place.run(&order).await.unwrap();
                assert_eq!(output.records, group.len() as u64);
                combined.push(output);
            }
            level = runs(&combined);
        }
        let tree = place.reduce(level, 0).await.unwrap();
        assert_eq!(place.side_text(&tree).await, "ape bee cat dog elk fox gnu ", "fan-in {fan_in}");
    }
}

#[tokio::test]
async fn a_reduce_without_runs_has_nothing_to_reduce() {
    let place = Place::new();
    let output = place.reduce(Vec::new(), 0).await.unwrap();
    assert_eq!((output.records, output.rows, output.side.len(), output.broadcast), (0, 0, 0, None));
}

#[tokio::test]
async fn a_side_file_that_would_lie_outside_fails_for_good() {
    let place = Place::new();
    place.write(&[("a.txt", "sidestep")]);
    let maps = place.map_each().await;
    let failure = place.reduce(runs(&maps), 0).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Permanent);
    assert!(failure.message.contains("../outside.txt"), "{failure}");
}

#[tokio::test]
async fn the_result_has_all_rows_in_order_and_a_footer_of_the_plan_and_the_kernels_alone() {
    let place = Place::new();
    place.write(&[("a.txt", "ape"), ("b.txt", "bee"), ("c.txt", "bad"), ("d.txt", "dog dog")]);
    let maps = place.map_each().await;
    let order =
        place.order("rows", 0, Work::MapKept { rows: kept(&maps[..2]).into_iter().chain(kept(&maps[3..])).collect() });
    let order = place.with_broadcast(order, b"ape bee dog ", b"ape bee dog ").await;
    let output = place.run(&order).await.unwrap();
    assert_eq!((output.records, output.rows, &output.kept, &output.run), (3, 3, &None, &None));

    let part = place.read(output.part.as_ref().unwrap()).await;
    let reader = ParquetRecordBatchReaderBuilder::try_new(part).unwrap();
    let footer = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let mut footer: Vec<_> = footer.iter().map(|entry| (&*entry.key, entry.value.as_deref())).collect();
    footer.sort_unstable();
    assert_eq!(footer, [("mr.kernel_family", Some(toy::FAMILY)), ("toy.footer", Some("shapes the data"))]);
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    assert_eq!(toy::names(&batches), ["a.txt", "b.txt", "d.txt"]);
}

#[tokio::test]
async fn all_files_have_the_same_bytes_whatever_the_number_of_slots() {
    let mut first: Option<BTreeMap<String, Vec<u8>>> = None;
    for slots in [1, 2, 5] {
        let place = Place::with_slots(slots);
        for index in 0..20 {
            place.write(&[(&format!("{index:02}.txt"), if index % 7 == 3 { "bad" } else { "some words" })]);
        }
        // The same input for all, since rows say where they come from.
        let objects = place.listed().await;
        let orders: Vec<_> = objects
            .chunks(3)
            .enumerate()
            .map(|(index, split)| {
                place.order("map", index as u32, Work::MapObjects { objects: split.to_vec(), condemned: Vec::new() })
            })
            .collect();
        let maps = futures::future::join_all(orders.iter().map(|order| place.run(order))).await;
        let maps: Vec<_> = maps.into_iter().map(Result::unwrap).collect();
        place.reduce(runs(&maps), 0).await.unwrap();
        let folder = place.folder.path().display().to_string();
        let mut files = BTreeMap::new();
        for object in place.store("state").list("work/").await.unwrap() {
            let bytes = fs::read(place.folder.path().join("state").join(&object.key)).unwrap();
            files.insert(object.key, replace(&bytes, folder.as_bytes(), b"?"));
        }
        assert_eq!(files.len(), 7 * 2 + 2);
        assert_eq!(*first.get_or_insert_with(|| files.clone()), files, "{slots} slots");
    }
}

/// The folders' names are equally long, so that nothing else moves.
fn replace(bytes: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        match rest.strip_prefix(what) {
            Some(behind) => {
                replaced.extend_from_slice(by);
                rest = behind;
            }
            None => {
                replaced.push(rest[0]);
                rest = &rest[1..];
            }
        }
    }
    replaced
}

#[tokio::test]
async fn damaged_files_of_our_own_are_lost_and_left_where_they_are() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 3] = [
        ("cut short", |bytes| bytes.truncate(bytes.len() / 2)),
        ("one bit", |bytes| *bytes.last_mut().unwrap() ^= 1),
        ("longer", |bytes| bytes.push(0)),
    ];
    for (what, damage) in damages {
        let place = Place::new();
        place.write(&[("a.txt", "ape"), ("b.txt", "bee")]);
        let maps = place.map_each().await;
        place.damage(&kept(&maps)[1], damage);
        place.damage(&runs(&maps)[0], damage);
        let rows = place.order("rows", 0, Work::MapKept { rows: kept(&maps) });
        let rows = place.with_broadcast(rows, b"x", b"x").await;
        let combine = place.order("sum", 0, Work::Combine { runs: runs(&maps) });
        let reduce = place.order("sum", 0, Work::Reduce { runs: runs(&maps), partition: 0 });
        let (kept_key, run_key) = (&kept(&maps)[1].key, &runs(&maps)[0].key);
        for (order, key) in [(rows, kept_key), (combine, run_key), (reduce, run_key)] {
            let failure = place.run(&order).await.unwrap_err();
            assert_eq!(failure.class, FailureClass::Application, "{what}: {failure}");
            assert!(failure.message.contains(key), "{what}: {failure}");
            assert_eq!(failure.lost, std::slice::from_ref(key), "{what}: {failure}");
        }
        for damaged in [&kept(&maps)[1], &runs(&maps)[0]] {
            assert!(
                place.store("state").head(&damaged.key).await.is_ok(),
                "{what}: it may be this host that damages it"
            );
        }
    }
}

const LARGE: usize = 300_000;

/// Letters from this one on, which can't be packed to much less.
fn letters(first: u8, count: usize) -> Vec<u8> {
    let mut random = u32::from(first);
    let mut letter = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        first + (random >> 28) as u8
    };
    (0..count).map(|_| letter()).collect()
}

/// A run of three partitions, too large to be read whole for one of them.
async fn large_run(place: &Place) -> FileRef {
    let mut run = RunWriter::new(Vec::new()).unwrap();
    for partition in [0, 2u8] {
        run.push(partition.into(), b"words", &letters(b'a' + partition, LARGE)).unwrap();
    }
    let bytes: bytes::Bytes = run.finish(3).unwrap().0.into();
    assert!(bytes.len() > 256 << 10, "it is read whole");
    let file = FileRef { key: "work/large.run".into(), bytes: bytes.len() as u64, crc32: crc32fast::hash(&bytes) };
    place.store("state").put(&file.key, bytes, Put::Overwrite).await.unwrap();
    file
}

#[tokio::test]
async fn a_reduce_reads_its_own_partition_and_no_other() {
    let place = Place::new();
    let file = large_run(&place).await;
    for (partition, letter) in [(0, Some("a")), (1, None), (2, Some("c"))] {
        let output = place.reduce(vec![file.clone()], partition).await.unwrap();
        match letter {
            Some(first) => {
                let text = place.side_text(&output).await;
                let letters = text.as_bytes().iter();
                assert_eq!((text.len(), letters.min()), (LARGE, first.as_bytes().first()));
            }
            None => assert_eq!(output.records, 0),
        }
    }
    // Damage to one partition is nothing to the others.
    place.damage(&file, |bytes| bytes[1000] ^= 1);
    let is_lost = async |partition| {
        let failure = place.reduce(vec![file.clone()], partition).await.unwrap_err();
        assert_eq!(failure.lost, std::slice::from_ref(&file.key), "{failure}");
        failure.message
    };
    assert!(is_lost(0).await.contains("is damaged"));
    assert!(place.reduce(vec![file.clone()], 2).await.is_ok());
    for partition in 0..3 {
        let file = large_run(&place).await;
        place.damage(&file, |bytes| bytes.truncate(300_000));
        assert!(is_lost(partition).await.contains("is damaged"));
    }
}

#[tokio::test]
async fn all_that_is_gone_is_told_at_once() {
    let place = Place::new();
    place.write(&[("a.txt", "ape"), ("b.txt", "bee"), ("c.txt", "cat"), ("d.txt", "dog")]);
    let runs = runs(&place.map_each().await);
    place.store("state").delete(&runs[1].key).await.unwrap();
    place.damage(&runs[3], |bytes| bytes.truncate(3));
    let keys = [&*runs[1].key, &*runs[3].key];
    let failure = place.reduce(runs.clone(), 0).await.unwrap_err();
    assert_eq!(failure.lost, keys, "{failure}");
    assert!(failure.message.contains("is gone"), "{failure}");
}

#[tokio::test]
async fn a_broadcast_that_a_task_made_may_be_lost() {
    let place = Place::new();
    place.write(&[("a.txt", "ape")]);
    let rows = place.order("rows", 0, Work::MapKept { rows: kept(&place.map_each().await) });
    let rows = place.with_broadcast(rows, b"sum", b"sum").await;
    let mut rows = rows;
    rows.broadcasts[0].blob.key = "work/job/1/broadcast".into();
    let failure = place.run(&rows).await.unwrap_err();
    assert_eq!(failure.lost, ["work/job/1/broadcast"], "{failure}");
    place.store("state").put("work/job/1/broadcast", "sun".into(), Put::Overwrite).await.unwrap();
    let failure = place.run(&rows).await.unwrap_err();
    assert!(failure.message.contains("SHA-256") && failure.lost == ["work/job/1/broadcast"], "{failure}");
}

/// A task that is done again may come to something else.
#[tokio::test]
async fn a_stage_is_given_the_broadcast_that_its_order_names_and_not_one_from_before() {
    let place = Place::new();
    place.write(&[("a.txt", "ape")]);
    let rows = kept(&place.map_each().await);
    let mut parts = Vec::new();
    for content in [&b"four"[..], b"sixsix", b"four"] {
        let order = place.order("rows", 0, Work::MapKept { rows: rows.clone() });
        let order = place.with_broadcast(order, content, content).await;
        parts.push(place.run(&order).await.unwrap().part.unwrap().crc32);
    }
    assert!(parts[0] == parts[2] && parts[0] != parts[1], "{parts:?}");
}

/// What it does not find may be there all the same.
#[tokio::test]
async fn a_worker_that_looks_at_another_state_than_its_coordinator_says_so_and_misses_nothing() {
    let place = Place::new();
    place.write(&[("a.txt", "ape")]);
    let mapped = place.map_each().await;
    let state = place.store("state");
    let order = |landmark: &str| Order {
        landmark: landmark.into(),
        ..place.order("sum", 0, Work::Reduce { runs: runs(&mapped), partition: 0 })
    };
    let elsewhere = async |order: &Order| {
        let failure = place.run(order).await.unwrap_err();
        assert!(failure.message.contains("is that folder mounted here?") && failure.lost.is_empty(), "{failure}");
        assert_eq!(failure.class, FailureClass::Transient, "{failure}");
    };
    elsewhere(&order("leader")).await;
    state.put("leader", "me".into(), Put::Overwrite).await.unwrap();
    assert!(place.run(&order("leader")).await.is_ok());
    // It was there once, and is not looked for again until something else is missing.
    state.delete("leader").await.unwrap();
    assert!(place.run(&order("leader")).await.is_ok());
    state.delete(&runs(&mapped)[0].key).await.unwrap();
    elsewhere(&order("leader")).await;
}

#[tokio::test]
async fn the_index_of_many_partitions_is_read_in_full() {
    let place = Place::new();
    let mut run = RunWriter::new(Vec::new()).unwrap();
    for partition in 0..1000u32 {
        let value = [format!("{partition:04} ").as_bytes(), &letters(partition as u8 % 64, 400)].concat();
        run.push(partition, b"words", &value).unwrap();
    }
    let bytes: bytes::Bytes = run.finish(1000).unwrap().0.into();
    assert!(bytes.len() > 256 << 10, "it is read whole");
    let file = FileRef { key: "work/many.run".into(), bytes: bytes.len() as u64, crc32: crc32fast::hash(&bytes) };
    place.store("state").put(&file.key, bytes, Put::Overwrite).await.unwrap();
    for partition in [0, 500, 999] {
        let output = place.reduce(vec![file.clone()], partition).await.unwrap();
        assert!(place.side_text(&output).await.starts_with(&format!("{partition:04}")));
    }
    let none = place.reduce(vec![file], 1000).await.unwrap_err();
    assert!(none.class == FailureClass::Permanent && none.lost.is_empty(), "{none}");
}

#[tokio::test]
async fn rows_are_computed_again_as_the_job_made_them_and_nothing_is_left() {
    let place = Place::new();
    place.write(&[("a.txt", "one"), ("b.txt", "two 2"), ("bad.txt", "bad"), ("c.txt", "three 3 3")]);
    let mapped = place.map_each().await;
    let sum = place.reduce(runs(&mapped), 0).await.unwrap().broadcast.unwrap();
    let words = place.store("state").get(&sum.key, GetOptions::default()).await.unwrap().bytes;
    let rows = mapped.iter().filter_map(|output| output.kept.clone()).collect();
    let order = place.order("rows", 0, Work::MapKept { rows });
    let order = Order { broadcasts: vec![BroadcastRef { name: "sum".into(), blob: sum.clone() }], ..order };
    let part = place.read(&place.run(&order).await.unwrap().part.unwrap()).await;
    let rows = |file| {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let batches: Vec<_> = reader.map(Result::unwrap).collect();
        arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
    };
    let before = fs::read_dir(place.folder.path()).unwrap().count();

    let plan = toy::plan(&place.url("input"), &place.url("output"), toy::Wanted::default());
    let broadcast = Broadcast { name: "sum".into(), blob: sum, bytes: words };
    let again = async |names: &[&str], broadcasts: &[Broadcast]| {
        let listed = place.listed().await;
        let of = |name: &&str| listed.iter().find(|object| object.key == *name).unwrap().clone();
        let objects: Vec<_> = names.iter().map(of).collect();
        recompute(&place.host, &plan, toy::FAMILY, broadcasts, &objects).await
    };
    let all = again(&["a.txt", "b.txt", "bad.txt", "c.txt"], std::slice::from_ref(&broadcast)).await.unwrap();
    assert_eq!(rows(all.parts[0].clone()), rows(part.clone()));
    assert_eq!((all.parts.len(), &*all.quarantined[0].key), (1, "bad.txt"));
    let some = again(&["c.txt"], std::slice::from_ref(&broadcast)).await.unwrap();
    assert_eq!(rows(some.parts[0].clone()), rows(part).slice(2, 1));
    let without = again(&["c.txt"], &[]).await.unwrap_err();
    assert!(without.message.contains("was given no broadcast `sum`"), "{without}");
    assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), before);
}
