mod part;

use std::collections::BTreeMap;

use bellwether_api::{
    application::ApplicationSpec, reference::NamespacedName, secret::named_by, status::Severity,
    view::RunPhase,
};
use bellwether_hub_core::{
    plan::roll_back,
    release::Written,
    rollback::{PastRelease, target},
    run::{ActionOutcome, AnsweredAction, ClusterAnswer, ClusterPhase, Decision, HubEvent},
};
use bellwether_store::{
    Store, Tx,
    actions::{self, Action, ActionType},
    pins,
    releases::{self, Release as StoredRelease},
    renderings, runs, secrets,
};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{
    LoopError,
    application::{Known, Look, Outcome, turn},
    division,
    loaded::{Loaded, past, with_content},
    published::instead_of,
    rendered::{self, RenderedRelease},
    start::{self, Making, Next},
};
use crate::secrets::pin;

pub(super) use part::find_named;

/// Releases and runs that are looked through for one to go back to.
const LOOK_BACK: u32 = 1_000;

/// That a human asked for an earlier release again.
pub(super) struct Restored {
    pub revision: u64,
    /// What the Application says meanwhile.
    pub instead_of: Written,
    pub action: Action,
    pub answered: AnsweredAction,
}

/// The oldest unanswered wish to take the whole application back, if it was said to this run.
pub(super) fn asked(actions: &[Action], run: Uuid) -> Option<Action> {
    actions
        .iter()
        .find(|action| action.said.run == run && is_of_all(action))
        .cloned()
}

/// Tells whether an action takes the whole application back, not one wave or cluster.
pub(super) const fn is_of_all(action: &Action) -> bool {
    matches!(action.said.action, ActionType::Rollback)
        && action.said.wave.is_none()
        && action.said.cluster.is_none()
}

/// Tells whether a restored release stays: the Application says what it said when it was restored.
///
/// # Errors
/// The database fails, or what it holds cannot be read.
pub async fn stays(
    store: &Store,
    release: &StoredRelease,
    spec: &ApplicationSpec,
) -> Result<bool, LoopError> {
    let Some(restores) = &release.restores else {
        return Ok(false);
    };
    let before = instead_of(store, release, restores).await?;
    let artifacts = artifacts(store, &release.application, spec).await?;
    Ok(before == Written::of(spec).with_artifacts(artifacts))
}

/// What the sources of an application were fetched as, by component, with the versions of the values
/// that secrets hold.
async fn artifacts(
    store: &Store,
    application: &NamespacedName,
    spec: &ApplicationSpec,
) -> Result<BTreeMap<String, String>, LoopError> {
    let pins = pins::list(store, application).await?;
    let mut fetched: BTreeMap<String, String> = pins
        .into_iter()
        .filter_map(|(component, pin)| Some((component, pin.fetched?.artifact.to_string())))
        .collect();
    if named_by(spec).is_empty() {
        return Ok(fetched);
    }
    let known = secrets::list(store, Some(&application.namespace)).await?;
    for component in &spec.components {
        let values = pin(&application.namespace, component, &known).unwrap_or_default();
        for value in values {
            let own = fetched.entry(component.name.clone()).or_default();
            *own += &format!(" {}", value.version);
        }
    }
    Ok(fetched)
}

