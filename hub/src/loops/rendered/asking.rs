use bellwether_api::{
    application::{ApplicationSpec, Component},
    duration::Dur,
    secret::{SourceSecrets, named_by},
};
use bellwether_sources::Source;
use bellwether_store::{Digest, pins::SourcePin, secrets::SecretInfo};
use jiff::{SignedDuration, Timestamp};

use super::Sight;
use crate::{
    loops::LoopError,
    rendering::{Job, Renderings, is_content},
    secrets,
};

/// How long a source that could not be fetched is left alone.
const RETRY_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// How soon after a look was asked for it is seen what came of it.
const LOOK_AFTER: SignedDuration = SignedDuration::from_secs(2);

/// A source that may have to be looked at.
pub struct Asking<'a> {
    pub component: &'a Component,
    pub source: Digest,
    /// What it was fetched as last; absent = it never was.
    pub pin: Option<&'a SourcePin>,
    /// Those of the application's namespace.
    pub secrets: &'a [SecretInfo],
}

impl Asking<'_> {
    /// Has it looked at if that is due; gives when the application is to be looked at again for it.
    pub fn ask(
        &self,
        sight: Sight<'_>,
        now: Timestamp,
        renderings: &Renderings,
        spec: &ApplicationSpec,
        wanted: Source,
    ) -> Option<Timestamp> {
        let opened_with = SourceSecrets::of(self.component);
        let mark = secrets::mark(&opened_with, |name| secrets::find(self.secrets, name));
        let own = self.component.sync.as_ref().and_then(|sync| sync.interval);
        let interval = own.unwrap_or(spec.sync.interval);
        let at = due(interval, &wanted, self.pin, &mark)?;
        if at > now {
            return Some(at);
        }
        renderings.ask(Job::Fetch {
            application: sight.application.clone(),
            component: self.component.name.clone(),
            source: self.source,
            wanted: Box::new(wanted),
            secrets: opened_with,
        });
        // Without a pin the application waits for it, and is looked at sooner.
        self.pin?;
        now.saturating_add(LOOK_AFTER).ok()
    }
}

/// The secrets of an application's namespace; empty where it names none.
pub async fn secrets_of(
    sight: Sight<'_>,
    spec: &ApplicationSpec,
) -> Result<Vec<SecretInfo>, LoopError> {
    if named_by(spec).is_empty() {
        return Ok(Vec::new());
    }
    let namespace = Some(sight.application.namespace.as_str());
    Ok(bellwether_store::secrets::list(sight.store, namespace).await?)
}

/// When a source is to be looked at; absent = never again as it is written. `mark` tells the secrets
/// that it is opened with now.
fn due(interval: Dur, wanted: &Source, pin: Option<&SourcePin>, mark: &str) -> Option<Timestamp> {
    let Some(pin) = pin else {
        return Some(Timestamp::MIN);
    };
    let is_pushed = pin.pushed_at.is_some_and(|at| at >= pin.checked_at);
    if is_pushed || pin.credentials != mark {
        return Some(Timestamp::MIN);
    }
    let interval = interval.as_signed();
    let after = if !pin.failure.is_empty() && pin.fetched.is_none() {
        RETRY_AFTER
    } else if interval.is_zero() || is_content(wanted) {
        return None;
    } else {
        interval
    };
    pin.checked_at.saturating_add(after).ok()
}
