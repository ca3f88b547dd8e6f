//! What clusters have, had or would have of an application, to be compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bellwether_api::{application::ApplicationSpec, reference::NamespacedName};
use bellwether_hub_core::{
    addons::Fleets,
    placement::ClusterFacts,
    recipe::source_digest,
    release::{Release, ReleaseContent, RolloutRecord, Undivided, content},
};
use bellwether_store::{Digest, Store, pins, releases};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    LoopError, division,
    facts::{holders, statuses},
    loaded::{by_digest, newest_content, planned_clusters, with_content},
    rendered::{self, Preparation, Says, Sight, sent},
    world::World,
};
use crate::rendering::Renderings;

/// What each cluster has on one side; absent = nothing. In the place of what is not known stands why.
pub type Contents = BTreeMap<Uuid, Result<Arc<ReleaseContent>, String>>;

/// What an application and its clusters are seen by.
pub struct Comparing<'a> {
    store: &'a Store,
    renderings: Option<&'a Renderings>,
    application: &'a NamespacedName,
    world: World,
    now: Timestamp,
}

/// What an application would say.
#[derive(Clone, Debug)]
pub struct Proposed {
    /// Its spec.
    pub spec: ApplicationSpec,
    /// The Rollouts that name it.
    pub rollouts: Vec<RolloutRecord>,
}

impl<'a> Comparing<'a> {
    /// Looks at the clusters as they are now. Without `renderings` nothing is known of components that
    /// are rendered.
    ///
    /// # Errors
    /// The database fails.
    pub async fn load(
        store: &'a Store,
        renderings: Option<&'a Renderings>,
        application: &'a NamespacedName,
        now: Timestamp,
    ) -> Result<Self, LoopError> {
        Ok(Self {
            world: World::load(store, None).await?,
            store,
            renderings,
            application,
            now,
        })
    }

