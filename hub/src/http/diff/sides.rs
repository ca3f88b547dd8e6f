use bellwether_api::{
    alert_provider::Alert,
    document::{Document, load},
    fleet::FleetDefaults,
    publish_version::marked,
    reference::NamespacedName,
};
use bellwether_hub_core::{addons::Fleets, placement::ClusterFacts, release::RolloutRecord};
use bellwether_store::releases;
use uuid::Uuid;

use super::{told, united};
use crate::{
    app::App,
    http::{
        apply::{namespace_of, refuse_redacted},
        items::application_spec,
        problem::{ApiError, ApiResult, problem_item},
        runs::application_of,
        unreleased::rollouts,
    },
    loops::{Comparing, Contents, Proposed},
};

/// Releases that a message names.
const MAX_NAMED: u32 = 20;

/// One side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A release that is kept.
    Revision(u64),
    /// What the agents said last that they run.
    Running,
    /// What the records say.
    Stored,
    /// What documents say that came with the request.
    Documents,
}

impl Side {
    /// Reads a side.
    ///
    /// # Errors
    /// 400 when it is none.
    pub fn parse(text: &str) -> ApiResult<Self> {
        match text {
            "running" => Ok(Self::Running),
            "stored" => Ok(Self::Stored),
            number => number.parse().map(Self::Revision).map_err(|_| {
                ApiError::bad_request(format!(
                    "{text:?} is no side; a side is a revision, such as 3, or running, or stored"
                ))
            }),
        }
    }

    /// Says what it is, for people.
    pub fn words(self) -> String {
        match self {
            Self::Revision(revision) => format!("revision {revision}"),
            Self::Running => "what runs".to_owned(),
            Self::Stored => "what is stored".to_owned(),
            Self::Documents => "the documents".to_owned(),
        }
    }
}

/// Everything that sides are made of.
pub struct Sides<'a> {
    app: &'a App,
    /// The application.
    pub application: NamespacedName,
    /// What the records say; absent = there is no such application yet.
    stored: Option<Proposed>,
    /// What the documents say; absent = there are none.
    documents: Option<Proposed>,
}

