//! Every job that ships, and one of several stages: the files that the program writes are those of one thread, byte for byte.

use arrow::array::RecordBatch;
use bytes::Bytes;
use mr_mapreduce::{Broadcast, Content, Job, Oracle};
use mr_tests::{Output, Running, Scratch, Submit, assert_same_bytes, drawn, program, submit, tree};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What the report says was done, done again in one thread.
#[track_caller]
fn assert_told(scratch: &Scratch, output: &Output) {
    let registry = mr_jobs::registry().expect("nothing is said of kernels");
    let spec = &output.report.settings;
    let job: &dyn Job = registry.find(&spec.job).expect("it ships").as_ref();
    let path = |url: &str| PathBuf::from(url.strip_prefix("file://").expect("everything is on this machine"));
    let sources = job.broadcasts(&spec.params).expect("they are those of a job that was run");
    let broadcasts: Vec<_> = sources
        .into_iter()
        .map(|source| {
            let bytes = match source.content {
                Content::BuiltIn(bytes) => Bytes::from_static(bytes),
                Content::Url(url) | Content::Beside(url) => std::fs::read(path(&url)).expect("it is there").into(),
            };
            let blob = mr_core::BlobRef::shared(mr_core::sha256_hex(&bytes), bytes.len() as u64);
            Broadcast { name: source.name, blob, bytes }
        })
        .collect();
    let plan = job.plan(spec, &broadcasts).expect("it was planned before");
    let oracle = Oracle {
        job,
        plan: &plan,
        broadcasts: &broadcasts,
        kernel_family: &output.report.kernel_family,
        scratch: &scratch.join("oracle"),
    };
    let objects: Vec<_> = tree(&path(&spec.input)).into_iter().map(|(key, bytes)| (key, bytes.into())).collect();
    let told = oracle.run(&objects).expect("it was run before");
    let files = oracle.files(&told).expect("they were written before").into_iter().zip(&told.parts);
    // A table has no part without a row.
    let has_rows = |part: &[RecordBatch]| part.iter().any(|batch| batch.num_rows() > 0);
    let files: Vec<_> = files.filter(|(_, part)| has_rows(part)).filter_map(|(file, _)| file).collect();
    let written: Vec<Bytes> =
        output.parts.iter().map(|part| std::fs::read(part).expect("it is there").into()).collect();
    assert_eq!(files.len(), written.len(), "{}", spec.job);
    for (number, (told, written)) in files.iter().zip(&written).enumerate() {
        let at = told.iter().zip(written).position(|(told, written)| told != written);
        let (lengths, job) = ((told.len(), written.len()), &spec.job);
        assert!(told == written, "{job}: part {number} of {lengths:?} bytes differs first at {at:?}");
    }
    for (path, bytes) in &told.side {
        let written = std::fs::read(output.folder.join(format!("_{path}"))).expect("a file beside the result");
        assert!(written == bytes[..], "{}: {path} differs", spec.job);
    }
    assert_eq!(told.counters, output.report.counters, "{}", spec.job);
    assert_eq!(told.set_aside.len() as u64, output.report.books.quarantined, "{}", spec.job);
}

fn job<'a>(scratch: &'a Scratch, name: &str, input: &Path, params: &str) -> Submit<'a> {
    let file = format!("{name}.toml");
    scratch.write(&file, format!("job = \"{name}\"\n{params}"));
    Submit::of(scratch, &file, input, &format!("{name}-result")).set("limits.quarantine_share_max=0.5").slots(2)
}

/// Lines of words, some files of which are cut.
fn texts(scratch: &Scratch) -> PathBuf {
    for file in 0..7u32 {
        let lines = (0..file * 50).map(|n| format!("w{} Öl  w{}\n", n * n % 97, (n + file) % 11));
        scratch.write(&format!("texts/{file}.txt"), lines.collect::<String>());
    }
    scratch.write("texts/broken.gz", "no archive");
    scratch.join("texts")
}

