//! Fetches what applications are made of and pins it: charts of Helm repositories, trees of Git
//! repositories, artifacts of OCI registries.
//!
//! [`Sources`] is the way in. What it hands out is an [`Artifact`]: plain files with a digest. Everything
//! that comes from outside is bounded in size and time, is never executed, and is asked for only at
//! addresses that the hub's [`AddressPolicy`] allows.

mod address;
mod archive;
mod artifact;
mod credentials;
mod error;
mod git;
mod helm;
mod hosts;
mod http;
mod oci;
mod poll;
mod process_group;
mod push;
mod request;
mod settings;
mod sources;
mod version;
mod webhook;

pub use address::{AddressPolicy, Network, NetworkError};
pub use artifact::{Artifact, ArtifactFile};
pub use credentials::{
    ClientCertificate, Credentials, CredentialsError, HttpCredentials, Secret, SshIdentity,
};
pub use error::SourceError;
pub use poll::PollSchedule;
pub use process_group::ProcessGroup;
pub use push::{Push, PushError, PushedReference};
pub use request::{GitReference, OciReference, Pinned, Source, SourceRequest};
pub use settings::{Limits, Settings};
pub use sources::Sources;
pub use version::{VersionRange, VersionRangeError};
pub use webhook::{SignatureError, verify_generic, verify_github, verify_gitlab};
