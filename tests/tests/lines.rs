//! Results that are lines of text or JSON: what is printed for their readers, on a cluster, and what can't be.

use mr_tests::{Coordinator, Output, Python, Scratch, Submit, Worker, assert_same_bytes, submit};
use std::path::PathBuf;

fn texts(scratch: &Scratch) -> PathBuf {
    for file in 0..5 {
        let text = (0..400)
            .map(|n| format!("{:03} {n} word{} \"quoted\" 'and' ü{}\n", n / 2, n * file % 37, n % 11))
            .collect::<String>();
        scratch.write(&format!("texts/{file}.txt"), text);
    }
    scratch.join("texts")
}

#[test]
fn what_is_printed_reads_the_rows_of_each_format_and_bytes_are_the_same_on_a_cluster() {
    let scratch = Scratch::enter("lines: read");
    let Some(python) = Python::ready() else { return };
    let texts = texts(&scratch);
    scratch.write("words.toml", "job = \"word-count\"\n[params]\npartitions = 3\n[split]\nobjects_max = 1\n");
    let count = |output: &str| Submit::of(&scratch, "words.toml", &texts, output);
    count("parquet").done();
    let coordinator = Coordinator::start(&scratch, "state", None, &[]);
    let workers = [0, 1].map(|_| Worker::start(&scratch, &coordinator, None));
    for format in ["text", "json"] {
        for packing in ["none", "gzip", "zstd"] {
            let (here, there) = (format!("{format}-{packing}"), format!("{format}-{packing}-there"));
            let written = |output: &str| {
                let job = count(output).set(format!("output_format={format}"));
                job.set(format!("output_compression={packing}"))
            };
            let ended = written(&here).run().done();
            let said = |reader: &str| {
                let line = ended.stdout.lines().find_map(|line| line.strip_prefix(reader));
                line.unwrap_or_else(|| panic!("{ended}")).trim().to_owned()
            };
            python.run(&scratch, "check_lines.py", ["parquet", &said("polars"), &said("duckdb")]);
            let (of_polars, one) = (said("polars"), Output::open(&scratch.join(&here)));
            let extension =
                one.parts[0].file_name().and_then(|name| name.to_str()?.split_once('.')).expect("it has one").1;
            assert!(of_polars.contains(&format!("*.{extension}\"")), "{of_polars}");
            assert_same_bytes(&one, &written(&there).to(&coordinator).done());
            let told = submit(&scratch, ["verify", &here]);
            assert_eq!(told.code(), Some(0), "{told}");
            assert!(told.stdout.contains("by checksum"), "{told}");
            // Replaced as Parquet is.
            let again = written(&here).set("mode=overwrite").set("params.partitions=2").done();
            assert_eq!(again.parts.len(), 2);
        }
    }
    workers.into_iter().for_each(|worker| _ = worker.terminate());
    coordinator.terminate();
}

#[test]
fn what_is_no_line_is_refused_and_so_is_a_folder_of_something_else() {
    let scratch = Scratch::enter("lines: refused");
    let texts = texts(&scratch);
    scratch.write("map.sh", "sed -n '1s/.*/key\\tone\\rtwo/p'");
    scratch.write("stream.toml", "job = \"stream\"\n[map]\ncommand = [\"sh\", \"map.sh\"]\nfiles = [\"map.sh\"]\n");
    let stream = |output: &str, format: &str| {
        let job = Submit::of(&scratch, "stream.toml", &texts, output).set("mode=overwrite");
        job.set(format!("output_format={format}")).run()
    };
    let refused = stream("out", "text");
    assert_eq!(refused.code(), Some(1), "{refused}");
    assert!(refused.stderr.contains("a tab or the end of a line in its column `value`"), "{refused}");
    assert!(refused.stderr.contains("use output_format = \"json\""), "{refused}");
    stream("out", "json").done();
    let refused = stream("out", "parquet");
    assert_eq!(refused.code(), Some(2), "{refused}");
    assert!(refused.stderr.contains("the output is a table of JSON lines, and this job writes Parquet"), "{refused}");
    scratch.write("notes/notes.md", "mine");
    let refused = stream("notes", "text");
    assert_eq!(refused.code(), Some(2), "{refused}");
    assert!(refused.stderr.contains("the output holds 1 file that is not of a table of ours"), "{refused}");
}
