//! Fetching ahead: a split's objects come in order, many small requests in flight, within a bound of bytes.

use crate::job::ObjectRecord;
use crate::lost::{self, Unread};
use crate::row_groups;
use bytes::Bytes;
use futures::Stream;
use futures::stream::{self, StreamExt};
use memchr::memchr;
use mr_core::{Failure, FileRef, Object, Packing, Piece, PieceHas};
use mr_storage::{DynStore, GetOptions, Native, StoreError, object_url, story};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

/// Requests in flight for one attempt. Bounded, since many parallel GETs time out inside the SDK.
const IN_FLIGHT: usize = 16;
/// Bytes that one attempt holds ahead of its slot.
const BYTES_AHEAD: u32 = 32 << 20;
/// Files of the framework's own in flight for one attempt: they are larger.
const FILES_IN_FLIGHT: usize = 4;
/// Read at first behind a piece, for the rest of its last line.
const LINE_AHEAD: u64 = 64 << 10;
/// A line is in memory as a whole, in every slot.
pub const LINE_MAX: usize = 64 << 20;

/// An object on its way to the job's code, holding its part of the bytes ahead.
pub struct Fetched {
    pub object: Object,
    pub content: Result<ObjectRecord, NotFetched>,
    _ahead: OwnedSemaphorePermit,
}

pub enum NotFetched {
    /// Not the object that was listed, or one that will not be read: a verdict.
    Verdict {
        class: &'static str,
        message: String,
        environment: bool,
    },
    Failed(Failure),
}

/// What is wanted of each object.
pub struct Wanted<F> {
    /// Of the only object; `None`: all of all.
    pub piece: Option<Piece>,
    /// More than that is not read.
    pub bytes_max: u64,
    /// Which of an object's bytes; `None`: all.
    pub reads: F,
}

/// Sends every object to `to` in order, or what is wanted of it. Ends early when the other side has gone.
pub async fn objects<F: Fn(Range<u64>) -> Option<Vec<Range<u64>>>>(
    store: DynStore,
    objects: Vec<Object>,
    wanted: Wanted<F>,
    to: mpsc::Sender<Fetched>,
) {
    let ahead = Arc::new(Semaphore::new(BYTES_AHEAD as usize));
    let fetched = stream::iter(objects)
        .map(|object| {
            let range = wanted.piece.map_or(0..object.bytes, |piece| piece.start..piece.end.min(object.bytes));
            let parts = (wanted.reads)(range.clone()).map(|parts| within(parts, &range));
            let has = wanted.piece.map_or(PieceHas::Bytes, |piece| piece.has);
            Asked { object, range, parts, has }
        })
        // In their order, and before anything is begun: an object that had its bytes while one in front of it had none would
        // wait for that one, and that one for it.
        .then(|asked| {
            let wants = u32::try_from(asked.bytes()).unwrap_or(u32::MAX).clamp(1, BYTES_AHEAD);
            let ahead = ahead.clone().acquire_many_owned(wants);
            async move { (asked, ahead.await.expect("never closed")) }
        })
        .map(|(asked, ahead)| {
            let (store, bytes_max) = (store.clone(), wanted.bytes_max);
            going(async move {
                let content = asked.fetch(&store, bytes_max).await;
                Fetched { object: asked.object, content, _ahead: ahead }
            })
        })
        .buffered(IN_FLIGHT);
    let mut fetched = std::pin::pin!(fetched);
    while let Some(object) = fetched.next().await {
        if to.send(object).await.is_err() {
            return;
        }
    }
}

/// An object, and what is asked of it.
struct Asked {
    object: Object,
    range: Range<u64>,
    /// Of the range; `None`: all of it.
    parts: Option<Vec<Range<u64>>>,
    /// What the range stands for, without parts.
    has: PieceHas,
}

impl Asked {
    fn bytes(&self) -> u64 {
        match &self.parts {
            None => self.range.end - self.range.start,
            Some(parts) => parts.iter().map(|part| part.end - part.start).sum(),
        }
    }

