//! Jobs on some objects of an input, by lists of every kind.

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use mr_tests::{Coordinator, Output, S3Server, Scratch, Submit, Worker, assert_same_bytes, drawn, submit};
use parquet::arrow::ArrowWriter;
use serde_json::json;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Those that the lists name.
const NAMED: [&str; 4] = ["b c/2.txt", "b c/ü.txt", "d.txt", "e/f/g.txt"];
const OTHERS: [&str; 3] = ["a.txt", "b c/1.txt", "h.txt"];

fn texts(scratch: &Scratch, folder: &str) -> PathBuf {
    for (number, name) in NAMED.iter().chain(&OTHERS).enumerate() {
        let lines: String = (0..40).map(|n| format!("word{} {number}\n", n * (number + 1) % 23)).collect();
        scratch.write(&format!("{folder}/{name}"), lines);
    }
    scratch.write("job.toml", "job = \"inverted-index\"\nmode = \"overwrite\"\n[split]\nobjects_max = 2\n");
    scratch.join(folder)
}

fn packed(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).expect("memory takes it");
    gzip.finish().expect("memory takes it")
}

fn parquet(column: &str, texts: Vec<String>) -> Vec<u8> {
    let column: [(&str, ArrayRef); 1] = [(column, Arc::new(StringArray::from(texts)))];
    let batch = RecordBatch::try_from_iter(column).expect("it is one column");
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("memory takes it");
    writer.write(&batch).expect("memory takes it");
    writer.into_inner().expect("memory takes it")
}

#[test]
fn lists_of_every_kind_give_the_bytes_of_an_input_that_has_only_what_they_name() {
    let scratch = Scratch::enter("input lists: every kind");
    let texts = texts(&scratch, "texts");
    let under = |root: String| NAMED.map(|name| format!("{root}{name}"));
    let folder = format!("{}/", texts.display());
    scratch.write("keys.txt", format!("\u{feff}{}\r\n\r\n{}\n", NAMED.join("\r\n"), NAMED[0]));
    scratch.write("keys.csv.gz", packed(&format!("n,Path\n1,{}\n", under(folder.clone()).join("\n2,"))));
    scratch.write("keys.parquet", parquet("uri", under(format!("file://{folder}")).to_vec()));
    let job = |output: &str| Submit::of(&scratch, "job.toml", &texts, output);
    let of_list = |list: &str, output: &str| job(output).set(format!("input_list={list}"));
    let one = of_list("keys.txt", "of-text").done();
    assert_eq!(one.books(), [4, 4, 0, 0]);
    let mut all = vec![of_list("keys.csv.gz", "of-csv").done(), of_list("keys.parquet", "of-parquet").done()];
    // A table of ours says which objects it is of.
    let part = one.parts[0].display().to_string();
    all.push(of_list(&part, "of-result").done());
    let coordinator = Coordinator::start(&scratch, "state", None, &[]);
    let worker = Worker::start(&scratch, &coordinator, None);
    all.push(of_list("keys.txt", "there").to(&coordinator).done());
    // The same list was brought before, so it need not be brought again.
    all.push(of_list("keys.parquet", "there-too").to(&coordinator).done());
    for other in OTHERS {
        fs::remove_file(texts.join(other)).expect("it was just written");
    }
    all.push(job("of-folder").done());
    all.iter().for_each(|output| assert_same_bytes(&one, output));
    _ = worker.terminate();
    coordinator.terminate();
}

#[test]
fn what_is_wrong_with_a_list_is_told_at_its_place_in_the_job_file() {
    let scratch = Scratch::enter("input lists: refused");
    let texts = texts(&scratch, "texts");
    let job = "job = \"inverted-index\"\ninput_list = \"keys.txt\"\n";
    scratch.write("listed.toml", job);
    let refused = |list: &str, said: &str| {
        scratch.write("keys.txt", list);
        let ended = Submit::of(&scratch, "listed.toml", &texts, "out").run();
        assert_eq!(ended.code(), Some(2), "{ended}");
        assert!(ended.stderr.contains(said), "{said:?} was not said by {ended}");
        assert!(!scratch.join("out").exists(), "nothing was written");
    };
    refused("d.txt\n../x\n", "listed.toml:2:14: `input_list`: line 2: using the key \"../x\"");
    refused("/elsewhere/a.txt\n", "`input_list`: line 1: \"/elsewhere/a.txt\" does not lie under the input");
    refused("\n", "`input_list`: it names no objects");
    refused("_d.txt\n", "`input_list`: none of the 1 objects that it names");
    refused("no.txt\n", "the only object that the list names is not there, file://");
    refused("no.txt\nnone.txt\n", "none of the 2 objects that the list names is at file://");
    scratch.write("listed.toml", job.replace("keys.txt", "keys.tsv"));
    refused("", "listed.toml:2:14: `input_list`: a list of keys is a .txt or .csv");
    scratch.write("listed.toml", job.replace("keys.txt", "other.txt"));
    refused("", "listed.toml:2:14: `input_list`: there is no file");
}

