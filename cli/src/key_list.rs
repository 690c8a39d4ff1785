//! A list of keys, read where the user is: from its URL to what it names of the input.

use crate::plan::fetch;
use futures::stream::{self, StreamExt, TryStreamExt};
use mr_core::{InputFilter, KeyList, without_query};
use mr_mapreduce::{Inventory, ListFormat, read_list};

/// Files of an inventory that are fetched at once: each has some hundred megabytes at most.
const FILES_IN_FLIGHT: usize = 4;

/// What the list at `url` names under `input`, but for what the job does not want, which is counted. It names something.
///
/// # Errors
/// A sentence.
pub async fn read(url: &str, input: &str, filter: &InputFilter) -> Result<KeyList, String> {
    // A signature is no part of the name.
    let format = ListFormat::of(without_query(url))?;
    let bytes = fetch(url).await?;
    let root = input.to_owned();
    let mut list = match format {
        ListFormat::Manifest => inventory(&bytes, url, input).await?,
        ListFormat::Text(_) | ListFormat::Csv(_) | ListFormat::Parquet => {
            aside(move || read_list(format, bytes, &root)).await?
        }
    };
    let named = list.objects().len();
    list.retain(|key| filter.wants(key));
    match (named, list.skipped) {
        _ if !list.objects().is_empty() => Ok(list),
        (0, 0) => Err("it names no objects".to_owned()),
        (0, skipped) => {
            Err(format!("it names no object under the input {input}, only {skipped} that are elsewhere or gone"))
        }
        (named, _) => {
            let wanted =
                filter.extensions.iter().map(|extension| format!(".{extension}")).collect::<Vec<_>>().join(", ");
            let wanted = if wanted.is_empty() {
                "begins otherwise than with _ or .".to_owned()
            } else {
                format!("ends in {wanted}")
            };
            Err(format!("none of the {named} objects that it names {wanted}, as the job wants"))
        }
    }
}

async fn inventory(manifest: &[u8], url: &str, input: &str) -> Result<KeyList, String> {
    let mut inventory = Inventory::parse(manifest, url, input)?;
    let files = inventory.files.clone();
    let fetched = stream::iter(files.into_iter().map(|file| async move {
        let bytes = fetch(&file.url).await?;
        Ok::<_, String>((file, bytes))
    }));
    let mut fetched = fetched.buffered(FILES_IN_FLIGHT);
    while let Some((file, bytes)) = fetched.try_next().await? {
        inventory = aside(move || inventory.read(&file, bytes).map(|()| inventory)).await?;
    }
    Ok(inventory.into_list())
}

/// A list may have millions of rows, and what reads Parquet may panic on bytes that are none.
async fn aside<T: Send + 'static>(read: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|_| Err("it can't be read: what is in it makes no sense".to_owned()))
}
