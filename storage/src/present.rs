//! Looking at many objects by their keys, where a listing would be of far more.

use crate::{Object, Store, StoreError};
use futures::stream::{self, StreamExt, TryStreamExt};

/// What a place bears anyway (an S3 store lets no more out at a time), and enough to look at thousands a second.
const IN_FLIGHT: usize = 64;

/// What is there under each of these keys, in their order; `None`: nothing.
///
/// # Errors
/// The first of them, other than that an object is not there: whether the others are is not known then.
pub async fn present<'a>(
    store: &dyn Store,
    keys: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<Option<Object>>, StoreError> {
    let looks: Vec<_> = keys.into_iter().map(|key| look(store, key)).collect();
    stream::iter(looks).buffered(IN_FLIGHT).try_collect().await
}

async fn look(store: &dyn Store, key: &str) -> Result<Option<Object>, StoreError> {
    match store.head(key).await {
        Ok(object) => Ok(Some(object)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Memory, Put};

    #[tokio::test]
    async fn each_key_is_answered_in_its_place() {
        let store = Memory::new();
        let keys: Vec<_> = (0..3 * IN_FLIGHT).map(|n| format!("{n:03}")).collect();
        for key in keys.iter().step_by(2) {
            store.put(key, key.clone().into(), Put::Overwrite).await.unwrap();
        }
        let listed = store.list("").await.unwrap();
        let there = present(&store, keys.iter().map(String::as_str)).await.unwrap();
        assert_eq!(there.len(), keys.len());
        assert!(there.iter().skip(1).step_by(2).all(Option::is_none));
        assert!(there.into_iter().step_by(2).map(Option::unwrap).eq(listed), "they look as a listing has them");
        assert!(present(&store, ["000", "../x"]).await.is_err(), "that is no answer");
    }
}
