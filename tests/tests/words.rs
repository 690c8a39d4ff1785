//! Jobs over text: the one that ships, and one of a crate of its own, here and on a cluster.

use flate2::Compression;
use flate2::write::GzEncoder;
use mr_tests::{
    Coordinator, Ended, Output, Python, Running, Scratch, Submit, Worker, assert_same_bytes, program, submit,
};
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Some hundred words in a few thousand lines, in plain files and packed ones, beside one that is not asked for. The same every
/// time.
fn texts(scratch: &Scratch) -> PathBuf {
    let mut state = 7u64;
    let mut next = move |below: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % below
    };
    for file in 0..12 {
        let mut text = String::new();
        for _ in 0..next(400) {
            for _ in 0..next(9) {
                let letters = 1 + next(3);
                let word: String =
                    (0..letters).map(|_| ['a', 'B', 'b', 'ä', 'Ä', '字', '\''][next(7) as usize]).collect();
                text += &word;
                text += [" ", "  ", "\t", "\u{3000}"][next(4) as usize];
            }
            text += ["\n", "\r\n"][next(2) as usize];
        }
        if file % 3 == 0 {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(text.as_bytes()).expect("memory takes it");
            scratch.write(&format!("texts/{file}/part.txt.gz"), gzip.finish().expect("memory takes it"));
        } else {
            scratch.write(&format!("texts/{file}/part {file}.TXT"), text);
        }
    }
    scratch.write("texts/notes.md", "not asked for");
    scratch.join("texts")
}

fn count<'a>(scratch: &'a Scratch, input: &Path, output: &str) -> Submit<'a> {
    scratch
        .write("words.toml", "job = \"word-count\"\nmode = \"overwrite\"\n[params]\nextensions = [\"txt\", \"gz\"]\n");
    let job = Submit::of(scratch, "words.toml", input, output);
    job.set("params.partitions=3").set("split.objects_max=2")
}

#[test]
fn words_are_those_that_python_counts_here_and_on_a_cluster() {
    let scratch = Scratch::enter("words: counted");
    let Some(python) = Python::ready() else { return };
    let texts = texts(&scratch);
    let here = count(&scratch, &texts, "here").slots(2).done();
    assert_eq!((here.books(), here.parts.len()), ([12, 12, 0, 1], 3));
    python.run(&scratch, "check_words.py", ["texts", "here"]);
    let lower = count(&scratch, &texts, "lower").set("params.lowercase=true").done();
    python.run(&scratch, "check_words.py", ["--lowercase", "texts", "lower"]);
    assert_ne!(here.contents(), lower.contents());

    let coordinator = Coordinator::start(&scratch, "state", None, &[]);
    let workers = [0, 1].map(|_| Worker::start(&scratch, &coordinator, None));
    let there = count(&scratch, &texts, "there").to(&coordinator).done();
    assert_same_bytes(&here, &there);
    // Files that are larger than a split are cut, and counted once.
    let cut = |output| count(&scratch, &texts, output).set("split.bytes_max=1000");
    let cut_here = cut("cut").done();
    assert_eq!(cut_here.books(), [12, 12, 0, 1]);
    python.run(&scratch, "check_words.py", ["texts", "cut"]);
    assert_same_bytes(&cut_here, &cut("cut-there").to(&coordinator).done());
    // Where no kernels have a part in it, results are the same on all of them.
    let portable = count(&scratch, &texts, "portable").kernels("portable").slots(1).done();
    assert_same_bytes(&here, &portable);
    let told = submit(&scratch, ["verify", "there"]);
    assert_eq!(told.code(), Some(0), "{told}");

    // One that can't be unpacked is set aside, and the others are counted.
    scratch.write("texts/broken.gz", "no archive");
    let some = count(&scratch, &texts, "some").set("limits.quarantine_share_max=0.1").run().done();
    assert!(some.stdout.contains("12 objects mapped, 1 quarantined, 1 skipped"), "{some}");
    assert!(some.stdout.contains("broken.gz: broken-archive: its name ends in .gz and it can't be unpacked"), "{some}");
    assert_same_bytes(&here, &Output::open(&scratch.join("some")));
    workers.into_iter().for_each(|worker| _ = worker.terminate());
    coordinator.terminate();
}

