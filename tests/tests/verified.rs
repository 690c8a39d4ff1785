//! `mr-submit verify`, called as a user would: on outputs as they were written, after the input has changed, and on damaged
//! ones.

use mr_tests::{Ended, Output, S3Server, Scratch, Submit, drawn, need, submit, tree};
use std::fs;
use std::path::{Path, PathBuf};

const COUNT: u64 = 60;

/// Drawn photos and one file that is none, in an output of several parts.
fn written(scratch: &Scratch) -> (PathBuf, Output) {
    let photos = drawn(scratch, "pho tos", COUNT, 11);
    scratch.write("pho tos/Training/bad.jpg", "no photo");
    let job = Submit::job(scratch, &photos, "out").set("params.components=5").set("split.objects_max=2");
    let output = job.set("limits.quarantine_share_max=0.1").done();
    assert_eq!((output.books(), output.parts.len()), ([COUNT + 1, COUNT, 1, 0], 2));
    (photos, output)
}

/// Runs it on `out` and compares what it finds, one word after another.
#[track_caller]
fn found(scratch: &Scratch, args: &[&str], code: i32, said: &[&str]) -> Ended {
    let ended = submit(scratch, [&["verify", "out"], args].concat());
    assert_eq!(ended.code(), Some(code), "{ended}");
    for words in said {
        assert!(ended.stdout.contains(words), "{words:?} was not said by {ended}");
    }
    ended
}

#[test]
fn real_photos_come_out_the_same_when_they_are_computed_again() {
    let scratch = Scratch::enter("verified: real photos");
    let (Some(photos), Some(models)) = (need("data/photos"), need("models/mobilenet_v2_1.0_224.onnx")) else { return };
    let weights = scratch.write("weights.onnx", fs::read(models).expect("it is there"));
    Submit::job(&scratch, &photos, "out").weights(&weights).done();
    let before = tree(scratch.path()).into_iter().filter(|(name, _)| !name.starts_with("logs/")).collect::<Vec<_>>();
    let said =
        ["631 rows decoded", "10 rows computed again on ", " bit for bit (--seed 3)", "all of this is as it should be"];
    found(&scratch, &["--sample", "10", "--seed", "3"], 0, &said);
    let told = found(&scratch, &["--json", "--sample", "3"], 0, &[]).json();
    assert_eq!((&told["ok"], &told["sample"]["rows"], &told["input"]["met"]), (&true.into(), &3.into(), &631.into()));
    assert_eq!(told["table"]["books"]["embedded"], 631);
    let after = tree(scratch.path()).into_iter().filter(|(name, _)| !name.starts_with("logs/")).collect::<Vec<_>>();
    assert!(before == after, "nothing was written");

    // Without the weights nothing can be computed again, and that is not passed over.
    fs::rename(&weights, scratch.join("weights 2.onnx")).expect("it is there");
    found(&scratch, &[], 1, &["unchecked: sample: no row was computed again: `params.weights`: there is no file"]);
    found(&scratch, &["--sample", "0"], 0, &["all of this is as it should be"]);
    fs::copy(need("models/golden/embeddings.npy").expect("beside the model"), &weights).expect("there is room");
    found(&scratch, &[], 1, &["unchecked: sample: no row was computed again: `params.weights`: "]);
}

#[test]
fn what_happened_to_the_input_since_is_told_and_no_fault() {
    let scratch = Scratch::enter("verified: an input that changed");
    let (photos, _) = written(&scratch);
    let all = ["60 rows decoded; 2 by checksum", "61 objects of the run are there", "60 rows computed again"];
    found(&scratch, &["--sample", "99"], 0, &all);

    let other = Submit::verify(&scratch, "out", None).kernels("bf16x3-portable").args(["--sample", "4"]).run().done();
    let said = "4 rows computed again on bf16x3/";
    assert!(other.stdout.contains(said) && other.stdout.contains("within a relative L2 of"), "{other}");

    let names = jpgs(&photos);
    fs::remove_file(photos.join(&names[0])).expect("it is there");
    fs::write(photos.join(&names[1]), "another size").expect("there is room");
    fs::write(photos.join("new\u{1b}[31m.jpg"), "new").expect("there is room");
    let since = ["1 added, 1 gone, 1 changed", "note: input: 1 object was added since: new\u{fffd}[31m.jpg", &names[0]];
    let ended = found(&scratch, &["--sample", "99"], 0, &since);
    assert!(ended.stdout.contains("58 rows computed again") && !ended.stdout.contains('\u{1b}'), "{ended}");
    found(&scratch, &["--no-input"], 0, &["input    not looked at"]);

    // Another photo of the same size: nothing but its numbers tells.
    let (one, other) =
        (fs::read(photos.join(&names[2])).expect("there"), fs::read(photos.join(&names[3])).expect("there"));
    let (long, short, name) = if one.len() > other.len() { (one, other, &names[2]) } else { (other, one, &names[3]) };
    let padded = [&short[..], &vec![0; long.len() - short.len()]].concat();
    fs::write(photos.join(name), padded).expect("there is room");
    let different = [&format!("fault: {name}: `features` has"), &format!("fault: {name}: `pca` has")];
    found(&scratch, &["--sample", "99"], 1, &different.map(String::as_str));

    fs::remove_dir_all(&photos).expect("it is there");
    found(&scratch, &[], 1, &["unchecked: ", "the input can't be listed", "--no-input"]);
    found(&scratch, &["--no-input"], 0, &[]);
}

