use std::collections::BTreeMap;

use bellwether_api::{
    cluster_bound::strip,
    cluster_template::{ClusterTemplateError, ClusterValues, fill},
    overrides::{
        ArgsOverride, CONTAINER_LISTS, IDENTITY, ImageOverride, Override, PatchOverride, Target,
        TextPatch, image_name,
    },
    strategic,
};
use json_patch::{Patch, merge, patch};
use serde_json::{Map, Value};

/// Why an override does not hold in a cluster, though its selector says so.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed to apply override {name:?} to component {component:?}")]
pub struct OverrideError {
    /// The override.
    pub name: String,
    /// The component.
    pub component: String,
    /// Why.
    #[source]
    pub source: OverrideFault,
}

/// What is wrong with an override.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum OverrideFault {
    /// A text cannot be filled in.
    #[error(transparent)]
    Template(#[from] ClusterTemplateError),
    /// An operation does not fit the object.
    #[error("{target}: {why}")]
    Patch {
        /// The object.
        target: String,
        /// Why.
        why: String,
    },
    /// A text is not where it should be.
    #[error("{target}: there is no text at {path:?}")]
    NoText {
        /// The object.
        target: String,
        /// Where.
        path: String,
    },
    /// What shall be replaced does not stand there.
    #[error("{target}: {from:?} does not stand in the text at {path:?}")]
    NotInText {
        /// The object.
        target: String,
        /// Where.
        path: String,
        /// What shall be replaced.
        from: String,
    },
    /// No container bears the name, or several could be meant.
    #[error("{target}: {why}")]
    Container {
        /// The object.
        target: String,
        /// Why.
        why: String,
    },
    /// It would make another object of it.
    #[error("{target} would become another object; apiVersion, kind, name and namespace stay")]
    Identity {
        /// The object.
        target: String,
    },
}

/// The objects of a component in one cluster, and which overrides changed some of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Overridden<'a> {
    /// The objects, in their order.
    pub objects: Vec<Value>,
    /// The names of the overrides that changed something, in the order in which they did.
    pub by: Vec<&'a str>,
}

/// Makes the objects of one component what they are in one cluster: what is bound to another
/// cluster is taken away, then every override that holds there is applied, in its order. Objects
/// that name no namespace live in `namespace`.
///
/// # Errors
/// An override that holds there does not fit an object.
pub fn in_cluster<'a>(
    overrides: &'a [Override],
    cluster: ClusterValues<'_>,
    component: &str,
    namespace: &str,
    objects: &[Value],
) -> Result<Overridden<'a>, OverrideError> {
    let mut objects = objects.to_vec();
    objects.iter_mut().for_each(strip);
    let mut by = Vec::new();
    for one in overrides {
        if !one.concerns(component) || !one.holds_in(cluster.name, cluster.labels) {
            continue;
        }
        let before = objects.clone();
        Applying {
            cluster,
            namespace,
            objects: &mut objects,
        }
        .all_of(one)
        .map_err(|source| OverrideError {
            name: one.name.clone(),
            component: component.to_owned(),
            source,
        })?;
        if objects != before {
            by.push(one.name.as_str());
        }
    }
    Ok(Overridden { objects, by })
}

struct Applying<'a> {
    cluster: ClusterValues<'a>,
    namespace: &'a str,
    objects: &'a mut Vec<Value>,
}

