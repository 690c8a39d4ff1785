//! From what is meant to a plan and the blobs that it needs: broadcasts and lists of keys are read and checked here, where
//! the user is. What a URL of the web has in it that is secret ends here: a plan has the bytes' hash, and the URL
//! without.

use crate::job_file::JobFile;
use crate::key_list;
use crate::keys;
use crate::location::{self, Place};
use crate::meant::Meant;
use crate::mistake::Mistake;
use bytes::Bytes;
use mr_coordinator::BLOB_BYTES_MAX;
use mr_core::{BlobRef, JobPlan, JobSpec, ParamValue, lacks_query, sha256_hex, shown_url};
use mr_mapreduce::{Broadcast, BroadcastSource, Content, Job, ParamError, param_key};

#[derive(Debug)]
pub struct Planned {
    pub plan: JobPlan,
    pub broadcasts: Vec<Broadcast>,
    /// The bytes of the plan's `keys`.
    pub keys: Option<Bytes>,
}

impl Planned {
    /// All that has to be in the state store before the plan is carried out.
    pub fn blobs(&self) -> Vec<(BlobRef, Bytes)> {
        let broadcasts = self.broadcasts.iter().map(|broadcast| (broadcast.blob.clone(), broadcast.bytes.clone()));
        broadcasts.chain(self.plan.keys.clone().zip(self.keys.clone())).collect()
    }
}

/// What lies beside the job file is found from `beside`, and everything else from `place`.
///
/// # Errors
/// The parameter, or the list of keys, that can't be, at its place.
pub async fn plan(meant: Meant, file: &JobFile, place: &Place, beside: &Place) -> Result<Planned, Mistake> {
    let planned = plan_of(meant.job.as_ref(), meant.spec, place, beside).await;
    let mut planned = planned.map_err(|error| {
        let key = param_key(error.param);
        Mistake::new(&file.value_at(&key), format!("`{key}`: {}", error.message))
    })?;
    if let Some(list) = &planned.plan.spec.input_list {
        let keys = key_blob(list, &planned.plan).await;
        let (blob, bytes) = keys.map_err(|message| {
            let key = keys::INPUT_LIST;
            Mistake::new(&file.value_at(key), format!("`{key}`: {message}"))
        })?;
        (planned.plan.keys, planned.keys) = (Some(blob), Some(bytes));
        planned.plan.spec.input_list = Some(shown_url(list).into_owned());
    }
    Ok(planned)
}

/// What a list names, as it travels.
async fn key_blob(list: &str, plan: &JobPlan) -> Result<(BlobRef, Bytes), String> {
    let keys = key_list::read(list, &plan.spec.input, &plan.filter).await?;
    let (count, bytes) = (keys.objects().len(), Bytes::from(keys.encode()));
    if bytes.len() as u64 > BLOB_BYTES_MAX {
        return Err(format!("it names {count} objects, which are too many for one job: make several lists of it"));
    }
    Ok((BlobRef::shared(sha256_hex(&bytes), bytes.len() as u64), bytes))
}

/// The same without a file to point to, and without what a list of keys names.
///
/// # Errors
/// The parameter that can't be.
pub async fn plan_of(job: &dyn Job, mut spec: JobSpec, place: &Place, beside: &Place) -> Result<Planned, ParamError> {
    let mut broadcasts = Vec::new();
    let known = job.params();
    for source in job.broadcasts(&spec.params)? {
        let BroadcastSource { name, content, sha256: expected, param, sha256_param } = source;
        let refuse = |message: String| ParamError::new(param, message);
        let from = if let Content::Beside(_) = content { beside } else { place };
        let mut shortened = false;
        let bytes = match content {
            Content::BuiltIn(bytes) => Bytes::from_static(bytes),
            Content::Url(typed) | Content::Beside(typed) => {
                let url = location::object_url(&typed, from).map_err(refuse)?;
                // From here on the parameter says the same wherever it is read, and nothing that is secret.
                let shown = shown_url(&url);
                shortened = shown != url;
                if let Some(said) = spec.params.get_mut(param).and_then(|value| that_says(value, &typed)) {
                    *said = shown.into_owned();
                }
                fetch(&url).await.map_err(refuse)?
            }
        };
        let sha256 = sha256_hex(&bytes);
        if let Some(expected) = expected.filter(|expected| !expected.eq_ignore_ascii_case(&sha256)) {
            let message = format!("`{name}` has SHA-256 {sha256}, not {expected} as was asked for");
            return Err(ParamError::new(sha256_param, message));
        }
        // What that URL leads to is known by this alone from here on.
        if shortened && known.iter().any(|known| known.name == sha256_param && known.name != param) {
            spec.params.entry(sha256_param.into()).or_insert_with(|| ParamValue::Text(sha256.clone()));
        }
        broadcasts.push(Broadcast { name, blob: BlobRef::shared(sha256, bytes.len() as u64), bytes });
    }
    let plan = job.plan(&spec, &broadcasts)?;
    Ok(Planned { plan, broadcasts, keys: None })
}

