//! A run on one machine that is interrupted or killed: the output is as it was, and nothing stays for good.

use mr_tests::{Output, Running, Scratch, Signal, Submit, assert_same_bytes, drawn, tree};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Waits until a run has finished some of its tasks, which write into its working files.
fn at_work(run: &mut Running, state: &Path) {
    run.until("do some of its work", |_| {
        // Files come and go while they are counted.
        let folders = fs::read_dir(state).ok()?.flatten().map(|run| run.path().join("state/work"));
        let tasks =
            folders.flat_map(fs::read_dir).flatten().flatten().flat_map(|job| fs::read_dir(job.path().join("0")));
        (tasks.flatten().count() >= 3).then_some(())
    });
}

#[test]
fn an_interrupted_run_and_a_killed_one_leave_the_output_as_it_was() {
    let scratch = Scratch::enter("stopped: interrupted and killed in the middle");
    let photos = drawn(&scratch, "photos", 600, 9);
    let few = drawn(&scratch, "few", 20, 9);
    let state = scratch.join("state");
    let job = |input: &Path, output: &str| {
        let job = Submit::job(&scratch, input, output).set("params.components=5").set("split.objects_max=8");
        job.args(["--state", "state"])
    };
    let earlier = job(&few, "out").done();
    let before = tree(&earlier.folder);

    for output in ["out", "new"] {
        let mut run = job(&photos, output).start();
        at_work(&mut run, &state);
        run.signal(Signal::Int);
        run.wait(Duration::from_secs(15)).stopped(130, &["cancelling the job", "the output is as it was"]);
        assert!(tree(&state).is_empty(), "working files are gone");
    }
    for (output, signal) in [("out", Signal::Kill), ("new", Signal::Term)] {
        let mut run = job(&photos, output).start();
        at_work(&mut run, &state);
        run.signal(signal);
        let ended = run.wait(Duration::from_secs(15));
        assert_ne!(ended.code(), Some(0), "{ended}");
    }
    assert_eq!(tree(&earlier.folder), before);
    assert!(!scratch.join("new").exists());

    // The next run is not troubled by any of that, and takes away what the killed one left.
    let undisturbed = job(&photos, "undisturbed").done();
    assert_same_bytes(&undisturbed, &job(&photos, "out").done());
    assert_eq!(Output::open(&scratch.join("out")).books(), [600, 600, 0, 0]);
    let left: Vec<_> = fs::read_dir(&state).expect("runs were here").collect();
    assert!(left.is_empty(), "{left:?}");
}
