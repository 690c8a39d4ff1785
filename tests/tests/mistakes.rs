//! The command line as people get it wrong. Each mistake is data: what was typed, the exit code, and words of the answer. A
//! mistake leaves nothing behind: not a file is made, changed or removed.

use mr_tests::{Output, S3Server, Scratch, Submit, drawn, program, submit, tree};
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::process::Command;

/// What is in the job file unless a case has its own.
const GOOD: &str = "job = \"image-features\"\ninput = \"photos\"\noutput = \"out\"\n";

struct Mistake {
    /// The whole job file; lines that begin with `+` come after the good ones instead.
    file: &'static str,
    args: &'static [&'static str],
    code: i32,
    said: &'static [&'static str],
}

const fn typed(file: &'static str, said: &'static [&'static str]) -> Mistake {
    Mistake { file, args: &["job.toml"], code: 2, said }
}

const fn called(args: &'static [&'static str], code: i32, said: &'static [&'static str]) -> Mistake {
    Mistake { file: GOOD, args, code, said }
}

#[rustfmt::skip]
const MISTAKES: &[Mistake] = &[
    // The file.
    typed("+[params]\ncomponets = 3", &["job.toml:5:1: unknown key `componets` under [params], did you mean `components`?", "componets = 3", "^"]),
    typed("+mod = \"overwrite\"", &["job.toml:4:1: unknown key `mod`, did you mean `mode`?"]),
    typed("+[limit]\nattempts_max = 1", &["unknown table [limit], did you mean [limits]?"]),
    typed("+[params]\ncomponents = \"fifty\"", &["job.toml:5:14: `params.components` takes a number, not a text"]),
    typed("+[params]\nextensions = \"jpg\"", &["`params.extensions` takes a list of texts, not a text"]),
    typed("+mode = true", &["`mode` takes a text in quotes, not true"]),
    typed("+[params]\ncomponents = 0", &["job.toml:5:14: `params.components`", "an integer from 1"]),
    typed("+[params]\ncomponents = 1.5", &["`params.components`", "a number between 0 and 1"]),
    typed("+[params]\ncomponents = 1281", &["`params.components`", "1281 is more than the 1280 features"]),
    typed("+[params]\nlabel = 1", &["`params.label`", "counted from the end"]),
    typed("+[params]\nextensions = []", &["`params.extensions`", "such as \"jpg\""]),
    typed("+[params]\nweights_sha256 = \"abc\"", &["`params.weights_sha256`", "64 hexadecimal digits"]),
    typed("+[limits]\nquarantine_share_max = 1.5", &["`limits.quarantine_share_max` is a share, from 0 to 1, not 1.5"]),
    typed("+[limits]\nattempts_max = 0", &["`limits.attempts_max` is from 1 to 1000, not 0"]),
    typed("+[split]\nobjects_max = 0", &["`split.objects_max` is from 1 to 10000, not 0"]),
    typed("+[split]\nbytes_max = \"lots\"", &["`split.bytes_max` takes a number of bytes"]),
    typed("+output_format = \"text\"", &["job.toml:4:17: `output_format` can't be \"text\" here, since `features` and `pca` are lists: say \"json\""]),
    typed("+mode = \"append\"", &["`mode` is \"fail\" or \"overwrite\", not \"append\""]),
    typed("job = \"image-feature\"\ninput = \"photos\"\noutput = \"out\"", &["job.toml:1:7: there is no job `image-feature`; did you mean `image-features`?"]),
    typed("input = \"photos\"\noutput = \"out\"", &["`job` is missing", "job = \"image-features\""]),
    typed("job = \"image-features\"\noutput = \"out\"", &["`input` is missing", "--input"]),
    typed("job = \"image-features\"\ninput = \"photos\"", &["`output` is missing", "--output"]),
    typed("job = \"image-features\ninput = \"photos\"", &["job.toml:1:", "this is no TOML"]),
    typed("", &["`job` is missing", "`input` is missing", "`output` is missing"]),
    // The command.
    called(&["absent.toml"], 2, &["there is no job file `absent.toml`"]),
    called(&["photos"], 2, &["`photos` is a folder; name a job file"]),
    called(&["lst"], 2, &["there is no job file `lst`; did you mean the command `list`?"]),
    called(&["photos.tar"], 2, &["photos.tar:1: this is not UTF-8"]),
    called(&[], 2, &["Usage: mr-submit"]),
    called(&["job.toml", "--colour"], 2, &["--colour"]),
    called(&["job.toml", "--slots", "0"], 2, &["--slots"]),
    called(&["job.toml", "--set", "params.componets=3"], 2, &["`--set params.componets=3`", "did you mean `params.components`?"]),
    called(&["job.toml", "--set", "components"], 2, &["`--set components`", "a key and a value"]),
    called(&["list"], 2, &["--coordinator http://host:port", "MR_COORDINATOR"]),
    called(&["--coordinator", "localhost:7171", "list"], 2, &["`localhost:7171` is no address of a coordinator", "http://host:port"]),
    called(&["--coordinator", "http://127.0.0.1:9", "job.toml", "--slots", "2"], 2, &["--slots is for a run on this machine"]),
    // Places.
    called(&["job.toml", "--input", "nowhere"], 2, &["there is no input at", "/nowhere/"]),
    called(&["job.toml", "--input", "empty"], 2, &["the input at", "/empty/ is empty"]),
    called(&["job.toml", "--input", "texts"], 2, &["none of the 2 objects at", "ends in .jpeg, .jpg, .png, .webp", "params.extensions"]),
    called(&["job.toml", "--set", "params.extensions=[\"tif\"]"], 2, &["none of the 12 objects at", "ends in .tif"]),
    called(&["job.toml", "--input", "photos.tar"], 2, &["photos.tar"]),
    called(&["job.toml", "--input", "gs://bucket/photos"], 2, &["`gs://` is not known; use a path, file:// or s3://"]),
    called(&["job.toml", "--output", "photos"], 2, &["`output` is the input; it needs a place of its own"]),
    called(&["job.toml", "--output", "photos/out"], 2, &["`output` lies inside the input"]),
    called(&["job.toml", "--output", "link/out"], 2, &["`output` lies inside the input"]),
    called(&["job.toml", "--output", "."], 2, &["the input lies inside `output`"]),
    called(&["job.toml", "--state", "out/state"], 2, &["working files would go to", "choose another place with --state"]),
    called(&["job.toml", "--state", "photos/.state"], 2, &["working files would go to", "which lies in the input"]),
    called(&["job.toml", "--output", "table"], 2, &["the output exists: it is a table with 12 rows", "mode=overwrite"]),
    called(&["job.toml", "--output", "table", "--adopt"], 2, &["the output exists: it is a table with 12 rows"]),
    called(&["job.toml", "--output", "foreign"], 2, &["the output exists: it holds Parquet that is no table of ours (mine.parquet)", "--adopt"]),
    called(&["job.toml", "--output", "foreign", "--set", "mode=overwrite"], 2, &["Parquet that is no table of ours (mine.parquet)", "`--adopt`"]),
    called(&["job.toml", "--output", "foreign", "--adopt"], 2, &["mode=overwrite"]),
    called(&["job.toml", "--output", "texts"], 2, &["the output exists: it holds 2 files, none of them Parquet"]),
    called(&["job.toml", "--output", "photos.tar"], 2, &["photos.tar"]),
    // Weights.
    called(&["job.toml", "--set", "params.weights=none.onnx"], 2, &["`params.weights`: there is no file", "/none.onnx"]),
    called(&["job.toml", "--set", "params.weights=photos"], 2, &["`params.weights`: reading", "/photos"]),
    called(&["job.toml", "--set", "params.weights=texts/a.txt"], 2, &["`params.weights`"]),
    called(&["job.toml", "--set", "params.weights=cut.onnx"], 2, &["`params.weights`"]),
    called(&["job.toml", "--set", "params.weights=stranger.onnx"], 2, &["`params.weights`", "expanded_conv_depthwise_relu6", "Cosh"]),
    called(&["job.toml", "--set", "params.components=3", "--output", "/proc/none/out"], 2, &["/proc/none/out", "choose another output"]),
    called(&["job.toml"], 2, &["the input has 12 objects, and 50 are needed", "lower `params.components`"]),
    called(&["job.toml", "--set", "params.components=13"], 2, &["the input has 12 objects, and 13 are needed"]),
    // Found out while it ran.
    called(&["job.toml", "--input", "broken", "--keep-days", "0", "--set", "params.components=2"], 1, &["3 of 3 listed objects are quarantined, more than limits.quarantine_share_max = 0.01 allows", "a.jpg (not-an-image"]),
    called(&["job.toml", "--input", "broken", "--keep-days", "0", "--set", "limits.quarantine_share_max=1", "--set", "params.components=2"], 1, &["fitting 2 components to 0 rows"]),
];