impl<'a> Sides<'a> {
    /// Reads the records, and the documents that came with the request.
    ///
    /// # Errors
    /// 404 when there is no such application, 422 when the documents are wrong or not about it.
    pub async fn load(
        app: &'a App,
        namespace: &str,
        name: &str,
        body: &[u8],
    ) -> ApiResult<Sides<'a>> {
        let documents = read(body)?;
        let named = NamespacedName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let is_new = documents
            .iter()
            .any(|one| matches!(one, Document::Application(_)) && is_of(one, &named));
        let application = if is_new {
            named
        } else {
            application_of(app, namespace, name).await?
        };
        let stored = match application_spec(&app.store, &application).await? {
            Some(spec) => Some(Proposed {
                spec,
                rollouts: rollouts(app, &application).await?,
            }),
            None if is_new => None,
            None => {
                return Err(ApiError::not_found(format!(
                    "{application} is a Rollout without an application: the hub makes no releases \
                     of it, and there is nothing to compare"
                )));
            }
        };
        let proposed = if documents.is_empty() {
            None
        } else {
            Some(proposed(&application, stored.clone(), documents)?)
        };
        Ok(Sides {
            app,
            application,
            stored,
            documents: proposed,
        })
    }

    /// The fleet that the stored application's destination names, and what it gives to rollouts; absent =
    /// it names none that there is.
    pub fn fleet<'f>(&self, fleets: &'f Fleets) -> Option<(&'f str, &'f FleetDefaults)> {
        let name = self.stored.as_ref()?.spec.destination.fleet.as_ref()?;
        let (name, fleet) = fleets.get_key_value(name)?;
        Some((name.as_str(), &fleet.defaults))
    }

    /// Whom the stored application names under `alerts`.
    pub fn alerts(&self) -> &[Alert] {
        let stored = self.stored.as_ref();
        stored.map_or(&[], |stored| stored.spec.alerts.as_slice())
    }

    fn proposed(&self, side: Side) -> ApiResult<&Proposed> {
        let found = match side {
            Side::Documents => self.documents.as_ref(),
            _ => self.stored.as_ref(),
        };
        found.ok_or_else(|| {
            ApiError::not_found(format!("application {} is not stored", self.application))
        })
    }

    /// The clusters that have the application, or shall get it as the right side says.
    ///
    /// # Errors
    /// The destination cannot be resolved, or the database fails.
    pub async fn clusters(
        &self,
        comparing: &Comparing<'_>,
        to: Side,
    ) -> ApiResult<Vec<ClusterFacts>> {
        let placed = comparing
            .placed(&self.proposed(to)?.spec)
            .await
            .map_err(told)?;
        Ok(united(placed, comparing.holding().await.map_err(told)?))
    }

    /// What each cluster has on a side.
    ///
    /// # Errors
    /// The side is not there, or makes no release.
    pub async fn contents(
        &self,
        comparing: &Comparing<'_>,
        side: Side,
        clusters: &[ClusterFacts],
    ) -> ApiResult<Contents> {
        let ids: Vec<Uuid> = clusters.iter().map(|cluster| cluster.id).collect();
        match side {
            Side::Running => comparing.running(&ids).await.map_err(told),
            Side::Revision(revision) => {
                let stored = self.revision(revision).await?;
                comparing.of_release(&stored, &ids).await.map_err(told)
            }
            Side::Stored | Side::Documents => {
                let proposed = self.proposed(side)?;
                let mut placed = comparing.placed(&proposed.spec).await.map_err(told)?;
                // Whoever is not meant has nothing on this side.
                placed.retain(|cluster| ids.contains(&cluster.id));
                comparing.proposed(proposed, &placed).await.map_err(told)
            }
        }
    }

    async fn revision(&self, revision: u64) -> ApiResult<releases::Release> {
        let store = &self.app.store;
        if let Some(found) = releases::by_revision(store, &self.application, revision).await? {
            return Ok(found);
        }
        let kept: Vec<String> = releases::list(store, &self.application, MAX_NAMED)
            .await?
            .iter()
            .map(|release| release.revision.to_string())
            .collect();
        let kept = match kept.as_slice() {
            [] => "none is kept".to_owned(),
            kept => format!("kept are {}", kept.join(", ")),
        };
        Err(ApiError::not_found(format!(
            "there is no revision {revision}; {kept}"
        )))
    }
}

fn read(body: &[u8]) -> ApiResult<Vec<Document>> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let loaded = load("", body)
        .map_err(|errors| ApiError::invalid(errors.iter().map(problem_item).collect()))?;
    refuse_redacted(&loaded.documents)?;
    Ok(loaded.documents)
}

fn is_of(document: &Document, application: &NamespacedName) -> bool {
    document.metadata().name == application.name
        && namespace_of(document, &application.namespace) == application.namespace
}

/// What the records would say if the documents were applied.
fn proposed(
    application: &NamespacedName,
    stored: Option<Proposed>,
    documents: Vec<Document>,
) -> ApiResult<Proposed> {
    let mut concerns = false;
    let (mut spec, mut rollouts) = match stored {
        Some(stored) => (Some(stored.spec), stored.rollouts),
        None => (None, Vec::new()),
    };
    for document in documents {
        let is_own = is_of(&document, application);
        let is_near = namespace_of(&document, &application.namespace) == application.namespace;
        match document {
            Document::Application(object) if is_own => {
                concerns = true;
                spec = Some(marked(object.spec, &object.metadata.annotations));
            }
            Document::Rollout(object) if is_near => {
                let name = object.metadata.name;
                let known = rollouts.len();
                rollouts.retain(|one| one.name != name);
                concerns |= rollouts.len() < known;
                if object.spec.application.as_deref() == Some(application.name.as_str()) {
                    concerns = true;
                    let spec = object.spec;
                    rollouts.push(RolloutRecord {
                        name,
                        spec,
                        rendered_as: None,
                    });
                }
            }
            _ => {}
        }
    }
    match spec {
        Some(spec) if concerns => Ok(Proposed { spec, rollouts }),
        _ => Err(super::unprocessable(format!(
            "the documents hold neither application {application} nor a Rollout of it"
        ))),
    }
}
