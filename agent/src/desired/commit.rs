//! Taking over with a session's epoch, and storing what the session's hub sends.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{command::Command, reference::NamespacedName};

use super::{
    Change, Commit, CommitError, Committed, Desired, PlanError, StoreError, blob, chain,
    plan::{self, Contents},
};

impl Desired {
    /// Takes over with a session's epoch. When it returns, the epoch stands in the cluster, every agent
    /// with a lower one learns of it, and none of its writes here succeeds any more.
    ///
    /// # Errors
    /// The epoch is lower than one that stands there, or the cluster does not take the write.
    pub async fn enter_epoch(&self, epoch: u64) -> Result<(), CommitError> {
        let mut writing = self.inner.writing.lock().await;
        let mut stale = writing.in_doubt || self.inner.fence.newer().is_some();
        let mut attempts = 0;
        loop {
            if stale {
                // Another agent held it meanwhile.
                self.reread(&mut writing).await?;
            }
            let before = self.read().clone();
            if epoch < before.epoch {
                self.inner.fence.note(before.epoch);
                return Err(CommitError::Plan(PlanError::LowerEpoch {
                    held: before.epoch,
                    given: epoch,
                }));
            }
            let mut after = before.clone();
            after.epoch = epoch;
            attempts += 1;
            match self.save(&mut writing, &before, after).await {
                Ok(()) => break,
                Err(StoreError::Conflict { .. }) if attempts < 4 => stale = true,
                Err(error) => {
                    // Where the definition drops fields it stands there all the same; what was dropped is told with
                    // the next commit. So it may where the answer was lost: no two sessions share one.
                    let stands = matches!(error, StoreError::OldDefinition { .. });
                    let read = self.reread(&mut writing).await;
                    if read.is_ok() && (stands || self.epoch() == epoch) {
                        break;
                    }
                    return Err(error.into());
                }
            }
        }
        drop(writing);
        self.inner.fence.enter(epoch);
        self.inner.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// The digests of blobs that `changes` name and that are not stored here, each once.
    #[must_use]
    pub fn missing(&self, changes: &[Change]) -> Vec<[u8; 32]> {
        let records = self.read();
        let unread = self.unread();
        let wanted: BTreeSet<[u8; 32]> = changes
            .iter()
            .filter(|change| !plan::is_known(&records, change, &unread))
            .filter_map(|change| change.digest)
            .filter(|digest| !self.inner.blobs.holds(digest))
            .collect();
        wanted.into_iter().collect()
    }

    /// Stores a delta or a snapshot. When it returns, everything is durable.
    ///
    /// # Errors
    /// The epoch is lower than one seen, the root does not come out, a blob is missing, or the cluster
    /// refuses the write. Nothing counts as held then, and sending the same or later changes again
    /// repairs it.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let mut writing = self.writing().await?;
        if self.inner.fence.newer().is_some() {
            return Err(StoreError::NewerAgent.into());
        }
        let contents = self.read_contents(&commit).await?;
        let planned = plan::plan(&self.read(), &commit, &contents, &self.unread())?;
        for blob in &commit.blobs {
            if planned.stores.contains(&blob.digest) {
                self.inner
                    .blobs
                    .store(&blob.digest, &blob.zstd)
                    .await
                    .map_err(StoreError::from)?;
            }
        }
        let before = self.read().clone();
        if let Err(error) = self.save(&mut writing, &before, planned.records).await {
            // What was written before the failure is in the cluster: read it back rather than guess. What
            // cannot be read now is before anything else is written.
            let _ = self.catch_up(&mut writing).await;
            return Err(error.into());
        }
        self.take_commands(planned.commands);
        // It was sent again, whatever became of it.
        self.unread().clear();
        let held = self.held();
        // Under the lock: what somebody stores and has not named yet must not be collected.
        self.collect_blobs().await;
        drop(writing);
        self.inner.changed.send_modify(|count| *count += 1);
        Ok(Committed {
            held,
            nacks: planned.nacks,
        })
    }

    /// Reads what each new live change is: from the commit's blobs or from those stored already.
    ///
    /// What cannot be read is as the hub keeps it, for the connection guards every byte: it would come
    /// again just so, and is therefore a matter of the units that name it, not of the session.
    async fn read_contents(&self, commit: &Commit) -> Result<Contents, CommitError> {
        let mut contents = Contents::new();
        let read =
            |digest: &_, zstd: &[u8]| blob::open(digest, zstd).map_err(|error| chain(&error));
        for blob in &commit.blobs {
            contents.insert(blob.digest, read(&blob.digest, &blob.zstd));
        }
        for digest in commit.changes.iter().filter_map(|change| change.digest) {
            if contents.contains_key(&digest) || !self.inner.blobs.holds(&digest) {
                continue;
            }
            if let Some(zstd) = self
                .inner
                .blobs
                .fetch(&digest)
                .await
                .map_err(StoreError::from)?
            {
                contents.insert(digest, read(&digest, &zstd));
            }
        }
        Ok(contents)
    }

    fn take_commands(&self, changed: BTreeMap<NamespacedName, Option<Command>>) {
        let mut commands = self.commands();
        for (application, command) in changed {
            match command {
                Some(command) => commands.insert(application, command),
                None => commands.remove(&application),
            };
        }
    }
}

#[cfg(test)]
mod tests;