#[test]
fn every_mistake_is_told_and_leaves_nothing_behind() {
    let scratch = Scratch::enter("mistakes: files, commands, places, weights");
    world(&scratch);
    let mut faults = Vec::new();
    for Mistake { file, args, code, said } in MISTAKES {
        let file = file.strip_prefix('+').map_or((*file).to_owned(), |more| format!("{GOOD}{more}\n"));
        scratch.write("job.toml", file);
        let before = files(&scratch);
        let ended = submit(&scratch, *args);
        let mut wrong: Vec<_> = said.iter().filter(|words| !ended.stderr.contains(**words)).collect();
        let code_text = format!("exit code {code}");
        let code_text: &str = &code_text;
        if ended.code() != Some(*code) {
            wrong.push(&code_text);
        }
        let after = files(&scratch);
        let changed: Vec<_> =
            before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name)).collect();
        if !wrong.is_empty() || !changed.is_empty() || !ended.stdout.is_empty() {
            faults.push(format!("missing: {wrong:?}\nchanged files: {changed:?}\n{ended}"));
        }
    }
    assert!(faults.is_empty(), "{} of {} mistakes:\n\n{}", faults.len(), MISTAKES.len(), faults.join("\n\n"));
}

/// What the mistakes meet.
fn world(scratch: &Scratch) {
    let photos = drawn(scratch, "photos", 12, 1);
    Submit::job(scratch, &photos, "table").set("params.components=3").done();
    let part = &Output::open(&scratch.join("table")).parts[0];
    scratch.write("foreign/mine.parquet", fs::read(part).expect("it was opened"));
    fs::create_dir(scratch.join("empty")).expect("there is room");
    for name in ["texts/a.txt", "texts/b/c.txt", "broken/a.jpg", "broken/b.jpg", "broken/c.png"] {
        scratch.write(name, "no photo");
    }
    scratch.write("photos.tar", b"\xff\xfe no text and no folder");
    std::os::unix::fs::symlink(&photos, scratch.join("link")).expect("there is room");
    let weights = xtask::shell::root().join("vision/weights/mobilenet_v2.onnx");
    let mut weights = fs::read(weights).expect("the weights lie in the repository");
    scratch.write("cut.onnx", &weights[..weights.len() / 2]);
    // The second activation becomes another function of the same length.
    let places: Vec<_> = (0..weights.len() - 4).filter(|at| &weights[*at..at + 4] == b"Clip").collect();
    weights[places[1]..places[1] + 4].copy_from_slice(b"Cosh");
    scratch.write("stranger.onnx", weights);
}

