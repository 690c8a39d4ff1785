//! Same input, same bytes: whatever else changes from run to run, parts and PCA don't.

use mr_tests::{Output, Scratch, Submit, assert_same_bytes, drawn, shared};
use std::fs;

#[test]
fn slots_places_and_spellings_leave_no_trace_in_the_bytes() {
    let scratch = Scratch::enter("same bytes: slots, places, spellings");
    let photos = shared("data/photos").unwrap_or_else(|| drawn(&scratch, "photos", 400, 3));
    let count = mr_tests::tree(&photos).keys().filter(|name| name.ends_with(".jpg")).count() as u64;
    // Several parts, and moments merged over several levels.
    let job = |output: &str| Submit::job(&scratch, &photos, output).set("split.objects_max=16");

    let one = job("one").slots(1).args(["--state", "own state"]).done();
    assert_eq!(one.books()[..3], [count, count, 0]);
    assert_eq!(one.report.slots, 1);
    assert!(one.parts.len() > 1, "{:?}", one.parts);

    let two = job("a b/täo %41").slots(2).done();
    assert_eq!(two.report.slots, 2);
    assert_same_bytes(&one, &two);

    // More slots than cores, decoding one photo at a time, and the same things typed in another way.
    let url = format!("file://{}/", photos.display());
    let many = Submit::job(&scratch, url, "deep/er/out")
        .set("split.objects_max = 16")
        .set("params.extensions=[\".WEBP\", \"png\", \"Jpeg\", \"JPG\", \"jpg\"]")
        .set("limits.attempts_max=9")
        .slots(5)
        .args(["--decode-budget-mb", "16"])
        .done();
    assert_same_bytes(&one, &many);

    // Over an earlier table: its version and its files are no part of the content.
    let again = job("one").slots(2).done();
    assert_ne!(again.report.job_id, one.report.job_id);
    assert_same_bytes(&two, &again);

    // What is asked for shapes the bytes, so this comparison can fail.
    let other = job("other").set("params.components=49").done();
    assert_ne!(other.contents(), again.contents());
    assert_working_files_are_gone(&scratch, &again);
}

fn assert_working_files_are_gone(scratch: &Scratch, output: &Output) {
    for state in ["own state", "home/.cache/mr"] {
        let left: Vec<_> = fs::read_dir(scratch.join(state)).expect("working files were here").collect();
        assert!(left.is_empty(), "{state}: {left:?}");
    }
    let runs = fs::read_dir(output.folder.join("_runs")).expect("a run's folder").count();
    assert_eq!(runs, 2, "one for each run into this output");
}