    fn sight(&self) -> Sight<'_> {
        Sight {
            store: self.store,
            renderings: self.renderings,
            world: &self.world,
            application: self.application,
        }
    }

    /// The clusters for which an application is meant, sorted by name.
    ///
    /// # Errors
    /// Its destination cannot be resolved, or the database fails.
    pub async fn placed(&self, spec: &ApplicationSpec) -> Result<Vec<ClusterFacts>, LoopError> {
        let holders = holders(self.store, self.application).await?;
        // Without a policy what is planned decides nothing, and a plan is long.
        let planned = match spec.placement {
            Some(_) => planned_clusters(self.store, self.application).await?,
            None => BTreeSet::new(),
        };
        let holding = holders.into_keys().collect();
        let standing = self.world.standing(self.now, spec, holding, planned);
        let chosen = self.world.choose(self.application, spec, &standing);
        let chosen = chosen.map_err(|source| LoopError::Place {
            application: self.application.clone(),
            source,
        })?;
        Ok(chosen.placement.clusters)
    }

    /// Every fleet, by name.
    #[must_use]
    pub fn fleets(&self) -> &Fleets {
        self.world.fleets()
    }

    /// The clusters that hold the application now.
    ///
    /// # Errors
    /// The database fails.
    pub async fn holding(&self) -> Result<Vec<ClusterFacts>, LoopError> {
        let holders = holders(self.store, self.application).await?;
        let known = holders.keys().filter_map(|id| self.world.cluster(*id));
        Ok(known.cloned().collect())
    }

    /// What these clusters would have of a release that is kept.
    ///
    /// # Errors
    /// The database fails.
    pub async fn of_release(
        &self,
        stored: &releases::Release,
        clusters: &[Uuid],
    ) -> Result<Contents, LoopError> {
        let release = with_content(self.store, stored).await?;
        self.for_each(&release, clusters).await
    }

    /// What these clusters run, as their agents said last.
    ///
    /// # Errors
    /// The database fails.
    pub async fn running(&self, clusters: &[Uuid]) -> Result<Contents, LoopError> {
        let holders = holders(self.store, self.application).await?;
        let statuses = statuses(self.store, self.application).await?;
        let mut by_release: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
        let mut found = Contents::new();
        for id in clusters.iter().filter(|id| holders.contains_key(id)) {
            match statuses.get(id) {
                None => {
                    let why = "its agent has not said yet what runs there".to_owned();
                    found.insert(*id, Err(why));
                }
                Some(status) => {
                    if let Some(release) = &status.applied_release {
                        by_release.entry(release.clone()).or_default().push(*id);
                    }
                }
            }
        }
        for (digest, clusters) in by_release {
            let contents = match by_digest(self.store, self.application, &digest).await {
                Ok(stored) => self.of_release(&stored, &clusters).await?,
                Err(LoopError::NoSuchRelease { .. }) => {
                    let why = format!(
                        "it runs release {}, which is not kept any more",
                        digest.get(..12).unwrap_or(&digest)
                    );
                    let unknown = clusters.iter().map(|id| (*id, Err(why.clone())));
                    unknown.collect()
                }
                Err(error) => return Err(error),
            };
            found.extend(contents);
        }
        Ok(found)
    }

    /// What these clusters would have if a release were made of this.
    ///
    /// # Errors
    /// It makes no release, its sources are not there yet, or the database fails.
    pub async fn proposed(
        &self,
        proposed: &Proposed,
        clusters: &[ClusterFacts],
    ) -> Result<Contents, LoopError> {
        self.refuse_unfetched(&proposed.spec).await?;
        let names: Vec<(Uuid, String)> = clusters
            .iter()
            .map(|cluster| (cluster.id, cluster.name.clone()))
            .collect();
        let says = Says {
            spec: &proposed.spec,
            rollouts: &proposed.rollouts,
        };
        let preparation = rendered::prepare(self.sight(), None, says, &names)
            .await?
            .preparation;
        let (spec, rollouts, from) = match preparation {
            Preparation::Inline => (
                proposed.spec.clone(),
                proposed.rollouts.clone(),
                BTreeMap::new(),
            ),
            Preparation::Ready(prepared) => (prepared.spec, prepared.rollouts, prepared.from),
            Preparation::Held(held) => return Err(held.error(self.application)),
        };
        let templates = self.world.templates();
        let content = content(&self.application.name, &spec, &rollouts)
            .and_then(|content| content.with_templates(&self.application.namespace, templates))
            .map_err(|source| LoopError::Release {
                application: self.application.clone(),
                source: Box::new(source),
            })?
            .with_rendered(from);
        let content = self.divided(content, proposed, clusters).await?;
        let release = Release {
            id: Uuid::nil(),
            revision: 0,
            digest: content.digest(),
            content,
        };
        let ids: Vec<Uuid> = clusters.iter().map(|cluster| cluster.id).collect();
        self.for_each(&release, &ids).await
    }

    /// Divides what would be released as the next release would be.
    async fn divided(
        &self,
        content: ReleaseContent,
        proposed: &Proposed,
        clusters: &[ClusterFacts],
    ) -> Result<ReleaseContent, LoopError> {
        let asked = division::asked(&proposed.spec).filter(|_| !clusters.is_empty());
        let before = match asked {
            Some(_) => newest_content(self.store, self.application).await?,
            None => None,
        };
        let before = before.as_ref().map(|(content, succeeded)| Undivided {
            content,
            succeeded: *succeeded,
        });
        content
            .divided(asked, before, clusters, self.world.fleets())
            .map_err(|source| LoopError::Divide {
                application: self.application.clone(),
                source,
            })
    }

    /// Refuses sources that are not there: looking fetches nothing, least of all over what is stored.
    async fn refuse_unfetched(&self, spec: &ApplicationSpec) -> Result<(), LoopError> {
        let pins = pins::list(self.store, self.application).await?;
        for component in &spec.components {
            let Some(source) = source_digest(component) else {
                continue;
            };
            let fetched = pins
                .get(&component.name)
                .is_some_and(|pin| pin.source == Digest(source) && pin.fetched.is_some());
            if !fetched {
                return Err(LoopError::Unrendered {
                    application: self.application.clone(),
                    component: component.name.clone(),
                    message:
                        "its source as it is written was not fetched yet; that is done once it \
                              is applied"
                            .to_owned(),
                });
            }
        }
        Ok(())
    }

    /// What each cluster is sent of a release.
    async fn for_each(&self, release: &Release, clusters: &[Uuid]) -> Result<Contents, LoopError> {
        if !release.content.is_rendered() {
            let content = Arc::new(release.content.clone());
            let same = clusters.iter().map(|id| (*id, Ok(Arc::clone(&content))));
            return Ok(same.collect());
        }
        let settled = BTreeMap::new();
        if let Ok(found) = sent(self.sight(), release, clusters, &settled).await {
            let found = found.into_iter().map(|(id, sent)| (id, Ok(sent.content)));
            return Ok(found.collect());
        }
        // Some cluster is the cause: each is told of for itself.
        let mut contents = Contents::new();
        for id in clusters {
            match sent(self.sight(), release, &[*id], &settled).await {
                Ok(found) => {
                    contents.extend(found.into_iter().map(|(id, one)| (id, Ok(one.content))))
                }
                Err(error) => {
                    contents.insert(*id, Err(error.chain()));
                }
            }
        }
        Ok(contents)
    }
}
