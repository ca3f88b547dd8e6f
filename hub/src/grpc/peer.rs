//! Who speaks on a connection.

use std::net::SocketAddr;

use jiff::Timestamp;
use tonic::{Extensions, Status};

use crate::pki::ClusterIdentity;

/// The other end of a connection; a request carries it in its extensions.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// The connection's number, by which it can be cut.
    pub(super) connection: u64,
    /// Absent = no client certificate.
    pub(super) identity: Option<ClusterIdentity>,
}

/// A [`Peer`] as it lies in the extensions of a request.
pub(super) type SharedPeer = std::sync::Arc<Peer>;

/// Whoever speaks, with a certificate that may have ended.
pub(super) fn holder(extensions: &Extensions) -> Result<&ClusterIdentity, Status> {
    extensions
        .get::<SharedPeer>()
        .and_then(|peer| peer.identity.as_ref())
        .ok_or_else(|| {
            Status::unauthenticated("this call needs a client certificate; enrol with a join token")
        })
}

/// Whoever speaks, with a certificate that is valid now.
pub(super) fn require(extensions: &Extensions, now: Timestamp) -> Result<&ClusterIdentity, Status> {
    let identity = holder(extensions)?;
    if identity.is_expired(now) {
        return Err(Status::unauthenticated(format!(
            "the client certificate ended at {}; renew it",
            identity.not_after
        )));
    }
    Ok(identity)
}

/// The address that a request came from.
pub(super) fn address(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<SharedPeer>().map(|peer| peer.address)
}

/// The connection that a request came over.
pub(super) fn connection(extensions: &Extensions) -> u64 {
    extensions
        .get::<SharedPeer>()
        .map_or(u64::MAX, |peer| peer.connection)
}
