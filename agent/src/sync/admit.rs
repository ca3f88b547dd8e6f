//! Whether a bundle may come in at all, decided before anything is changed.

mod accounts;
mod hooks;
mod namespaces;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use bellwether_agent_core::{
    immutable::keeps_from_recreating,
    ownership::{is_held, uid_of},
    tracked_config::content,
};
use bellwether_api::{
    application::AdoptPolicy, bundle::Bundle, chart_hook::LeftHookObject, installation,
    reference::ObjectRef, sync_record::HeldObject,
};
use futures::future::try_join_all;
use serde_json::Value;

use super::{
    access::Access,
    cluster::{ApplyMode, Cluster, ClusterError, SYNC_MANAGER},
    keep::{OWN, Wanted},
};

pub use hooks::HookTarget;
pub use namespaces::exists as namespace_exists;

/// Refusals that are named; the rest is counted.
const MAX_NAMED: usize = 10;

/// Objects that are tried out at once.
const TRIED_AT_ONCE: usize = 8;

/// What a bundle is checked against.
pub struct Admission<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// What the agent may do.
    pub access: &'a Access,
    /// Objects that this unit holds already.
    pub own: &'a [HeldObject],
    /// Objects that other applications hold, with their unit's key.
    pub taken: &'a BTreeMap<ObjectRef, String>,
    /// The objects of its charts' hooks.
    pub hooks: &'a [HookTarget],
    /// What hooks of this unit have left.
    pub left: &'a [LeftHookObject],
    /// Objects that are as the bundle has them already: they are not tried out, so that one change among ten
    /// thousand objects does not ask for each of them.
    pub settled: &'a BTreeSet<ObjectRef>,
}

/// What was found out about a bundle.
#[derive(Clone, Debug, Default)]
pub struct Admitted {
    /// Why it is refused, one sentence each; empty = it may come in.
    pub refusals: Vec<String>,
    /// What the ServiceAccounts lack in whose names it is applied, one sentence each: somebody may give it to
    /// them, and it may come in then. Empty = nothing, or it is refused anyway.
    pub lacks: Vec<String>,
    /// Live objects that are not ours and that the bundle takes over.
    pub adopts: Vec<Value>,
    /// ConfigMaps and Secrets that hold already what the bundle brings.
    pub unchanged: BTreeSet<ObjectRef>,
}

impl Admitted {
    /// Adds what came of trying an object out.
    fn add(&mut self, want: &Wanted, tried: Tried) {
        if tried.is_unchanged() {
            self.unchanged.insert(want.target.clone());
        }
        match tried {
            Tried::Fine | Tried::Unchanged => {}
            Tried::Adopts { live, .. } => self.adopts.push(live),
            Tried::Refused(why) => self.refusals.push(why),
            Tried::Lacks(what) => self.lacks.push(what),
        }
    }
}

/// What came of trying one object out.
enum Tried {
    Fine,
    /// It holds already what the bundle brings.
    Unchanged,
    Adopts {
        live: Value,
        unchanged: bool,
    },
    Refused(String),
    /// The ServiceAccount has no right to it.
    Lacks(String),
}

impl Tried {
    const fn is_unchanged(&self) -> bool {
        matches!(
            self,
            Self::Unchanged
                | Self::Adopts {
                    unchanged: true,
                    ..
                }
        )
    }
}

