//! Programs of any language as mapper and reducer: what they count, and what is said of what goes wrong with them.

use flate2::Compression;
use flate2::write::GzEncoder;
use mr_tests::{Coordinator, Ended, Output, Python, Scratch, Submit, Worker, assert_same_bytes, submit};
use std::io::Write;
use std::path::PathBuf;

fn example(name: &str) -> String {
    xtask::shell::root().join("examples/stream").join(name).to_str().expect("it is UTF-8").to_owned()
}

fn texts(scratch: &Scratch) -> PathBuf {
    for file in 0..9u32 {
        let text: String = (0..file * 40).map(|n| format!("w{} Öl  w{}\r\n", n * n % 97, n % 11)).collect();
        if file % 4 == 3 {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(text.as_bytes()).expect("memory takes it");
            scratch.write(&format!("texts/{file}.gz"), gzip.finish().expect("memory takes it"));
        } else {
            scratch.write(&format!("texts/{file}.txt"), text.trim_end());
        }
    }
    scratch.join("texts")
}

#[test]
fn words_are_those_that_the_two_programs_count_with_a_sort_between_them() {
    let scratch = Scratch::enter("streams: counted");
    let Some(python) = Python::ready() else { return };
    let texts = texts(&scratch);
    let [job, mapper, reducer] = ["word-count.toml", "mapper.py", "reducer.py"].map(example);
    let count =
        |output| Submit::of(&scratch, &job, &texts, output).set("params.partitions=3").set("split.objects_max=2");
    let here = count("here").slots(2).done();
    assert_eq!((here.books(), here.parts.len()), ([9, 9, 0, 0], 3));
    python.run(&scratch, "check_streamed.py", [&*mapper, &reducer, "texts", "here"]);

    // On a cluster, whose workers have only what travels to them.
    let coordinator = Coordinator::start(&scratch, "state", None, &[]);
    let workers = [0, 1].map(|_| Worker::start(&scratch, &coordinator, None));
    let there = count("there").to(&coordinator).done();
    assert_same_bytes(&here, &there);
    workers.into_iter().for_each(|worker| _ = worker.terminate());
    coordinator.terminate();

    // With so little memory that most of it is put aside.
    for file in 0..4u32 {
        scratch.write(
            &format!("many/{file}.txt"),
            (0..60_000).map(|n| format!("w{}\n", n * 7 % 9973 + file)).collect::<String>(),
        );
    }
    let many = Submit::of(&scratch, &job, scratch.join("many"), "cramped").set("shuffle.memory_bytes_max=1MiB");
    many.set("params.partitions=2").done();
    python.run(&scratch, "check_streamed.py", [&*mapper, &reducer, "many", "cramped"]);
}

/// A job of one mapper, a line of `sh`, and of one reducer if there is one.
fn run(scratch: &Scratch, map: &str, reduce: Option<&str>, sets: &[&str]) -> Ended {
    let command = |line: &str| format!("command = [\"sh\", \"-c\", {line:?}]\n");
    let reduce = reduce.map(|line| format!("[reduce]\n{}", command(line))).unwrap_or_default();
    let job =
        format!("job = \"stream\"\nmode = \"overwrite\"\n[limits]\nattempts_max = 2\n[map]\n{}{reduce}", command(map));
    scratch.write("stream.toml", job);
    let job = Submit::of(scratch, "stream.toml", "lines", "out");
    sets.iter().fold(job, |job, set| job.set(set)).run()
}

#[test]
fn what_a_program_does_wrong_is_told_with_its_last_words() {
    let scratch = Scratch::enter("streams: wrong");
    for file in 0..3 {
        scratch.write(&format!("lines/{file}.txt"), format!("a{file}\nb\n"));
    }
    let told = |map: &str, reduce: Option<&str>, sets: &[&str], said: &str| {
        let ended = run(&scratch, map, reduce, sets);
        assert_eq!(ended.code(), Some(1), "{ended}");
        assert!(ended.stderr.contains(said), "{ended}");
    };
    told(
        "cat",
        Some("cat"),
        &[],
        "[map]: it printed a line without a tab, where a key, a tab and a value are wanted: \"a0\"",
    );
    told("cat >&2; exit 3", None, &[], "it ended with exit code 3: a0 | b | a1 | b");
    told("sed 's/$/\\t1/'", Some("cat >/dev/null; echo no >&2; kill -9 $$"), &[], "it was ended by signal 9: no");
    told("printf '\\377\\t1\\n'", None, &[], "it printed a line that is no UTF-8");
    told(
        "sleep 600 & wait",
        None,
        &["params.idle_seconds_max=1"],
        "it has done nothing for params.idle_seconds_max = 1",
    );
    told("yes | tr -d '\\n'", None, &[], "it printed a line of more than 64 MiB");
    // What a program leaves behind holds nobody up.
    run(&scratch, "cat; sleep 600 > /dev/null &", None, &[]).done();
    scratch.write("missing.toml", "job = \"stream\"\n[map]\ncommand = [\"no-such-program\", \"x\"]\n");
    let missing = Submit::of(&scratch, "missing.toml", "lines", "out2").run();
    assert_eq!(missing.code(), Some(1), "{missing}");
    assert!(
        missing.stderr.contains("install `no-such-program` there, or what it is run by, or ship it with files"),
        "{missing}"
    );

    // What is wrong with the job file is said before anything is read.
    for (job, said) in [
        ("", "`map.command`: is missing; say what to run"),
        ("[map]\ncommand = []\n", "bad.toml:3:11: `map.command`: should name a program"),
        ("[map]\ncommand = \"cat\"\n", "bad.toml:3:11: `map.command` takes a list of texts, not a text"),
        ("[map]\ncommand = [\"cat\"]\nfiles = [\"no.py\"]\n", "bad.toml:4:9: `map.files`: there is no file"),
        ("[map]\ncommand = [\"cat\"]\nfile = []\n", "unknown key `file` under [map], did you mean `files`?"),
        ("[map]\ncommand = [\"cat\"]\n[reduce]\nfiles = [\"bad.toml\"]\n", "`reduce.files`: has files for a program"),
    ] {
        scratch.write("bad.toml", format!("job = \"stream\"\n{job}"));
        let refused = submit(&scratch, ["bad.toml", "--input", "lines", "--output", "out3"]);
        assert_eq!(refused.code(), Some(2), "{refused}");
        assert!(refused.stderr.contains(said), "{refused}");
    }
}

#[test]
fn a_map_alone_keeps_what_it_prints_and_a_program_may_stop_reading() {
    let scratch = Scratch::enter("streams: alone");
    scratch.write("lines/1.txt", "one\ntwo\n");
    scratch.write("lines/2.txt", "three\n".repeat(200_000));
    // The first ends before it has read all, and says who it is.
    let map = "head -n 1; echo \"$MR_STAGE\t$MR_TASK.$MR_ATTEMPT\"; echo reporter:counter:tasks,begun,1 >&2";
    let ended = run(&scratch, map, None, &["split.objects_max=1"]).done();
    assert!(ended.stdout.contains("2 objects mapped, 0 quarantined"), "{ended}");
    assert!(ended.stdout.contains("\ncounter  tasks.begun 2\n"), "{ended}");
    let output = Output::open(&scratch.join("out"));
    assert_eq!(output.parts.len(), 2);
    let Some(python) = Python::ready() else { return };
    let rows = python.run(&scratch, "print_rows.py", ["out"]);
    assert_eq!(rows.stdout, "('one', None)\n('map', '0.1')\n('three', None)\n('map', '1.1')\n");
}
