//! What students of MIT's course on distributed systems have to show of their MapReduce: its seven acceptance tests
//! (<https://pdos.csail.mit.edu/6.824/labs/lab-mr.html>), on processes that are really there. Mapper and reducer are lines of `sh`.

use mr_tests::{Coordinator, Output, Python, Running, Scratch, Submit, Worker, assert_same_bytes};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Prints each word with a 1, and each word with how many there were.
const WORDS: &str = "tr -s ' ' '\\n' | sed '/^$/d; s/$/\\t1/'";
const COUNT: &str = "cut -f 1 | uniq -c | sed 's/^ *\\([0-9]*\\) \\(.*\\)/\\2\\t\\1/'";

struct Lab {
    scratch: Scratch,
    coordinator: Coordinator,
    workers: Vec<Worker>,
}

impl Lab {
    /// A coordinator, so many workers of one slot, and eight files of text.
    fn enter(name: &'static str, workers: usize) -> Self {
        let scratch = Scratch::enter(name);
        for file in 0..8u32 {
            let words: String = (0..500).map(|n: u32| format!("w{} ", (n * n + file) % 61)).collect();
            scratch.write(&format!("texts/{file}.txt"), words + "\n");
        }
        std::fs::create_dir(scratch.join("seen")).expect("it is new");
        let coordinator = Coordinator::start(&scratch, "state", None, &[]);
        let workers = (0..workers).map(|_| Worker::start(&scratch, &coordinator, None)).collect();
        Self { scratch, coordinator, workers }
    }

    /// The job of these two programs: a task a file, and four that reduce.
    fn submit(&self, map: &str, reduce: &str, output: &str) -> Submit<'_> {
        let command = |stage: &str, line: &str| format!("[{stage}]\ncommand = [\"sh\", \"-c\", {line:?}]\n");
        let job = format!("{output}.toml");
        self.scratch.write(&job, format!("job = \"stream\"\n{}{}", command("map", map), command("reduce", reduce)));
        let submit = Submit::of(&self.scratch, &job, "texts", output).to(&self.coordinator);
        submit.set("split.objects_max=1").set("params.partitions=4").set("params.idle_seconds_max=8")
    }

    /// A file that a program may write to.
    fn seen(&self, name: &str) -> PathBuf {
        self.scratch.join("seen").join(name)
    }

    /// The lines that programs have written there.
    fn lines(&self, name: &str) -> Vec<String> {
        std::fs::read_to_string(self.seen(name)).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn leave(mut self) {
        assert!(self.workers.iter_mut().all(|worker| !worker.is_over()), "a worker has gone before it was told to");
        self.workers.into_iter().for_each(|worker| _ = worker.terminate());
        self.coordinator.terminate();
    }
}

/// What a part's rows are.
fn rows(lab: &Lab, output: &Output) -> Option<BTreeMap<String, String>> {
    let python = Python::ready()?;
    let said = python.run(&lab.scratch, "print_rows.py", [&output.folder]).stdout;
    let row = |line: &str| {
        let (key, value) = line.strip_prefix("('")?.strip_suffix("')")?.split_once("', '")?;
        Some((key.to_owned(), value.to_owned()))
    };
    Some(said.lines().map(|line| row(line).unwrap_or_else(|| panic!("{line} is no row"))).collect())
}

#[test]
fn words_are_counted() {
    let lab = Lab::enter("lab: word count", 3);
    let output = lab.submit(WORDS, COUNT, "words").done();
    let mut expected: BTreeMap<String, u32> = BTreeMap::new();
    for file in 0..8u32 {
        (0..500).for_each(|n: u32| *expected.entry(format!("w{}", (n * n + file) % 61)).or_default() += 1);
    }
    if let Some(rows) = rows(&lab, &output) {
        assert_eq!(rows, expected.into_iter().map(|(word, count)| (word, count.to_string())).collect());
    }
    lab.leave();
}

#[test]
fn words_are_indexed() {
    let lab = Lab::enter("lab: indexer", 3);
    // Which task saw a word says which file it is in: there is one for each, in their order.
    let map = "tr -s ' ' '\\n' | sort -u | sed \"/^$/d; s/\\$/\\t$MR_TASK/\"";
    let reduce = "awk -F '\\t' '$1 != k { if (k != \"\") print k \"\\t\" v; k = $1; v = $2; next } { v = v \",\" $2 } \
                  END { if (k != \"\") print k \"\\t\" v }'";
    let output = lab.submit(map, reduce, "index").done();
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in 0..8u32 {
        for n in 0..500 {
            let files = expected.entry(format!("w{}", (n * n + file) % 61)).or_default();
            if files.last() != Some(&file.to_string()) {
                files.push(file.to_string());
            }
        }
    }
    if let Some(rows) = rows(&lab, &output) {
        assert_eq!(rows, expected.into_iter().map(|(word, files)| (word, files.join(","))).collect());
    }
    lab.leave();
}

