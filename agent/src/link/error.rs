//! What stands between the agent and the hub, in one sentence with the way out.

use bellwether_proto::limits::CLOCK_TOLERANCE;
use jiff::Timestamp;
use tonic::{Code, Status};

use crate::{desired::CommitError, identity::MaterialError};

/// Why there is no session, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The hub's address does not answer.
    #[error("failed to reach the hub at {address}; is it up, and is the address right?")]
    Connect {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no address to connect to.
    #[error("failed to find a hub address; set --hub-address")]
    NoAddress,
    /// TLS failed; the text says why and what to do.
    #[error("{sentence}")]
    Tls {
        /// One sentence.
        sentence: String,
    },
    /// The connection was set up and then failed.
    #[error("failed to speak with the hub")]
    Transport(#[source] tonic::transport::Error),
    /// The hub said no.
    #[error("the hub refused: {message}")]
    Refused {
        /// The kind of refusal.
        code: Code,
        /// The hub's words.
        message: String,
    },
    /// The connection broke.
    #[error("failed to keep the connection to the hub: {message}")]
    Broken {
        /// What broke it.
        message: String,
    },
    /// The hub did not answer in time.
    #[error("failed to get an answer from the hub in time")]
    Slow,
    /// The hub was silent for too long.
    #[error("failed to hear from the hub for {} s", bellwether_proto::limits::SILENCE_LIMIT.as_secs())]
    Silent,
    /// The hub says something that no hub says.
    #[error("failed to understand the hub: {detail}")]
    Protocol {
        /// What it said.
        detail: String,
    },
    /// Key or certificate cannot be used.
    #[error("failed to use the agent's identity")]
    Material(#[from] MaterialError),
    /// Desired state could not be stored.
    #[error("failed to store what the hub sent")]
    Commit(#[from] CommitError),
}

impl LinkError {
    /// Tells whether trying again soon is of no use.
    #[must_use]
    pub fn needs_human(&self) -> bool {
        match self {
            Self::Tls { .. } => true,
            Self::Refused { code, .. } => !matches!(code, Code::Unavailable),
            _ => false,
        }
    }
}

/// An error with its causes, on one line.
#[must_use]
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Sorts an answer of gRPC: the hub's own words, or the end of the connection.
pub(super) fn sort(status: Status) -> LinkError {
    match status.code() {
        Code::Cancelled | Code::Unknown | Code::Internal => LinkError::Broken {
            message: status.message().to_owned(),
        },
        // Of the transport itself when it carries a cause.
        Code::Unavailable if std::error::Error::source(&status).is_some() => LinkError::Broken {
            message: chain(&status),
        },
        code => LinkError::Refused {
            code,
            message: status.message().to_owned(),
        },
    }
}

/// Says so when this cluster's clock and the hub's differ by more than is good.
pub(crate) fn warn_of_clocks(hub_time_ms: i64, now: Timestamp) {
    if let Some(sentence) = clocks_apart(hub_time_ms, now) {
        tracing::error!("{sentence}");
    }
}

/// One sentence when this cluster's clock and the hub's differ by more than is good.
pub(super) fn clocks_apart(hub_time_ms: i64, now: Timestamp) -> Option<String> {
    if hub_time_ms == 0 {
        return None;
    }
    let difference = now.as_millisecond().saturating_sub(hub_time_ms);
    let seconds = difference.unsigned_abs() / 1_000;
    let side = if difference > 0 { "ahead of" } else { "behind" };
    (seconds > CLOCK_TOLERANCE.as_secs()).then(|| crate::identity::clocks_differ(seconds, side))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_told_apart_from_those_that_may() {
        let now = Timestamp::from_second(1_000_000).expect("a time");
        let apart = |ahead_s: i64| clocks_apart((1_000_000 - ahead_s) * 1_000, now);
        assert_eq!(apart(299), None);
        assert_eq!(clocks_apart(0, now), None, "a hub that does not say");
        let ahead = apart(3_600).expect("a sentence");
        assert!(
            ahead.contains("about 60 minutes ahead of the hub's"),
            "{ahead}"
        );
        let behind = apart(-3_600).expect("a sentence");
        assert!(
            behind.contains("about 60 minutes behind the hub's"),
            "{behind}"
        );
    }
}
