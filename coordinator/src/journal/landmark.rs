//! An object by which a state is told from any other under the same name: a worker that does not see it looks elsewhere.

use mr_core::sha256_hex;
use mr_storage::{DynStore, Put, StoreError};

const PREFIX: &str = "journal/landmark-";

/// Its key. The first one who leads sets it.
pub async fn landmark(store: &DynStore, writer: &str) -> Result<String, StoreError> {
    let there = store.list(super::PREFIX).await?;
    if let Some(landmark) = there.into_iter().find(|object| object.key.starts_with(PREFIX)) {
        return Ok(landmark.key);
    }
    let key = format!("{PREFIX}{:.16}", sha256_hex(writer.as_bytes()));
    store
        .put(&key, "by this, workers know that they see the state of their coordinator\n".into(), Put::Overwrite)
        .await?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_storage::Memory;
    use std::sync::Arc;

    #[tokio::test]
    async fn whoever_leads_next_finds_the_same_and_another_state_has_another() {
        let states: [DynStore; 2] = std::array::from_fn(|_| Arc::new(Memory::default()) as DynStore);
        for state in &states {
            state.put("journal/leader", "x".into(), Put::Overwrite).await.unwrap();
        }
        let first = landmark(&states[0], "one").await.unwrap();
        assert_eq!(landmark(&states[0], "two").await.unwrap(), first);
        assert_ne!(landmark(&states[1], "two").await.unwrap(), first);
        assert!(states[0].head(&first).await.is_ok());
    }
}
