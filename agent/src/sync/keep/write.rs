//! Writes to one object.

use std::borrow::Cow;

use bellwether_agent_core::{immutable::keeps_from_recreating, ownership::uid_of};
use bellwether_api::{
    reference::{NamespacedName, ObjectRef},
    status::{Health, ObjectStatus},
};
use serde_json::Value;

use super::{
    CONVERSION_PAUSE, Care, Keeper, Kept, NOT_CONVERTED, NOTHING, OWN, SYNC_MANAGER, Seen,
    WAITING_PAUSE, Wanted,
};
use crate::sync::{
    access::{doing, may},
    cluster::{ApplyMode, Cluster, ClusterError, write_over_size},
};

impl Keeper {
    /// Applies an object, without what is left to others.
    pub(super) async fn apply(
        &self,
        cluster: &Cluster,
        want: &Wanted,
        mode: ApplyMode,
    ) -> Result<Value, ClusterError> {
        self.apply_by(&self.acting(cluster, want), want, mode).await
    }

    /// As [`Self::apply`], in the name of whoever objects are applied as in `cluster`.
    pub(super) async fn apply_by(
        &self,
        cluster: &Cluster,
        want: &Wanted,
        mode: ApplyMode,
    ) -> Result<Value, ClusterError> {
        let mut object = Cow::Borrowed(&want.object);
        let over = want.size_over.filter(|_| mode == ApplyMode::Force);
        if self.manager == SYNC_MANAGER
            && (!want.ignored.is_empty() || over.is_some())
            && let Some(live) = cluster.get(&want.target).await?
        {
            let mut laid = want.over(&live, OWN);
            if let Some(over) = over {
                write_over_size(&mut laid, &live, &want.target, over)?;
            }
            object = Cow::Owned(laid);
        }
        cluster
            .apply_but_size(self.manager, &object, &want.target, mode)
            .await
    }

    pub(super) async fn write(
        &mut self,
        cluster: &Cluster,
        want: &Wanted,
        digest: [u8; 32],
        kept: &mut Kept,
    ) -> Result<(), ClusterError> {
        let applied = match self.apply(cluster, want, ApplyMode::Force).await {
            Ok(applied) => applied,
            Err(ClusterError::NotServed { .. }) if want.defined_by.is_some() => {
                cluster.ask_again(&want.target);
                let message =
                    "its definition is in force, and the API server does not serve it yet";
                self.note_waiting(want, "KindNotServed", message, kept);
                return Ok(());
            }
            Err(error) => match self.recreated(cluster, want, error, kept).await? {
                Some(made) => made,
                None => {
                    let message = "it was deleted to be made anew, and is still there";
                    self.note_waiting(want, "Recreating", message, kept);
                    return Ok(());
                }
            },
        };
        self.note_written(want, &applied);
        self.note(want, digest, Some(&applied), false);
        Ok(())
    }

    /// Deletes an object of which a field cannot be changed, where that was asked for, and makes it
    /// anew; `None` = it is not gone yet. Doing it again after a crash changes nothing.
    async fn recreated(
        &self,
        cluster: &Cluster,
        want: &Wanted,
        refused: ClusterError,
        kept: &mut Kept,
    ) -> Result<Option<Value>, ClusterError> {
        let (Some(field), Some(uid)) = (refused.immutable_field(), &want.recreates) else {
            return Err(refused);
        };
        let live = cluster.get(&want.target).await?;
        if let Some(live) = &live {
            let is_it = uid_of(live) == Some(uid);
            if want.care != Care::Policy || !is_it || keeps_from_recreating(live).is_some() {
                return Err(refused);
            }
            if crate::rollout::is_deleting(live) {
                return Ok(None);
            }
            self.can_make(cluster, want).await?;
            cluster.delete(&want.target, Some(uid)).await?;
            kept.recreated.push((want.target.clone(), field));
            if cluster.get(&want.target).await?.is_some() {
                return Ok(None);
            }
        }
        self.acting(cluster, want)
            .apply_but_size(self.manager, &want.object, &want.target, ApplyMode::Force)
            .await
            .map(Some)
    }

    /// Makes sure that an object which is deleted comes back: the agent deletes, and the ServiceAccount makes.
    async fn can_make(&self, cluster: &Cluster, want: &Wanted) -> Result<(), ClusterError> {
        let Some(account) = self.account(want) else {
            return Ok(());
        };
        let target = &want.target;
        let served = cluster.kind(&target.api_version, &target.kind).await?;
        let acting = self.acting(cluster, want);
        let name = target.to_string();
        if may(&acting, doing("create", target, &served), &name).await? {
            return Ok(());
        }
        Err(ClusterError::NotMadeAnew {
            object: name,
            account: account.clone(),
        })
    }

    /// The cluster, spoken to in the name of the ServiceAccount as which an object is applied. What goes back was
    /// let in before, and is the agent's own to write: traffic and pods do not depend on rights that somebody
    /// took away since.
    pub fn acting(&self, cluster: &Cluster, want: &Wanted) -> Cluster {
        cluster.acting_as(self.account(want))
    }

    fn account<'a>(&self, want: &'a Wanted) -> Option<&'a NamespacedName> {
        let account = want.part.account.as_ref();
        account.filter(|_| !self.goes_back)
    }

    /// Tells whether an object has to wait until its kind is there, and notes that it does.
    pub(super) fn waits_for_its_kind(&mut self, want: &Wanted, kept: &mut Kept) -> bool {
        let Some(definition) = &want.defined_by else {
            return false;
        };
        let is_established = self
            .seen
            .get(definition)
            .is_some_and(|seen| seen.status.health == Health::Healthy);
        if !is_established {
            let message = format!("{definition} is not in force yet");
            self.note_waiting(want, "KindNotEstablished", &message, kept);
        }
        !is_established
    }

    /// Notes that the API server cannot convert an object, so that nothing is known of it now. What was
    /// applied of it before stays the measure once it can be read again.
    pub(super) fn note_unconverted(
        &mut self,
        want: &Wanted,
        error: &ClusterError,
        kept: &mut Kept,
    ) {
        kept.look_in(CONVERSION_PAUSE);
        let answer = error.answer();
        let before = self.seen.get(&want.target);
        if before.is_none_or(|seen| seen.status.reason != NOT_CONVERTED) {
            kept.unconverted.push((want.target.clone(), answer.clone()));
        }
        let status = ObjectStatus {
            health: Health::Unknown,
            ..waiting(&want.target, NOT_CONVERTED, &answer)
        };
        let (wanted, clean, drifted) = before.map_or((NOTHING, None, false), |seen| {
            (seen.wanted, seen.clean, seen.drifted)
        });
        let seen = Seen {
            wanted,
            clean,
            status,
            drifted,
        };
        self.seen.insert(want.target.clone(), seen);
    }

    fn note_waiting(&mut self, want: &Wanted, reason: &str, message: &str, kept: &mut Kept) {
        kept.look_in(WAITING_PAUSE);
        self.seen.insert(
            want.target.clone(),
            Seen {
                wanted: NOTHING,
                clean: None,
                status: waiting(&want.target, reason, message),
                drifted: false,
            },
        );
    }
}

fn waiting(target: &ObjectRef, reason: &str, message: &str) -> ObjectStatus {
    ObjectStatus {
        object: target.clone(),
        health: Health::Progressing,
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}
