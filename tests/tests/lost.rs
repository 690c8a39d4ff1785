//! Files of tasks that are lost or damaged while their job runs: whoever made them makes them again, and the job ends with
//! the bytes that it would have had.

use mr_tests::{Coordinator, Output, Scratch, Submit, Worker, assert_same_bytes, drawn};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Harm {
    Remove,
    Flip,
    Cut,
}

/// What is done to the first files of these names.
const PLAN: [(&str, Harm); 7] = [
    ("kept.arrow", Harm::Remove),
    ("kept.arrow", Harm::Flip),
    ("pairs.run", Harm::Remove),
    ("pairs.run", Harm::Cut),
    ("broadcast", Harm::Flip),
    ("part.parquet", Harm::Remove),
    ("part.parquet", Harm::Cut),
];

/// Harms what tasks write as soon as it is there, and says in the end what.
struct Vandal {
    over: Arc<AtomicBool>,
    at_work: JoinHandle<Vec<String>>,
}

impl Vandal {
    fn begin(work: PathBuf) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let until = over.clone();
        let at_work = spawn(move || {
            let (mut plan, mut done, mut harmed) = (PLAN.to_vec(), Vec::new(), BTreeSet::new());
            while !until.load(Ordering::Relaxed) {
                for file in below(&work) {
                    let next = plan.iter().position(|(name, _)| file.ends_with(name));
                    if let Some(next) = next.filter(|_| harmed.insert(file.clone())) {
                        let (_, harm) = plan.remove(next);
                        done.push(format!("{harm:?} {}", file.display()));
                        harm.to(&file);
                    }
                }
                sleep(Duration::from_millis(1));
            }
            assert!(plan.is_empty(), "{plan:?} was never met, only {done:?}");
            done
        });
        Self { over, at_work }
    }

    fn end(self) -> Vec<String> {
        self.over.store(true, Ordering::Relaxed);
        self.at_work.join().expect("it has met all that it wanted to")
    }
}

/// What is there now; others write and remove meanwhile.
fn below(folder: &Path) -> Vec<PathBuf> {
    let paths: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    let (folders, files): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.is_dir());
    files.into_iter().chain(folders.iter().flat_map(|folder| below(folder))).collect()
}

impl Harm {
    /// What is gone already is harmed enough.
    fn to(self, file: &Path) {
        let Ok(mut bytes) = fs::read(file) else { return };
        match self {
            Harm::Remove => {}
            Harm::Flip => bytes[0] ^= 1,
            Harm::Cut => bytes.truncate(bytes.len() / 2),
        }
        // Not in place: the commit may have linked it.
        _ = fs::remove_file(file);
        if self != Harm::Remove {
            _ = fs::write(file, bytes);
        }
    }
}

fn job<'a>(scratch: &'a Scratch, input: &Path, output: &str) -> Submit<'a> {
    Submit::job(scratch, input, output).set("params.components=5").set("split.objects_max=4")
}

#[test]
fn what_is_lost_under_way_is_made_again() {
    let scratch = Scratch::enter("lost: on a cluster");
    let photos = drawn(&scratch, "photos", 400, 31);
    let whole = job(&scratch, &photos, "whole").done();
    let coordinator = Coordinator::start(&scratch, "state", None, &[]);
    let workers: Vec<_> = (0..2).map(|_| Worker::start(&scratch, &coordinator, None)).collect();
    let vandal = Vandal::begin(scratch.join("state/work"));
    job(&scratch, &photos, "harmed").to(&coordinator).done();
    let harmed = vandal.end();
    assert_same_bytes(&whole, &Output::open(&scratch.join("harmed")));
    for worker in workers {
        worker.terminate();
    }
    let said = coordinator.terminate().stderr;
    let again = said.lines().filter(|line| line.contains("is done again")).count();
    assert!(again >= 4, "{again} tasks were done again after {harmed:?}\n{said}");
}
