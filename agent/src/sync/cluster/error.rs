//! What an API server can answer instead of doing it.

use bellwether_agent_core::immutable::{Cause, immutable_field};
use bellwether_api::reference::NamespacedName;
use kube::core::response::{StatusCause, StatusDetails};

/// Why the API server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The cluster does not serve the kind.
    #[error("failed to find kind {kind} of {api_version} in this cluster")]
    NotServed {
        /// Group and version.
        api_version: String,
        /// The kind.
        kind: String,
    },
    /// The object lacks what names it.
    #[error("failed to name an object: it lacks apiVersion, kind or name")]
    Unnamed,
    /// The API server refused or could not be reached.
    #[error("failed to {verb} {object}")]
    Request {
        /// What was tried.
        verb: &'static str,
        /// The object or kind.
        object: String,
        /// The cause.
        #[source]
        source: kube::Error,
    },
    /// No answer came in time; whether it was done is unknown.
    #[error("failed to {verb} {object}: no answer within {} s", super::REQUEST_TIMEOUT.as_secs())]
    Timeout {
        /// What was tried.
        verb: &'static str,
        /// The object or kind.
        object: String,
    },
    /// Somebody scaled a workload after it was decided how many pods it gives away.
    #[error(
        "failed to scale {object}: it has {found} replicas, and had {over} when that was decided"
    )]
    Scaled {
        /// The workload.
        object: String,
        /// What it has.
        found: u64,
        /// What it had.
        over: u32,
    },
    /// An object was not deleted, since whoever it is applied as could not make it anew.
    #[error("failed to make {object} anew: ServiceAccount {account} may not create it")]
    NotMadeAnew {
        /// The object.
        object: String,
        /// The ServiceAccount.
        account: NamespacedName,
    },
    /// Another agent of this cluster has a newer session: this one writes nothing.
    #[error("failed to {verb} {object}: a newer agent of this cluster has taken over")]
    NewerAgent {
        /// What was not tried.
        verb: &'static str,
        /// The object.
        object: String,
    },
    /// An answer could not be read.
    #[error("failed to read {object} as JSON")]
    Json {
        /// The object or kind.
        object: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

impl ClusterError {
    /// The HTTP status with which the API server refused; absent = it did not answer.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Request {
                source: kube::Error::Api(status),
                ..
            } => Some(status.code),
            _ => None,
        }
    }

    /// What the API server said, with the causes that it named; empty = it did not answer.
    #[must_use]
    pub fn said(&self) -> String {
        let Self::Request {
            source: kube::Error::Api(status),
            ..
        } = self
        else {
            return String::new();
        };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let causes = causes.map(|cause| cause.message.as_str());
        let said: Vec<&str> = [status.message.as_str()]
            .into_iter()
            .chain(causes)
            .collect();
        said.join(" ")
    }

    /// The same error, without the API server's words where it answered to a write of a Secret: they
    /// may quote its content.
    #[must_use]
    pub(super) fn of_write(self, kind: &str) -> Self {
        if kind == "Secret" {
            self.withheld()
        } else {
            self
        }
    }

    /// The first field that the API server refused because it cannot be changed; absent = it said
    /// nothing of the kind.
    #[must_use]
    pub fn immutable_field(&self) -> Option<String> {
        let Self::Request {
            source: kube::Error::Api(status),
            ..
        } = self
        else {
            return None;
        };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let mut causes: Vec<Cause<'_>> = causes
            .map(|cause| Cause {
                field: &cause.field,
                message: &cause.message,
            })
            .collect();
        causes.push(Cause {
            field: "",
            message: &status.message,
        });
        immutable_field(status.code, &causes)
    }

    fn withheld(mut self) -> Self {
        let immutable = self.immutable_field();
        if let Self::Request {
            source: kube::Error::Api(status),
            ..
        } = &mut self
        {
            status.message =
                "the API server's words are left out, for they may quote the Secret".to_owned();
            // The name of a field gives nothing away.
            status.details = immutable.map(|field| StatusDetails {
                causes: vec![StatusCause {
                    field,
                    message: "field is immutable".to_owned(),
                    reason: String::new(),
                }],
                name: String::new(),
                group: String::new(),
                kind: "Secret".to_owned(),
                uid: String::new(),
                retry_after_seconds: 0,
            });
        }
        self
    }

    /// Tells whether trying the same again cannot help.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Unnamed | Self::NotMadeAnew { .. })
            || matches!(self.code(), Some(400 | 403 | 405 | 413 | 422))
    }

    /// Tells whether somebody may not do it: by their rights, or because a policy denies it.
    #[must_use]
    pub fn lacks_rights(&self) -> bool {
        matches!(self, Self::NotMadeAnew { .. }) || self.code() == Some(403)
    }

    /// Tells whether the API server could not turn an object into another version of its kind: the
    /// conversion webhook of the definition is not there, or fails. Objects of other kinds are not
    /// concerned.
    #[must_use]
    pub fn is_conversion(&self) -> bool {
        self.code() == Some(500) && self.said().contains("conversion webhook for ")
    }

    pub(super) fn is_discovery(&self) -> bool {
        matches!(
            self,
            Self::Request {
                source: kube::Error::Discovery(_),
                ..
            }
        )
    }

    /// What the API server said; empty when it said nothing.
    #[must_use]
    pub fn answer(&self) -> String {
        crate::desired::chain(self)
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_secret_is_not_quoted() {
        let status = Status::failure(".data.password: expected string, got 12345", "Invalid");
        let error = ClusterError::Request {
            verb: "apply",
            object: "Secret/shop/db".to_owned(),
            source: kube::Error::Api(Box::new(status.with_code(422))),
        };
        assert!(error.answer().contains("12345"));
        let error = error.withheld();
        assert!(error.is_final());
        let said = error.answer();
        assert!(!said.contains("12345"), "{said}");
        assert!(!format!("{error:?}").contains("12345"));
        assert!(said.contains("Secret/shop/db"), "{said}");
    }
}