#[test]
fn an_output_is_held_against_what_its_list_names() {
    let scratch = Scratch::enter("input lists: verified");
    let photos = drawn(&scratch, "photos", 12, 5);
    let mut names: Vec<_> = jpgs(&photos);
    names.sort();
    let mut listed = names[..8].to_vec();
    listed.push("Training/no/such.jpg".to_owned());
    scratch.write("keys.csv", format!("key\n{}\n", listed.join("\n")));
    let job = Submit::job(&scratch, &photos, "out").set("input_list=keys.csv").set("params.components=2");
    let output = job.set("limits.quarantine_share_max=0.5").done();
    assert_eq!(output.books(), [9, 8, 1, 0]);
    let verified = |code: i32, said: &[&str]| {
        let ended = submit(&scratch, ["verify", "out", "--sample", "2"]);
        assert_eq!(ended.code(), Some(code), "{ended}");
        said.iter().for_each(|said| assert!(ended.stdout.contains(said), "{said:?} was not said by {ended}"));
    };
    // The other photos lie there as well, and are nobody's.
    let all = "9 objects of the run are there; since then 0 added, 0 gone, 0 changed";
    verified(0, &[all, "2 rows computed again", "all of this is as it should be"]);
    scratch.write("keys.csv", format!("key\n{}\n", names[..9].join("\n")));
    verified(0, &["1 added, 0 gone, 0 changed", &format!("1 object was added since: {}", names[8])]);
    fs::remove_file(scratch.join("keys.csv")).expect("it was just written");
    fs::remove_file(photos.join(&names[0])).expect("it was drawn");
    let unread = "note: input: what its list names is not known any more, so new ones are not told: file://";
    verified(0, &["an unknown number of added, 1 gone, 0 changed", unread]);
}

fn jpgs(photos: &Path) -> Vec<String> {
    let names = mr_tests::tree(photos).into_keys();
    names.filter(|name| name.ends_with(".jpg")).collect()
}

#[test]
fn an_inventory_of_a_bucket_is_a_list() {
    let scratch = Scratch::enter("input lists: an inventory");
    texts(&scratch, "bucket/data");
    let etag = |bytes: &[u8]| Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let row = |name: &str, etag: &str, bytes: usize| {
        // As S3 writes keys there.
        let key = format!("in put/data/{name}").replace('ü', "%C3%BC").replace(' ', "+");
        format!("\"photos\",\"{key}\",\"true\",\"false\",\"{bytes}\",\"{etag}\"\n")
    };
    let as_it_is = |name: &str| {
        let bytes = fs::read(scratch.join("bucket/data").join(name)).expect("it was just written");
        row(name, &etag(&bytes), bytes.len())
    };
    let rows = [
        as_it_is(NAMED[0]),
        as_it_is(NAMED[1]),
        as_it_is(NAMED[2]),
        row(NAMED[3], &etag(b"as it was"), 9),
        row("gone.txt", &etag(b"as it was"), 9),
        "\"photos\",\"in+put/elsewhere.txt\",\"true\",\"false\",\"1\",\"e\"\n".to_owned(),
        "\"photos\",\"in+put/data/deleted.txt\",\"true\",\"true\",\"\",\"\"\n".to_owned(),
        "\"photos\",\"in+put/data/\",\"true\",\"false\",\"0\",\"e\"\n".to_owned(),
    ];
    let files = [packed(&rows[..3].concat()), packed(&rows[3..].concat())];
    let described = |number: usize| {
        let name = format!("{number}.csv.gz");
        scratch.write(&format!("bucket/inventory/{name}"), &files[number]);
        json!({ "key": format!("in put/inventory/{name}"), "size": files[number].len(), "MD5checksum": etag(&files[number]) })
    };
    let manifest = json!({
        "sourceBucket": "photos",
        "destinationBucket": "arn:aws:s3:::photos",
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, IsLatest, IsDeleteMarker, Size, ETag",
        "files": [described(0), described(1)],
    });
    scratch.write("bucket/inventory/manifest.json", manifest.to_string());
    let s3 = S3Server::start(&scratch, &scratch.join("bucket"), 1000);
    let input = format!("{}data/", s3.input());
    let job = |output: &str, list: &str| {
        let job = Submit::over(&scratch, &input, output, Some(&s3)).set("limits.quarantine_share_max=0.5");
        job.set(format!("input_list={list}"))
    };
    let manifest = format!("{}inventory/manifest.json", s3.input());
    let output = job("out", &manifest).done();
    assert_eq!(output.books(), [5, 3, 2, 3]);
    let quarantine = quarantined(&output);
    assert_eq!(quarantine, [("e/f/g.txt", "changed"), ("gone.txt", "missing")].map(|(a, b)| (a.into(), b.into())));

    // Those that are as they were, asked for by their names.
    scratch.write("keys.txt", NAMED[..3].join("\n"));
    assert_same_bytes(&output, &job("of-text", "keys.txt").done());

    let local = scratch.join("bucket/inventory/manifest.json").display().to_string();
    let refused = job("refused", &local).run();
    assert_eq!(refused.code(), Some(2), "{refused}");
    assert!(refused.stderr.contains("`input_list`: the files that it names lie in S3"), "{refused}");
}

/// Keys and classes of what was set aside, in their order.
fn quarantined(output: &Output) -> Vec<(String, String)> {
    use arrow::array::AsArray;
    let file = fs::File::open(output.folder.join("_quarantine.parquet/quarantine.parquet")).expect("it is there");
    let rows = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).expect("it is Parquet");
    let mut found = Vec::new();
    for batch in rows.build().expect("it is Parquet") {
        let batch = batch.expect("it is whole");
        let text =
            |name: &str, at| batch.column_by_name(name).expect("it has one").as_string::<i32>().value(at).to_owned();
        for at in 0..batch.num_rows() {
            let path = text("path", at);
            let key = path.split_once("/data/").expect("it is under the input").1.to_owned();
            found.push((key, text("class", at)));
        }
    }
    found.sort();
    found
}
