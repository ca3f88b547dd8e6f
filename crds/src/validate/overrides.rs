//! Checks of what differs from cluster to cluster.

mod values;

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    finding::Findings,
    manifests::{Manifest, hooks_of, manifests_of},
    names,
};
use crate::{
    application::ApplicationSpec,
    cluster_template::{self, ClusterTemplateError},
    document::{FieldPath, closest},
    overrides::{
        ArgsOverride, CONTAINER_LISTS, IDENTITY, ImageOverride, JsonPatchOp, JsonPatchOperation,
        Override, PatchOverride, Target, TextPatch, image_name,
    },
};

/// Checks the overrides of one application. One that is rendered has objects in place of its charts,
/// which had their values, and `hooks` by component.
pub(super) fn check(
    findings: &mut Findings,
    path: &FieldPath,
    spec: &ApplicationSpec,
    hooks: Option<&BTreeMap<String, Vec<Value>>>,
) {
    let mut manifests = manifests_of(spec);
    manifests.extend(hooks.into_iter().flat_map(|hooks| hooks_of(spec, hooks)));
    let mut seen = BTreeMap::new();
    for (at, one) in &all(path, spec) {
        names::name(findings, &at.key("name"), &one.name);
        if let Some(first) = seen.insert(one.name.as_str(), at) {
            let first = first.to_string();
            let first = first.strip_prefix("spec.").unwrap_or(&first);
            findings.error(
                &at.key("name"),
                format!(
                    "two overrides are named {:?}; the first is {first}",
                    one.name
                ),
            );
        }
        names::cluster_list(findings, &at.key("clusters"), &one.clusters);
        if let Some(selector) = &one.selector {
            names::selector(findings, &at.key("selector"), selector);
        }
        components(findings, &at.key("components"), one, spec);
        if hooks.is_none() {
            values::check(findings, at, one, spec);
        }
        if one.is_empty() {
            findings.error(at, "an override changes something: set values, images, args, replicas, patches, labels, annotations or remove");
        }
        let concerned: Vec<&Manifest<'_>> = manifests
            .iter()
            .filter(|manifest| one.concerns(manifest.component))
            .collect();
        // What a source renders is known once it is rendered, and checked again then.
        let all_known = spec
            .components
            .iter()
            .filter(|component| one.concerns(&component.name))
            .all(|component| component.manifests.is_some());
        Check {
            findings,
            concerned: &concerned,
            all_known,
        }
        .one(at, one);
    }
}

/// Every override, with where it stands: those of components concern these alone.
fn all(path: &FieldPath, spec: &ApplicationSpec) -> Vec<(FieldPath, Override)> {
    let own = spec.overrides.iter().enumerate();
    let mut found: Vec<(FieldPath, Override)> = own
        .map(|(index, one)| (path.index(index), one.clone()))
        .collect();
    for (index, component) in spec.components.iter().enumerate() {
        let at = FieldPath::spec().key("components").index(index);
        for (place, one) in component.own_overrides().into_iter().enumerate() {
            found.push((at.key("overrides").index(place), one));
        }
    }
    found
}

fn components(findings: &mut Findings, path: &FieldPath, one: &Override, spec: &ApplicationSpec) {
    let names = || spec.components.iter().map(|known| known.name.as_str());
    for (index, wanted) in one.components.iter().enumerate() {
        if !names().any(|known| known == wanted) {
            findings.error_with(
                &path.index(index),
                format!("the application has no component {wanted:?}"),
                closest(wanted, names()).map(str::to_owned),
            );
        }
    }
}

struct Check<'a, 'm> {
    findings: &'a mut Findings,
    /// The objects that the override may change.
    concerned: &'a [&'a Manifest<'m>],
    /// Whether these are all that there are.
    all_known: bool,
}

impl Check<'_, '_> {
    fn one(&mut self, path: &FieldPath, one: &Override) {
        if let Some(values) = &one.values {
            self.templates(&path.key("values"), values);
        }
        for (index, image) in one.images.iter().enumerate() {
            self.image(&path.key("images").index(index), image);
        }
        for (index, args) in one.args.iter().enumerate() {
            self.args(&path.key("args").index(index), args);
        }
        for (index, replicas) in one.replicas.iter().enumerate() {
            let at = path.key("replicas").index(index).key("target");
            self.target(&at, &replicas.target);
        }
        for (index, patch) in one.patches.iter().enumerate() {
            self.patch(&path.key("patches").index(index), patch);
        }
        for (field, words) in [("labels", &one.labels), ("annotations", &one.annotations)] {
            for (key, value) in words {
                let at = path.key(field).key(key);
                self.template(&at, value);
                names::metadata_key(self.findings, &at, key);
                if key.starts_with("bellwether.dev/") {
                    self.findings.error(
                        &at,
                        "keys of bellwether.dev are the product's own; write them at the object",
                    );
                }
            }
        }
        for (index, target) in one.remove.iter().enumerate() {
            self.target(&path.key("remove").index(index), target);
        }
    }

