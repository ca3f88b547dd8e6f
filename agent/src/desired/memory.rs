//! What is held in memory, and that it is what stands in the cluster.

use std::collections::BTreeMap;

use bellwether_api::{bundle::UnitKey, command::Command, reference::NamespacedName};
use tokio::sync::MutexGuard;

use super::{ContentError, Desired, StoreError, chain, shard::Records};

/// Whoever has it may write.
#[derive(Debug, Default)]
pub(super) struct Writing {
    /// A write began of which nobody saw the end: the cluster may have more than the memory. Nothing may be
    /// planned by that, and no content dropped as if nothing named it.
    pub(super) in_doubt: bool,
}

impl Desired {
    /// Waits until nobody else writes, and reads back what stands in the cluster where that is in doubt.
    pub(super) async fn writing(&self) -> Result<MutexGuard<'_, Writing>, StoreError> {
        let mut writing = self.inner.writing.lock().await;
        if writing.in_doubt {
            self.catch_up(&mut writing).await?;
        }
        Ok(writing)
    }

    /// Writes what differs from `before`, which is held, and holds it then.
    pub(super) async fn save(
        &self,
        writing: &mut Writing,
        before: &Records,
        mut after: Records,
    ) -> Result<(), StoreError> {
        writing.in_doubt = true;
        self.inner.shards.save(before, &mut after).await?;
        *self.write() = after;
        writing.in_doubt = false;
        Ok(())
    }

    /// Holds what stands in the cluster in place of what this agent took it to be: somebody else wrote it, or
    /// a write of its own that it did not see to its end.
    pub(super) async fn reread(&self, writing: &mut Writing) -> Result<(), StoreError> {
        self.inner.blobs.reload().await?;
        let records = self.inner.shards.load().await?;
        let commands = self.read_commands(&records).await?;
        *self.write() = records;
        *self.commands() = commands;
        writing.in_doubt = false;
        self.inner.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// The same, and takes note of whoever has a newer session.
    pub(super) async fn catch_up(&self, writing: &mut Writing) -> Result<(), StoreError> {
        self.reread(writing).await?;
        self.inner.fence.note(self.epoch());
        Ok(())
    }

    pub(super) fn epoch(&self) -> u64 {
        self.read().epoch
    }

    /// Reads the commands that records name. In place of one that can never be read, whichever was heard
    /// before it stays.
    pub(super) async fn read_commands(
        &self,
        records: &Records,
    ) -> Result<BTreeMap<NamespacedName, Command>, StoreError> {
        let mut commands = BTreeMap::new();
        for (key, unit) in records.units() {
            let (Ok(UnitKey::Command(application)), Some(digest)) = (key.parse(), unit.digest)
            else {
                continue;
            };
            let read = match self.content::<Command>(&digest).await {
                Ok(command) => Some(command),
                // A command that was heard is not to be forgotten because the API server did not answer.
                Err(ContentError::Kube(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(unit.key = key, error = %chain(&error), "command is not readable");
                    self.command(&application)
                }
            };
            commands.extend(read.map(|command| (application, command)));
        }
        Ok(commands)
    }
}
