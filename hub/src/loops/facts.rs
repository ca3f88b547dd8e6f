use std::collections::BTreeMap;

use bellwether_api::{
    application::ApplicationSpec, publish_version::marked, reference::NamespacedName,
    rollout::RolloutSpec, status::UnitStatus,
};
use bellwether_hub_core::{allowance::Spent, release::RolloutRecord};
use bellwether_store::{
    Digest, Store, StoreError, allowances, desired,
    records::{self, Record, RecordKey, RecordKind},
    status,
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{LoopError, removal::is_allowance};

/// An application with the Rollout records that name it.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub record: Record,
    pub spec: ApplicationSpec,
    pub rollouts: Vec<RolloutRecord>,
    /// What was used of its annotations that allow much to go at once.
    pub spent: Vec<Spent>,
    /// Who changed any of it last.
    pub author: Author,
}

/// Who changed what a release is made of, and why.
#[derive(Clone, Debug)]
pub(super) struct Author {
    resource_version: u64,
    pub by: String,
    /// Empty when nothing was said.
    pub reason: String,
}

impl Author {
    fn of(record: &Record) -> Self {
        Self {
            resource_version: record.resource_version,
            by: record.updated_by.clone(),
            reason: record.reason.clone(),
        }
    }

    /// The later of two.
    fn or_later(self, other: Self) -> Self {
        if other.resource_version > self.resource_version {
            other
        } else {
            self
        }
    }
}

impl Wanted {
    /// Tells whether a Rollout of the application says `suspend: true`.
    pub fn is_suspended(&self) -> bool {
        self.rollouts.iter().any(|rollout| rollout.spec.suspend)
            || self.spec.components.iter().any(|component| {
                component
                    .rollout
                    .as_ref()
                    .is_some_and(|rollout| rollout.suspend)
            })
    }
}

/// Reads an application and its rollouts; absent when it was deleted.
pub(super) async fn wanted(
    store: &Store,
    application: &NamespacedName,
) -> Result<Option<Wanted>, LoopError> {
    let key = RecordKey {
        kind: RecordKind::Application,
        namespace: application.namespace.clone(),
        name: application.name.clone(),
    };
    let Some(record) = records::get(store, &key).await? else {
        return Ok(None);
    };
    let spent = match record.annotations.keys().any(|name| is_allowance(name)) {
        true => allowances::spent(store, &key).await?,
        false => Vec::new(),
    };
    let spec = marked(
        read("spec", application, record.spec.clone())?,
        &record.annotations,
    );
    let mut rollouts = Vec::new();
    let mut author = Author::of(&record);
    if let Some(removal) = records::last_removal(store, application).await? {
        author = author.or_later(Author {
            resource_version: removal.resource_version,
            by: removal.by,
            reason: removal.reason,
        });
    }
    for record in records::rollouts_of(store, application).await? {
        let changed = Author::of(&record);
        let spec: RolloutSpec = read("rollout", application, record.spec)?;
        if spec.application.as_deref() == Some(application.name.as_str()) {
            author = author.or_later(changed);
            rollouts.push(RolloutRecord {
                name: record.key.name,
                spec,
                rendered_as: None,
            });
        }
    }
    Ok(Some(Wanted {
        record,
        spec,
        rollouts,
        spent,
        author,
    }))
}

/// The latest report of every cluster on an application. A report that cannot be read proves
/// nothing and is left out.
pub(super) async fn statuses(
    store: &Store,
    application: &NamespacedName,
) -> Result<BTreeMap<Uuid, UnitStatus>, StoreError> {
    let rows = status::list_for_application(store, application).await?;
    let mut statuses = BTreeMap::new();
    for row in rows {
        match serde_json::from_value(row.detail) {
            Ok(status) => {
                statuses.insert(row.cluster, status);
            }
            Err(error) => {
                tracing::warn!(cluster.id = %row.cluster, error = %error, "status is unreadable");
            }
        }
    }
    Ok(statuses)
}

/// The clusters that shall hold the application now, with the bundle's digest.
pub(super) async fn holders(
    store: &Store,
    application: &NamespacedName,
) -> Result<BTreeMap<Uuid, Digest>, StoreError> {
    desired::holders(store, &format!("application/{application}")).await
}

pub(super) fn read<T: DeserializeOwned>(
    what: &'static str,
    application: &NamespacedName,
    value: serde_json::Value,
) -> Result<T, LoopError> {
    serde_json::from_value(value).map_err(|source| LoopError::Corrupt {
        what,
        application: application.clone(),
        source,
    })
}