/// Notes how many of its kind are at work at the same time, for a second.
fn at_work(lab: &Lab, kind: &str) -> String {
    let (folder, seen) = (lab.seen(kind), lab.seen(&format!("{kind}.most")));
    let (folder, seen) = (folder.display(), seen.display());
    format!("mkdir -p {folder}; touch {folder}/$$; sleep 1; ls {folder} | wc -l >> {seen}; rm {folder}/$$")
}

fn most(lab: &Lab, kind: &str) -> u32 {
    let lines = lab.lines(&format!("{kind}.most"));
    lines.iter().map(|line| line.trim().parse().expect("it is a number")).max().unwrap_or(0)
}

#[test]
fn maps_run_in_parallel() {
    let lab = Lab::enter("lab: maps", 2);
    let map = format!("{}; {WORDS}", at_work(&lab, "map"));
    lab.submit(&map, COUNT, "words").done();
    assert_eq!(most(&lab, "map"), 2);
    lab.leave();
}

#[test]
fn reduces_run_in_parallel() {
    let lab = Lab::enter("lab: reduces", 2);
    let reduce = format!("{}; {COUNT}", at_work(&lab, "reduce"));
    lab.submit(WORDS, &reduce, "words").done();
    assert_eq!(most(&lab, "reduce"), 2);
    lab.leave();
}

#[test]
fn each_map_runs_once_when_nothing_fails() {
    let lab = Lab::enter("lab: once", 3);
    let map = format!("echo $MR_TASK.$MR_ATTEMPT >> {}; {WORDS}", lab.seen("maps").display());
    lab.submit(&map, COUNT, "words").done();
    // On a machine that stands still for seconds a task may have a backup, which is another attempt.
    let (mut maps, backups): (Vec<_>, Vec<_>) = lab.lines("maps").into_iter().partition(|line| line.ends_with(".1"));
    maps.sort();
    assert_eq!(maps, (0..8).map(|task| format!("{task}.1")).collect::<Vec<_>>());
    assert!(backups.len() < 4, "{backups:?}");
    lab.leave();
}

#[test]
fn nobody_goes_before_all_is_done() {
    let lab = Lab::enter("lab: early exit", 3);
    // One of the reduces takes much longer than the others.
    let reduce = format!("[ $MR_TASK = 2 ] && sleep 3; echo $MR_TASK >> {}; {COUNT}", lab.seen("reduces").display());
    let output = lab.submit(WORDS, &reduce, "words").done();
    // The submitter has gone, so all of it is there.
    let there: Vec<_> = (0..4).filter(|task| lab.lines("reduces").contains(&task.to_string())).collect();
    assert_eq!((there.len(), output.parts.len()), (4, 4));
    // And of the others nobody has.
    lab.leave();
}

#[test]
fn crashes_and_hangs_change_nothing() {
    let mut lab = Lab::enter("lab: crash", 3);
    let calm = lab.submit(WORDS, COUNT, "calm").done();
    // Whoever is first at a task takes its worker with it, or hangs, or dies alone.
    let first = lab.seen("$MR_STAGE.$MR_TASK");
    let first = first.display();
    let harm = |program: &str| {
        format!(
            "mkdir {first} 2>/dev/null && case $((MR_TASK % 4)) in 0) kill -9 $PPID;; 1) sleep 600;; 2) exit 3;; esac; {program}"
        )
    };
    let mut running: Running = lab.submit(&harm(WORDS), &harm(COUNT), "harmed").start();
    let mut crashed = 0;
    while !running.is_over() {
        for worker in &mut lab.workers {
            if worker.is_over() {
                crashed += 1;
                *worker = Worker::start(&lab.scratch, &lab.coordinator, None);
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    running.wait(Duration::from_secs(1)).done();
    assert!(crashed >= 3, "{crashed} workers were killed, where three tasks kill theirs");
    let harmed = Output::open(&lab.scratch.join("harmed"));
    let parts =
        |output: &Output| output.parts.iter().map(|part| std::fs::read(part).expect("it is there")).collect::<Vec<_>>();
    assert_eq!(parts(&harmed).len(), parts(&calm).len());
    if let (Some(one), Some(other)) = (rows(&lab, &harmed), rows(&lab, &calm)) {
        assert_eq!(one, other);
    }
    // The same programs again, on what is left of the cluster, come to the same bytes.
    assert_same_bytes(&calm, &lab.submit(WORDS, COUNT, "calm2").done());
    lab.leave();
}
