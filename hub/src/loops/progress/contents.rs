//! What the clusters that a decision grants to are sent.

use std::collections::BTreeMap;

use bellwether_hub_core::{
    release::Release,
    run::{Decision, GrantRelease},
};
use bellwether_store::{Store, releases};
use uuid::Uuid;

use super::Turn;
use crate::loops::{
    LoopError,
    loaded::{by_digest, with_content},
    rendered::{Sent, Sight, sent},
};

/// The releases that a decision's grants name. They are read before the transaction that writes the
/// grants begins: a transaction never waits for a second connection.
#[derive(Debug, Default)]
pub(in crate::loops) struct Contents {
    releases: Vec<(GrantRelease, Release)>,
    /// What each granted cluster is sent instead of the release's own content, where that is
    /// rendered.
    pub sent: BTreeMap<Uuid, Sent>,
}

impl Contents {
    /// Only the run's own release.
    pub fn own(release: Release, sent: BTreeMap<Uuid, Sent>) -> Self {
        Self {
            releases: vec![(GrantRelease::This, release)],
            sent,
        }
    }

    pub async fn read(
        store: &Store,
        turn: &Turn<'_>,
        decision: &Decision,
    ) -> Result<Self, LoopError> {
        let mut contents = Self::default();
        for grant in &decision.grants {
            if contents.of(&grant.release).is_none() {
                let release = release_of(store, turn, &grant.release).await?;
                let same = decision
                    .grants
                    .iter()
                    .filter(|one| one.release == grant.release);
                let clusters: Vec<Uuid> = same.map(|one| one.cluster).collect();
                let sight = Sight {
                    store,
                    renderings: turn.renderings,
                    world: turn.world,
                    application: turn.application,
                };
                let sent = sent(sight, &release, &clusters, &BTreeMap::new()).await?;
                contents.sent.extend(sent);
                contents.releases.push((grant.release.clone(), release));
            }
        }
        Ok(contents)
    }

    pub fn of(&self, wanted: &GrantRelease) -> Option<&Release> {
        self.releases
            .iter()
            .find(|(named, _)| named == wanted)
            .map(|(_, release)| release)
    }
}

async fn release_of(
    store: &Store,
    turn: &Turn<'_>,
    grant: &GrantRelease,
) -> Result<Release, LoopError> {
    match grant {
        GrantRelease::This => with_content(store, &turn.loaded.release).await,
        GrantRelease::Digest(digest) => {
            with_content(store, &by_digest(store, turn.application, digest).await?).await
        }
        GrantRelease::LastSucceeded => {
            let missing = || LoopError::NoSuchRelease {
                application: turn.application.clone(),
                release: "that succeeded last".to_owned(),
            };
            let id = turn.loaded.run.previous_release.ok_or_else(missing)?;
            let stored = releases::get(store, id).await?.ok_or_else(missing)?;
            with_content(store, &stored).await
        }
    }
}
