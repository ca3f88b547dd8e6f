use std::collections::BTreeMap;

use bellwether_api::validate;
use bellwether_hub_core::release::{Release, ReleaseContent};
use uuid::Uuid;

use super::{Preparation, RenderedRelease, Sent, sent};
use crate::loops::{
    LoopError,
    application::{Known, Look},
};

/// Checks what was rendered as what is written inline is checked when it is applied.
pub fn refuse_rendered(look: Look<'_>, known: &Known) -> Result<(), LoopError> {
    let Preparation::Ready(prepared) = &known.sources.preparation else {
        return Ok(());
    };
    let own = validate::rendered(&prepared.spec, &prepared.hooks).errors;
    let governed = prepared
        .rollouts
        .iter()
        .flat_map(|rollout| validate::governed(&rollout.spec, &prepared.spec).errors);
    let found: Vec<String> = own
        .into_iter()
        .chain(governed)
        .map(|finding| format!("{}: {}", finding.path, finding.message))
        .collect();
    match found.as_slice() {
        [] => Ok(()),
        [first, rest @ ..] => Err(LoopError::Refused {
            application: look.application.clone(),
            message: match rest.len() {
                0 => first.clone(),
                more => format!("{first} (and {more} more)"),
            },
        }),
    }
}

/// What each cluster would be sent of the release. It is read before the transaction begins, which
/// never waits for a second connection.
pub async fn to_send(
    look: Look<'_>,
    known: &Known,
    content: &ReleaseContent,
    rendered: &RenderedRelease,
) -> Result<BTreeMap<Uuid, Sent>, LoopError> {
    if !content.is_rendered() {
        return Ok(BTreeMap::new());
    }
    let unrendered = &rendered.unrendered;
    let clusters: Vec<Uuid> = known
        .placement
        .clusters
        .iter()
        .map(|cluster| cluster.id)
        .filter(|id| !unrendered.contains_key(id))
        .collect();
    let to_be = Release {
        id: Uuid::nil(),
        revision: 0,
        digest: String::new(),
        content: content.clone(),
    };
    sent(look.sight(), &to_be, &clusters, &rendered.facts).await
}
