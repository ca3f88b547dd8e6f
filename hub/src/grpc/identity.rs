//! The calls by which an agent gets and renews its certificate.

use std::{sync::Arc, time::Duration};

use bellwether_proto::wire::{Certificate, EnrolRequest, RenewRequest, identity_server::Identity};
use bellwether_store::join_tokens::UseError;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::{sync::Semaphore, time::timeout};
use tonic::{Request, Response, Status};

use super::{
    enrol::{self, Granted, IdentityError},
    peer,
};
use crate::{app::App, clock::wall, telemetry::chain};

/// A request for a P-256 certificate has a few hundred bytes.
const MAX_CSR_BYTES: usize = 8 * 1024;
const MAX_UID_CHARS: usize = 64;
/// Certificates that are made at once; the rest waits.
const MAX_AT_ONCE: usize = 16;
const WAIT_LIMIT: Duration = Duration::from_secs(10);

/// Enrols clusters and renews their certificates.
pub(super) struct IdentityService {
    app: Arc<App>,
    turns: Semaphore,
}

impl IdentityService {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self {
            app,
            turns: Semaphore::new(MAX_AT_ONCE),
        }
    }

    fn answer(&self, granted: Granted, now: Timestamp) -> Certificate {
        let owned = |list: Vec<Vec<u8>>| list.into_iter().map(Bytes::from).collect();
        Certificate {
            chain_der: owned(granted.issued.chain_der),
            trusted_ca_der: owned(self.app.pki.trusted_ca_der()),
            cluster_id: granted.cluster.to_string(),
            cluster_name: granted.name,
            hub_time_ms: now.as_millisecond(),
        }
    }

    async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Status> {
        match timeout(WAIT_LIMIT, self.turns.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Status::unavailable(
                "too many clusters enrol at once; try again",
            )),
        }
    }
}

#[tonic::async_trait]
impl Identity for IdentityService {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<Certificate>, Status> {
        let address = peer::address(request.extensions());
        let request = request.into_inner();
        check_csr(&request.csr_der)?;
        let uid = request.cluster_uid.as_str();
        if uid.is_empty() || uid.len() > MAX_UID_CHARS {
            return Err(Status::invalid_argument(
                "the UID of kube-system is missing",
            ));
        }
        let _turn = self.turn().await?;
        let now = wall();
        match enrol::enrol(&self.app, &request.token, &request.csr_der, uid, now).await {
            Ok(granted) => {
                tracing::info!(
                    cluster.id = %granted.cluster,
                    cluster.name = granted.name,
                    agent.version = request.agent_version,
                    certificate.serial = granted.issued.serial,
                    peer.address = ?address,
                    "cluster enrolled"
                );
                Ok(Response::new(self.answer(granted, now)))
            }
            Err(error) => {
                tracing::warn!(peer.address = ?address, error = %chain(&error), "enrolment refused");
                Err(status_of(&error))
            }
        }
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<Certificate>, Status> {
        let holder = peer::holder(request.extensions())?.clone();
        let request = request.into_inner();
        check_csr(&request.csr_der)?;
        let _turn = self.turn().await?;
        let now = wall();
        let renewed = enrol::renew(
            &self.app,
            holder.cluster,
            &holder.serial,
            &request.csr_der,
            now,
        )
        .await;
        match renewed {
            Ok(granted) => {
                tracing::info!(
                    cluster.id = %granted.cluster,
                    cluster.name = granted.name,
                    certificate.serial = granted.issued.serial,
                    was_expired = holder.is_expired(now),
                    "certificate renewed"
                );
                Ok(Response::new(self.answer(granted, now)))
            }
            Err(error) => {
                tracing::warn!(
                    cluster.id = %holder.cluster,
                    certificate.serial = holder.serial,
                    error = %chain(&error),
                    "renewal refused"
                );
                Err(status_of(&error))
            }
        }
    }
}

fn check_csr(csr: &[u8]) -> Result<(), Status> {
    if csr.len() > MAX_CSR_BYTES {
        return Err(Status::invalid_argument(format!(
            "the certificate request is larger than {MAX_CSR_BYTES} bytes"
        )));
    }
    Ok(())
}

/// What the agent is told: which of the refusals it is and the way out, nothing of the database.
pub(super) fn status_of(error: &IdentityError) -> Status {
    match error {
        IdentityError::Token(UseError::Unknown) => Status::unauthenticated(
            "the join token is unknown; make a new one by `bellwether register cluster`",
        ),
        IdentityError::Token(UseError::Used) => Status::already_exists(
            "the join token was used already; make a new one by `bellwether register cluster`",
        ),
        IdentityError::Token(UseError::Expired { expired_at }) => {
            Status::failed_precondition(format!(
                "the join token expired at {expired_at}; make a new one by `bellwether register \
                 cluster`"
            ))
        }
        IdentityError::Pki(error) => Status::invalid_argument(chain(error)),
        IdentityError::Gone => {
            Status::not_found("this cluster is not registered any more; register it again")
        }
        IdentityError::Revoked => Status::permission_denied(super::sessions::REVOKED),
        IdentityError::Token(UseError::Store(_))
        | IdentityError::Announce(_)
        | IdentityError::Store(_) => {
            Status::unavailable("the hub cannot reach its database; it will be tried again")
        }
    }
}
