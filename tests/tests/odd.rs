//! Hostile and unusual files: the job survives them all, in little memory, and says of each what became of it, twice the
//! same.

use mr_tests::{Output, Python, Scratch, Submit, assert_same_bytes, need, tree};
use std::path::Path;

const ENDINGS: &str = "params.extensions=[\"gif\", \"jpeg\", \"jpg\", \"png\", \"webp\"]";

#[test]
fn hostile_files_are_embedded_or_set_aside_twice_alike_and_in_little_memory() {
    let scratch = Scratch::enter("odd: hostile and unusual files");
    let Some(python) = Python::ready() else { return };
    let Some(odd) = need("data/odd") else { return };
    let files = tree(&odd);
    let images = files.keys().filter(|name| !name.ends_with(".csv")).count() as u64;
    assert!(images >= 131, "{images} files");
    let job = |output: &str| {
        let job = Submit::job(&scratch, &odd, output).set(ENDINGS).set("params.components=5");
        job.set("split.objects_max=8")
    };

    let run = |output: &str, slots: u32| {
        let ended = job(output).set("limits.quarantine_share_max=1.0").slots(slots).run().done();
        let output = Output::open(&scratch.join(output));
        let [listed, embedded, quarantined, skipped] = output.books();
        assert_eq!((listed, embedded + quarantined, skipped), (images, images, files.len() as u64 - images));
        for (said, peak) in [("the report", output.report.peak_rss_bytes), ("the system", ended.peak_rss_bytes)] {
            assert!((1..1_000_000_000).contains(&peak), "{peak} bytes resident, says {said}");
        }
        output
    };
    let (one, two) = (run("one", 1), run("two", 2));
    assert_same_bytes(&one, &two);
    python.run(&scratch, "check_odd.py", [&odd, &one.folder, &two.folder]);

    // Too many for a job that allows one in a hundred: it fails, and the table stays what it was.
    let before = tree(&one.folder);
    let quarantined = one.report.books.quarantined;
    let said =
        ["quarantined, more than limits.quarantine_share_max = 0.01 allows", &format!(" of {images} listed objects")];
    let ended = job("one").set("limits.quarantine_share_max=0.01").run().stopped(1, &said);
    let reasons = ended.stderr.matches("(undecodable: ").count()
        + ended.stderr.matches("(not-an-image: ").count()
        + ended.stderr.matches("(unsupported: ").count();
    assert!((1..=5).contains(&reasons), "the first reasons, at most five: {ended}");
    assert!(quarantined > 1 && tree(&one.folder) == before, "the output is as it was");
    job("new").set("limits.quarantine_share_max=0.01").run().stopped(1, &said);
    assert!(!Path::new(&scratch.join("new")).exists());
}