impl Admission<'_> {
    /// Finds out whether a bundle may come in, and what it takes over then.
    ///
    /// # Errors
    /// The API server does not answer: nothing is known, and asking again may help.
    pub async fn review(
        &self,
        bundle: &Bundle,
        wanted: &[Wanted],
    ) -> Result<Admitted, ClusterError> {
        // A refusal is final: what has come since the last answer is to count.
        for want in wanted {
            self.cluster.ask_again(&want.target);
        }
        let mut refusals = repeated(wanted);
        for want in wanted {
            if let Some(owner) = self.taken.get(&want.target) {
                refusals.push(format!("{} belongs to {owner} already", want.target));
            }
        }
        refusals.extend(self.refused_hooks(bundle, wanted).await?);
        let hooks = self.hooks.iter().map(|hook| &hook.target);
        let targets = wanted.iter().map(|want| &want.target);
        let targets: Vec<ObjectRef> = targets.chain(hooks).cloned().collect();
        refusals.extend(self.access.missing(self.cluster, &targets).await?);
        let mut admitted = Admitted {
            refusals,
            ..Admitted::default()
        };
        if admitted.refusals.is_empty() {
            admitted.lacks = self.lacking_accounts(bundle).await?;
        }
        if admitted.refusals.is_empty() && admitted.lacks.is_empty() {
            admitted.lacks = self.lacking_for_hooks(bundle).await?;
            self.try_all(bundle, wanted, &mut admitted).await?;
        }
        admitted.refusals = shortened(admitted.refusals);
        admitted.lacks = shortened(admitted.lacks);
        Ok(admitted)
    }

    /// Tries every object out, and adds what is found.
    async fn try_all(
        &self,
        bundle: &Bundle,
        wanted: &[Wanted],
        admitted: &mut Admitted,
    ) -> Result<(), ClusterError> {
        for some in wanted.chunks(TRIED_AT_ONCE) {
            let tries: Vec<_> = some
                .iter()
                .map(|want| self.try_out(bundle, wanted, want))
                .collect();
            for (want, tried) in some.iter().zip(try_join_all(tries).await?) {
                admitted.add(want, tried);
            }
        }
        Ok(())
    }

    /// Asks the API server what applying one object would do.
    async fn try_out(
        &self,
        bundle: &Bundle,
        wanted: &[Wanted],
        want: &Wanted,
    ) -> Result<Tried, ClusterError> {
        if self.settled.contains(&want.target) {
            return Ok(if is_configuration(&want.target) {
                Tried::Unchanged
            } else {
                Tried::Fine
            });
        }
        let live = match self.cluster.get(&want.target).await {
            Err(error) if error.is_conversion() => return Ok(self.unread(want, &error)),
            live => live?,
        };
        let is_foreign = live.as_ref().is_some_and(|live| !self.holds(want, live));
        if is_foreign && live.as_ref().is_some_and(installation::is_own) {
            // Whatever the user allows: what would prune it later takes the hub or the agent away.
            let target = &want.target;
            let why = installation::said(&target.kind, &target.name);
            return Ok(Tried::Refused(why));
        }
        let object = match &live {
            Some(live) if !want.ignored.is_empty() => Cow::Owned(want.over(live, OWN)),
            _ => Cow::Borrowed(&want.object),
        };
        let account = bundle.brought_in_by(want.part.account.as_ref());
        let acting = self.cluster.acting_as(account);
        let planned = acting.apply(SYNC_MANAGER, &object, ApplyMode::DryRun);
        let planned = planned.await;
        if let Err(error) = &planned
            && let Some(what) = self.lacking((want, account), live.is_some(), error).await?
        {
            return Ok(Tried::Lacks(what));
        }
        let planned = match planned {
            Ok(planned) => Some(planned),
            Err(error) if error.is_final() => match rejected(bundle, want, live.as_ref(), &error) {
                Some(why) => return Ok(Tried::Refused(why)),
                None => match self.lacking_anew((want, account)).await? {
                    Some(what) => return Ok(Tried::Lacks(what)),
                    None => None,
                },
            },
            // Nobody else's is written over: it keeps no other object back, and is waited for where it
            // is written.
            Err(error) if error.is_conversion() => None,
            // Its kind comes with the bundle itself.
            Err(ClusterError::NotServed { .. }) if want.defined_by.is_some() => None,
            Err(ClusterError::NotServed { api_version, kind }) => {
                return Ok(Tried::Refused(format!(
                    "{} needs kind {kind} of {api_version}, which this cluster does not serve and no \
                     CustomResourceDefinition of the release defines",
                    want.target
                )));
            }
            // Its namespace may come with the bundle itself.
            Err(error) if error.code() == Some(404) => {
                let target = &want.target;
                let refusal = namespaces::refusal(self.cluster, bundle, wanted, target).await?;
                return Ok(refusal.map_or(Tried::Fine, Tried::Refused));
            }
            Err(error) => return Err(error),
        };
        let unchanged = is_configuration(&want.target)
            && live
                .as_ref()
                .zip(planned.as_ref())
                .is_some_and(|(live, planned)| content(live) == content(planned));
        let Some(live) = live.filter(|live| !self.holds(want, live)) else {
            return Ok(if unchanged {
                Tried::Unchanged
            } else {
                Tried::Fine
            });
        };
        let identical = planned.is_some_and(|planned| same(&live, &planned));
        let policy = want.part.adopt.unwrap_or(bundle.sync.adopt);
        let allowed = match policy {
            AdoptPolicy::Always => true,
            AdoptPolicy::IfIdentical => identical,
            AdoptPolicy::Never => false,
        };
        if allowed {
            return Ok(Tried::Adopts { live, unchanged });
        }
        let why = if policy == AdoptPolicy::Never {
            "sync.adopt is Never; set it to IfIdentical or Always to take it over, or delete it"
        } else {
            "it differs; set sync.adopt to Always to take it over"
        };
        Ok(Tried::Refused(format!(
            "{} exists already and {why}",
            want.target
        )))
    }

    /// An object that is there, and that the API server cannot convert.
    fn unread(&self, want: &Wanted, error: &ClusterError) -> Tried {
        if self.own.iter().any(|held| held.is(&want.target)) {
            return Tried::Fine;
        }
        Tried::Refused(format!(
            "{} exists already, and whose it is cannot be read: {}",
            want.target,
            error.answer()
        ))
    }

    fn holds(&self, want: &Wanted, live: &Value) -> bool {
        self.own
            .iter()
            .any(|held| held.is(&want.target) && is_held(held, live, SYNC_MANAGER))
    }
}