/// Restores an earlier release, or says why not; either way the action is answered.
pub(super) async fn answer(
    look: Look<'_>,
    known: &Known,
    latest: Loaded,
    action: Action,
) -> Result<Outcome, LoopError> {
    let refused = |outcome, message: String| AnsweredAction {
        id: action.said.id,
        outcome,
        message,
        clusters: Vec::new(),
    };
    if let Some(expected) = action.said.expected_revision
        && expected != latest.release.revision
    {
        let message = format!(
            "you saw revision {expected}, it is now {}",
            latest.release.revision
        );
        return say(look, &refused(ActionOutcome::Conflict, message)).await;
    }
    if known.placement.clusters.is_empty() {
        let message = "no registered cluster matches the destination".to_owned();
        return say(look, &refused(ActionOutcome::Refused, message)).await;
    }
    // Whatever the records say cannot become a release either: then they alone are left.
    let unreleased = !matches!(
        start::compare(look, known, Some(&latest)).await,
        Ok(Next::Nothing | Next::GoBack | Next::Complete(_))
    );
    let (stored, history) = history(look).await?;
    let found = match target(&history, action.said.to_revision, unreleased) {
        Ok(found) => found,
        Err(error) => {
            return say(look, &refused(ActionOutcome::Refused, error.to_string())).await;
        }
    };
    let Some(restored) = stored.get(&found.revision) else {
        return Err(LoopError::Conflict);
    };
    let content = with_content(look.store, restored).await?.content;
    let content = match division::divided_again(look, known, &latest, content).await {
        Ok(content) => content,
        Err(error @ LoopError::Divide { .. }) => {
            return say(look, &refused(ActionOutcome::Refused, error.chain())).await;
        }
        Err(error) => return Err(error),
    };
    let spec = &known.wanted.spec;
    let artifacts = artifacts(look.store, look.application, spec).await?;
    let written = Written::of(spec).with_artifacts(artifacts);
    let plan = roll_back(&known.placement.clusters, !content.rollouts.is_empty());
    let answered = AnsweredAction {
        id: action.said.id,
        outcome: ActionOutcome::Executed,
        message: format!(
            "revision {} restores revision {}",
            latest.release.revision + 1,
            found.revision
        ),
        clusters: told(&latest, known),
    };
    let making = Making {
        content,
        plan,
        previous: past(look.store, look.application, Some(&latest))
            .await?
            .last_succeeded,
        restored: Some(Restored {
            revision: found.restores.unwrap_or(found.revision),
            instead_of: written,
            action,
            answered,
        }),
        rendered: RenderedRelease {
            recipes: renderings::recipes(look.store, restored.id).await?,
            // Whoever had it gets what it had.
            facts: renderings::facts_of(look.store, restored.id).await?,
            unrendered: rendered::unrendered(look.sight(), restored.id, &known.clusters).await?,
        },
        // Whoever asked for it allowed what it takes away.
        word: None,
    };
    let turn = turn(look, known, latest);
    start::make(look, known, making, Some(&turn)).await
}

/// What the rollback does in each cluster of the destination.
fn told(latest: &Loaded, known: &Known) -> Vec<ClusterAnswer> {
    let answer = |name: &str, id| {
        let is_under_way = matches!(
            latest.state.clusters.get(&id).map(|one| &one.phase),
            Some(ClusterPhase::Running { .. } | ClusterPhase::Returning { .. })
        );
        ClusterAnswer {
            cluster: name.to_owned(),
            outcome: ActionOutcome::Executed,
            message: if is_under_way {
                "goes back to what it had, then gets the restored release".to_owned()
            } else {
                "gets the restored release".to_owned()
            },
        }
    };
    let mut told: Vec<ClusterAnswer> = known
        .placement
        .clusters
        .iter()
        .map(|cluster| answer(&cluster.name, cluster.id))
        .collect();
    told.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    told
}

/// The releases that are kept, by revision, and newest first with what became of them.
type History = (BTreeMap<u64, StoredRelease>, Vec<PastRelease>);

async fn history(look: Look<'_>) -> Result<History, LoopError> {
    let succeeded: Vec<Uuid> = runs::history(look.store, look.application, LOOK_BACK)
        .await?
        .into_iter()
        .filter(|run| run.status == RunPhase::Succeeded)
        .map(|run| run.release)
        .collect();
    let stored = releases::list(look.store, look.application, LOOK_BACK).await?;
    let history = stored
        .iter()
        .map(|release| PastRelease {
            revision: release.revision,
            digest: release.digest.to_string(),
            succeeded: succeeded.contains(&release.id),
            restores: release.restores.map(|one| one.revision),
        })
        .collect();
    let by_revision = stored
        .into_iter()
        .map(|release| (release.revision, release));
    Ok((by_revision.collect(), history))
}

async fn say(look: Look<'_>, answered: &AnsweredAction) -> Result<Outcome, LoopError> {
    let now = look.fence.now();
    let mut tx = look.fence.begin(look.store, now).await?;
    let result = serde_json::to_value(answered).unwrap_or(Value::Null);
    actions::answer(&mut tx, answered.id, &result, now).await?;
    tx.commit().await?;
    Ok(Outcome {
        changed: true,
        ..Outcome::default()
    })
}

/// Answers whoever asked for an earlier release again, and tells it as an event of the run that ends.
pub(super) async fn tell(
    tx: &mut Tx,
    restored: &Restored,
    decision: &mut Decision,
    now: Timestamp,
) -> Result<(), LoopError> {
    let Restored {
        action, answered, ..
    } = restored;
    let result = serde_json::to_value(answered).unwrap_or(Value::Null);
    if !actions::answer(tx, action.said.id, &result, now).await? {
        return Err(LoopError::Conflict);
    }
    let reason = match action.said.reason.as_str() {
        "" => String::new(),
        reason => format!(" ({reason})"),
    };
    let event = HubEvent {
        cluster: None,
        severity: Severity::Warn,
        reason: "RolledBack".to_owned(),
        message: format!("by {}{reason}: {}", action.said.by, answered.message),
    };
    decision.events.insert(0, event);
    decision.next.next_event += 1;
    Ok(())
}