/// Everything but logs; folders too, since an empty one would be something left behind.
fn files(scratch: &Scratch) -> BTreeMap<String, Vec<u8>> {
    let mut files = tree(scratch.path());
    files.retain(|name, _| !name.starts_with("logs/"));
    let mut folders = vec![scratch.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("nobody else is at it") {
            let entry = entry.expect("nobody else is at it");
            if entry.file_type().expect("it is there").is_dir() {
                files.insert(format!("{}/", entry.path().display()), Vec::new());
                folders.push(entry.path());
            }
        }
    }
    files
}

#[test]
fn wrong_weights_are_told_with_both_hashes() {
    let scratch = Scratch::enter("mistakes: weights of another hash");
    let photos = drawn(&scratch, "photos", 12, 1);
    let wanted = "0123456789abcdef".repeat(4);
    let job = || Submit::job(&scratch, &photos, "out").set("params.components=3");
    let said = job().set(format!("params.weights_sha256={wanted}")).run().stopped(2, &["SHA-256", &wanted]).stderr;
    let is_hash = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = said.split(|c: char| !c.is_ascii_alphanumeric());
    let actual: Vec<_> = words.filter(is_hash).filter(|word| **word != *wanted).collect();
    assert_eq!(actual.len(), 1, "{said}");
    assert!(!scratch.join("out").exists());
    // The hash that it said is the right one, and found right in either case.
    job().set(format!("params.weights_sha256={}", actual[0].to_uppercase())).done();
}

