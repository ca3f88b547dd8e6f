use bellwether_api::{reference::NamespacedName, secret::SourceSecrets};
use bellwether_hub_core::{
    recipe::{Recipe, RenderFacts, Rendering},
    release::is_secret,
};
use bellwether_sources::{Artifact, Source, SourceRequest};
use bellwether_store::{
    Digest, StoreError,
    blobs::Secrecy,
    pins::{self, Fetched, SourceKey},
    renderings::{self, NewRendering, Remark},
};
use jiff::Timestamp;

use super::{Job, RenderError, Renderings, artifact::stored};
use crate::{
    secrets::{self, SecretError},
    telemetry::chain,
};

/// What a program is given to render from.
const NO_FILES: &[u8] = b"[]";

/// Does one job. What came of it lies in the database; an error is one of the moment.
pub(super) async fn work(own: &Renderings, job: Job) -> Result<(), String> {
    match job {
        Job::Fetch {
            application,
            component,
            source,
            wanted,
            secrets,
        } => {
            let fetch = Fetching {
                application: &application,
                component: &component,
                digest: source,
                secrets: &secrets,
            };
            fetch.run(own, *wanted).await
        }
        Job::Render { recipe, facts } => render(own, &recipe, &facts).await,
    }
}

/// The source of one component.
struct Fetching<'a> {
    application: &'a NamespacedName,
    component: &'a str,
    digest: Digest,
    secrets: &'a SourceSecrets,
}

impl Fetching<'_> {
    async fn run(&self, own: &Renderings, source: Source) -> Result<(), String> {
        // What is pushed from now on may be missed by this look.
        let began = own.clock.now();
        let store = &own.store;
        let namespace = &self.application.namespace;
        let opened = match secrets::credentials(store, namespace, self.secrets).await {
            Ok(opened) => opened,
            Err((SecretError::Store(error), _)) => return Err(said(error)),
            Err((error, mark)) => {
                let key = self.key(&mark);
                let noted = pins::note_failure(store, &key, &error.said(), began).await;
                return noted.map_err(said);
            }
        };
        let key = self.key(&opened.mark);
        let known = pins::list(store, self.application).await.map_err(said)?;
        let before = known
            .get(self.component)
            .filter(|pin| pin.source == self.digest)
            .and_then(|pin| pin.fetched.as_ref());
        let request = SourceRequest {
            source,
            credentials: opened.credentials,
            previous: before.map(|before| before.revision.clone()),
        };
        match own.fetch.fetch(&request).await {
            Ok(super::Fetched::New(artifact)) => self.keep(own, &key, &artifact, began).await,
            Ok(super::Fetched::Same) => pins::note_same(store, &key, began).await.map_err(said),
            // It is kept with the source: every hub sees it, and when it was.
            Err(error) => {
                let why = error.to_string();
                let noted = pins::note_failure(store, &key, &why, began).await;
                noted.map_err(said)
            }
        }
    }

    fn key<'b>(&'b self, credentials: &'b str) -> SourceKey<'b> {
        SourceKey {
            application: self.application,
            component: self.component,
            source: self.digest,
            credentials,
        }
    }

    async fn keep(
        &self,
        own: &Renderings,
        key: &SourceKey<'_>,
        artifact: &Artifact,
        began: Timestamp,
    ) -> Result<(), String> {
        let hex = artifact.digest.strip_prefix("sha256:").unwrap_or_default();
        let pinned = Fetched {
            revision: artifact.revision.clone(),
            artifact: hex
                .parse()
                .map_err(|_| format!("{:?} is no digest", artifact.digest))?,
        };
        let mut tx = own.store.begin().await.map_err(said)?;
        pins::write(&mut tx, key, &pinned, &stored(artifact), began)
            .await
            .map_err(said)?;
        tx.commit().await.map_err(said)?;
        tracing::info!(
            application = %self.application,
            component = self.component,
            revision = pinned.revision,
            "source fetched"
        );
        Ok(())
    }
}

fn said(error: StoreError) -> String {
    chain(&error)
}

async fn render(own: &Renderings, recipe: &Recipe, facts: &RenderFacts) -> Result<(), String> {
    let files = match recipe.plugin {
        Some(_) => NO_FILES.to_vec(),
        None => files(own, recipe).await?,
    };
    let rendered = match secrets::fill(&own.store, recipe).await {
        Ok(filled) => match own.renderer.render(&files, &filled.recipe, facts).await {
            Ok(rendering) => Ok(rendering),
            Err(RenderError::Refused(mut failure)) => {
                failure.message = filled.hidden.hide(&failure.message);
                Err(failure.to_string())
            }
            Err(error) if error.is_lasting() => Err(filled.hidden.hide(&error.to_string())),
            Err(error) => return Err(filled.hidden.hide(&chain(&error))),
        },
        // A version is that value for ever.
        Err(error @ SecretError::Value { .. }) => Err(error.said()),
        Err(error) => return Err(error.said()),
    };
    let is_private = !recipe.values_from.is_empty();
    let encoded = rendered
        .as_ref()
        .map(|rendering| encode(rendering, !recipe.hooks, is_private));
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

async fn files(own: &Renderings, recipe: &Recipe) -> Result<Vec<u8>, String> {
    let artifact: Digest = recipe
        .artifact
        .strip_prefix("sha256:")
        .unwrap_or_default()
        .parse()
        .map_err(|_| format!("{:?} is no digest", recipe.artifact))?;
    pins::artifact(&own.store, artifact)
        .await
        .map_err(said)?
        .ok_or_else(|| format!("the files of artifact {artifact} are not kept"))
}

struct Encoded {
    content: Vec<u8>,
    secrecy: Secrecy,
    remarks: Vec<Remark>,
}

/// `left_out` = the hooks of the chart are not run; `is_private` = values of secrets are in it.
fn encode(rendering: &Rendering, left_out: bool, is_private: bool) -> Encoded {
    let run = rendering
        .hooks
        .iter()
        .filter_map(|hook| hook.object.as_ref());
    let secrecy = if is_private || rendering.objects.iter().chain(run).any(is_secret) {
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