#[test]
fn damage_is_found_and_named() {
    let scratch = Scratch::enter("verified: damage");
    let (_, output) = written(&scratch);
    let whole = tree(&output.folder);
    let out = |name: &str| output.folder.join(name);
    let name = |path: &Path| path.file_name().expect("a part has a name").to_string_lossy().into_owned();
    let (first, last) = (name(&output.parts[0]), name(&output.parts[1]));
    let damaged = |name: &str, damage: &dyn Fn(Vec<u8>) -> Option<Vec<u8>>, said: &[&str]| {
        fs::remove_file(out(name)).expect("it is there");
        if let Some(bytes) = damage(whole[name].clone()) {
            fs::write(out(name), bytes).expect("there is room");
        }
        let ended = found(&scratch, &["--sample", "1"], 1, said);
        assert!(ended.last_line().starts_with("error: "), "{ended}");
        fs::write(out(name), &whole[name]).expect("there is room");
    };
    let flip = |mut bytes: Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        Some(bytes)
    };
    let unread = format!("fault: {first}: its bytes are not those that were committed");
    damaged(&first, &flip, &[&unread, "an unknown number of added, 0 gone, 0 changed", "; 2 by checksum"]);
    damaged(&last, &|bytes| Some(bytes[..999].to_vec()), &[&format!("fault: {last}: should have"), "but it has 999"]);
    damaged(&last, &|_| None, &[&format!("fault: {last}: should have"), "it is not there"]);
    let edited =
        |bytes: Vec<u8>| Some(String::from_utf8(bytes).unwrap().replace("\"embedded\": 60", "\"embedded\": 59").into());
    damaged("_report.json", &edited, &["fault: _report.json: it is not a copy of _runs/"]);
    let quarantine = "_quarantine.parquet/quarantine.parquet";
    damaged(quarantine, &|_| Some(whole[&first].clone()), &[&format!("fault: {quarantine}: its bytes are not those")]);
    damaged("_pca/mean.npy", &flip, &["fault: _pca/mean.npy: its bytes are not those"]);
    damaged("_SUCCESS", &|_| None, &["fault: _SUCCESS: it is not there"]);
    let log = "_delta_log/00000000000000000000.json";
    let altered = format!("fault: {log}: its bytes are not those that were committed");
    for (from, to) in [("\"timestamp\":1", "\"timestamp\":3"), ("\"numOutputRows\":\"6", "\"numOutputRows\":\"7")] {
        let flipped = |bytes: Vec<u8>| Some(String::from_utf8(bytes).unwrap().replacen(from, to, 1).into());
        damaged(log, &flipped, &[&altered]);
    }
    let mark = whole.keys().find(|name| name.ends_with("/job.json")).expect("each run has one");
    let said = format!("fault: {mark}: it is not the mark that job ");
    damaged(mark, &flip, &[&said]);
    damaged(
        "_delta_log/00000000000000000000.json",
        &|bytes| Some(bytes[..bytes.len() - 300].to_vec()),
        &["entry 0 of"],
    );
    fs::copy(&output.parts[0], out("part-00000-x.parquet")).expect("there is room");
    let stray = found(&scratch, &["--json"], 1, &[]).json();
    assert_eq!(stray["faults"]["first"][0]["at"], "part-00000-x.parquet");
    fs::remove_file(out("part-00000-x.parquet")).expect("it was just made");
    found(&scratch, &[], 0, &["all of this is as it should be"]);

    for (what, said) in
        [("pho tos", "is no table of ours"), ("nowhere", "there is nothing at"), ("ftp://x", "is not known")]
    {
        submit(&scratch, ["verify", what]).stopped(2, &[said]);
    }
    submit(&scratch, ["verify", "out", "--no-input", "--sample", "1"]).stopped(2, &["cannot be used with"]);
}

#[test]
fn an_output_in_a_bucket_is_verified_as_well() {
    let scratch = Scratch::enter("verified: S3");
    let photos = drawn(&scratch, "photos", 20, 6);
    let s3 = S3Server::start(&scratch, &photos, 7);
    let job = Submit::over(&scratch, s3.input(), "s3://photos/out put/", Some(&s3)).set("params.components=3");
    job.run().done();
    let keys = s3.keys("");
    let verify = |output| Submit::verify(&scratch, output, Some(&s3)).run();
    let ended = verify("s3://photos/out put").done();
    assert!(ended.stdout.contains("16 rows computed again"), "{ended}");
    assert_eq!(s3.keys(""), keys, "nothing was written");
    verify("s3://photos/nowhere/").stopped(2, &["there is nothing at s3://photos/nowhere/"]);
    verify("s3://no-such-bucket/").stopped(2, &["no-such-bucket"]);
}

/// Photos below a folder.
fn jpgs(folder: &Path) -> Vec<String> {
    tree(folder).into_keys().filter(|name| name.ends_with(".jpg") && !name.ends_with("bad.jpg")).collect()
}
