//! Records as custom resources of the cluster that hosts the hub: which kinds, and by which marks.

use crate::document::Kind;

/// The kinds that the hub mirrors, in the order in which they are written: what others name comes
/// first. A Cluster is none of them: it comes by its registration, which no object can stand for.
pub const KINDS: [Kind; 6] = [
    Kind::Fleet,
    Kind::MetricTemplate,
    Kind::AlertProvider,
    Kind::Application,
    Kind::Rollout,
    Kind::Repository,
];

/// The finalizer that keeps a custom resource until its record is gone.
pub const FINALIZER: &str = "bellwether.dev/record";
/// Annotation that says whether a record is taken over that came from elsewhere; `IfIdentical` unless set.
pub const ADOPT: &str = "bellwether.dev/adopt";
/// Annotation that says what becomes of the record when the custom resource is deleted: `Delete` (unless
/// set) or `Orphan`.
pub const RECORD_DELETION: &str = "bellwether.dev/record-deletion";
/// Annotation of an Application that says how many clusters may lose it.
pub const ALLOW_REMOVAL: &str = "bellwether.dev/allow-removal";
/// The field manager of the hub.
pub const MANAGER: &str = "bellwether-hub";
/// The ValidatingWebhookConfiguration by which the API server asks the hub.
pub const WEBHOOK_CONFIGURATION: &str = "bellwether-records";
/// The path at which the hub answers it.
pub const WEBHOOK_PATH: &str = "/admit";