#[test]
fn jobs_over_text_come_to_what_one_thread_comes_to() {
    let scratch = Scratch::enter("oracle: text");
    let texts = texts(&scratch);
    for (name, params) in [
        ("word-count", "[params]\npartitions = 3\n"),
        ("inverted-index", "[params]\npartitions = 2\n"),
        ("grep", "[params]\npattern = \"w1[0-9]\"\n"),
    ] {
        let output = job(&scratch, name, &texts, params).set("split.bytes_max=1500").done();
        assert_eq!(output.report.books.quarantined, 1, "{name}");
        assert_told(&scratch, &output);
    }
    for format in ["text", "json"] {
        let again = format!("mode = \"overwrite\"\noutput_format = \"{format}\"\n");
        scratch.write("again.toml", format!("job = \"word-count\"\n{again}[limits]\nquarantine_share_max = 0.5\n"));
        assert_told(&scratch, &Submit::of(&scratch, "again.toml", &texts, &format!("words-{format}")).done());
    }
    let streamed = "[map]\ncommand = [\"sh\", \"-c\", \"tr -s ' ' '\\\\n' | sed 's/$/\\\\t1/'\"]\n\
                    [reduce]\ncommand = [\"sort\", \"-r\"]\n[params]\npartitions = 2\n";
    std::fs::remove_file(texts.join("broken.gz")).expect("it was written");
    assert_told(&scratch, &job(&scratch, "stream", &texts, streamed).set("split.objects_max=2").done());
}

#[test]
fn a_sort_comes_to_what_one_thread_comes_to() {
    let scratch = Scratch::enter("oracle: records");
    let mut generate = Command::new(program("mr-records"));
    generate.current_dir(scratch.path()).args(["generate", "20000", "3", "records"]);
    Running::start(generate, &scratch).wait(Duration::from_secs(60)).done();
    let sorted = job(&scratch, "tera-sort", Path::new("records"), "[params]\npartitions = 4\n");
    assert_told(&scratch, &sorted.set("split.bytes_max=300kB").done());
}

#[test]
fn jobs_over_photos_come_to_what_one_thread_comes_to() {
    let scratch = Scratch::enter("oracle: photos");
    let photos = drawn(&scratch, "photos", 40, 3).canonicalize().expect("it is there");
    scratch.write("photos/copy/no.jpg", "no photo");
    for (name, params) in [
        ("image-features", "[params]\ncomponents = 3\n"),
        ("image-dedup", "[params]\ndistance = 7\n"),
        ("label-stats", "[params]\npartitions = 2\n"),
    ] {
        assert_told(&scratch, &job(&scratch, name, &photos, params).set("split.objects_max=7").done());
    }
}

#[test]
fn a_pipeline_comes_to_the_same_when_a_worker_dies_of_it() {
    let scratch = Scratch::enter("oracle: a pipeline");
    let texts = texts(&scratch);
    scratch.write(
        "scores.toml",
        "job = \"tf-idf\"\n[params]\npartitions = 3\nextensions = [\"txt\"]\n[split]\nbytes_max = 300\n",
    );
    let start = |args: &[&str]| {
        let mut command = Command::new(program("tf-idf"));
        command.current_dir(scratch.path()).env("HOME", scratch.path()).args(args);
        Running::start(command, &scratch)
    };
    let job = ["scores.toml", "--input", texts.to_str().expect("it is UTF-8"), "--output"];
    start(&[&job[..], &["here"]].concat()).wait(Duration::from_secs(120)).done();
    let mut coordinator = start(&["coordinator", "--listen", "127.0.0.1:0", "--state", "state", "--lease-ms", "1000"]);
    let url = coordinator.first_line();
    let worker = |scratch| start(&["worker", "--coordinator", &url, "--slots", "1", "--scratch", scratch]);
    let (dies, lives) = (worker("one"), worker("other"));
    let mut submitter = start(&[&job[..], &["there", "--coordinator", &url]].concat());
    submitter.submitted();
    // Wherever it is then.
    let under_way = || tree(&scratch.join("state/work")).len() > 5;
    mr_tests::wait_until("tasks have been done", || under_way().then_some(()));
    dies.kill();
    submitter.wait(Duration::from_secs(120)).done();
    let [here, there] = ["here", "there"].map(|output| Output::open(&scratch.join(output)));
    assert_same_bytes(&here, &there);
    assert_eq!(here.parts.len(), 3);
    // Its column `path` is nobody's address.
    let verified = submit(&scratch, ["verify", "there"]);
    assert_eq!(verified.code(), Some(0), "{verified}");
    lives.terminate();
    coordinator.terminate();
}
