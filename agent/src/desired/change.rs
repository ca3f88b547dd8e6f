//! Changing what is remembered of a unit.

use bellwether_api::sync_record::SyncUnit;

use super::{CommitBlob, Desired, StoreError, memory::Writing};

impl Desired {
    /// Changes what is remembered of a unit; `change` may run more than once. A unit that is not
    /// held stays so.
    ///
    /// # Errors
    /// The cluster refuses the write.
    pub async fn update(
        &self,
        key: &str,
        change: impl Fn(&mut SyncUnit),
    ) -> Result<(), StoreError> {
        let mut writing = self.writing().await?;
        self.change_unit(&mut writing, key, change).await
    }

    /// The same, and stores a content that `change` makes the unit name: it is durable before.
    ///
    /// # Errors
    /// The cluster refuses the write.
    pub async fn update_naming(
        &self,
        key: &str,
        content: &CommitBlob,
        change: impl Fn(&mut SyncUnit),
    ) -> Result<(), StoreError> {
        let mut writing = self.writing().await?;
        self.inner
            .blobs
            .store(&content.digest, &content.zstd)
            .await?;
        self.change_unit(&mut writing, key, change).await
    }

    /// Changes a unit; the caller holds the lock.
    async fn change_unit(
        &self,
        writing: &mut Writing,
        key: &str,
        change: impl Fn(&mut SyncUnit),
    ) -> Result<(), StoreError> {
        if self.inner.fence.newer().is_some() {
            return Err(StoreError::NewerAgent);
        }
        let named = self.read().named_digests();
        let mut attempts = 0;
        loop {
            let before = self.read().clone();
            let mut after = before.clone();
            let Some(unit) = after.unit_mut(key) else {
                return Ok(());
            };
            change(unit);
            if before.unit(key) == after.unit(key) {
                return Ok(());
            }
            attempts += 1;
            match self.save(writing, &before, after).await {
                Ok(()) => break,
                Err(StoreError::Conflict { .. }) if attempts < 4 => {
                    self.catch_up(writing).await?;
                    if self.inner.fence.newer().is_some() {
                        return Err(StoreError::NewerAgent);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if self.read().named_digests() != named {
            self.collect_blobs().await;
        }
        self.inner.changed.send_modify(|count| *count += 1);
        Ok(())
    }
}