    fn template(&mut self, path: &FieldPath, text: &str) {
        if let Err(error) = cluster_template::check(text) {
            let meant = match &error {
                ClusterTemplateError::Unknown { meant, .. } => meant.map(str::to_owned),
                _ => None,
            };
            self.findings.error_with(path, error.to_string(), meant);
        }
    }

    fn templates(&mut self, path: &FieldPath, value: &Value) {
        match value {
            Value::String(text) => self.template(path, text),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.templates(&path.index(index), item);
                }
            }
            Value::Object(fields) => {
                for (key, field) in fields {
                    self.templates(&path.key(key), field);
                }
            }
            _ => {}
        }
    }

    /// A target that means nothing is a typo, and would change nothing in silence.
    fn target(&mut self, path: &FieldPath, target: &Target) {
        if target.kind.is_empty() {
            self.findings
                .error(&path.key("kind"), "a target names a kind");
            return;
        }
        let is_there = self
            .concerned
            .iter()
            .any(|manifest| target.is(manifest.object, manifest.namespace));
        if is_there || !self.all_known {
            return;
        }
        let of_kind = |manifest: &&&Manifest<'_>| manifest.kind == target.kind;
        let names = self.concerned.iter().filter(of_kind);
        let names = names.map(|manifest| manifest.name);
        let kinds = self.concerned.iter().map(|manifest| manifest.kind);
        let meant = match target.name.as_deref() {
            Some(name) if self.concerned.iter().any(|one| of_kind(&one)) => closest(name, names),
            _ => closest(&target.kind, kinds),
        };
        let meant = meant.map(str::to_owned);
        self.findings.error_with(
            path,
            format!("no object of these components is {}", target.label()),
            meant,
        );
    }

    fn image(&mut self, path: &FieldPath, image: &ImageOverride) {
        if image.name.is_empty() {
            self.findings
                .error(&path.key("name"), "name the image as it is written");
        } else if image_name(&image.name) != image.name {
            self.findings.error(
                &path.key("name"),
                "write the image without its tag and digest",
            );
        } else if self.all_known
            && !self.concerned.iter().any(|manifest| {
                images_of(manifest.object)
                    .iter()
                    .any(|written| image_name(written) == image.name)
            })
        {
            let written: Vec<&str> = self
                .concerned
                .iter()
                .flat_map(|manifest| images_of(manifest.object))
                .map(image_name)
                .collect();
            let meant = closest(&image.name, written).map(str::to_owned);
            self.findings.error_with(
                &path.key("name"),
                format!("no container of these components uses {:?}", image.name),
                meant,
            );
        }
        if image.new_name.is_none() && image.new_tag.is_none() && image.digest.is_none() {
            self.findings
                .error(path, "set newName, newTag or digest, or leave it out");
        }
        if image.new_tag.is_some() && image.digest.is_some() {
            self.findings.error(
                &path.key("digest"),
                "an image has newTag or digest, not both",
            );
        }
        if let Some(digest) = &image.digest
            && !cluster_template::has_placeholders(digest)
            && !is_digest(digest)
        {
            self.findings.error(
                &path.key("digest"),
                "a digest is sha256: and 64 digits of 0-9 and a-f",
            );
        }
        for (field, text) in [
            ("newName", &image.new_name),
            ("newTag", &image.new_tag),
            ("digest", &image.digest),
        ] {
            if let Some(text) = text {
                self.template(&path.key(field), text);
            }
        }
    }

    fn args(&mut self, path: &FieldPath, args: &ArgsOverride) {
        self.target(&path.key("target"), &args.target);
        if args.command.is_none() && args.args.is_none() && args.append.is_empty() {
            self.findings
                .error(path, "set command, args or append, or leave it out");
        }
        let lists = [
            ("command", args.command.as_deref().unwrap_or_default()),
            ("args", args.args.as_deref().unwrap_or_default()),
            ("append", args.append.as_slice()),
        ];
        for (field, words) in lists {
            for (index, word) in words.iter().enumerate() {
                self.template(&path.key(field).index(index), word);
            }
        }
    }

    fn patch(&mut self, path: &FieldPath, patch: &PatchOverride) {
        self.target(&path.key("target"), &patch.target);
        if patch.target.kind == "Secret" {
            self.findings.error(
                &path.key("target"),
                "a Secret's content stands in no other object; write one Secret a kind of cluster, \
                 and `remove` the others",
            );
        }
        let forms = [
            !patch.json_patch.is_empty(),
            patch.merge.is_some(),
            patch.text.is_some(),
        ];
        if forms.iter().filter(|set| **set).count() != 1 {
            self.findings
                .error(path, "a patch has exactly one of jsonPatch, merge, text");
        }
        for (index, operation) in patch.json_patch.iter().enumerate() {
            self.operation(&path.key("jsonPatch").index(index), operation);
        }
        if let Some(merge) = &patch.merge {
            self.merge(&path.key("merge"), merge);
        }
        if let Some(text) = &patch.text {
            self.text(&path.key("text"), text);
        }
    }

    fn operation(&mut self, path: &FieldPath, operation: &JsonPatchOperation) {
        self.pointer(&path.key("path"), &operation.path);
        if operation.op != JsonPatchOp::Test {
            self.identity(&path.key("path"), &operation.path);
        }
        let from = path.key("from");
        match (operation.op, &operation.from) {
            (JsonPatchOp::Move | JsonPatchOp::Copy, None) => {
                self.findings.error(path, "this operation needs `from`")
            }
            (JsonPatchOp::Move | JsonPatchOp::Copy, Some(pointer)) => {
                self.pointer(&from, pointer);
                if operation.op == JsonPatchOp::Move {
                    self.identity(&from, pointer);
                }
            }
            (_, Some(_)) => self.findings.error(&from, "only move and copy take `from`"),
            (_, None) => {}
        }
        let takes_value = matches!(
            operation.op,
            JsonPatchOp::Add | JsonPatchOp::Replace | JsonPatchOp::Test
        );
        match &operation.value {
            None if takes_value => self
                .findings
                .error(path, "this operation needs a `value` other than null"),
            Some(_) if !takes_value => self
                .findings
                .error(&path.key("value"), "this operation takes no value"),
            Some(value) => self.templates(&path.key("value"), value),
            None => {}
        }
    }

    fn merge(&mut self, path: &FieldPath, merge: &Value) {
        if !merge.is_object() {
            self.findings
                .error(path, "a merge patch is a map of the fields that change");
            return;
        }
        for pointer in IDENTITY {
            if merge.pointer(pointer).is_some() {
                self.identity(path, pointer);
            }
        }
        self.templates(path, merge);
    }

    fn text(&mut self, path: &FieldPath, text: &TextPatch) {
        self.pointer(&path.key("path"), &text.path);
        self.identity(&path.key("path"), &text.path);
        if text.replace.is_empty() {
            self.findings
                .error(&path.key("replace"), "name at least one replacement");
        }
        for (index, replacement) in text.replace.iter().enumerate() {
            let at = path.key("replace").index(index);
            if replacement.from.is_empty() {
                self.findings
                    .error(&at.key("from"), "an empty text stands everywhere");
            }
            self.template(&at.key("to"), &replacement.to);
        }
    }

    fn pointer(&mut self, path: &FieldPath, pointer: &str) {
        if !pointer.starts_with('/') {
            self.findings.error_with(
                path,
                format!("{pointer:?} is no JSON pointer; one begins with /"),
                Some(format!("/{}", pointer.replace('.', "/"))),
            );
        }
    }

    /// An override that made another object of one would delete the first and make a second.
    fn identity(&mut self, path: &FieldPath, pointer: &str) {
        let whole = ["", "/metadata"].contains(&pointer);
        if whole || IDENTITY.contains(&pointer) {
            self.findings.error(
                path,
                "apiVersion, kind, name and namespace make an object the one that it is and cannot \
                 be overridden; write another object, and `remove` this one where it is not wanted",
            );
        }
    }
}

impl Override {
    fn is_empty(&self) -> bool {
        self.values.is_none()
            && self.images.is_empty()
            && self.args.is_empty()
            && self.replicas.is_empty()
            && self.patches.is_empty()
            && self.labels.is_empty()
            && self.annotations.is_empty()
            && self.remove.is_empty()
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    })
}

/// The images of every container of an object, wherever its pod template is.
fn images_of(object: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    collect_images(object, &mut found);
    found
}

fn collect_images<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                if CONTAINER_LISTS.contains(&key.as_str()) {
                    let containers = field.as_array().into_iter().flatten();
                    let image = |one: &'a Value| one.get("image").and_then(Value::as_str);
                    found.extend(containers.filter_map(image));
                } else {
                    collect_images(field, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_images(item, found)),
        _ => {}
    }
}
