//! What the HTTP API takes and answers beside the kinds themselves.

mod access;
mod action;
mod check;
mod compliance;
mod diff;
mod object;
mod placement;
mod problem;
mod run;
mod secret;
mod status;

pub use access::{
    ApiTokenList, ApiTokenRequest, ApiTokenView, JoinMaterial, JoinTokenRequest, LabelRequest,
    RevokeRequest, VersionInfo,
};
pub use action::{ActionFieldError, ActionFields, ActionRequest, ActionVerb, ActionView};
pub use check::{Measurement, MeasurementList};
pub use compliance::{ClusterCompliance, ComplianceList};
pub use diff::{
    DefaultExplained, DiffChange, DiffGroup, FieldExplained, FieldSet, NotCompared, ObjectDiff,
    OverrideExplained, OverridesExplained, ReleaseDiff, ValueExplained, ValuesExplained,
    ValuesSource,
};
pub use object::{AppliedObject, ApplyResult, Item, ItemList, ItemMeta, ListMeta};
pub use placement::{
    ApplicationPlan, ClusterPlacement, CordonRequest, DrainView, DrainedApplication,
    PlacementChange, PlacementView, PlanView, PlannedChange,
};
pub use problem::{Problem, ProblemItem};
pub use run::{EventList, EventView, Remedy, RunList, UnitList, UnitView, Why};
pub use secret::{SecretList, SecretRequest, SecretView};
pub use status::{
    ADDONS_HEALTHY, ApplicationStatus, Condition, FleetAddon, FleetMember, FleetStatus,
    HOOKS_DELIVERED, RepositoryStatus,
};

/// Bytes that a request body may have at most (4 MiB).
pub const MAX_BODY_BYTES: usize = 4 << 20;
