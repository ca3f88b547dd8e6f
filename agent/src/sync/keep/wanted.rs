//! One object as it is to be.

use std::{collections::BTreeSet, sync::Arc};

use bellwether_agent_core::{health::CustomHealth, ignored::Ignored};
use bellwether_api::{
    application::{AdoptPolicy, DriftPolicy},
    bundle::BundleComponent,
    reference::{NamespacedName, ObjectRef},
};
use serde_json::Value;

use crate::{desired::digest_of, sync::cluster::reference};

/// Our field managers begin so.
pub const OWN: &str = "bellwether-";

/// One object as it is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What names it.
    pub target: ObjectRef,
    /// What is applied.
    pub object: Value,
    /// How changes of others are met.
    pub care: Care,
    /// Objects without which it is not written: those among them that stand before it in the order
    /// must have been taken.
    pub after: BTreeSet<ObjectRef>,
    /// The definition of its kind, which is among the objects and must be in force first; absent = its
    /// kind is there.
    pub defined_by: Option<ObjectRef>,
    /// What of it is left to others.
    pub ignored: Ignored,
    /// The `spec.replicas` over which it is written, so that nobody who scales it meanwhile is written
    /// over; absent = any.
    pub size_over: Option<u32>,
    /// The uid of the object that may be deleted and made anew where a field cannot be changed; absent
    /// = none may.
    pub recreates: Option<String>,
    /// What tells the health of custom kinds.
    pub custom: Arc<CustomHealth>,
    /// The component that it is of.
    pub part: Arc<Part>,
}

/// A component, as far as it matters for each of its objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its own drift policy; absent = the bundle's.
    pub drift: Option<DriftPolicy>,
    /// Whether it takes over what exists already; absent = as the bundle says.
    pub adopt: Option<AdoptPolicy>,
    /// Whether what cannot be changed is made anew; absent = as the bundle says.
    pub force: Option<bool>,
    /// The ServiceAccount in whose name it is applied; absent = in the agent's own.
    pub account: Option<NamespacedName>,
}

impl Part {
    /// Takes what matters of a component.
    #[must_use]
    pub fn of(component: &BundleComponent) -> Self {
        let sync = component.sync.as_ref();
        Self {
            name: component.name.clone(),
            drift: sync.and_then(|sync| sync.drift),
            adopt: sync.and_then(|sync| sync.adopt),
            force: sync.and_then(|sync| sync.force),
            account: component.service_account.clone(),
        }
    }
}

/// How changes of others are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// By the application's drift policy.
    Policy,
    /// A run looks after them: only what the run itself changes is written.
    Run,
    /// Not at all: a human's edit is held, and nothing is written.
    Frozen,
}

impl Wanted {
    /// Takes an object that names itself; absent = it does not.
    #[must_use]
    pub fn new(object: Value) -> Option<Self> {
        Some(Self {
            target: reference(&object)?,
            object,
            care: Care::Policy,
            after: BTreeSet::new(),
            defined_by: None,
            ignored: Ignored::default(),
            size_over: None,
            recreates: None,
            custom: Arc::default(),
            part: Arc::default(),
        })
    }

    /// Digest of what is applied, and of what is left out of it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut text = self.object.to_string();
        if !self.ignored.is_empty() {
            text.push_str(&format!("{:?}", self.ignored));
        }
        digest_of(text.as_bytes())
    }

    /// What is applied over `live`, without what is left to others; `own` begins our field managers.
    #[must_use]
    pub fn over(&self, live: &Value, own: &str) -> Value {
        if self.care == Care::Policy {
            self.ignored.applied(&self.object, live, own)
        } else {
            self.ignored.within_run().applied(&self.object, live, own)
        }
    }
}
