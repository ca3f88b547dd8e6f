//! What API servers are shown while certificates and authorities change: a call never meets a certificate
//! that its API server cannot verify.

use std::{path::Path, time::Duration};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConnection,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, UnixTime, pem::PemObject as _},
    time_provider::TimeProvider,
};

use super::*;

const NAME: &str = "hub-admission.bellwether.svc";
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct At(Timestamp);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        let second = u64::try_from(self.0.as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(second)))
    }
}

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

fn open(dir: &Path, now: Timestamp) -> Pki {
    let options = PkiOptions {
        dir: dir.to_owned(),
        trust_domain: "bellwether.local".to_owned(),
        certificate_lifetime: Duration::from_secs(86_400),
        server_names: vec![NAME.to_owned()],
    };
    Pki::open(options, now).expect("an authority")
}

/// Calls the webhook as an API server does that trusts `bundle`; gives the certificate that it was shown,
/// absent = it refused it.
fn call(pki: &Pki, bundle: &str, now: Timestamp) -> Option<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(der.expect("PEM")).expect("a certificate");
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_details(provider, Arc::new(At(now)))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = NAME.try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut server = ServerConnection::new(pki.webhook_config()).expect("a server");
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("memory");
        }
        server.read_tls(&mut wire.as_slice()).expect("memory");
        server.process_new_packets().ok()?;
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("memory");
        }
        client.read_tls(&mut wire.as_slice()).expect("memory");
        client.process_new_packets().ok()?;
    }
    Some(client.peer_certificates()?.first()?.to_vec())
}

#[test]
fn the_webhooks_certificate_is_made_anew_before_it_ends_and_after() {
    let folder = tempfile::tempdir().expect("a folder");
    let pki = open(folder.path(), start());
    let bundle = pki.trusted_pem();
    let first = call(&pki, &bundle, start()).expect("a call");
    // It has half of its life left: the one before would still do.
    let halfway = start() + serving::LIFETIME / 2;
    pki.refresh(halfway - MINUTE).expect("a look");
    assert_eq!(call(&pki, &bundle, halfway).as_ref(), Some(&first));
    pki.refresh(halfway).expect("a look");
    let second = call(&pki, &bundle, halfway).expect("a call");
    assert_ne!(second, first);
    // The hub did not look in time: the certificate ended, and the next look makes another.
    let late = halfway + serving::LIFETIME + MINUTE;
    assert_eq!(call(&pki, &bundle, late), None);
    pki.refresh(late).expect("a look");
    let third = call(&pki, &bundle, late).expect("a call");
    assert_ne!(third, second);
    assert_eq!(pki.trusted_pem(), bundle, "API servers need not be told");
}

#[test]
fn no_call_fails_while_the_authority_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut now, pki) = (start(), open(folder.path(), start()));
    // Another hub of the same folder, which looks half a minute later, and does not tell API servers.
    let other = open(folder.path(), start());
    let first = pki.trusted_pem();
    let both = |bundle: &str, now: Timestamp| {
        [&pki, &other].map(|hub| call(hub, bundle, now).expect("a call that an API server makes"))
    };
    // The operator hurries: the next CA signs before anybody was told of it.
    pki.prepare_rotation(now).expect("the next CA");
    pki.promote_rotation(now).expect("its promotion");
    now += MINUTE / 2;
    // The API server is told late, and knows the former CA alone until then.
    let last_with_first = start() + TOLD_WITHIN - MINUTE / 6;
    let second = pki.trusted_pem();
    assert_ne!(second, first);
    let before = both(&first, now);
    while now < last_with_first {
        pki.refresh(now).expect("a look");
        both(&first, now);
        both(&second, now);
        now += MINUTE / 2;
        other.refresh(now).expect("a look");
        both(&first, now);
        both(&second, now);
        now += MINUTE / 2;
    }
    now = start() + TOLD_WITHIN + MINUTE * 2;
    pki.refresh(now).expect("a look");
    other.refresh(now).expect("a look");
    let after = both(&second, now);
    assert!(
        before[0] != after[0] && before[1] != after[1],
        "nothing changed"
    );
    assert_eq!(call(&pki, &first, now), None, "the former CA signs no more");
    // The former CA is put away.
    std::fs::remove_file(folder.path().join("ca-old.pem")).expect("the former CA");
    for hub in [&pki, &other] {
        hub.refresh(now).expect("a look");
    }
    both(&second, now);
    both(&pki.trusted_pem(), now);
}

#[test]
fn an_authority_that_was_replaced_is_shown_at_once() {
    let (folder, another) = (tempfile::tempdir(), tempfile::tempdir());
    let (folder, another) = (folder.expect("a folder"), another.expect("a folder"));
    let pki = open(folder.path(), start());
    open(another.path(), start());
    for file in ["ca.pem", "ca.key"] {
        std::fs::copy(another.path().join(file), folder.path().join(file)).expect("a copy");
    }
    pki.refresh(start()).expect("a look");
    assert!(call(&pki, &pki.trusted_pem(), start()).is_some());
}
