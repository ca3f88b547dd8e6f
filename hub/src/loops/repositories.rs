//! Keeps records in step with the Git repositories that they come from: look → read → check → write as
//! one transaction, then let go of what is gone there. Whichever hub comes first looks; what it finds is
//! written only if no later look began meanwhile.

mod leaving;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bellwether_api::{
    document::{Document, DocumentError, DocumentWarning, Kind, parse},
    repository::RepositorySpec,
    secret::SourceSecrets,
    validate::{DEFAULT_NAMESPACE, documents as validate},
};
use bellwether_hub_core::{authorize::Principal, ownership::Writer, repository::Orphans};
use bellwether_sources::{Artifact, SourceRequest};
use bellwether_store::{
    StoreError,
    records::{self, Record, RecordKey, RecordKind},
    repositories::{self, Claim, Outcome},
};
use jiff::Timestamp;

use self::leaving::{judged, prune, said};
use super::{LoopError, LoopState};
use crate::{
    app::App,
    http::{self, Caller, Scope},
    rendering::{Fetched, git_source},
    secrets::{self, SecretError},
};

/// The name of this loop in `/readyz`.
const NAME: &str = "repositories";
/// How often it looks whether it is time to look at a repository.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Errors of one look that are kept; the rest is counted.
const MAX_ERRORS: usize = 20;
/// Bytes of what is said of one look at most.
const MAX_MESSAGE_BYTES: usize = 4_096;

