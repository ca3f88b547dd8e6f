use std::collections::BTreeMap;

use bellwether_api::{
    application::{ApplicationSpec, Component},
    source::RenderedSource,
};
use bellwether_hub_core::recipe::{
    Recipe, RenderedFrom, ValuesOverride, source_digest, values_overrides,
};
use bellwether_store::{
    Digest,
    pins::{self, SourcePin},
    secrets::SecretInfo,
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Held, Sight, Sources,
    asking::{Asking, secrets_of},
};
use crate::{
    loops::LoopError,
    rendering::{Renderings, source_of},
    secrets,
};

/// A component with what it is rendered from.
pub struct Source<'a> {
    pub component: &'a Component,
    /// What some clusters have of their own.
    pub values: Vec<ValuesOverride>,
    pub from: RenderedFrom,
    /// The fetched files; absent = a program makes it.
    pub artifact: Option<Digest>,
    pub recipe: Digest,
    pub secret_values: Vec<Uuid>,
}

/// What something that is rendered is made of, as it stands now.
struct Made {
    revision: String,
    /// `sha256:…`
    digest: String,
    artifact: Option<Digest>,
}

/// What every source is made of; asks for what is missing or due.
pub async fn pinned<'a>(
    (sight, now): (Sight<'_>, Option<Timestamp>),
    renderings: &Renderings,
    spec: &ApplicationSpec,
    components: &[&'a Component],
    sources: &mut Sources,
) -> Result<Result<Vec<Source<'a>>, Held>, LoopError> {
    let pinning = Pinning {
        sight,
        now,
        renderings,
        spec,
        pins: pins::list(sight.store, sight.application).await?,
        secrets: secrets_of(sight, spec).await?,
    };
    let found: Result<Vec<Option<Source<'a>>>, Held> = components
        .iter()
        .map(|component| pinning.source(component, sources))
        .collect();
    Ok(found.map(|found| found.into_iter().flatten().collect()))
}

struct Pinning<'p> {
    sight: Sight<'p>,
    now: Option<Timestamp>,
    renderings: &'p Renderings,
    spec: &'p ApplicationSpec,
    pins: BTreeMap<String, SourcePin>,
    secrets: Vec<SecretInfo>,
}

impl Pinning<'_> {
    fn source<'a>(
        &self,
        component: &'a Component,
        sources: &mut Sources,
    ) -> Result<Option<Source<'a>>, Held> {
        let failed = |message: String| Held::Failed {
            component: component.name.clone(),
            message,
        };
        let made = match component.rendered_source() {
            Some(RenderedSource::Plugin(source)) => {
                let pin = self.renderings.plugins().pin(source);
                let pin = pin.map_err(|error| failed(error.said()))?;
                Some(Made {
                    revision: pin.revision,
                    digest: pin.digest,
                    artifact: None,
                })
            }
            _ => self.fetched(component, sources)?,
        };
        let Some(made) = made else { return Ok(None) };
        let application = self.sight.application;
        let recipe = Recipe::of(&application.name, self.spec, component, &made.digest);
        let Some(mut recipe) = recipe else {
            return Ok(None);
        };
        recipe.values_from = secrets::pin(&application.namespace, component, &self.secrets)
            .map_err(|error| failed(error.said()))?;
        let values = if recipe.kind.takes_values() {
            values_overrides(&self.spec.all_overrides(), &component.name)
        } else {
            Vec::new()
        };
        Ok(Some(Source {
            secret_values: recipe.values_from.iter().map(|one| one.version).collect(),
            component,
            values,
            artifact: made.artifact,
            recipe: Digest(recipe.digest()),
            from: RenderedFrom {
                revision: made.revision,
                recipe,
            },
        }))
    }

    /// What a source was fetched as; absent = it names none.
    fn fetched(&self, component: &Component, sources: &mut Sources) -> Result<Option<Made>, Held> {
        let (Some(source), Some(wanted)) = (source_digest(component), source_of(component)) else {
            return Ok(None);
        };
        let source = Digest(source);
        let pin = self.pins.get(&component.name);
        let pin = pin.filter(|pin| pin.source == source);
        let asking = Asking {
            component,
            source,
            pin,
            secrets: &self.secrets,
        };
        let again_at = self
            .now
            .and_then(|now| asking.ask(self.sight, now, self.renderings, self.spec, wanted));
        sources.wake_at = sources.wake_at.into_iter().chain(again_at).min();
        let failed = |message: &str| Held::Failed {
            component: component.name.clone(),
            message: message.to_owned(),
        };
        let Some(pin) = pin else {
            let name = &component.name;
            let what = format!("the source of component {name:?} is being fetched");
            return Err(Held::Pending(what));
        };
        let Some(fetched) = &pin.fetched else {
            return Err(failed(&pin.failure));
        };
        if !pin.failure.is_empty() {
            sources.complaint = Some(failed(&pin.failure));
        }
        Ok(Some(Made {
            revision: fetched.revision.clone(),
            digest: format!("sha256:{}", fetched.artifact),
            artifact: Some(fetched.artifact),
        }))
    }
}