#[test]
fn a_bucket_that_is_not_there_is_told() {
    let scratch = Scratch::enter("mistakes: buckets");
    let photos = drawn(&scratch, "photos", 12, 1);
    let s3 = S3Server::start(&scratch, &photos, 1000);
    let cases = [
        (s3.input(), "s3://absent/out/", "absent"),
        ("s3://absent/photos/".into(), "out", "absent"),
        ("s3://photos/nothing/".into(), "out", "s3://photos/nothing/"),
        (s3.input(), "s3://photos/in put/out/", "lies inside the input"),
    ];
    for (input, output, said) in cases {
        Submit::over(&scratch, &input, output, Some(&s3)).set("params.components=3").run().stopped(2, &[said]);
    }
    assert!(s3.keys("out/").is_empty() && s3.keys("in put/out/").is_empty() && !scratch.join("out").exists());
}

#[test]
fn foreign_parquet_is_taken_over_when_that_is_asked_for() {
    let scratch = Scratch::enter("mistakes: adoption");
    let photos = drawn(&scratch, "photos", 12, 1);
    let job = |output: &str| Submit::job(&scratch, &photos, output).set("params.components=3");
    let part = job("table").done().parts.remove(0);
    scratch.write("foreign/mine.parquet", fs::read(&part).expect("it was opened"));
    scratch.write("foreign/notes.txt", "mine too");
    let adopted = job("foreign").args(["--adopt"]).run().done();
    assert!(adopted.stdout.starts_with("12 images embedded"), "{adopted}");
    let left: Vec<_> = tree(&scratch.join("foreign")).into_keys().filter(|name| !name.contains('/')).collect();
    assert!(!left.contains(&"mine.parquet".to_owned()) && left.contains(&"notes.txt".to_owned()), "{left:?}");
    fs::remove_file(scratch.join("foreign/notes.txt")).expect("it is there");
    assert_eq!(Output::open(&scratch.join("foreign")).books(), [12, 12, 0, 0]);
}

#[test]
fn the_servers_refuse_what_they_can_t_do() {
    let scratch = Scratch::enter("mistakes: coordinator and worker");
    scratch.write("unknown.toml", "listn = \"127.0.0.1:0\"\n");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).expect("it is bound");
    let state = ["--state", "state"];
    let cases: &[(&str, &[&str], &str)] = &[
        ("mr-coordinator", &[], "`--state DIR`"),
        ("mr-coordinator", &["--state", "gs://bucket/"], "gs://bucket/"),
        ("mr-coordinator", &["--listen", "somewhere", state[0], state[1]], "--listen"),
        ("mr-coordinator", &["--listen", &taken.1, state[0], state[1]], &format!("listening on {}", taken.1)),
        ("mr-coordinator", &["--lease-ms", "5", state[0], state[1]], "--lease-ms"),
        ("mr-coordinator", &["--config", "unknown.toml"], "listn"),
        ("mr-coordinator", &["--config", "absent.toml"], "absent.toml"),
        ("mr-worker", &[], "`--coordinator URL` is needed"),
        ("mr-worker", &["--coordinator", "http://127.0.0.1:1", "--slots", "0"], "--slots"),
        ("mr-worker", &["--coordinator", "no url at all"], "`no url at all` is no address of a coordinator"),
        ("mr-worker", &["--config", "unknown.toml"], "listn"),
    ];
    for (name, args, said) in cases {
        let mut command = Command::new(program(name));
        command.args(*args).current_dir(scratch.path()).env_remove("MR_COORDINATOR").env_remove("MR_STATE");
        let ended = mr_tests::Running::start(command, &scratch).wait(std::time::Duration::from_secs(20));
        ended.stopped(2, &[said]);
    }
}
