//! What is seen of a workload that is updated in place, of its pods, and of the versions that it had.

use bellwether_api::workload_adapter::WorkloadAdapter;
use serde_json::Value;

use super::{Note, field};
use crate::{
    adopted::marks::{Marks, is_controlled_by, text},
    covers::covers,
};

/// A version that a workload had, as somebody has recorded it: its controller in a ControllerRevision,
/// or the agent itself while the workload stood still.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// The revision, as the pods' label ends.
    pub name: String,
    /// The later, the higher.
    pub number: i64,
    /// The pod template.
    pub template: Value,
}

impl Recorded {
    /// A version whose template the agent has kept itself.
    #[must_use]
    pub fn kept(name: String, template: &Value) -> Self {
        Self {
            name,
            number: 0,
            template: plain(template),
        }
    }

    /// Reads the ControllerRevisions of a workload among those of its namespace.
    #[must_use]
    pub fn of(workload: &Value, revisions: &[Value]) -> Vec<Self> {
        let uid = text(workload, "/metadata/uid");
        let read = |revision: &Value| {
            Some(Self {
                name: text(revision, "/metadata/name"),
                number: revision.get("revision").and_then(Value::as_i64)?,
                template: plain(revision.pointer("/data/spec/template")?),
            })
        };
        revisions
            .iter()
            .filter(|revision| is_controlled_by(revision, &uid))
            .filter_map(read)
            .collect()
    }
}

/// One pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// What the revision label says.
    pub label: String,
    /// Whether it is ready.
    pub ready: bool,
}

/// The pods of one version.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Version {
    /// What the revision label says on them.
    pub label: String,
    /// The revision, as the workload's status names it while it is that of its template.
    pub revision: String,
    /// The pods, in the order of their names.
    pub pods: Vec<Pod>,
    /// Their template; absent = nobody has recorded it.
    pub template: Option<Value>,
}

impl Version {
    /// Pods that are there.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.pods.len()).unwrap_or(u32::MAX)
    }

    /// Those of them that are ready.
    #[must_use]
    pub fn ready(&self) -> u32 {
        u32::try_from(self.pods.iter().filter(|pod| pod.ready).count()).unwrap_or(u32::MAX)
    }
}

/// What is seen of a workload that is updated in place.
#[derive(Clone, Debug, PartialEq)]
pub struct InPlaceSight {
    /// Where its kind keeps what.
    pub adapter: WorkloadAdapter,
    /// The object.
    pub(super) object: Value,
    /// Its pod template.
    pub template: Value,
    /// How many pods are wanted.
    pub replicas: u32,
    /// What it says of the Rollout that holds it.
    pub marks: Marks,
    /// The pods of its template; absent = there are none.
    pub current: Option<Version>,
    /// Its other pods by their versions, those with the most pods first.
    pub others: Vec<Version>,
    /// Whether its controller records which versions it had.
    pub is_recorded_by_controller: bool,
}

impl InPlaceSight {
    /// Reads a live workload; `pods` are its own that do not stop already, `recorded` its versions, read
    /// after it.
    #[must_use]
    pub fn of(
        object: &Value,
        adapter: &WorkloadAdapter,
        pods: Vec<Pod>,
        recorded: &[Recorded],
    ) -> Self {
        let template = object.pointer("/spec/template").cloned();
        let template = template.unwrap_or_default();
        let marks = Marks::of(object, &adapter.observed_generation);
        let current = current_revision(object, adapter, &template, marks.is_observed, recorded);
        let (mut of_template, mut others): (Vec<Version>, Vec<Version>) =
            versions(pods, adapter, recorded)
                .into_iter()
                .partition(|one| {
                    let named = current.as_deref();
                    named.is_some_and(|name| is_of(&one.label, name))
                });
        others.sort_by_key(|one| std::cmp::Reverse(one.count()));
        if of_template.is_empty() && others.is_empty() && marks.is_held() {
            others.extend(to_come(object, adapter, current.as_deref(), recorded));
        }
        Self {
            replicas: replicas(object, adapter),
            marks,
            current: of_template.pop(),
            others,
            is_recorded_by_controller: recorded.iter().any(|one| one.number > 0),
            template,
            object: object.clone(),
            adapter: adapter.clone(),
        }
    }

    /// What holds its pods back now.
    #[must_use]
    pub fn field(&self) -> Option<&Value> {
        field::of(&self.object, &self.adapter)
    }

    pub(super) fn note(&self) -> Option<Note> {
        Note::of(&self.object)
    }

