//! What the renderer is asked, and what it answers.

use std::fmt;

use bellwether_api::bundle::MAX_BUNDLE_OBJECTS;
use bellwether_hub_core::{
    chart_hooks::runnable,
    recipe::{Recipe, RecipeKind, RenderFacts, RenderedHook, Rendering},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{artifact::StoredFile, plugins::Running};

/// An object beyond this is taken by no API server: etcd's limit.
const MAX_OBJECT_BYTES: usize = 1_500_000;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request<'a> {
    kind: RecipeKind,
    files: &'a [StoredFile],
    path: &'a str,
    values: Map<String, Value>,
    release_name: &'a str,
    namespace: &'a str,
    kube_version: &'a str,
    api_versions: &'a [String],
    #[serde(rename = "includeCRDs")]
    include_crds: bool,
    images: &'a [Value],
    patches: &'a [Value],
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<Running<'a>>,
}

impl<'a> Request<'a> {
    /// `plugin` is what is run for a recipe that names a program.
    pub fn new(
        files: &'a [StoredFile],
        recipe: &'a Recipe,
        facts: &'a RenderFacts,
        plugin: Option<Running<'a>>,
    ) -> Self {
        Self {
            kind: recipe.kind,
            files,
            path: &recipe.path,
            values: facts.values_over(recipe),
            release_name: &recipe.release_name,
            namespace: &recipe.namespace,
            kube_version: &facts.kubernetes_version,
            api_versions: &facts.api_versions,
            include_crds: recipe.include_crds,
            images: &recipe.images,
            patches: &recipe.patches,
            plugin,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    #[serde(default)]
    objects: Vec<Value>,
    #[serde(default)]
    hooks: Vec<RenderedHook>,
    #[serde(default)]
    unsettled: Vec<Unsettled>,
    #[serde(default)]
    notes: String,
    error: Option<Failure>,
}

#[derive(Debug, Deserialize)]
struct Unsettled {
    object: String,
    field: String,
}

/// What is wrong with what was to be rendered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Failure {
    /// One word that stays what it is.
    pub reason: String,
    /// What is wrong.
    pub message: String,
    /// The file of the artifact; empty = none in particular.
    #[serde(default)]
    pub file: String,
    /// Its line, from 1; 0 = not known.
    #[serde(default)]
    pub line: u64,
}

impl Failure {
    pub(super) fn new(reason: &str, message: String) -> Self {
        Self {
            reason: reason.to_owned(),
            message,
            file: String::new(),
            line: 0,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.reason)?;
        match (self.file.as_str(), self.line) {
            ("", _) => {}
            (file, 0) => write!(f, "{file}: ")?,
            (file, line) => write!(f, "{file}:{line}: ")?,
        }
        f.write_str(&self.message)
    }
}

impl Answer {
    /// Judges the answer to a recipe.
    pub fn into_rendering(self, recipe: &Recipe) -> Result<Rendering, Failure> {
        if let Some(failure) = self.error {
            return Err(failure);
        }
        if recipe.hooks
            && let Err(error) = runnable(&self.hooks)
        {
            return Err(Failure::new("HookRefused", error.to_string()));
        }
        let hooks = self.hooks.iter().filter_map(|hook| hook.object.as_ref());
        let all: Vec<&Value> = self.objects.iter().chain(hooks).collect();
        if all.len() > MAX_BUNDLE_OBJECTS {
            let message = format!(
                "it renders {} objects; at most {MAX_BUNDLE_OBJECTS} are delivered",
                all.len()
            );
            return Err(Failure::new("TooLarge", message));
        }
        for object in all {
            let bytes = object.to_string().len();
            if bytes > MAX_OBJECT_BYTES {
                let text = |pointer: &str| {
                    let found = object.pointer(pointer).and_then(Value::as_str);
                    found.unwrap_or_default().to_owned()
                };
                let message = format!(
                    "{}/{} has {bytes} bytes; an API server takes at most {MAX_OBJECT_BYTES}",
                    text("/kind"),
                    text("/metadata/name")
                );
                return Err(Failure::new("TooLarge", message));
            }
        }
        Ok(Rendering {
            objects: self.objects,
            hooks: self.hooks,
            unsettled: self
                .unsettled
                .into_iter()
                .map(|one| match one.field.as_str() {
                    "" => format!("{} is not always there", one.object),
                    field => format!("{} {field}", one.object),
                })
                .collect(),
            notes: self.notes,
        })
    }
}
