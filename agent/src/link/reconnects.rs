//! Connections to a hub that ends them, thousands of times over.

use std::{process::Command, sync::Arc, time::Duration};

use bellwether_proto::{HUB_SERVER_NAME, wire::RenewRequest};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::channel::identity_client;
use crate::identity::Trust;

/// Set for the process that reconnects: what it holds is measured, and no other test may be in it.
const ALONE: &str = "BELLWETHER_TEST_RECONNECTS";
const NAME: &str = "link::reconnects::ten_thousand_reconnects_leave_nothing_behind";
const RECONNECTS: usize = 10_000;
/// What is held grows until caches and allocators are warm.
const WARM: usize = 1_000;
const AT_ONCE: usize = 200;
/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a call may take; the agent's own are bounded too.
const CALL_LIMIT: Duration = Duration::from_secs(3);
/// What memory may be off by. A connection that is kept holds tens of KiB.
const SLACK_KIB: u64 = 8 * 1024;
/// An empty frame of SETTINGS, with which a server of HTTP/2 begins.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Starts a hub that takes every connection, hears a call and hangs up; gives its address and what an
/// agent knows it by.
async fn hub() -> (String, Trust) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(authority, key).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let named = CertificateParams::new([HUB_SERVER_NAME.to_owned()]).expect("a name");
    let leaf = named.signed_by(&key, &authority).expect("a certificate");
    let root: CertificateDer<'static> = authority.der().clone();
    let trust = Trust::CaHash(Sha256::digest(&root).into());
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone(), root], key)
        .expect("it fits");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Small frames must not wait for each other.
            let _ = stream.set_nodelay(true);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut heard = [0; 1024];
                let _ = stream.write_all(&SETTINGS).await;
                let _ = stream.read(&mut heard).await;
            });
        }
    });
    (address, trust)
}

async fn reconnect(address: &str, trust: &Trust, times: usize) {
    let addresses = [address.to_owned()];
    let one = || async {
        let mut client = timeout(PATIENCE, identity_client(&addresses, trust.clone()))
            .await
            .expect("connecting takes no longer")
            .expect("it is taken");
        // A connection that ends in the moment of a call may leave it unanswered: whoever calls bounds it.
        let asked = timeout(CALL_LIMIT, client.call.renew(RenewRequest::default())).await;
        assert!(!matches!(asked, Ok(Ok(_))), "nobody answers");
    };
    let all = futures::stream::iter(0..times);
    futures::StreamExt::for_each_concurrent(all, AT_ONCE, |_| one()).await;
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let value = line.and_then(|rest| rest.split_whitespace().next());
    value
        .and_then(|value| value.parse().ok())
        .expect("Linux tells it")
}

/// Waits until ends that both sides have left are gone.
async fn settle(before: usize) -> usize {
    let until = Instant::now() + Duration::from_secs(10);
    while descriptors() > before && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    descriptors()
}

async fn measure() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (address, trust) = hub().await;
    let open = descriptors();
    reconnect(&address, &trust, WARM).await;
    let warm = (settle(open).await, memory_kib());
    reconnect(&address, &trust, RECONNECTS - WARM).await;
    let after = (settle(open).await, memory_kib());
    println!("descriptors and KiB: {open} at first, {warm:?} warm, {after:?} in the end");
    assert!(after.0 <= open, "{} of {open} descriptors", after.0);
    let grown = after.1.saturating_sub(warm.1);
    assert!(grown <= SLACK_KIB, "{grown} KiB more");
}

#[test]
fn ten_thousand_reconnects_leave_nothing_behind() {
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(measure());
        return;
    }
    let program = std::env::current_exe().expect("it runs");
    let ran = Command::new(program)
        .args(["--exact", NAME, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .expect("it starts");
    let said = [ran.stdout, ran.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        ran.status.success() && said.contains("in the end"),
        "{said}"
    );
}
