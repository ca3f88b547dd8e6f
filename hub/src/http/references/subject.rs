//! One application under check.

use bellwether_api::{
    application::{ApplicationSpec, Component},
    call::ProblemItem,
    document::{Document, DocumentError, FieldPath, Source, closest},
    overrides::Override,
    reference::NamespacedName,
    rollout::RolloutSpec,
    validate::governed,
};
use bellwether_hub_core::{
    addons::choose,
    cluster_defaults::misfits_of_release,
    overrides::try_clusters,
    placement::{Choice, Chosen, PlacementError, Standing},
    plan::assign,
    release::{ReleaseContent, RolloutRecord, content},
};

use super::{
    super::{apply::namespace_of, problem::problem_item},
    Checked, Held, finding,
};

/// One application under check.
pub(super) struct Subject<'a> {
    pub(super) documents: &'a [Document],
    pub(super) default_namespace: &'a str,
    pub(super) name: &'a NamespacedName,
    pub(super) spec: &'a ApplicationSpec,
    /// Where it is now.
    pub(super) standing: &'a Standing,
}

impl Subject<'_> {
    pub(super) fn check(
        &self,
        held: &Held,
        rollouts: &[&(String, RolloutSpec)],
        checked: &mut Checked,
    ) {
        self.check_placement(held, checked);
        self.check_components(held, checked);
        let mut broken = false;
        for (name, rollout) in rollouts {
            let findings = governed(rollout, self.spec);
            broken |= !findings.errors.is_empty();
            // Documents of one input were checked against each other already.
            if self.both_written(name) {
                continue;
            }
            let source = self.rollout_source(name);
            for error in findings.errors {
                checked.errors.push(match source {
                    Some(source) => problem_item(&DocumentError::from_finding(source, &error)),
                    None => self.application_error(
                        FieldPath::spec().key("components"),
                        format!(
                            "rollout/{name} no longer fits: {}: {}",
                            error.path, error.message
                        ),
                        None,
                    ),
                });
            }
            for warning in findings.warnings {
                checked
                    .warnings
                    .push(format!("rollout/{name}: {}", warning.message));
            }
        }
        let records: Vec<RolloutRecord> = rollouts
            .iter()
            .map(|(name, spec)| RolloutRecord {
                name: name.clone(),
                spec: spec.clone(),
                rendered_as: None,
            })
            .collect();
        // What `governed` has named is not said a second time, and what is rendered is checked once
        // it is.
        let rendered = |component: &Component| component.rendered_source().is_some();
        if broken || self.spec.components.iter().any(rendered) {
            return;
        }
        self.check_overrides(held, rollouts, checked);
        let components = FieldPath::spec().key("components");
        match content(&self.name.name, self.spec, &records) {
            Ok(content) => {
                for (rollout, error) in self.misfits(held, &content) {
                    let message = format!("rollout/{rollout}: {error}");
                    let error = self.application_error(components.clone(), message, None);
                    checked.errors.push(error);
                }
            }
            Err(error) => {
                let error = self.application_error(components, error.to_string(), None);
                checked.errors.push(error);
            }
        }
    }

    /// Whether the overrides fit the clusters that there are, and what comes of them fits the rollouts.
    fn check_overrides(
        &self,
        held: &Held,
        rollouts: &[&(String, RolloutSpec)],
        checked: &mut Checked,
    ) {
        let path = FieldPath::spec().key("overrides");
        let Ok(Chosen { placement, .. }) = self.choose(held) else {
            return;
        };
        for tried in try_clusters(self.spec, &placement.clusters) {
            match tried {
                Err((cluster, error)) => {
                    let at = self
                        .override_at(&error.name)
                        .unwrap_or_else(|| path.clone());
                    let cause = std::error::Error::source(&error)
                        .map_or_else(String::new, |cause| format!(": {cause}"));
                    let message = format!("in cluster {:?}: {error}{cause}", cluster.name);
                    checked
                        .errors
                        .push(self.application_error(at, message, None));
                }
                Ok(there) => {
                    let inline = there.spec.components.iter().filter_map(|component| {
                        let rollout = component.rollout.as_ref()?;
                        Some((
                            component.name.as_str(),
                            RolloutSpec {
                                component: Some(component.name.clone()),
                                ..rollout.clone()
                            },
                        ))
                    });
                    let records = rollouts
                        .iter()
                        .map(|(name, rollout)| (name.as_str(), rollout.clone()));
                    for (name, rollout) in inline.chain(records) {
                        for error in governed(&rollout, &there.spec).errors {
                            let message = format!(
                                "in cluster {:?} rollout {name:?} does not fit what the overrides make: {}: {}",
                                there.cluster.name, error.path, error.message
                            );
                            let error = self.application_error(path.clone(), message, None);
                            checked.errors.push(error);
                        }
                    }
                }
            }
        }
    }

    /// Whether the fleets that components name are there.
    fn check_components(&self, held: &Held, checked: &mut Checked) {
        for (index, component) in self.spec.components.iter().enumerate() {
            let destination = component.destination.as_ref();
            let Some(name) = destination.and_then(|one| one.fleet.as_ref()) else {
                continue;
            };
            if held.fleets.contains_key(name) {
                continue;
            }
            let at = FieldPath::spec().key("components").index(index);
            let at = at.key("destination").key("fleet");
            let meant = closest(name, held.fleets.keys().map(String::as_str));
            let message = format!("there is no fleet {name:?}");
            checked
                .errors
                .push(self.application_error(at, message, meant));
        }
    }

    /// Where the override of that name stands.
    fn override_at(&self, name: &str) -> Option<FieldPath> {
        let at = |list: &[Override]| list.iter().position(|one| one.name == name);
        if let Some(index) = at(&self.spec.overrides) {
            return Some(FieldPath::spec().key("overrides").index(index));
        }
        let mut components = self.spec.components.iter().enumerate();
        components.find_map(|(place, component)| {
            let path = FieldPath::spec().key("components").index(place);
            Some(path.key("overrides").index(at(&component.overrides)?))
        })
    }

    /// What rollouts that name no provider ask of their fleet's and their clusters' and these cannot do.
    fn misfits<'c>(&self, held: &Held, content: &'c ReleaseContent) -> Vec<(&'c str, String)> {
        let fleet = self.spec.destination.fleet.as_ref();
        let fleet = fleet.and_then(|name| held.fleets.get(name));
        let default = fleet.map_or(&[][..], |fleet| &fleet.defaults.traffic);
        let chosen = self.choose(held).map(|chosen| chosen.placement.clusters);
        let clusters = chosen.unwrap_or_default();
        misfits_of_release(content, default, &clusters, &held.fleets)
    }

    fn choose(&self, held: &Held) -> Result<Chosen, PlacementError> {
        let fleet = self.spec.destination.fleet.as_ref();
        let choice = Choice {
            destination: &self.spec.destination,
            policy: self.spec.placement.as_ref(),
            fleet: fleet.and_then(|name| held.fleets.get(name)),
            clusters: &held.clusters,
            standing: self.standing,
        };
        choose(self.name, choice, &held.fleets)
    }

    fn check_placement(&self, held: &Held, checked: &mut Checked) {
        let destination = FieldPath::spec().key("destination");
        let placement = match self.choose(held) {
            Ok(chosen) => chosen.placement,
            Err(PlacementError::NoSuchFleet { name }) => {
                let names = held.fleets.keys().map(String::as_str);
                let message = if held.fleets.is_empty() {
                    format!("there is no fleet {name:?}, and no other")
                } else {
                    let known: Vec<&str> =
                        held.fleets.keys().map(String::as_str).take(10).collect();
                    format!(
                        "there is no fleet {name:?}; there are: {}",
                        known.join(", ")
                    )
                };
                let path = destination.key("fleet");
                checked
                    .errors
                    .push(self.application_error(path, message, closest(&name, names)));
                return;
            }
            Err(error @ (PlacementError::Empty | PlacementError::UnreadFleet { .. })) => {
                checked
                    .errors
                    .push(self.application_error(destination, error.to_string(), None));
                return;
            }
        };
        for condition in placement.conditions() {
            checked.warnings.push(format!(
                "application/{}: {}",
                self.name.name,
                condition.message()
            ));
        }
        if let Err(error) = assign(&self.spec.waves, &placement.clusters) {
            let path = FieldPath::spec().key("waves");
            checked
                .errors
                .push(self.application_error(path, error.to_string(), None));
        }
    }

    fn is(&self, document: &Document) -> bool {
        namespace_of(document, self.default_namespace) == self.name.namespace
    }

    fn application_source(&self) -> Option<&Source> {
        self.documents.iter().find_map(|document| match document {
            Document::Application(object)
                if self.is(document) && object.metadata.name == self.name.name =>
            {
                Some(&object.source)
            }
            _ => None,
        })
    }

    fn rollout_source(&self, name: &str) -> Option<&Source> {
        self.documents.iter().find_map(|document| match document {
            Document::Rollout(object) if self.is(document) && object.metadata.name == name => {
                Some(&object.source)
            }
            _ => None,
        })
    }

    fn both_written(&self, rollout: &str) -> bool {
        let namespace_written = |document: &&Document| {
            document.metadata().namespace.is_some()
                || self
                    .documents
                    .iter()
                    .all(|one| one.metadata().namespace.is_none())
        };
        self.application_source().is_some()
            && self.rollout_source(rollout).is_some()
            && self
                .documents
                .iter()
                .all(|document| namespace_written(&document))
    }

    /// Places an error in the application's document, or in whichever document touched it.
    fn application_error(
        &self,
        path: FieldPath,
        message: String,
        suggestion: Option<&str>,
    ) -> ProblemItem {
        match self.application_source() {
            Some(source) => finding(source, path, message, suggestion),
            None => ProblemItem {
                detail: format!("application/{} ({path}): {message}", self.name.name),
                suggestion: suggestion.map(str::to_owned),
                code: "Invalid".to_owned(),
                ..ProblemItem::default()
            },
        }
    }
}