/// Why an object that the API server does not take refuses the bundle; `None` = it is deleted and made
/// anew.
fn rejected(
    bundle: &Bundle,
    want: &Wanted,
    live: Option<&Value>,
    error: &ClusterError,
) -> Option<String> {
    let (target, answer) = (&want.target, error.answer());
    let (Some(field), Some(live)) = (error.immutable_field(), live) else {
        return Some(format!("{target} was refused: {answer}"));
    };
    let keeps = keeps_from_recreating(live);
    let is_ours = want.recreates.is_some() && want.recreates.as_ref() == uid_of(live);
    let hint = match keeps {
        Some(why) => why,
        None if !want.part.force.unwrap_or(bundle.sync.force) => {
            "set sync.force to have it deleted and made anew"
        }
        None if !is_ours => {
            "sync.force does not make anew what a Rollout governs, or what the agent did not make"
        }
        None => return None,
    };
    Some(format!(
        "{target} was refused: {field} cannot be changed; {hint} ({answer})"
    ))
}

fn is_configuration(target: &ObjectRef) -> bool {
    target.api_version == "v1" && matches!(target.kind.as_str(), "ConfigMap" | "Secret")
}

fn same(live: &Value, planned: &Value) -> bool {
    let strip = |object: &Value| {
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["managedFields", "resourceVersion", "generation"] {
                metadata.remove(field);
            }
        }
        object
    };
    strip(live) == strip(planned)
}

fn repeated(wanted: &[Wanted]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    wanted
        .iter()
        .filter(|want| !seen.insert(&want.target))
        .map(|want| format!("{} stands in the release twice", want.target))
        .collect()
}

fn shortened(mut refusals: Vec<String>) -> Vec<String> {
    if refusals.len() > MAX_NAMED {
        let rest = refusals.len() - MAX_NAMED;
        refusals.truncate(MAX_NAMED);
        refusals.push(format!("and {rest} more"));
    }
    refusals
}

#[cfg(test)]
mod own_tests;
#[cfg(test)]
mod tests;
