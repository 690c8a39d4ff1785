//! The output as its users read it: pandas, pyarrow, DuckDB, Polars and deltalake, also while it is being replaced.

use mr_tests::{Output, Python, Scratch, Submit, drawn, tree};
use std::fs;
use std::path::Path;

#[test]
fn every_reader_counts_the_same_rows_after_every_overwrite() {
    let scratch = Scratch::enter("readers: counts after overwrites");
    let Some(python) = Python::ready() else { return };
    let photos = drawn(&scratch, "pho tos", 90, 1);
    let fewer = drawn(&scratch, "fewer", 40, 2);
    // A small split gives several parts.
    let job = |input: &Path, output: &str| {
        let job = Submit::job(&scratch, input, output).set("params.components=7").set("split.objects_max=2");
        job.done()
    };
    let count = |output: &Output, rows: &str, version: usize| {
        let folder = output.folder.to_str().expect("named in UTF-8");
        python.run(&scratch, "read_table.py", ["count", folder, rows, &version.to_string()]);
    };
    let mut jobs = Vec::new();
    for (version, (input, rows, parts)) in [(&photos, 90, 3), (&fewer, 40, 2), (&photos, 90, 3)].into_iter().enumerate()
    {
        let output = job(input, "results");
        assert_eq!((output.books()[1], output.parts.len()), (rows, parts));
        jobs.push(output.report.job_id.to_string());
        let log = tree(&output.folder.join("_delta_log"));
        assert_eq!(log.len(), version + 1, "{:?}", log.keys());
        check_entry(log.values().next_back().expect("there is one"), &output);
        count(&output, &rows.to_string(), version);
    }
    // Folders as people name them.
    count(&job(&fewer, "my results/täst"), "40", 0);
    let mut runs: Vec<_> = fs::read_dir(scratch.join("results/_runs"))
        .expect("runs lie there")
        .map(|entry| entry.expect("nobody else is at it").file_name().into_string().expect("named in UTF-8"))
        .collect();
    runs.sort();
    jobs.sort();
    assert_eq!(runs, jobs);
}

/// The commit names what it adds with its size, its run folder and all that lies there.
fn check_entry(entry: &[u8], output: &Output) {
    let text = String::from_utf8_lossy(entry);
    let actions: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line is an action")).collect();
    let all = |kind: &'static str| actions.iter().filter_map(move |action| action.get(kind));
    let added: Vec<_> = all("add").map(|add| (add["path"].as_str(), add["size"].as_u64())).collect();
    let parts: Vec<_> = output
        .parts
        .iter()
        .map(|part| (part.file_name().and_then(|name| name.to_str()), fs::metadata(part).ok().map(|part| part.len())))
        .collect();
    assert_eq!(added, parts);
    let removed: Vec<_> = all("remove").map(|remove| remove["path"].as_str()).collect();
    assert!(added.iter().all(|(path, _)| !removed.contains(path)), "no path is added and removed: {text}");
    let info = all("commitInfo").next().expect("it says who wrote it");
    let run = output.folder.join(info["run"].as_str().expect("it names its run folder"));
    let named = info["runFiles"].as_array().expect("and what lies there");
    let mut named: Vec<_> = named.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    named.push("job.json".into());
    named.sort();
    assert_eq!(named, tree(&run).into_keys().collect::<Vec<_>>());
    assert!(named.iter().any(|name| name == "report.json") && run.ends_with(output.report.job_id.as_str()));
}

#[test]
fn who_opens_the_table_during_an_overwrite_sees_the_old_rows_or_the_new() {
    let scratch = Scratch::enter("readers: opened again and again during overwrites");
    let Some(python) = Python::ready() else { return };
    let inputs = [drawn(&scratch, "one", 24, 1), drawn(&scratch, "other", 60, 2)];
    let run = |input: &Path| Submit::job(&scratch, input, "out").set("params.components=3").set("split.objects_max=1");
    run(&inputs[0]).done();
    let folder = scratch.join("out");
    let folder = folder.to_str().expect("named in UTF-8");
    // Each loop opens the table anew until it is told to stop, and fails at the first look that is neither.
    let mut watchers: Vec<_> = ["deltalake", "polars"]
        .map(|reader| {
            let stop = format!("{reader}.stop");
            python.start(&scratch, "read_table.py", ["watch", folder, reader, &stop, "one=24", "other=60"])
        })
        .into();
    for watcher in &mut watchers {
        watcher.first_line();
    }
    for round in 0..6 {
        run(&inputs[(round + 1) % 2]).done();
    }
    for reader in ["deltalake", "polars"] {
        scratch.write(&format!("{reader}.stop"), "");
    }
    for watcher in watchers {
        let ended = watcher.wait(std::time::Duration::from_secs(60)).done();
        println!("{}", ended.stdout);
        let looks = |name: &str| -> u64 {
            let said = ended.stdout.split_whitespace().find_map(|word| word.strip_prefix(&format!("{name}=")));
            said.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{name} is not told: {ended}"))
        };
        assert!(looks("one") > 0 && looks("other") > 0 && looks("changes") >= 3, "too few looks to mean much: {ended}");
    }
}
