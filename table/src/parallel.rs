//! Many requests, a few at a time.

use futures::{StreamExt, stream};
use std::sync::Mutex;

/// How many requests are under way at once.
pub(crate) const PARALLEL: usize = 16;

/// Does each of them. Once one has failed no other is begun, but those under way are waited for: a file that came to be
/// after its job was given up and its traces removed would be nobody's.
pub(crate) async fn each<T, E, F>(items: impl Iterator<Item = T>, act: impl Fn(T) -> F) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    let failed = Mutex::new(None);
    let lock = || failed.lock().expect("nothing panics while it is held");
    stream::iter(items)
        .for_each_concurrent(PARALLEL, async |item| {
            if lock().is_none()
                && let Err(error) = act(item).await
            {
                lock().get_or_insert(error);
            }
        })
        .await;
    lock().take().map_or(Ok(()), Err)
}
