//! Whether the API server asks the agent.

use tokio::sync::watch;

/// Whether the API server asks the agent before it takes a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// It does, as far as the agent can tell.
    Serving,
    /// It does not: updates are seen once they are written, and held then.
    Out {
        /// A CamelCase word.
        reason: &'static str,
        /// A sentence for people.
        message: String,
    },
}

impl State {
    pub(super) fn out(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Out {
            reason,
            message: message.into(),
        }
    }

    /// What people should know, beginning with a word; absent = nothing.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        match self {
            Self::Unknown | Self::Serving => None,
            Self::Out { reason, message } => Some(format!(
                "{reason}: {message}; updates are held once they are seen, a moment after they are \
                 written"
            )),
        }
    }
}

/// The [`State`], as everybody in the process sees it; clones share it.
#[derive(Clone, Debug)]
pub struct Status(watch::Sender<State>);

impl Default for Status {
    fn default() -> Self {
        Self(watch::Sender::new(State::default()))
    }
}

impl Status {
    /// How it is now.
    #[must_use]
    pub fn now(&self) -> State {
        self.0.borrow().clone()
    }

    /// Fires with every change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }

    /// Has everybody look again who follows it: there is something to report.
    pub(super) fn wake(&self) {
        self.0.send_modify(|_| {});
    }

    /// Notes how it is.
    pub(super) fn set(&self, state: State) {
        self.0.send_if_modified(|held| {
            let changed = *held != state;
            if changed {
                match &state {
                    State::Unknown => {}
                    State::Serving => tracing::info!("the admission webhook is served"),
                    State::Out { reason, message } => {
                        tracing::warn!(reason, "the admission webhook is not served: {message}");
                    }
                }
                *held = state;
            }
            changed
        });
    }
}