/// Looks at every repository in its time, until the hub stops.
pub(super) async fn run(app: Arc<App>) {
    loop {
        let ended = match look_at_all(&app).await {
            Ok(count) => Ok(format!("looked at {count} repositories")),
            Err(error) => Err(LoopError::from(error)),
        };
        app.loops.set(NAME, LoopState::of(app.clock.now(), ended));
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn look_at_all(app: &App) -> Result<usize, StoreError> {
    repositories::forget_deleted(&app.store).await?;
    let mut looked = 0;
    for record in records::list_all(&app.store, RecordKind::Repository).await? {
        let Ok(spec) = serde_json::from_value::<RepositorySpec>(record.spec.clone()) else {
            tracing::error!(repository = record.key.name, "its record is not readable");
            continue;
        };
        if !spec.suspend && look(app, &record, &spec).await? {
            looked += 1;
        }
    }
    Ok(looked)
}

/// Looks at one repository if it is time to; tells whether it was.
async fn look(app: &App, record: &Record, spec: &RepositorySpec) -> Result<bool, StoreError> {
    let name = record.key.name.as_str();
    let now = app.clock.now();
    let due = now
        .checked_sub(jiff::SignedDuration::from_millis(spec.interval.as_millis()))
        .unwrap_or(Timestamp::MIN);
    let before = repositories::state(&app.store, name).await?;
    let Some(claim) =
        repositories::claim(&app.store, name, record.resource_version, due, now).await?
    else {
        return Ok(false);
    };
    let previous = before
        .filter(|state| state.reason == SYNCED && state.record_version == record.resource_version)
        .and_then(|state| state.revision);
    let outcome = match fetch(app, spec, previous.as_deref()).await {
        Ok(None) => return Ok(true),
        Ok(Some(artifact)) => match sync(app, record, spec, &claim, &artifact).await {
            Ok(()) => return Ok(true),
            Err(trouble) => trouble,
        },
        Err(trouble) => trouble,
    };
    tracing::warn!(
        repository = name,
        reason = outcome.reason,
        "{}",
        outcome.message
    );
    note(app, &claim, &outcome).await?;
    Ok(true)
}

/// Writes what a look came to, unless a later one began.
async fn note(app: &App, claim: &Claim, outcome: &Outcome) -> Result<(), StoreError> {
    let mut tx = app.store.begin().await?;
    if repositories::hold(&mut tx, claim).await? {
        repositories::finish(&mut tx, claim, outcome, app.clock.now()).await?;
        tx.commit().await?;
    }
    Ok(())
}

const SYNCED: &str = "Synced";

fn trouble(reason: &str, message: impl Into<String>) -> Outcome {
    let mut message = message.into();
    if message.len() > MAX_MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
        message.push('…');
    }
    Outcome {
        revision: None,
        reason: reason.to_owned(),
        message,
        orphans: None,
    }
}

/// Fetches what stands there; absent = the records are in step with it already.
async fn fetch(
    app: &App,
    spec: &RepositorySpec,
    previous: Option<&str>,
) -> Result<Option<Artifact>, Outcome> {
    let source = git_source(&spec.git)
        .ok_or_else(|| trouble("InvalidSource", "the repository names no revision"))?;
    let namespace = spec.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let wanted = SourceSecrets::of_git(&spec.git);
    let opened = match secrets::credentials(&app.store, namespace, &wanted).await {
        Ok(opened) => opened,
        Err((SecretError::Store(error), _)) => return Err(database(&error)),
        Err((error, _)) => return Err(trouble(error.reason(), error.told())),
    };
    let request = SourceRequest {
        source,
        credentials: opened.credentials,
        previous: previous.map(str::to_owned),
    };
    match app.renderings.look(&request).await {
        Ok(Fetched::Same) => Ok(None),
        Ok(Fetched::New(artifact)) => Ok(Some(artifact)),
        Err(error) => Err(trouble(&error.reason, error.message)),
    }
}

/// Makes the records what an artifact says.
async fn sync(
    app: &App,
    record: &Record,
    spec: &RepositorySpec,
    claim: &Claim,
    artifact: &Artifact,
) -> Result<(), Outcome> {
    let (documents, warnings) = read(artifact)?;
    let reason = format!("repository {} at {}", claim.name, artifact.revision);
    let namespace = spec.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let scope = Scope {
        namespace,
        dry_run: false,
        reason: &reason,
        writer: Writer::Repository {
            name: &claim.name,
            adopt: spec.adopt,
        },
    };
    let caller = Caller {
        principal: Principal::local_admin(format!("repository:{}", claim.name)),
        token: None,
    };
    let mut tx = app.store.begin().await.map_err(|error| database(&error))?;
    let held = repositories::hold(&mut tx, claim).await;
    if !held.map_err(|error| database(&error))? {
        return Ok(());
    }
    let written =
        http::write_documents(&mut tx, &caller, &documents, &warnings, &scope, None).await;
    let written = written.map_err(|error| trouble(error.code(), error.text()))?;
    let owned = repositories::records_of(&mut tx, &claim.name).await;
    let owned = owned.map_err(|error| database(&error))?;
    let wanted: BTreeSet<RecordKey> = documents
        .iter()
        .filter_map(|document| http::record_key(document, namespace))
        .collect();
    let leaving: Vec<RecordKey> = owned
        .iter()
        .filter(|key| !wanted.contains(key))
        .cloned()
        .collect();
    let now = app.clock.now();
    let names: BTreeSet<String> = leaving.iter().map(http::said).collect();
    let (fate, ask) = judged(&mut tx, record, spec, (&names, owned.len()), now).await?;
    let outcome = Outcome {
        revision: Some(artifact.revision.clone()),
        orphans: Some(names.into_iter().collect()),
        ..said(fate, ask.as_ref(), &written.warnings)
    };
    let finished = repositories::finish(&mut tx, claim, &outcome, now).await;
    finished.map_err(|error| database(&error))?;
    tx.commit().await.map_err(|error| database(&error))?;
    app.pokes.plan.notify_one();
    tracing::info!(
        repository = claim.name,
        revision = artifact.revision,
        objects = written.objects.len(),
        "records are in step"
    );
    if matches!(fate, Orphans::Go | Orphans::GoByWord) {
        let stayed = prune(app, &caller, leaving, &reason).await;
        note_stayed(app, claim, outcome, stayed)
            .await
            .map_err(|error| database(&error))?;
    }
    Ok(())
}

/// Reads every document of an artifact, and refuses what a repository may not hold.
fn read(artifact: &Artifact) -> Result<(Vec<Document>, Vec<DocumentWarning>), Outcome> {
    let mut documents = Vec::new();
    let mut errors: Vec<String> = Vec::new();
    let is_document = |path: &str| {
        let ending = path.rsplit_once('.').map(|(_, ending)| ending);
        matches!(ending, Some("yaml" | "yml" | "json"))
    };
    for file in artifact.files.iter().filter(|file| is_document(&file.path)) {
        match parse(&file.path, &file.contents) {
            Ok(read) => documents.extend(read),
            Err(found) => errors.extend(found.iter().map(ToString::to_string)),
        }
    }
    if errors.is_empty() && documents.is_empty() {
        // An empty folder is a mistake more often than a wish.
        return Err(trouble(
            "Invalid",
            "there is no document in any .yaml, .yml or .json file; nothing was changed",
        ));
    }
    errors.extend(documents.iter().filter_map(refusal));
    errors.extend(twice(&documents));
    let checked = match validate(&documents) {
        Ok(warnings) => warnings,
        Err(found) => {
            errors.extend(found.iter().map(DocumentError::to_string));
            Vec::new()
        }
    };
    if errors.is_empty() {
        return Ok((documents, checked));
    }
    let more = errors.len().saturating_sub(MAX_ERRORS);
    errors.truncate(MAX_ERRORS);
    if more > 0 {
        errors.push(format!("and {more} errors more"));
    }
    Err(trouble("Invalid", errors.join("\n")))
}

/// Why a repository may not hold a document; absent = it may.
fn refusal(document: &Document) -> Option<String> {
    let why = match document.kind() {
        Kind::Cluster => "clusters come by `bellwether register cluster`, with their labels",
        Kind::Repository => "a repository is applied by somebody, not by another",
        Kind::Fleet
        | Kind::Application
        | Kind::Rollout
        | Kind::MetricTemplate
        | Kind::AlertProvider => return None,
    };
    Some(format!(
        "{}: {} {}: {why}",
        document.source().file(),
        document.kind(),
        document.metadata().name
    ))
}

/// Documents that stand in two files.
fn twice(documents: &[Document]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    documents
        .iter()
        .filter(|document| {
            let metadata = document.metadata();
            !seen.insert((document.kind(), &metadata.namespace, &metadata.name))
        })
        .map(|document| {
            format!(
                "{}: {} {} stands in two files",
                document.source().file(),
                document.kind(),
                document.metadata().name
            )
        })
        .collect()
}

async fn note_stayed(
    app: &App,
    claim: &Claim,
    outcome: Outcome,
    stayed: Vec<String>,
) -> Result<(), StoreError> {
    let outcome = Outcome {
        // Another look deletes what nobody uses any more.
        reason: match stayed.is_empty() {
            true => outcome.reason,
            false => "StillUsed".to_owned(),
        },
        message: match stayed.is_empty() {
            true => outcome.message,
            false => format!("still used: {}", stayed.join(", ")),
        },
        revision: None,
        orphans: Some(stayed),
    };
    note(app, claim, &outcome).await
}

fn database(error: &StoreError) -> Outcome {
    tracing::warn!(error = %error, "a repository waits for the database");
    trouble(
        "Unavailable",
        "the hub's database failed; it is tried again",
    )
}
