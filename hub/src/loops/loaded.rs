use std::collections::BTreeSet;

use bellwether_api::reference::NamespacedName;
use bellwether_api::view::RunPhase;
use bellwether_hub_core::{
    plan::Plan,
    release::{Release, ReleaseContent},
    run::{ClusterPhase, RunFacts, RunState},
};
use bellwether_store::{
    Digest, Store,
    releases::{self, Release as StoredRelease},
    runs::{self, Run},
};

use super::{LoopError, facts::read};

/// Runs that are looked through for one that succeeded.
const LOOK_BACK: u32 = 50;

/// A run as decisions need it.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub run: Run,
    pub plan: Plan,
    pub state: RunState,
    pub release: StoredRelease,
}

impl Loaded {
    /// Reads an application's newest run; absent when it has none.
    pub async fn latest(
        store: &Store,
        application: &NamespacedName,
    ) -> Result<Option<Self>, LoopError> {
        let Some(newest) = runs::newest(store, application).await? else {
            return Ok(None);
        };
        Ok(Some(Self {
            plan: read("plan", application, newest.plan)?,
            state: read("run", application, newest.run.state.clone())?,
            run: newest.run,
            release: newest.release,
        }))
    }

    /// Reads one run; absent when there is none.
    pub async fn by_id(
        store: &Store,
        application: &NamespacedName,
        id: uuid::Uuid,
    ) -> Result<Option<Self>, LoopError> {
        let Some(loaded) = runs::load(store, id).await? else {
            return Ok(None);
        };
        let Some(release) = releases::get(store, loaded.run.release).await? else {
            return Ok(None);
        };
        Ok(Some(Self {
            plan: read("plan", application, loaded.plan.content)?,
            state: read("run", application, loaded.run.state.clone())?,
            run: loaded.run,
            release,
        }))
    }

    /// The clusters of the plan, those that it leaves out too.
    pub fn planned(&self) -> impl Iterator<Item = uuid::Uuid> {
        self.plan
            .clusters()
            .map(|(_, cluster)| cluster.id)
            .chain(self.plan.left_out.iter().map(|cluster| cluster.id))
    }

    /// The clusters of the plan and those that joined since.
    pub fn concerned(&self) -> impl Iterator<Item = uuid::Uuid> {
        self.planned().chain(self.state.clusters.keys().copied())
    }

    pub fn facts(&self) -> RunFacts {
        RunFacts {
            id: self.run.id,
            revision: self.release.revision,
            has_previous: self.run.previous_release.is_some(),
        }
    }
}

/// What an application's history says of a release to come.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// Whether a cluster ever finished a release.
    pub ever_ran: bool,
    /// The release of the last run that succeeded as a whole.
    pub last_succeeded: Option<uuid::Uuid>,
}

/// Reads an application's history as far as its newest run does not tell.
pub(super) async fn past(
    store: &Store,
    application: &NamespacedName,
    latest: Option<&Loaded>,
) -> Result<Past, LoopError> {
    let mut past = Past::default();
    let Some(latest) = latest else {
        return Ok(past);
    };
    past.take(&latest.run, &latest.state);
    if past.is_known() {
        return Ok(past);
    }
    for run in runs::history(store, application, LOOK_BACK).await? {
        let state: RunState = read("run", application, run.state.clone())?;
        past.take(&run, &state);
        if past.is_known() {
            break;
        }
    }
    Ok(past)
}

impl Past {
    fn take(&mut self, run: &Run, state: &RunState) {
        self.ever_ran |= state.clusters.values().any(|cluster| {
            matches!(cluster.phase, ClusterPhase::Succeeded { .. }) || cluster.previous.is_some()
        });
        if self.last_succeeded.is_none() && run.status == RunPhase::Succeeded {
            self.last_succeeded = Some(run.release);
        }
    }

    const fn is_known(&self) -> bool {
        self.ever_ran && self.last_succeeded.is_some()
    }
}

/// Reads a release with its content.
pub(super) async fn with_content(
    store: &Store,
    stored: &StoredRelease,
) -> Result<Release, LoopError> {
    let bytes = releases::content(store, stored).await?;
    let content: ReleaseContent =
        serde_json::from_slice(&bytes).map_err(|source| LoopError::Corrupt {
            what: "release",
            application: stored.application.clone(),
            source,
        })?;
    Ok(Release {
        id: stored.id,
        revision: stored.revision,
        digest: stored.digest.to_string(),
        content,
    })
}

/// Reads what the newest release of an application has, and whether its run succeeded; absent = there is
/// none.
///
/// # Errors
/// The database fails, or what it holds cannot be read.
pub async fn newest_content(
    store: &Store,
    application: &NamespacedName,
) -> Result<Option<(ReleaseContent, bool)>, LoopError> {
    let Some(latest) = Loaded::latest(store, application).await? else {
        return Ok(None);
    };
    let succeeded = latest.run.status == RunPhase::Succeeded;
    let release = with_content(store, &latest.release).await?;
    Ok(Some((release.content, succeeded)))
}

/// Finds the newest release of that digest that is still kept.
pub(super) async fn by_digest(
    store: &Store,
    application: &NamespacedName,
    digest: &str,
) -> Result<StoredRelease, LoopError> {
    let missing = || LoopError::NoSuchRelease {
        application: application.clone(),
        release: digest.to_owned(),
    };
    let wanted: Digest = digest.parse().map_err(|_| missing())?;
    releases::list(store, application, u32::from(u16::MAX))
        .await?
        .into_iter()
        .find(|release| release.digest == wanted)
        .ok_or_else(missing)
}

/// The clusters that the newest release of an application is planned for, those that joined since
/// among them.
///
/// # Errors
/// The database fails, or what it holds cannot be read.
pub async fn planned_clusters(
    store: &Store,
    application: &NamespacedName,
) -> Result<BTreeSet<uuid::Uuid>, LoopError> {
    let latest = Loaded::latest(store, application).await?;
    Ok(latest.iter().flat_map(Loaded::concerned).collect())
}