impl Applying<'_> {
    fn all_of(&mut self, one: &Override) -> Result<(), OverrideFault> {
        for image in &one.images {
            let image = self.filled_image(image)?;
            self.objects
                .iter_mut()
                .for_each(|object| replace_image(object, &image));
        }
        for args in &one.args {
            self.args(args)?;
        }
        for replicas in &one.replicas {
            for object in self.targets(&replicas.target) {
                set(object, "spec", "replicas", Value::from(replicas.count));
            }
        }
        for change in &one.patches {
            self.patch(change)?;
        }
        for (field, words) in [("labels", &one.labels), ("annotations", &one.annotations)] {
            self.words(field, words)?;
        }
        let namespace = self.namespace;
        self.objects
            .retain(|object| !one.remove.iter().any(|target| target.is(object, namespace)));
        Ok(())
    }

    fn targets(&mut self, target: &Target) -> impl Iterator<Item = &mut Value> {
        let namespace = self.namespace;
        self.objects
            .iter_mut()
            .filter(move |object| target.is(object, namespace))
    }

    fn filled_image(&self, image: &ImageOverride) -> Result<ImageOverride, OverrideFault> {
        let text = |text: &Option<String>| match text {
            Some(text) => fill(text, self.cluster).map(Some),
            None => Ok(None),
        };
        Ok(ImageOverride {
            name: image.name.clone(),
            new_name: text(&image.new_name)?,
            new_tag: text(&image.new_tag)?,
            digest: text(&image.digest)?,
        })
    }

    fn args(&mut self, args: &ArgsOverride) -> Result<(), OverrideFault> {
        let cluster = self.cluster;
        let words = |words: &[String]| -> Result<Vec<Value>, OverrideFault> {
            let filled = words.iter().map(|word| fill(word, cluster));
            filled.map(|word| Ok(Value::from(word?))).collect()
        };
        let command = args.command.as_deref().map(words).transpose()?;
        let whole = args.args.as_deref().map(words).transpose()?;
        let append = words(&args.append)?;
        for object in self.targets(&args.target) {
            let name = label(object);
            let container = container(object, args.container.as_deref())
                .map_err(|why| OverrideFault::Container { target: name, why })?;
            if let Some(command) = &command {
                container.insert("command".to_owned(), Value::from(command.clone()));
            }
            if let Some(whole) = &whole {
                container.insert("args".to_owned(), Value::from(whole.clone()));
            }
            if append.is_empty() {
                continue;
            }
            let list = container
                .entry("args")
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Some(list) = list.as_array_mut() {
                list.extend(append.iter().cloned());
            }
        }
        Ok(())
    }

    fn patch(&mut self, change: &PatchOverride) -> Result<(), OverrideFault> {
        let cluster = self.cluster;
        let operations = change
            .json_patch
            .iter()
            .map(|operation| {
                let mut operation = operation.clone();
                if let Some(value) = &mut operation.value {
                    fill_all(value, cluster)?;
                }
                Ok(serde_json::to_value(operation).expect("types of the API always serialise"))
            })
            .collect::<Result<Vec<Value>, OverrideFault>>()?;
        let mut merged = change.merge.clone();
        if let Some(value) = &mut merged {
            fill_all(value, cluster)?;
        }
        let mut strategic = change.strategic.clone();
        if let Some(value) = &mut strategic {
            fill_all(value, cluster)?;
        }
        let text = change.text.as_ref().map(|text| filled_text(text, cluster));
        let text = text.transpose()?;
        for object in self.targets(&change.target) {
            let target = label(object);
            let identity = identity(object);
            if !operations.is_empty() {
                json_patched(object, &operations).map_err(|why| OverrideFault::Patch {
                    target: target.clone(),
                    why,
                })?;
            }
            if let Some(value) = &merged {
                merge(object, value);
            }
            if let Some(patch) = strategic.as_ref().and_then(Value::as_object) {
                strategic::merge(object, patch).map_err(|error| OverrideFault::Patch {
                    target: target.clone(),
                    why: error.to_string(),
                })?;
            }
            if let Some(text) = &text {
                replace_text(object, text, &target)?;
            }
            if self::identity(object) != identity {
                return Err(OverrideFault::Identity { target });
            }
        }
        Ok(())
    }

    fn words(
        &mut self,
        field: &'static str,
        words: &BTreeMap<String, String>,
    ) -> Result<(), OverrideFault> {
        for (key, text) in words {
            let value = Value::from(fill(text, self.cluster)?);
            for object in self.objects.iter_mut() {
                let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
                else {
                    continue;
                };
                let held = metadata
                    .entry(field)
                    .or_insert_with(|| Value::Object(Map::new()));
                if held.is_null() {
                    *held = Value::Object(Map::new());
                }
                if let Some(held) = held.as_object_mut() {
                    held.insert(key.clone(), value.clone());
                }
            }
        }
        Ok(())
    }
}

