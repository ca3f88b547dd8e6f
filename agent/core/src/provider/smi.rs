//! SMI TrafficSplit: backends by weight.

use bellwether_api::number::Weight;
use serde_json::{Value, json};

use super::{
    Names, RenderError, Renderer, Split,
    backends::Backends,
    tree::{items, namespace_of, text},
};

/// TrafficSplit of the Service Mesh Interface, as Linkerd takes it.
#[derive(Clone, Copy, Debug)]
pub struct TrafficSplit;

impl Renderer for TrafficSplit {
    fn render(&self, object: &Value, names: &Names, split: &Split) -> Result<Value, RenderError> {
        with_backends(namespace_of(object), names, |backends| {
            let own = items(object, "/spec/backends");
            let found = backends.has_apex(own).then_some((0, None));
            names.all_found(&found.into_iter().collect::<Vec<_>>())?;
            let mut out = object.clone();
            out["spec"]["backends"] = json!(backends.split(own, split.weight));
            Ok(out)
        })
    }

    fn observed_weight(&self, object: &Value, _own: &[&Value], names: &Names) -> Option<Weight> {
        with_backends(namespace_of(object), names, |backends| {
            backends.share(items(object, "/spec/backends"))
        })
    }
}

fn with_backends<T>(namespace: &str, names: &Names, then: impl FnOnce(&Backends<'_>) -> T) -> T {
    let is = |backend: &Value, service: &str| {
        namespace == names.namespace && text(backend, "service") == service
    };
    then(&Backends {
        is_apex: &|backend| is(backend, &names.apex),
        is_canary: &|backend| is(backend, &names.canary),
        rename: &|backend| backend["service"] = json!(names.canary),
        default_weight: 1,
        max_weight: i32::MAX as u64,
    })
}

#[cfg(test)]
mod tests;
