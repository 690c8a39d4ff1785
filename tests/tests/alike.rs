//! The other jobs over photos, held against what Pillow makes of the same files.

use mr_tests::{Coordinator, Python, Scratch, Submit, Worker, assert_same_bytes, drawn, need};
use std::path::Path;

fn job<'a>(scratch: &'a Scratch, name: &str, input: &Path, output: &str) -> Submit<'a> {
    scratch.write(&format!("{name}.toml"), format!("job = \"{name}\"\nmode = \"overwrite\"\n"));
    Submit::of(scratch, &format!("{name}.toml"), input, output)
}

#[test]
fn photos_that_look_alike_are_found_and_labels_added_up() {
    let scratch = Scratch::enter("alike: drawn photos");
    let Some(python) = Python::ready() else { return };
    let photos = drawn(&scratch, "photos", 200, 3);
    let first = mr_tests::tree(&photos).into_keys().find(|name| name.ends_with(".jpg")).expect("there are photos");
    for copy in ["copies/one.jpg", "copies/another.JPG"] {
        scratch.write(&format!("photos/{copy}"), std::fs::read(photos.join(&first)).expect("it is there"));
    }
    let photos = photos.canonicalize().expect("it is there");
    let alike =
        |output| job(&scratch, "image-dedup", &photos, output).set("params.partitions=3").set("split.objects_max=16");
    let here = alike("here").set("params.distance=6").slots(2).done();
    assert_eq!(here.books()[..3], [202, 202, 0]);
    python.run(&scratch, "check_alike.py", ["alike", "6", photos.to_str().expect("it is UTF-8"), "here"]);

    let coordinator = Coordinator::start(&scratch, "state", None, &[]);
    let worker = Worker::start(&scratch, &coordinator, None);
    assert_same_bytes(&here, &alike("there").set("params.distance=6").to(&coordinator).done());
    worker.terminate();
    coordinator.terminate();

    let labels = job(&scratch, "label-stats", &photos, "labels").set("params.extensions=[\"jpg\"]").done();
    assert_eq!(labels.books()[..3], [202, 202, 0]);
    python.run(&scratch, "check_alike.py", ["labels", photos.to_str().expect("it is UTF-8"), "labels"]);
}

#[test]
fn of_real_photos_the_identical_ones_are_found() {
    let scratch = Scratch::enter("alike: fruits");
    let Some(python) = Python::ready() else { return };
    let Some(fruits) = need("data/fruits") else { return };
    let found = job(&scratch, "image-dedup", &fruits, "found").set("params.distance=0").done();
    assert_eq!(found.books()[..3], [4020, 4020, 0]);
    python.run(&scratch, "check_alike.py", ["alike", "0", fruits.to_str().expect("it is UTF-8"), "found"]);
}