#[test]
fn a_crate_with_a_job_of_its_own_is_all_three_programs() {
    let scratch = Scratch::enter("words: a job of one's own");
    let texts = texts(&scratch);
    scratch.write(
        "lines.toml",
        "job = \"line-lengths\"\nmode = \"overwrite\"\n[params]\nextensions = [\"txt\", \"gz\"]\n",
    );
    let start = |args: &[&str]| {
        let mut command = Command::new(program("line-lengths"));
        command.current_dir(scratch.path()).env("HOME", scratch.path()).args(args);
        Running::start(command, &scratch)
    };
    let run = |args: &[&str]| -> Ended {
        let job = ["lines.toml", "--input", texts.to_str().expect("it is UTF-8")];
        start(&[args, &job].concat()).wait(Duration::from_secs(120)).done()
    };
    let told = run(&["--output", "here"]);
    assert!(told.stdout.contains("12 objects mapped, 0 quarantined, 1 skipped"), "{told}");
    // What its code counts is said, and is the same wherever it runs.
    let counted = told.stdout.lines().filter(|line| line.starts_with("counter  ")).map(str::to_owned);
    let counted: Vec<_> = counted.collect();
    assert!(counted[0].starts_with("counter  bytes ") && counted[1].starts_with("counter  lengths "), "{told}");
    let mut coordinator = start(&["coordinator", "--listen", "127.0.0.1:0", "--state", "state"]);
    let url = coordinator.first_line();
    let worker = start(&["worker", "--coordinator", &url, "--slots", "1", "--scratch", "scratch"]);
    let told = run(&["--output", "there", "--coordinator", &url]);
    assert!(counted.iter().all(|line| told.stdout.contains(line)), "{counted:?} here, and there {told}");
    let [here, there] = ["here", "there"].map(|output| Output::open(&scratch.join(output)));
    assert_same_bytes(&here, &there);
    assert_eq!(here.report.counters, there.report.counters);
    assert_eq!(here.report.counters.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["bytes", "lengths"]);

    // The programs that ship do not have it, and say so.
    let unknown =
        submit(&scratch, ["lines.toml".as_ref(), "--input".as_ref(), texts.as_os_str(), OsStr::new("--output=o")]);
    assert_eq!(unknown.code(), Some(2), "{unknown}");
    assert!(unknown.stderr.contains("there is no job `line-lengths`"), "{unknown}");
    let help = start(&["worker", "--help"]).wait(Duration::from_secs(30)).done();
    assert!(help.stdout.contains("line-lengths worker"), "{help}");
    let help = start(&["--help"]).wait(Duration::from_secs(30)).done();
    for said in ["line-lengths [OPTIONS] JOB.toml", "line-lengths coordinator --help", "line-lengths: How many lines"] {
        assert!(help.stdout.contains(said) && !help.stdout.contains("mr-submit [OPTIONS]"), "{help}");
    }
    worker.terminate();
    coordinator.terminate();
}

#[test]
fn the_examples_over_text_run_on_the_files_that_they_name() {
    let scratch = Scratch::enter("words: examples");
    let docs = xtask::shell::root().join("docs");
    for name in ["word-count", "inverted-index", "grep"] {
        let job = xtask::shell::root().join(format!("examples/{name}.toml"));
        let ended = Submit::of(&scratch, job.to_str().expect("it is UTF-8"), &docs, name).run().done();
        assert!(ended.stdout.contains(" mapped, 0 quarantined"), "{ended}");
        Output::open(&scratch.join(name));
        let told = submit(&scratch, ["verify", name]);
        assert_eq!(told.code(), Some(0), "{told}");
    }
    let pattern = ["--set", "params.pattern=a(b", "--input"].map(OsStr::new);
    let job = xtask::shell::root().join("examples/grep.toml");
    let wrong = submit(&scratch, [&[job.as_os_str()], &pattern[..], &[docs.as_os_str()]].concat());
    assert_eq!(wrong.code(), Some(2), "{wrong}");
    assert!(wrong.stderr.contains("`params.pattern`: is no regular expression: unclosed group"), "{wrong}");
}