    async fn fetch(&self, store: &DynStore, bytes_max: u64) -> Result<ObjectRecord, NotFetched> {
        let Self { object, range, parts, has } = self;
        let bytes = self.bytes();
        if bytes > bytes_max {
            let mut message = format!("{bytes} bytes, where objects of up to {bytes_max} are read");
            if Packing::of(&object.key).is_some() {
                message += "; a file of lines that is not packed would be cut";
            }
            return Err(NotFetched::Verdict { class: "too-large", message, environment: false });
        }
        let (range, from, bytes) = match (parts, has) {
            (Some(parts), _) => (range.clone(), parts.clone(), several(store, object, parts).await?),
            (None, PieceHas::Lines) => {
                let (range, lines) = whole_lines(store, object, range).await?;
                (range.clone(), vec![range], lines)
            }
            (None, PieceHas::RowGroups) => {
                let from = row_groups::places(store, object, range, bytes_max).await?;
                (range.clone(), from.clone(), several(store, object, &from).await?)
            }
            (None, PieceHas::Bytes) => (range.clone(), vec![range.clone()], one(store, object, range).await?),
        };
        let uri = object_url(store.url(), &object.key);
        Ok(ObjectRecord { uri, key: object.key.clone(), size: object.bytes, range, bytes, from })
    }
}

