use bellwether_api::reference::NamespacedName;
use bellwether_hub_core::{
    recipe::{Recipe, RenderFacts, Rendering},
    release::is_secret,
};
use bellwether_store::{
    Digest,
    blobs::Secrecy,
    renderings::{self, Fetched, NewRendering, Remark, SourceKey},
};

use super::{FetchError, Job, Renderings, Wanted};
use crate::telemetry::chain;

/// Does one job. What came of it lies in the database; an error is one of the moment.
pub(super) async fn work(own: &Renderings, job: Job) -> Result<(), String> {
    match job {
        Job::Fetch {
            application,
            component,
            source,
            wanted,
        } => fetch(own, &application, &component, source, &wanted).await,
        Job::Render { recipe, facts } => render(own, &recipe, &facts).await,
    }
}

async fn fetch(
    own: &Renderings,
    application: &NamespacedName,
    component: &str,
    source: Digest,
    wanted: &Wanted,
) -> Result<(), String> {
    let key = SourceKey {
        application,
        component,
        source,
    };
    let now = || own.clock.now();
    let fetched = own.fetch.fetch(wanted).await.and_then(|artifact| {
        let hex = artifact.digest.strip_prefix("sha256:").unwrap_or_default();
        let digest: Digest = hex.parse().map_err(|_| FetchError {
            reason: "DigestMismatch".to_owned(),
            message: format!("{:?} is no digest", artifact.digest),
        })?;
        Ok((artifact, digest))
    });
    let said = |error: &bellwether_store::StoreError| chain(error);
    let (artifact, digest) = match fetched {
        Ok(found) => found,
        // It is kept with the source: every hub sees it, and when it was.
        Err(error) => {
            return renderings::note_failure(&own.store, &key, &error.to_string(), now())
                .await
                .map_err(|error| said(&error));
        }
    };
    let pinned = Fetched {
        revision: artifact.revision.clone(),
        artifact: digest,
    };
    if let Some(moved) = moved(own, &key, wanted, &pinned).await? {
        return renderings::note_failure(&own.store, &key, &moved, now())
            .await
            .map_err(|error| said(&error));
    }
    let mut tx = own.store.begin().await.map_err(|error| said(&error))?;
    renderings::pin(&mut tx, &key, &pinned, &artifact.stored(), now())
        .await
        .map_err(|error| said(&error))?;
    tx.commit().await.map_err(|error| said(&error))?;
    tracing::info!(
        application = %application,
        component,
        revision = pinned.revision,
        "source fetched"
    );
    Ok(())
}

/// Says that a name which must not move means something else now; absent = it does not.
async fn moved(
    own: &Renderings,
    key: &SourceKey<'_>,
    wanted: &Wanted,
    now: &Fetched,
) -> Result<Option<String>, String> {
    let Some(name) = wanted.fixed_name() else {
        return Ok(None);
    };
    let pins = renderings::pins(&own.store, key.application)
        .await
        .map_err(|error| chain(&error))?;
    let before = pins
        .get(key.component)
        .filter(|pin| pin.source == key.source)
        .and_then(|pin| pin.fetched.as_ref());
    Ok(before
        .filter(|before| before.artifact != now.artifact)
        .map(|before| {
            format!(
                "TagMoved: {name} was moved: it was {} and is {} now; what was fetched first stays",
                before.revision, now.revision
            )
        }))
}

async fn render(own: &Renderings, recipe: &Recipe, facts: &RenderFacts) -> Result<(), String> {
    let said = |error: &bellwether_store::StoreError| chain(error);
    let artifact: Digest = recipe
        .artifact
        .strip_prefix("sha256:")
        .unwrap_or_default()
        .parse()
        .map_err(|_| format!("{:?} is no digest", recipe.artifact))?;
    let files = renderings::artifact(&own.store, artifact)
        .await
        .map_err(|error| said(&error))?
        .ok_or_else(|| format!("the files of artifact {artifact} are not kept"))?;
    let rendered = match own.renderer.render(&files, recipe, facts).await {
        Ok(rendering) => Ok(rendering),
        Err(error) if error.is_lasting() => Err(error.to_string()),
        Err(error) => return Err(chain(&error)),
    };
    let encoded = rendered.as_ref().map(encode);
    let kept = match &encoded {
        Ok(encoded) => Ok(NewRendering {
            content: &encoded.content,
            secrecy: encoded.secrecy,
            remarks: &encoded.remarks,
        }),
        Err(failure) => Err(failure.as_str()),
    };
    let key = (Digest(recipe.digest()), Digest(facts.digest()));
    let mut tx = own.store.begin().await.map_err(|error| said(&error))?;
    renderings::keep(&mut tx, key, kept, own.clock.now())
        .await
        .map_err(|error| said(&error))?;
    tx.commit().await.map_err(|error| said(&error))
}

struct Encoded {
    content: Vec<u8>,
    secrecy: Secrecy,
    remarks: Vec<Remark>,
}

fn encode(rendering: &Rendering) -> Encoded {
    let secrecy = if rendering.objects.iter().any(is_secret) {
        Secrecy::Secret
    } else {
        Secrecy::Plain
    };
    let unsettled = rendering.unsettled.iter().map(|what| Remark {
        kind: "NotSettling".to_owned(),
        message: format!("{what} differs each time it is rendered"),
    });
    let hooks = rendering.hooks.iter().filter(|hook| hook.matters());
    let left_out = hooks.map(|hook| Remark {
        kind: "HooksLeftOut".to_owned(),
        message: format!(
            "{}/{} is not run: {}",
            hook.kind,
            hook.name,
            hook.events.join(", ")
        ),
    });
    Encoded {
        content: serde_json::to_vec(rendering).expect("JSON values always serialise"),
        secrecy,
        remarks: unsettled.chain(left_out).collect(),
    }
}
