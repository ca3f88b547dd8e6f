//! Checks that need more than one field: what a schema cannot say.
//!
//! Every check reports all that it finds. A `Validated…` type can only be made here, so that
//! whoever takes one needs no check of its own.

mod adapted_copy;
mod adapter_pointers;
mod adopted;
mod alerts;
mod analysis;
mod application;
mod dependencies;
mod division;
mod documents;
mod finding;
mod fleet;
mod fleet_hooks;
mod governed;
mod hooks;
mod in_place;
mod manifests;
mod matching;
mod metric_template;
mod names;
mod node_copy;
mod overrides;
mod placement;
mod publish_version;
mod repository;
mod rollout;
mod routes;
mod sources;
mod strategy;
mod sync;
mod traffic;
mod waves;

pub use adopted::{default_traffic_of_others, governs_same};
pub use analysis::{resolved, uncounted};
pub use application::{ValidatedApplication, application, rendered};
pub use documents::documents;
pub use finding::{Finding, Findings, Validated};
pub use fleet::{ValidatedCluster, ValidatedFleet, cluster, fleet, metrics_address};
pub use governed::governed;
pub use manifests::{DEFAULT_NAMESPACE, Manifest, manifests_of};
pub use metric_template::{ValidatedMetricTemplate, metric_template};
pub use names::{is_dns_domain, is_dns_label};
pub use rollout::{ValidatedRollout, rollout};
pub use traffic::default_traffic;
pub use waves::{is_own, means_the_hub};
