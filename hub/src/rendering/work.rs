use bellwether_api::reference::NamespacedName;
use bellwether_hub_core::{
    recipe::{Recipe, RenderFacts, Rendering},
    release::is_secret,
};
use bellwether_sources::Source;
use bellwether_store::{
    Digest, StoreError,
    blobs::Secrecy,
    pins::{self, Fetched, SourceKey},
    renderings::{self, NewRendering, Remark},
};

use super::{Job, Renderings, artifact::stored};
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
    digest: Digest,
    source: &Source,
) -> Result<(), String> {
    let key = SourceKey {
        application,
        component,
        source: digest,
    };
    let store = &own.store;
    let now = || own.clock.now();
    let known = pins::list(store, application).await.map_err(said)?;
    let before = known
        .get(component)
        .filter(|pin| pin.source == digest)
        .and_then(|pin| pin.fetched.as_ref());
    let previous = before.map(|before| before.revision.as_str());
    let artifact = match own.fetch.fetch(source, previous).await {
        Ok(super::Fetched::New(artifact)) => artifact,
        Ok(super::Fetched::Same) => {
            return pins::note_same(store, &key, now()).await.map_err(said);
        }
        // It is kept with the source: every hub sees it, and when it was.
        Err(error) => {
            let why = error.to_string();
            let noted = pins::note_failure(store, &key, &why, now()).await;
            return noted.map_err(said);
        }
    };
    let hex = artifact.digest.strip_prefix("sha256:").unwrap_or_default();
    let pinned = Fetched {
        revision: artifact.revision.clone(),
        artifact: hex
            .parse()
            .map_err(|_| format!("{:?} is no digest", artifact.digest))?,
    };
    let mut tx = store.begin().await.map_err(said)?;
    pins::write(&mut tx, &key, &pinned, &stored(&artifact), now())
        .await
        .map_err(said)?;
    tx.commit().await.map_err(said)?;
    tracing::info!(
        application = %application,
        component,
        revision = pinned.revision,
        "source fetched"
    );
    Ok(())
}

fn said(error: StoreError) -> String {
    chain(&error)
}

async fn render(own: &Renderings, recipe: &Recipe, facts: &RenderFacts) -> Result<(), String> {
    let artifact: Digest = recipe
        .artifact
        .strip_prefix("sha256:")
        .unwrap_or_default()
        .parse()
        .map_err(|_| format!("{:?} is no digest", recipe.artifact))?;
    let files = pins::artifact(&own.store, artifact)
        .await
        .map_err(said)?
        .ok_or_else(|| format!("the files of artifact {artifact} are not kept"))?;
    let rendered = match own.renderer.render(&files, recipe, facts).await {
        Ok(rendering) => Ok(rendering),
        Err(error) if error.is_lasting() => Err(error.to_string()),
        Err(error) => return Err(chain(&error)),
    };
    let encoded = rendered.as_ref().map(|one| encode(one, !recipe.hooks));
    let kept = match &encoded {
        Ok(encoded) => Ok(NewRendering {
            content: &encoded.content,
            secrecy: encoded.secrecy,
            remarks: &encoded.remarks,
        }),
        Err(failure) => Err(failure.as_str()),
    };
    let key = (Digest(recipe.digest()), Digest(facts.digest()));
    let mut tx = own.store.begin().await.map_err(said)?;
    renderings::keep(&mut tx, key, kept, own.clock.now())
        .await
        .map_err(said)?;
    tx.commit().await.map_err(said)
}

struct Encoded {
    content: Vec<u8>,
    secrecy: Secrecy,
    remarks: Vec<Remark>,
}

/// `left_out` = the hooks of the chart are not run.
fn encode(rendering: &Rendering, left_out: bool) -> Encoded {
    let run = rendering
        .hooks
        .iter()
        .filter_map(|hook| hook.object.as_ref());
    let secrecy = if rendering.objects.iter().chain(run).any(is_secret) {
        Secrecy::Secret
    } else {
        Secrecy::Plain
    };
    let unsettled = rendering.unsettled.iter().map(|what| Remark {
        kind: "NotSettling".to_owned(),
        message: format!("{what} differs each time it is rendered"),
    });
    let hooks = rendering
        .hooks
        .iter()
        .filter(|hook| left_out && hook.matters());
    let unrun = hooks.map(|hook| Remark {
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
        remarks: unsettled.chain(unrun).collect(),
    }
}