/// The text of a parameter, or of a list's item, if it is this one.
fn that_says<'a>(value: &'a mut ParamValue, typed: &str) -> Option<&'a mut String> {
    match value {
        ParamValue::Text(text) => (text == typed).then_some(text),
        ParamValue::List(items) => items.iter_mut().find_map(|item| that_says(item, typed)),
        ParamValue::Bool(_) | ParamValue::Integer(_) | ParamValue::Number(_) => None,
    }
}

/// The object at that URL, a file or in a store.
///
/// # Errors
/// A sentence.
pub async fn fetch(url: &str) -> Result<Bytes, String> {
    if lacks_query(url) {
        return Err(format!("what was after the ? of {url} is not kept, as it may be a secret"));
    }
    let Some(path) = location::path_of(url) else {
        return mr_storage::fetch(url, BLOB_BYTES_MAX).await.map_err(|error| mr_storage::story(&error));
    };
    tokio::fs::read(path).await.map(Bytes::from).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file {}", path.display()),
        _ => format!("reading {}: {error}", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meant;
    use crate::mistake::{Source, render};
    use crate::testing::registry;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::path::Path;

    async fn planned(params: &str, here: &Path) -> Result<Planned, String> {
        planned_of(&format!("[params]\n{params}"), here).await
    }

    async fn planned_of(rest: &str, here: &Path) -> Result<Planned, String> {
        let text = format!("job = \"count\"\ninput = \"in\"\noutput = \"out\"\n{rest}\n");
        let source = Source { name: "j.toml".into(), text };
        let file = JobFile::parse(&source).unwrap();
        let place = Place { here: here.to_owned(), home: None };
        let meant = meant::resolve(&file, &registry(), false, &place).unwrap();
        plan(meant, &file, &place, &place).await.map_err(|mistake| render(&[mistake], &source))
    }

    #[tokio::test]
    async fn weights_are_read_hashed_and_named_absolutely() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("w 1.onnx"), b"abc").unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for expected in [sha256.to_owned(), sha256.to_uppercase()] {
            let params = format!("weights = \"w 1.onnx\"\nweights_sha256 = \"{expected}\"");
            let planned = planned(&params, folder.path()).await.unwrap();
            assert_eq!(planned.broadcasts[0].blob, BlobRef::shared(sha256.into(), 3));
            assert_eq!(planned.plan.broadcasts[0].blob, planned.broadcasts[0].blob);
            let url = format!("file://{}/w 1.onnx", folder.path().display());
            assert_eq!(planned.plan.spec.params["weights"], ParamValue::Text(url));
        }
    }

    /// A server that answers everyone with these bytes, until the test's process ends.
    fn web(bytes: &'static str) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut lines = BufReader::new(stream.unwrap());
                while lines.by_ref().lines().next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let length = bytes.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                _ = lines.get_mut().write_all(format!("{head}{bytes}").as_bytes());
            }
        });
        address.to_string()
    }

    #[tokio::test]
    async fn a_plan_has_no_secrets_of_urls_and_its_tasks_are_the_same_whatever_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let (weights, list) = (web("abc"), web("a.jpg\n"));
        let mut keys = Vec::new();
        for secret in ["hunter2", "hunter3"] {
            let signed =
                |at: &str, name: &str| format!("\"http://user:{secret}@{at}/{name}?X-Amz-Signature={secret}\"");
            let (weights_url, list_url) = (signed(&weights, "w.onnx"), signed(&list, "k.txt"));
            let text = format!("input_list = {list_url}\n[params]\nweights = {weights_url}");
            let planned = planned_of(&text, folder.path()).await.unwrap();
            let said = format!("{planned:?}{}", serde_json::to_string(&planned.plan).unwrap());
            assert!(!said.contains("hunter") && !said.contains("Signature"), "{said}");
            let spec = &planned.plan.spec;
            assert_eq!(spec.input_list, Some(format!("http://{list}/k.txt?…")));
            assert_eq!(spec.params["weights"], ParamValue::Text(format!("http://{weights}/w.onnx?…")));
            assert_eq!(spec.params["weights_sha256"], ParamValue::Text(sha256_hex(b"abc")));
            assert_eq!(planned.broadcasts[0].bytes, "abc");
            let graph = mr_core::expand(&planned.plan, 1).unwrap();
            keys.push(mr_core::task_keys(&planned.plan, &graph, &[], &[]));

            // Nobody could fetch it again, and nobody is asked.
            let job = registry().find("count").unwrap().clone();
            let place = Place { here: "/".into(), home: None };
            let again = plan_of(job.as_ref(), spec.clone(), &place, &place).await.unwrap_err().to_string();
            assert!(again.ends_with("w.onnx?… is not kept, as it may be a secret"), "{again}");

            // Nor is a mistake in it told with it.
            let said = planned_of(&text.replace("w.onnx?", "w.onnx?\\u0007"), folder.path()).await.unwrap_err();
            assert!(said.contains("control character") && !said.contains("hunter"), "{said}");
        }
        assert_eq!(keys[0], keys[1]);
    }

    #[tokio::test]
    async fn a_list_is_read_and_what_it_names_is_a_blob_that_the_plan_refers_to() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().display().to_string();
        std::fs::write(folder.path().join("k.txt"), format!("b.jpg\n{here}/in/a.jpg\nx/_hidden\nb.jpg\n")).unwrap();
        let planned = planned_of("input_list = \"k.txt\"", folder.path()).await.unwrap();
        let bytes = b"1\n[\"a.jpg\"]\n[\"b.jpg\"]\n";
        let blob = BlobRef::shared(sha256_hex(bytes), bytes.len() as u64);
        assert_eq!(planned.plan.spec.input_list, Some(format!("file://{here}/k.txt")));
        assert_eq!(planned.plan.keys.as_ref(), Some(&blob));
        let blobs = planned.blobs();
        assert_eq!(blobs[1], (blob, Bytes::from_static(bytes)));
        assert_eq!(blobs.len(), 2, "the weights are one as well");
    }

    #[tokio::test]
    async fn a_list_that_cannot_be_is_shown_at_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().display();
        for (name, content, expected) in [
            ("k.txt", None, format!("there is no file {here}/k.txt")),
            (
                "k.txt",
                Some("a\n..\n"),
                "line 2: using the key \"..\": it can't be done: a key has no segment . or ..".into(),
            ),
            ("k.txt", Some("\n"), "it names no objects".into()),
            (
                "k.csv",
                Some("key,is_latest\na,false\n"),
                format!("it names no object under the input file://{here}/in/, only 1 that are elsewhere or gone"),
            ),
            (
                "k.txt",
                Some("_a\n.b/c\n"),
                "none of the 2 objects that it names begins otherwise than with _ or ., as the job wants".into(),
            ),
            ("k.json", Some("{}"), "it is no manifest of an S3 Inventory: missing field `sourceBucket`".into()),
            ("k.parquet", Some("PAR1"), "it can't be read as Parquet: ".into()),
        ] {
            _ = content.map(|content| std::fs::write(folder.path().join(name), content).unwrap());
            let said = planned_of(&format!("input_list = \"{name}\""), folder.path()).await.unwrap_err();
            let said = said.lines().next().unwrap();
            assert!(said.starts_with(&format!("j.toml:4:14: `input_list`: {expected}")), "{name}: {said}");
            _ = std::fs::remove_file(folder.path().join(name));
        }
    }

    #[tokio::test]
    async fn what_the_job_refuses_is_shown_at_its_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("w")).unwrap();
        let here = folder.path().display();
        for (params, expected) in [
            ("components = 0", "j.toml:5:14: `params.components`: at least one is needed".to_owned()),
            ("weights = \"no.onnx\"", format!("j.toml:5:11: `params.weights`: there is no file {here}/no.onnx")),
            (
                "weights = \"w\"",
                format!("j.toml:5:11: `params.weights`: reading {here}/w: Is a directory (os error 21)"),
            ),
            (
                "weights = \"ftp://x/y\"",
                "j.toml:5:11: `params.weights`: `ftp://` is not known; use a path, file:// or s3://".to_owned(),
            ),
            (
                "weights_sha256 = \"00\"",
                format!(
                    "j.toml:5:18: `params.weights_sha256`: `weights` has SHA-256 {}, not 00 as was asked for",
                    sha256_hex(b"built in")
                ),
            ),
        ] {
            let said = planned(params, folder.path()).await.unwrap_err();
            assert_eq!(said.lines().next(), Some(&*expected), "{params}");
        }
    }
}