/// Fills in every text of a value.
fn fill_all(value: &mut Value, cluster: ClusterValues<'_>) -> Result<(), OverrideFault> {
    match value {
        Value::String(text) => *text = fill(text, cluster)?,
        Value::Array(items) => {
            for item in items {
                fill_all(item, cluster)?;
            }
        }
        Value::Object(fields) => {
            for field in fields.values_mut() {
                fill_all(field, cluster)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn filled_text(text: &TextPatch, cluster: ClusterValues<'_>) -> Result<TextPatch, OverrideFault> {
    let mut text = text.clone();
    for replacement in &mut text.replace {
        replacement.to = fill(&replacement.to, cluster)?;
    }
    Ok(text)
}

fn replace_text(object: &mut Value, text: &TextPatch, target: &str) -> Result<(), OverrideFault> {
    let Some(Value::String(held)) = object.pointer_mut(&text.path) else {
        return Err(OverrideFault::NoText {
            target: target.to_owned(),
            path: text.path.clone(),
        });
    };
    for replacement in &text.replace {
        if !held.contains(&replacement.from) {
            return Err(OverrideFault::NotInText {
                target: target.to_owned(),
                path: text.path.clone(),
                from: replacement.from.clone(),
            });
        }
        *held = held.replace(&replacement.from, &replacement.to);
    }
    Ok(())
}

fn json_patched(object: &mut Value, operations: &[Value]) -> Result<(), String> {
    let operations: Patch = serde_json::from_value(Value::from(operations.to_vec()))
        .map_err(|error| error.to_string())?;
    patch(object, &operations).map_err(|error| error.to_string())
}

/// Puts another image into every container that uses `image.name`, wherever it stands.
fn replace_image(value: &mut Value, image: &ImageOverride) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields.iter_mut() {
                if !CONTAINER_LISTS.contains(&key.as_str()) {
                    replace_image(field, image);
                    continue;
                }
                for container in field.as_array_mut().into_iter().flatten() {
                    if let Some(Value::String(written)) = container.get_mut("image")
                        && image_name(written) == image.name
                    {
                        *written = new_image(written, image);
                    }
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace_image(item, image)),
        _ => {}
    }
}

fn new_image(written: &str, image: &ImageOverride) -> String {
    let name = image.new_name.as_deref().unwrap_or(&image.name);
    match (&image.new_tag, &image.digest) {
        (Some(tag), _) => format!("{name}:{tag}"),
        (None, Some(digest)) => format!("{name}@{digest}"),
        (None, None) => format!("{name}{}", &written[image.name.len()..]),
    }
}

/// Finds a container of a workload's pod template, or of a pod.
fn container<'a>(
    object: &'a mut Value,
    name: Option<&str>,
) -> Result<&'a mut Map<String, Value>, String> {
    let pointer = [
        "/spec/template/spec/containers",
        "/spec/jobTemplate/spec/template/spec/containers",
        "/spec/containers",
    ]
    .into_iter()
    .find(|pointer| object.pointer(pointer).is_some_and(Value::is_array))
    .ok_or("it has no containers")?;
    let list = object.pointer_mut(pointer).and_then(Value::as_array_mut);
    let list = list.ok_or("it has no containers")?;
    let names: Vec<String> = list
        .iter()
        .filter_map(|one| one.get("name").and_then(Value::as_str))
        .map(str::to_owned)
        .collect();
    let names = names.join(", ");
    let found = match name {
        None if list.len() > 1 => {
            return Err(format!("it has several containers ({names}); name one"));
        }
        None => list.first_mut(),
        Some(name) => list
            .iter_mut()
            .find(|one| one.get("name").and_then(Value::as_str) == Some(name)),
    };
    found
        .and_then(Value::as_object_mut)
        .ok_or_else(|| match name {
            Some(name) => format!("it has no container {name:?}; there are {names}"),
            None => "it has no containers".to_owned(),
        })
}

fn set(object: &mut Value, parent: &str, key: &str, value: Value) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    let held = fields
        .entry(parent)
        .or_insert_with(|| Value::Object(Map::new()));
    if let Some(held) = held.as_object_mut() {
        held.insert(key.to_owned(), value);
    }
}

/// What makes an object the one that it is.
fn identity(object: &Value) -> [Option<Value>; 4] {
    IDENTITY.map(|pointer| object.pointer(pointer).cloned())
}

/// An object as people read it.
fn label(object: &Value) -> String {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("?")
    };
    format!("{} {}", text("/kind"), text("/metadata/name"))
}
