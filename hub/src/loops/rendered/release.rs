use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

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

/// What each cluster would be sent, by its identity.
type SentByCluster = Arc<BTreeMap<Uuid, Sent>>;

/// What was last worked out at a look: a release is held against limits and brakes before it is made, each of which
/// asks what clusters would be sent of it.
#[derive(Debug, Default)]
pub struct WorkedOut(Mutex<Option<(Asked, SentByCluster)>>);

/// Digest of a content, and for whom.
type Asked = (String, Vec<Uuid>);

impl WorkedOut {
    fn get(&self, asked: &Asked) -> Option<SentByCluster> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.as_ref().filter(|(of, _)| of == asked);
        known.map(|(_, sent)| Arc::clone(sent))
    }

    fn keep(&self, asked: Asked, sent: &SentByCluster) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((asked, Arc::clone(sent)));
    }
}

/// What each cluster would be sent of the release; empty = the same. It is read before the transaction begins,
/// which never waits for a second connection.
pub async fn to_send(
    look: Look<'_>,
    known: &Known,
    content: &ReleaseContent,
    rendered: &RenderedRelease,
) -> Result<SentByCluster, LoopError> {
    if !content.is_rendered() {
        return Ok(Arc::default());
    }
    let unrendered = &rendered.unrendered;
    let clusters: Vec<Uuid> = known
        .placement
        .clusters
        .iter()
        .map(|cluster| cluster.id)
        .filter(|id| !unrendered.contains_key(id))
        .collect();
    // Where it was settled for which facts it is rendered, it is another release's content.
    let asked = rendered
        .facts
        .is_empty()
        .then(|| (content.digest(), clusters.clone()));
    if let Some(sent) = asked.as_ref().and_then(|asked| known.worked_out.get(asked)) {
        return Ok(sent);
    }
    let to_be = Release {
        id: Uuid::nil(),
        revision: 0,
        digest: String::new(),
        content: content.clone(),
    };
    let sent = Arc::new(sent(look.sight(), &to_be, &clusters, &rendered.facts).await?);
    if let Some(asked) = asked {
        known.worked_out.keep(asked, &sent);
    }
    Ok(sent)
}
