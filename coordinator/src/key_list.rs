//! The objects of a job whose input has a list: those that the list names, as they are now.

use crate::prepare::failed;
use mr_core::{BlobRef, Failure, InputFilter, KeyList, Object, sha256_hex};
use mr_storage::{DANGLING, DynStore, GetOptions, StoreError, object_url, present, stands_for_folder};

/// The objects, and how many more the list names that the job does not work on. One that is not there is listed all the
/// same, as a link to nothing is: the worker that looks for it says so, and the books balance.
///
/// # Errors
/// `Refused` when nothing of it is there.
pub async fn objects(input: &DynStore, mut list: KeyList, filter: &InputFilter) -> Result<(Vec<Object>, u64), Failure> {
    list.retain(|key| filter.wants(key));
    let unknown = || list.objects().iter().filter(|listed| listed.version.is_none());
    let looked_at = present(input.as_ref(), unknown().map(|listed| listed.key.as_str())).await;
    let mut looked_at = looked_at.map_err(|error| failed("looking for what the list names", &error))?.into_iter();
    let mut skipped = list.skipped;
    let mut objects = Vec::with_capacity(list.objects().len());
    for listed in list.objects() {
        let key = listed.key.clone();
        objects.push(match &listed.version {
            // It need not be there any more: who reads it asks for this version, and says so if that is gone.
            Some(version) => Object { key, bytes: version.bytes, etag: version.etag.clone() },
            None => match looked_at.next().expect("each was looked at") {
                Some(object) if stands_for_folder(&object.key, object.bytes) => {
                    skipped += 1;
                    continue;
                }
                Some(object) => object,
                None => Object { key, bytes: 0, etag: DANGLING.to_owned() },
            },
        });
    }
    let there = objects.iter().any(|object| object.etag != DANGLING);
    match objects.first() {
        Some(first) if !there => Err(Failure::refused(none_there(objects.len(), first, input.url()))),
        _ => Ok((objects, skipped)),
    }
}

fn none_there(count: usize, first: &Object, input: &str) -> String {
    let url = object_url(input, &first.key);
    let none = match count {
        1 => format!("the only object that the list names is not there, {url}"),
        count => format!("none of the {count} objects that the list names is at {input}, such as {url}"),
    };
    format!("{none}: check `input`, which keys in `input_list` are relative to")
}

/// The list, as it came with the job.
///
/// # Errors
/// `Refused` when it is not there any more.
pub async fn read(state: &DynStore, blob: &BlobRef) -> Result<KeyList, Failure> {
    let got = state.get(&blob.key, GetOptions::default()).await.map_err(|error| match error {
        StoreError::NotFound { .. } => {
            Failure::refused("what the input's list names is not in the state store any more: submit the job again")
        }
        error => failed("reading what the input's list names", &error),
    })?;
    let sha256 = blob.sha256.clone();
    let read = tokio::task::spawn_blocking(move || match sha256_hex(&got.bytes) {
        is if is == sha256 => KeyList::decode(&got.bytes).map_err(Failure::refused),
        // The store says what it has; another time it may be what was put there.
        is => Err(Failure::transient(format!(
            "what the input's list names has SHA-256 {is} where it had {sha256}; who submits the job anew stores it again"
        ))),
    });
    read.await.map_err(|_| Failure::transient("the coordinator is stopping"))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::{FailureClass, ListedKey, ListedVersion};
    use mr_storage::{Memory, Put};
    use std::sync::Arc;

    fn listed(key: &str, version: Option<(u64, &str)>) -> ListedKey {
        let version = version.map(|(bytes, etag)| ListedVersion { bytes, etag: etag.into() });
        ListedKey { key: key.into(), version }
    }

    async fn taken(objects: Vec<ListedKey>, put: impl Fn(Vec<u8>) -> Vec<u8>) -> Result<(Vec<Object>, u64), Failure> {
        let (state, input): (DynStore, DynStore) = (Arc::new(Memory::new()), Arc::new(Memory::new()));
        for key in ["a.jpg", "b.jpg", "n.txt"] {
            input.put(key, "xy".into(), Put::Overwrite).await.unwrap();
        }
        let bytes = KeyList::new(objects, 5).encode();
        let blob = BlobRef::shared(sha256_hex(&bytes), bytes.len() as u64);
        state.put(&blob.key, put(bytes).into(), Put::Overwrite).await.unwrap();
        let list = read(&state, &blob).await?;
        super::objects(&input, list, &InputFilter { extensions: vec!["jpg".into()] }).await
    }

    #[tokio::test]
    async fn those_in_a_version_are_taken_at_their_word_and_the_others_looked_at() {
        let list = ["b.jpg", "n.txt", "no.jpg", "a.jpg"].map(|key| listed(key, None));
        let list = list.into_iter().chain([listed("c.jpg", Some((9, "e")))]).collect();
        let (objects, skipped) = taken(list, |bytes| bytes).await.unwrap();
        let said: Vec<_> = objects.iter().map(|o| (o.key.as_str(), o.bytes, o.etag.as_str())).collect();
        assert_eq!(said, [("a.jpg", 2, "1"), ("b.jpg", 2, "2"), ("c.jpg", 9, "e"), ("no.jpg", 0, DANGLING)]);
        assert_eq!(skipped, 6);
    }

    #[tokio::test]
    async fn a_list_of_which_nothing_is_there_is_refused() {
        let failure = taken(vec![listed("x.jpg", None), listed("y.jpg", None)], |bytes| bytes).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Refused);
        let said = "none of the 2 objects that the list names is at memory:///, such as memory:///x.jpg: check `input`";
        assert!(failure.message.starts_with(said), "{}", failure.message);
    }

    #[tokio::test]
    async fn bytes_that_are_not_those_of_the_plan_are_not_believed() {
        let failure = taken(vec![listed("a.jpg", None)], |_| KeyList::default().encode()).await.unwrap_err();
        assert!(failure.message.contains("has SHA-256"), "{}", failure.message);
    }
}
