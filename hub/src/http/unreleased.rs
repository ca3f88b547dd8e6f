//! What was applied and is no release yet.

use bellwether_api::{
    application::ApplicationSpec, call::Condition, publish_version, reference::NamespacedName,
    rollout::RolloutSpec, status::WaitReason,
};
use bellwether_hub_core::release::{Change, ReleaseContent, RolloutRecord, content};
use bellwether_store::{
    records::{self, ListOptions, RecordKind},
    releases::{self, Release},
    runs,
};

use super::{items::application_spec, problem::ApiResult, rendered};
use crate::{
    app::App,
    loops::{stays, waits_as_draft},
};

/// The condition of an application that says what waits to be published.
pub const DRAFT: &str = "Draft";
/// The condition of an application of which nothing new is released.
pub const SUSPENDED: &str = "SyncSuspended";

/// What an application says beside its newest release.
pub struct Unreleased {
    /// What was applied.
    pub spec: ApplicationSpec,
    /// The content of the release that it would make; absent = that is known once it is rendered.
    pub content: Option<ReleaseContent>,
    /// The newest release; absent = there is none.
    pub released: Option<Release>,
    /// Its content; absent = there is none.
    pub before: Option<ReleaseContent>,
    /// Whether it waits beside the newest release until somebody publishes it, or lets it in again.
    pub draft: bool,
}

/// Finds what was applied and is no release yet; absent = there is nothing, or what is there makes no
/// release at all, which the loop that tries says.
///
/// # Errors
/// The database fails.
pub async fn unreleased(app: &App, application: &NamespacedName) -> ApiResult<Option<Unreleased>> {
    let Some(spec) = application_spec(&app.store, application).await? else {
        return Ok(None);
    };
    let records = rollouts(app, application).await?;
    // What is rendered is known once it is.
    let wanted = if rendered::is_rendered(&spec) {
        None
    } else {
        match content(&application.name, &spec, &records) {
            Ok(wanted) => Some(wanted),
            Err(_) => return Ok(None),
        }
    };
    let latest = runs::latest(&app.store, application).await?;
    let released = match &latest {
        Some(run) => releases::get(&app.store, run.release).await?,
        None => None,
    };
    let Some(released) = released else {
        return Ok(Some(Unreleased {
            spec,
            content: wanted,
            released: None,
            before: None,
            draft: false,
        }));
    };
    if stays(&app.store, &released, &spec).await? {
        return Ok(None);
    }
    let asked = spec
        .placement
        .as_ref()
        .and_then(|one| one.division.as_ref());
    let digest = wanted.as_ref().map(ReleaseContent::digest);
    if asked.is_none() && digest.is_some_and(|digest| released.digest.to_string() == digest) {
        return Ok(None);
    }
    let bytes = releases::content(&app.store, &released).await?;
    let Ok(before) = serde_json::from_slice::<ReleaseContent>(&bytes) else {
        return Ok(None);
    };
    let wanted = wanted.map(|wanted| wanted.divided_as(&before, asked));
    let is_released = match &wanted {
        // A rollout that was taken away makes no release of its own.
        Some(wanted) => !matches!(before.change_to(wanted), Change::Content),
        None => rendered::is_released(app, application, &spec, &records, &released).await?,
    };
    if is_released {
        return Ok(None);
    }
    let draft = spec.sync.suspend || waits_as_draft(&app.store, &spec, &released, &before).await?;
    Ok(Some(Unreleased {
        spec,
        content: wanted,
        released: Some(released),
        before: Some(before),
        draft,
    }))
}

impl Unreleased {
    /// Says that a draft waits, and what publishes it; absent = it is none.
    pub fn says_draft(&self) -> Option<String> {
        let (version, released) = (self.spec.publish_version.as_ref()?, self.released.as_ref()?);
        (self.draft && !self.spec.sync.suspend).then(|| {
            format!(
                "what is stored differs from revision {} and is not rolled, for publishVersion is \
                 still {version:?}; change it (spec.publishVersion, or the annotation {}) to publish",
                released.revision,
                publish_version::ALIAS
            )
        })
    }
}

/// Says that nothing of an application is released, and whether something waits for that.
pub fn says_suspended(found: Option<&Unreleased>) -> String {
    let waits = match found.map(|found| &found.released) {
        None => "nothing else is stored".to_owned(),
        Some(None) => "there is no release yet".to_owned(),
        Some(Some(released)) => {
            format!("what is stored differs from revision {}", released.revision)
        }
    };
    format!(
        "sync.suspend is true: nothing new is released and sources are not looked at ({waits}); set \
         spec.sync.suspend to false to go on"
    )
}

/// Says as a condition that nothing of an application is released, or that a draft of it waits; absent =
/// neither is so.
///
/// # Errors
/// The database fails.
pub async fn draft_condition(
    app: &App,
    application: &NamespacedName,
    spec: &ApplicationSpec,
) -> ApiResult<Option<Condition>> {
    if spec.sync.suspend {
        let found = unreleased(app, application).await?;
        return Ok(Some(Condition {
            kind: SUSPENDED.to_owned(),
            status: "True".to_owned(),
            reason: SUSPENDED.to_owned(),
            message: says_suspended(found.as_ref()),
        }));
    }
    if spec.publish_version.is_none() {
        return Ok(None);
    }
    let found = unreleased(app, application).await?;
    Ok(found
        .and_then(|found| found.says_draft())
        .map(|message| Condition {
            kind: DRAFT.to_owned(),
            status: "True".to_owned(),
            reason: "PublishVersionUnchanged".to_owned(),
            message,
        }))
}

/// Says the same as something that is waited for.
///
/// # Errors
/// The database fails.
pub async fn draft_wait(app: &App, application: &NamespacedName) -> ApiResult<Option<WaitReason>> {
    let Some(spec) = application_spec(&app.store, application).await? else {
        return Ok(None);
    };
    let condition = draft_condition(app, application, &spec).await?;
    Ok(condition.map(|condition| WaitReason {
        reason: condition.kind,
        message: condition.message,
        on: None,
        since: None,
        by_itself: None,
    }))
}

/// The Rollouts that name an application.
///
/// # Errors
/// The database fails.
pub async fn rollouts(app: &App, application: &NamespacedName) -> ApiResult<Vec<RolloutRecord>> {
    let options = ListOptions {
        kind: RecordKind::Rollout,
        namespace: Some(application.namespace.clone()),
        limit: u32::MAX,
        after: None,
    };
    let page = records::list(&app.store, &options).await?;
    Ok(page
        .records
        .into_iter()
        .filter_map(|record| {
            let spec: RolloutSpec = serde_json::from_value(record.spec).ok()?;
            let ours = spec.application.as_deref() == Some(application.name.as_str());
            ours.then_some(RolloutRecord {
                name: record.key.name,
                spec,
                rendered_as: None,
            })
        })
        .collect())
}
