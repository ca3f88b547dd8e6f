//! The status of custom resources.

use bellwether_hub_core::custom_resource::{Judgement, hears_less, judge, status};
use bellwether_store::records::RecordKey;
use serde_json::Value;

use super::{cache::kind_of, session::Standing};
use crate::{
    app::App,
    http::{self, ApiResult, Scene},
};

/// The status that a custom resource is to have; absent = it has it already, or what is known does not
/// speak of what stands there now. `is_young` = this hub has just begun to hear of its clusters.
pub(super) async fn wanted(
    app: &App,
    scene: &Scene,
    key: &RecordKey,
    object: &Value,
    standing: &Standing,
    is_young: bool,
) -> ApiResult<Option<Value>> {
    let generation = object.pointer("/metadata/generation");
    let generation = generation.and_then(Value::as_i64).unwrap_or_default();
    let shown = http::show_mirrored(app, scene, key).await?;
    let judgement = match standing {
        Standing::Written { record } => {
            let Some(shown) = shown.as_ref().filter(|one| one.generation == *record) else {
                return Ok(None);
            };
            judge(kind_of(key.kind), &shown.status, shown.pending)
        }
        Standing::Refused(words) => Judgement::Stalled(words.clone()),
    };
    let fields = shown.map(|one| one.status).unwrap_or_default();
    let before = object.get("status").cloned().unwrap_or_default();
    if is_young && before["observedGeneration"] == generation && hears_less(&before, &fields) {
        // Agents that have not come back yet are no news.
        return Ok(None);
    }
    let now = seconds_of(scene);
    Ok(status(&judgement, generation, &fields, &before, &now))
}

/// Whole seconds, as Kubernetes writes times.
fn seconds_of(scene: &Scene) -> String {
    let second = scene.now.as_second();
    jiff::Timestamp::from_second(second).map_or_else(|_| scene.now.to_string(), |at| at.to_string())
}
