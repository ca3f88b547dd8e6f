use super::{plugins::PluginError, wire::Failure};

/// Why a source was not fetched.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{reason}: {message}")]
pub struct FetchError {
    /// One word that stays what it is.
    pub reason: String,
    /// What happened, without any credential.
    pub message: String,
}

/// Why nothing was rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The artifact, the values or the cluster do not allow it: it fails whenever it is tried.
    #[error("{0}")]
    Refused(Failure),
    /// It is larger or slower than a rendering may be.
    #[error("rendering it takes more than {0}")]
    Exceeded(String),
    /// A registered program is not run.
    #[error("{}", .0.said())]
    Plugin(PluginError),
    /// The program that renders is missing or cannot be started.
    #[error(
        "failed to start the renderer {program}; build it by `make build`, or name it by --renderer"
    )]
    NoProgram {
        /// The program as it was looked for.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The program ended without an answer.
    #[error("the renderer broke off: {0}")]
    Broken(String),
    /// It did not answer in time.
    #[error("the renderer did not answer within {seconds} s")]
    TimedOut {
        /// The limit.
        seconds: u64,
    },
}

impl From<PluginError> for RenderError {
    fn from(error: PluginError) -> Self {
        Self::Plugin(error)
    }
}

impl RenderError {
    /// Tells whether trying again gives the same.
    #[must_use]
    pub const fn is_lasting(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Exceeded(_))
    }
}