    /// Whether its Rollout keeps every pod from its template, those too that come. Its owner's own word in
    /// the field keeps no more than the pods that there are.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let is_ours = self
            .note()
            .is_some_and(|note| self.field() == Some(&note.ours));
        self.marks.is_held()
            && is_ours
            && field::holding(&self.adapter, self.replicas, self.field())
    }

    /// Whether its owner says by themselves which pods get its template, and when.
    #[must_use]
    pub fn is_its_owners(&self) -> bool {
        !self.marks.is_held() && keeps_its_own_pace(&self.object, &self.adapter)
    }

    /// Pods of its template.
    #[must_use]
    pub fn current_count(&self) -> u32 {
        self.current.as_ref().map_or(0, Version::count)
    }

    /// Ready pods of its template.
    #[must_use]
    pub fn current_ready(&self) -> u32 {
        self.current.as_ref().map_or(0, Version::ready)
    }

    /// Whether every pod is of the version that has this template, which is not its own, and so is
    /// every one that comes while it is held.
    pub(super) fn stands_on(&self, template: &Value) -> bool {
        let stable = self.stable();
        stable.is_some_and(|(_, stable)| *stable == plain(template)) && !self.strays()
    }

    /// Whether pods that come while it is held are of another version than all that there are, which
    /// is not its own: its controller has not counted that one as complete.
    #[must_use]
    pub fn strays(&self) -> bool {
        let (Some((version, _)), Some(held)) = (self.stable(), self.held_revision()) else {
            return false;
        };
        !is_of(&version.label, held)
    }

    /// Whether pods that come while it is held are of its own template: its controller has counted that
    /// one as complete.
    pub(super) fn is_complete(&self) -> bool {
        self.held_revision().is_none_or(|held| {
            self.marks.is_observed && held == text(&self.object, &self.adapter.revision)
        })
    }

    /// Whether pods of its template are there that would come again of it, were they taken back while it
    /// is held: its controller counted that one as complete last.
    pub(super) fn comes_again(&self) -> bool {
        let pods = self.current.as_ref().zip(self.held_revision());
        pods.is_some_and(|(version, held)| is_of(&version.label, held))
    }

    /// The revision that its controller gives to pods which the field keeps from the template; absent =
    /// its kind keeps none that come later, or does not say.
    fn held_revision(&self) -> Option<&str> {
        held_revision(&self.object, &self.adapter)
    }

    /// The version before, if its pods are of that one alone and its template is known.
    #[must_use]
    pub fn stable(&self) -> Option<(&Version, &Value)> {
        match (&self.current, self.others.as_slice()) {
            (None, [only]) => Some((only, only.template.as_ref()?)),
            _ => None,
        }
    }
}

fn replicas(object: &Value, adapter: &WorkloadAdapter) -> u32 {
    object.pointer(&adapter.replicas).map_or(1, |count| {
        count
            .as_u64()
            .and_then(|count| count.try_into().ok())
            .unwrap_or(0)
    })
}

fn held_revision<'a>(object: &'a Value, adapter: &WorkloadAdapter) -> Option<&'a str> {
    let named = object.pointer("/status/currentRevision")?.as_str();
    named.filter(|name| adapter.holds_later_pods && !name.is_empty())
}

/// The version of the pods that a workload gets while it is held, where it has lost every one; absent = it
/// is to have none, they are of its own template, or its kind does not say.
fn to_come(
    object: &Value,
    adapter: &WorkloadAdapter,
    current: Option<&str>,
    recorded: &[Recorded],
) -> Option<Version> {
    let name = held_revision(object, adapter)
        .filter(|name| Some(*name) != current && replicas(object, adapter) > 0)?;
    let found = recorded.iter().find(|one| one.name == name);
    Some(Version {
        label: name.to_owned(),
        revision: name.to_owned(),
        pods: Vec::new(),
        template: found.map(|one| one.template.clone()),
    })
}

/// Whether the owner of a workload that is not held says which pods get its template.
pub(crate) fn keeps_its_own_pace(object: &Value, adapter: &WorkloadAdapter) -> bool {
    let paused = adapter.paused.as_ref();
    let on_delete = object.pointer("/spec/updateStrategy/type") == Some(&Value::from("OnDelete"));
    on_delete
        || !field::frees(adapter, field::of(object, adapter))
        || paused.is_some_and(|at| object.pointer(at) == Some(&Value::Bool(true)))
}

/// The revision of the live template; absent = its controller has not seen it yet, so that no pod is of
/// it.
fn current_revision(
    object: &Value,
    adapter: &WorkloadAdapter,
    template: &Value,
    is_observed: bool,
    recorded: &[Recorded],
) -> Option<String> {
    let live = plain(template);
    let newest = |one: &&Recorded| one.number;
    let same = recorded.iter().filter(|one| one.template == live);
    if let Some(same) = same.max_by_key(newest) {
        return Some(same.name.clone());
    }
    if is_observed && adapter.by_node {
        return recorded
            .iter()
            .max_by_key(newest)
            .map(|one| one.name.clone());
    }
    if is_observed {
        return Some(text(object, &adapter.revision)).filter(|name| !name.is_empty());
    }
    // Who records a template may fill in more defaults than the API server does.
    let filled = recorded.iter().filter(|one| covers(&one.template, &live));
    filled.max_by_key(newest).map(|one| one.name.clone())
}

fn versions(pods: Vec<Pod>, adapter: &WorkloadAdapter, recorded: &[Recorded]) -> Vec<Version> {
    let mut versions: Vec<Version> = Vec::new();
    let mut pods = pods;
    pods.sort_by(|one, other| one.name.cmp(&other.name));
    for pod in pods {
        match versions.iter_mut().find(|one| one.label == pod.label) {
            Some(version) => version.pods.push(pod),
            None => versions.push(Version {
                label: pod.label.clone(),
                pods: vec![pod],
                ..Version::default()
            }),
        }
    }
    for version in &mut versions {
        let found = recorded
            .iter()
            .filter(|one| is_of(&version.label, &one.name))
            .max_by_key(|one| one.number);
        version.template = found.map(|one| one.template.clone());
        version.revision = match found {
            Some(found) if !adapter.by_node => found.name.clone(),
            _ => version.label.clone(),
        };
    }
    versions
}

/// Some kinds write a revision whole into the label, some without the workload's name before it.
pub(crate) fn is_of(label: &str, revision: &str) -> bool {
    let short = revision
        .strip_suffix(label)
        .is_some_and(|rest| rest.ends_with('-'));
    !label.is_empty() && (label == revision || short)
}

/// A template without what its recorder adds to it, and without what says nothing.
fn plain(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !value.is_null());
    }
    template
}