/// Work that goes on while nobody looks at it, until it is dropped. An attempt that waits for its slot does not look at what
/// it fetches ahead, and a request left standing would time out, and hold the place of one that the slot waits for.
fn going<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> impl Future<Output = T> + Send {
    let task = AbortOnDropHandle::new(tokio::spawn(work));
    async move {
        match task.await {
            Ok(done) => done,
            Err(broken) => match broken.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process is at its end, and nobody waits any more.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// What of those parts lies in that range.
fn within(parts: Vec<Range<u64>>, range: &Range<u64>) -> Vec<Range<u64>> {
    let cut = |part: Range<u64>| part.start.max(range.start)..part.end.min(range.end);
    parts.into_iter().map(cut).filter(|part| part.start < part.end).collect()
}

/// Parts of an object, put together.
async fn several(store: &DynStore, object: &Object, parts: &[Range<u64>]) -> Result<Bytes, NotFetched> {
    if let [part] = parts {
        return one(store, object, part).await;
    }
    let mut together = Vec::new();
    for part in parts {
        together.extend_from_slice(&one(store, object, part).await?);
    }
    if parts.is_empty() {
        // It may be gone or changed as well.
        one(store, object, &(0..object.bytes.min(1))).await?;
    }
    Ok(together.into())
}

/// The lines of an object that begin in that range, and where they lie: one that begins in it may end behind it.
async fn whole_lines(store: &DynStore, object: &Object, range: &Range<u64>) -> Result<(Range<u64>, Bytes), NotFetched> {
    // Whether a line begins at the range's first byte the one in front of it says.
    let from = range.start.saturating_sub(1);
    let mut until = range.end.saturating_add(LINE_AHEAD).min(object.bytes);
    let got = one(store, object, &(from..until)).await?;
    let within = (range.end - from) as usize;
    let begins = match range.start {
        0 => Some(0),
        _ => memchr(b'\n', &got[..within]).map(|end| end + 1),
    };
    let Some(begins) = begins.filter(|begins| *begins < within) else {
        return Ok((range.end..range.end, Bytes::new()));
    };
    let first = from + begins as u64;
    // The last line is over where the next may begin.
    let ends = memchr(b'\n', &got[within - 1..]).map(|end| within + end);
    if let Some(ends) = ends.or_else(|| (until == object.bytes).then_some(got.len())) {
        return Ok((first..from + ends as u64, got.slice(begins..ends)));
    }
    // Where the last line begins.
    let last = memchr::memrchr(b'\n', &got[..within]).map_or(begins, |end| end + 1);
    let most = (from + last as u64).saturating_add(LINE_MAX as u64);
    let mut lines = Vec::from(got);
    lines.drain(..begins);
    let mut ahead = LINE_AHEAD;
    while until < object.bytes {
        if until >= most {
            let message = format!("it has a line of more than {} MiB", LINE_MAX >> 20);
            return Err(NotFetched::Verdict { class: "line-too-long", message, environment: false });
        }
        let next = until.saturating_add(ahead).min(object.bytes).min(most);
        let more = one(store, object, &(until..next)).await?;
        let ends = memchr(b'\n', &more).map(|end| end + 1);
        lines.extend_from_slice(&more[..ends.unwrap_or(more.len())]);
        if ends.is_some() {
            break;
        }
        until = next;
        ahead *= 2;
    }
    Ok((first..first + lines.len() as u64, lines.into()))
}

/// Some bytes of an object, or all of it.
pub(crate) async fn one(store: &DynStore, object: &Object, range: &Range<u64>) -> Result<Bytes, NotFetched> {
    let verdict = |class, message, environment| Err(NotFetched::Verdict { class, message, environment });
    let wanted = range.end - range.start;
    let part = (*range != (0..object.bytes)).then(|| range.clone());
    let options = GetOptions { if_match: Some(object.etag.clone()), range: part };
    match store.get(&object.key, options).await {
        // Some servers don't mind the condition, so what came is compared too.
        Ok(got) if got.etag != object.etag => verdict("changed", "was changed after it was listed".into(), true),
        Ok(got) if got.bytes.len() as u64 == wanted => Ok(got.bytes),
        Ok(got) => verdict("changed", format!("has {} bytes where {wanted} were listed", got.bytes.len()), true),
        Err(StoreError::Changed { .. }) => verdict("changed", "was changed after it was listed".into(), true),
        Err(StoreError::NotFound { .. }) if sees_nothing(store).await => {
            let story = format!("this worker sees nothing under {}: is it mounted here?", store.url());
            Err(NotFetched::Failed(Failure::transient(story)))
        }
        Err(StoreError::NotFound { .. }) => {
            let message = "is not there: it was removed after it was listed, a list names it and it never was there, or it is a \
                           link to nothing";
            verdict("missing", message.into(), true)
        }
        Err(error) => Err(NotFetched::Failed(failure(&error))),
    }
}

/// Whether an input that is a folder is none on this host: then an object that is not there says nothing of the object.
async fn sees_nothing(store: &DynStore) -> bool {
    match store.native() {
        Native::Directory(folder) => !folder.holds_anything().await,
        Native::S3(_) | Native::Other => false,
    }
}

/// One of the framework's own files, checked.
pub async fn file(store: &DynStore, file: &FileRef) -> Result<Bytes, Failure> {
    lost::read(&file.key, || async {
        let bytes = lost::get(store.as_ref(), file, None).await?;
        if crc32fast::hash(&bytes) != file.crc32 {
            return Err(Unread::Damaged("it does not have its checksum".to_owned()));
        }
        Ok(bytes)
    })
    .await
}

/// Sends every file to `to` in order, or the failure that ends it.
pub async fn files_ahead(store: DynStore, files: Vec<FileRef>, to: mpsc::Sender<Result<Bytes, Failure>>) {
    let mut fetched = in_flight(&store, files, |store, wanted| async move { file(&store, &wanted).await });
    while let Some(file) = fetched.next().await {
        let failed = file.is_err();
        if to.send(file).await.is_err() || failed {
            return;
        }
    }
}

/// Files one after another, a few at a time.
pub fn in_flight<T, F>(
    store: &DynStore,
    files: Vec<FileRef>,
    fetch: impl Fn(DynStore, FileRef) -> F + Send,
) -> impl Stream<Item = Result<T, Failure>> + Send + Unpin
where
    F: Future<Output = Result<T, Failure>> + Send + 'static,
    T: Send + 'static,
{
    let fetches: Vec<_> = files.into_iter().map(|file| fetch(store.clone(), file)).collect();
    stream::iter(fetches).map(going).buffered(FILES_IN_FLIGHT)
}

pub fn failure(error: &StoreError) -> Failure {
    if error.retryable() { Failure::transient(story(error)) } else { Failure::application(story(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_storage::{Got, Memory, Put, Store};

    fn all() -> Wanted<impl Fn(Range<u64>) -> Option<Vec<Range<u64>>>> {
        Wanted { piece: None, bytes_max: u64::MAX, reads: |_| None }
    }

    /// Gives what is there, whatever version was asked for, as some servers do.
    #[derive(Debug, Default)]
    struct Careless(Memory);

    #[async_trait::async_trait]
    impl Store for Careless {
        fn url(&self) -> &str {
            self.0.url()
        }

        async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
            self.0.list(prefix).await
        }

        async fn get(&self, key: &str, options: GetOptions) -> Result<Got, StoreError> {
            self.0.get(key, GetOptions { if_match: None, ..options }).await
        }

        async fn head(&self, key: &str) -> Result<Object, StoreError> {
            self.0.head(key).await
        }

        async fn put(&self, key: &str, bytes: Bytes, how: Put) -> Result<String, StoreError> {
            self.0.put(key, bytes, how).await
        }

        async fn delete(&self, key: &str) -> Result<(), StoreError> {
            self.0.delete(key).await
        }
    }

    /// More than may be ahead, so that each has to wait for the one in front of it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn large_objects_come_in_their_order_and_never_wait_for_each_other() {
        let store: DynStore = Arc::new(Memory::new());
        let large = Bytes::from(vec![1; BYTES_AHEAD as usize * 2 / 3]);
        for round in 0..20 {
            store.put(&format!("{round:02}"), large.clone(), Put::Overwrite).await.unwrap();
        }
        let listed = store.list("").await.unwrap();
        let (sender, mut fetched) = mpsc::channel(4);
        let fetching = tokio::spawn(objects(store, listed.clone(), all(), sender));
        for object in listed {
            assert_eq!(fetched.recv().await.unwrap().object, object);
        }
        fetching.await.unwrap();
    }

    #[tokio::test]
    async fn another_version_of_the_same_length_is_seen_even_where_conditions_are_not_minded() {
        let store: DynStore = Arc::new(Careless::default());
        for key in ["changed", "same"] {
            store.put(key, "one".into(), Put::Overwrite).await.unwrap();
        }
        let listed = store.list("").await.unwrap();
        store.put("changed", "two".into(), Put::Overwrite).await.unwrap();
        let (sender, mut fetched) = mpsc::channel(4);
        objects(store, listed, all(), sender).await;
        let changed = fetched.recv().await.unwrap();
        let Err(NotFetched::Verdict { class: "changed", environment: true, .. }) = changed.content else {
            panic!("{} is another object", changed.object.key);
        };
        assert!(fetched.recv().await.unwrap().content.is_ok_and(|same| same.bytes == "one"));
    }

    /// Every text of a few lines, cut in two or three anywhere: each line is in one piece, and where it says.
    #[tokio::test]
    async fn each_line_is_whole_and_in_the_piece_that_it_begins_in() {
        let store: DynStore = Arc::new(Memory::new());
        for text in ["a\nbc\n\ndef\n", "\n\nab", "abcdef", "a\r\nb\r\nc", "\n"] {
            store.put("text", text.into(), Put::Overwrite).await.unwrap();
            let object = store.head("text").await.unwrap();
            let bytes = object.bytes;
            for one in 1..=bytes {
                for two in one..=bytes {
                    let mut found = Vec::new();
                    for range in [0..one, one..two, two..bytes].into_iter().filter(|range| !range.is_empty()) {
                        let (at, lines) = whole_lines(&store, &object, &range).await.ok().unwrap();
                        assert_eq!(lines, text[at.start as usize..at.end as usize]);
                        if let Some(last) = lines.strip_suffix(b"\n").unwrap_or(&lines).rsplit(|&b| b == b'\n').next()
                            && !lines.is_empty()
                        {
                            assert!(range.contains(&at.start), "{text:?}: {range:?} has {at:?}");
                            let begins = at.end - last.len() as u64 - u64::from(lines.ends_with(b"\n"));
                            assert!(begins < range.end, "{text:?}: {range:?} has {at:?}");
                        }
                        found.extend_from_slice(&lines);
                    }
                    assert_eq!(String::from_utf8(found).unwrap(), text, "{one} {two}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_line_that_goes_on_far_behind_its_piece_is_read_to_its_end_but_not_without_one() {
        let store: DynStore = Arc::new(Memory::new());
        for long in [LINE_AHEAD as usize - 1, LINE_AHEAD as usize, 5 * LINE_AHEAD as usize] {
            let text = format!("a\n{}\nb\n", "x".repeat(long));
            store.put("long", text.clone().into(), Put::Overwrite).await.unwrap();
            let object = store.head("long").await.unwrap();
            let (at, lines) = whole_lines(&store, &object, &(0..3)).await.ok().unwrap();
            assert_eq!((at, lines.len()), (0..long as u64 + 3, long + 3));
            let (at, lines) = whole_lines(&store, &object, &(3..long as u64 + 5)).await.ok().unwrap();
            assert_eq!((at.start, &lines[..]), (long as u64 + 3, &b"b\n"[..]));
        }
        store.put("endless", vec![b'x'; LINE_MAX + (1 << 20)].into(), Put::Overwrite).await.unwrap();
        let object = store.head("endless").await.unwrap();
        let verdict = whole_lines(&store, &object, &(0..1)).await;
        assert!(matches!(verdict, Err(NotFetched::Verdict { class: "line-too-long", environment: false, .. })));
    }
}
