//! Why something could not be fetched.

/// Why a source could not be fetched or resolved.
///
/// No message holds a credential or the query of a URL, which may be a signature.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source itself is not valid: nothing was asked.
    #[error("{field} is not valid: {why}")]
    Invalid {
        /// Which field of the source, as users write it.
        field: &'static str,
        /// What is wrong, and the nearest right thing.
        why: String,
    },
    /// The other side answers, and does not have it.
    #[error("failed to find {what}")]
    NotFound {
        /// What was looked for, and where.
        what: String,
    },
    /// The other side wants other credentials, or any.
    #[error("{host} refused access to {what}: {why}")]
    Unauthorised {
        /// The host, with its port where it is not the usual one.
        host: String,
        /// What was asked for.
        what: String,
        /// What it said, or which credentials are missing.
        why: String,
    },
    /// The SSH server's host key is not among the known hosts, or is another one than these say.
    #[error("the host key of {host} is not trusted: {why}")]
    HostKeyUnknown {
        /// The host, with its port where it is not the usual one.
        host: String,
        /// Whether it is unknown or differs.
        why: String,
    },
    /// A name that must not move (a Git tag, a version) now means other content.
    #[error("{name} was moved: it was {was} and is {is} now")]
    TagMoved {
        /// The tag or version.
        name: String,
        /// What it was pinned to.
        was: String,
        /// What it is now.
        is: String,
    },
    /// More than a limit allows.
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit with its unit.
        limit: String,
    },
    /// An entry of an archive or tree that is refused.
    #[error("the entry {entry:?} is refused: {why}")]
    UnsafeArchive {
        /// The entry's name.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing answers there.
    #[error("failed to reach {host}: {why}")]
    Unreachable {
        /// The host, with its port where it is not the usual one.
        host: String,
        /// What happened.
        why: String,
    },
    /// The address is one that the hub does not fetch from.
    #[error("{host} is {address}, {why}")]
    AddressRefused {
        /// The host.
        host: String,
        /// The address that it resolves to.
        address: String,
        /// Why, and which setting allows it.
        why: String,
    },
    /// A redirect that is not followed.
    #[error("{host} redirects to {to}, {why}")]
    Redirected {
        /// The host that answered so.
        host: String,
        /// Where it redirects to, without a query.
        to: String,
        /// Why that is not followed.
        why: String,
    },
    /// It took longer than allowed.
    #[error("{host} took longer than {after_s} s")]
    TimedOut {
        /// The host.
        host: String,
        /// The limit, in seconds.
        after_s: u64,
    },
    /// The other side is in trouble (429, 5xx) and may not be later.
    #[error("{host} answered {status} for {what}")]
    Unavailable {
        /// The host.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What was asked for.
        what: String,
    },
    /// The content is not what its digest says.
    #[error("{what} has the digest {found}, not {expected}")]
    DigestMismatch {
        /// What was checked.
        what: String,
        /// The digest that was promised.
        expected: String,
        /// The digest of what came.
        found: String,
    },
    /// What came cannot be read.
    #[error("failed to read {what}: {why}")]
    Malformed {
        /// What was read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something that is understood and not supported.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// What it is.
        what: String,
        /// Why not, and what is.
        why: String,
    },
    /// The hub's own machine failed: its disk, or a program that is missing.
    #[error("failed to {doing}")]
    Local {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

impl SourceError {
    /// Returns the stable, CamelCase reason for conditions and events.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "InvalidSource",
            Self::NotFound { .. } => "NotFound",
            Self::Unauthorised { .. } => "Unauthorised",
            Self::HostKeyUnknown { .. } => "HostKeyUnknown",
            Self::TagMoved { .. } => "TagMoved",
            Self::TooLarge { .. } => "TooLarge",
            Self::UnsafeArchive { .. } => "UnsafeArchive",
            Self::Unreachable { .. } => "Unreachable",
            Self::AddressRefused { .. } => "AddressRefused",
            Self::Redirected { .. } => "Redirected",
            Self::TimedOut { .. } => "TimedOut",
            Self::Unavailable { .. } => "Unavailable",
            Self::DigestMismatch { .. } => "DigestMismatch",
            Self::Malformed { .. } => "Malformed",
            Self::Unsupported { .. } => "Unsupported",
            Self::Local { .. } => "FetchFailed",
        }
    }

    /// Tells whether the same request may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::TimedOut { .. }
                | Self::Unavailable { .. }
                | Self::Local { .. }
        )
    }
}
