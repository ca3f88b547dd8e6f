//! Measures a canary: a source that is asked by query, or the agent's own probe.

mod cloudwatch;
mod credentials;
mod datadog;
mod exchange;
mod http_json;
mod measure;
mod own;
mod probe;
mod prometheus;
mod reachable;
mod source;

pub use credentials::{Credentials, KubeSecrets, SecretError, SecretReader};
pub use measure::{Measurement, Meter, OwnSource, Subject};
pub use own::OwnSources;
pub use probe::{Probe, Window};
pub use reachable::Reachable;
pub use source::{MetricProvider, QueryError, Question, Reading};

/// Makes an HTTP client. A minimal image carries no certificate authorities, and reqwest then
/// refuses to build one at all: metrics over plain HTTP must work there too, so that the client
/// trusts nobody instead. `SSL_CERT_FILE` names authorities for an HTTPS source.
pub(crate) fn http_client(
    builder: impl Fn() -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, reqwest::Error> {
    builder()
        .build()
        .or_else(|_no_authorities| builder().tls_certs_only([]).build())
}
