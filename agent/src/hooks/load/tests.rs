//! Against servers of both protocols.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bellwether_api::hooks::Load;
use futures::FutureExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::{Authorities, LoadGenerator, LoadTarget};
use crate::{
    hooks::double::{Authority, Double, Request},
    metrics::SecretError,
};

fn load(fields: Value) -> Load {
    serde_json::from_value(fields).expect("a load")
}

fn target(address: &str) -> LoadTarget {
    LoadTarget {
        url: format!("http://{address}/cart"),
        timeout: Duration::from_secs(5),
        lasts: None,
    }
}

/// Starts a load that needs nobody to trust and tells nobody.
fn started(load: Load, target: LoadTarget) -> LoadGenerator {
    LoadGenerator::start(
        load,
        target,
        Box::new(|| async { Ok(None) }.boxed()),
        Box::new(|_| {}),
    )
}

/// What loads have told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn so_far(&self) -> Vec<String> {
        self.0.lock().expect("no test panics here").clone()
    }

    /// Starts a load over TLS that trusts `authority`.
    fn start(&self, fields: Value, address: &str, authority: &Authority) -> LoadGenerator {
        let pem = authority.pem().as_bytes().to_vec();
        self.start_trusting(
            fields,
            address,
            Box::new(move || {
                let pem = pem.clone();
                async { Ok(Some(pem)) }.boxed()
            }),
        )
    }

    fn start_trusting(
        &self,
        fields: Value,
        address: &str,
        authorities: Authorities,
    ) -> LoadGenerator {
        let target = LoadTarget {
            url: format!("https://{address}/cart"),
            ..target(address)
        };
        let Self(told) = self.clone();
        let tell = move |why: &str| {
            told.lock()
                .expect("no test panics here")
                .push(why.to_owned())
        };
        LoadGenerator::start(load(fields), target, authorities, Box::new(tell))
    }

    /// Waits until something was told, and until a request failed.
    async fn until_told(&self, generator: &LoadGenerator) -> String {
        while self.so_far().is_empty() || generator.counted().1 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(generator.counted().0, 0, "nothing is answered");
        self.so_far().remove(0)
    }
}

async fn until_answered(generator: &LoadGenerator, count: u64) {
    while generator.counted().0 < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn requests_carry_method_path_and_headers() {
    let double = Double::plain().await;
    let load = load(json!({
        "rate": 200, "method": "HEAD", "headers": {"x-load": "yes"},
    }));
    let generator = started(load, target(&double.address));
    until_answered(&generator, 5).await;
    assert_eq!(generator.counted().1, 0);
    let first = double.seen().remove(0);
    let expected = Request {
        version: http::Version::HTTP_11,
        method: "HEAD".into(),
        path: "/cart".into(),
        host: Some(double.address.clone()),
        header: Some("yes".into()),
        server_name: None,
    };
    assert_eq!(first, expected);
}

/// Over one connection, on which HTTP/2 is spoken from the first byte on.
#[tokio::test]
async fn requests_go_over_http2_where_that_is_asked_for() {
    let double = Double::plain().await;
    let load = load(json!({
        "rate": 200, "concurrency": 1, "protocol": "HTTP2",
        "headers": {"x-load": "yes", "Host": "shop.example"},
    }));
    let generator = started(load, target(&double.address));
    until_answered(&generator, 20).await;
    assert_eq!(generator.counted().1, 0);
    let seen = double.seen();
    let expected = Request {
        version: http::Version::HTTP_2,
        method: "GET".into(),
        path: "/cart".into(),
        host: Some("shop.example".into()),
        header: Some("yes".into()),
        server_name: None,
    };
    assert!(seen.iter().all(|one| *one == expected), "{seen:?}");
}

/// A server that speaks HTTP/1.1 alone is no server of HTTP/2: nothing is answered.
#[tokio::test]
async fn http2_to_a_server_without_it_fails() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|_: http::Request<Incoming>| async {
                Ok::<_, Infallible>(http::Response::new("hello".to_owned()))
            });
            let server = hyper::server::conn::http1::Builder::new();
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    let load = load(json!({"rate": 50, "protocol": "HTTP2"}));
    let generator = started(load, target(&address));
    while generator.counted().1 < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(generator.counted().0, 0);
}

#[tokio::test]
async fn the_rate_is_the_most_there_is_and_ends_with_its_time() {
    let double = Double::plain().await;
    let target = LoadTarget {
        lasts: Some(Duration::from_millis(500)),
        ..target(&double.address)
    };
    let generator = started(load(json!({"rate": 20, "concurrency": 4})), target);
    until_answered(&generator, 4).await;
    while !generator.task.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let count = double.seen().len();
    assert!(
        (4..=14).contains(&count),
        "{count} requests in half a second"
    );
}

#[tokio::test]
async fn nothing_is_requested_once_it_is_dropped() {
    let double = Double::plain().await;
    let generator = started(load(json!({"rate": 100})), target(&double.address));
    until_answered(&generator, 3).await;
    let task = generator.task.abort_handle();
    drop(generator);
    while !task.is_finished() {
        tokio::task::yield_now().await;
    }
    let count = || double.seen().len();
    let before = count();
    tokio::time::sleep(Duration::from_millis(100)).await;
    // One request may have been on its way.
    assert!(count() <= before + 2, "{before}, then {}", count());
}

#[tokio::test]
async fn a_target_that_is_away_is_asked_slowly() {
    let generator = started(load(json!({"rate": 1000})), target("127.0.0.1:1"));
    while generator.counted().1 < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(generator.counted().0, 0);
}

/// One protocol is offered and taken, whatever else the server knows.
#[tokio::test]
async fn requests_go_over_tls_in_the_protocol_that_is_asked_for() {
    let authority = Authority::new();
    for (protocol, known, version) in [
        ("HTTP1", &["h2", "http/1.1"][..], http::Version::HTTP_11),
        ("HTTP1", &[], http::Version::HTTP_11),
        ("HTTP2", &["http/1.1", "h2"], http::Version::HTTP_2),
    ] {
        let double = Double::over_tls(authority.server("127.0.0.1", known)).await;
        let fields = json!({"rate": 200, "protocol": protocol, "headers": {"x-load": "yes"}});
        let told = Told::default();
        let generator = told.start(fields, &double.address, &authority);
        until_answered(&generator, 5).await;
        assert_eq!((generator.counted().1, told.so_far()), (0, vec![]));
        let seen = double.seen();
        let right = |one: &Request| {
            (one.version, one.path.as_str(), one.header.as_deref())
                == (version, "/cart", Some("yes"))
        };
        assert!(seen.iter().all(right), "{protocol}: {seen:?}");
    }
}

/// The server is asked by the host of the requests, and has to be that one.
#[tokio::test]
async fn a_host_that_is_named_is_whom_the_certificate_has_to_be_for() {
    let authority = Authority::new();
    let double = Double::over_tls(authority.server("shop.example", &["h2", "http/1.1"])).await;
    for (protocol, host) in [("HTTP1", "shop.example:8443"), ("HTTP2", "shop.example")] {
        let fields = json!({"rate": 200, "protocol": protocol, "headers": {"Host": host}});
        let generator = Told::default().start(fields, &double.address, &authority);
        until_answered(&generator, 3).await;
        let last = double.seen().pop().expect("a request");
        assert_eq!(last.host.as_deref(), Some(host));
        assert_eq!(last.server_name.as_deref(), Some("shop.example"));
    }
    let before = double.seen().len();
    let told = Told::default();
    let fields = json!({"headers": {"Host": "other.example"}});
    let generator = told.start(fields, &double.address, &authority);
    assert_eq!(
        told.until_told(&generator).await,
        "failed to agree on TLS with other.example: its certificate is refused: it is for another \
         name"
    );
    assert_eq!(double.seen().len(), before);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_or_has_expired_is_refused_by_name() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (config, why) in [
        (
            other.server("127.0.0.1", &[]),
            "nobody who is trusted has signed it",
        ),
        (authority.expired_server("127.0.0.1"), "it has expired"),
    ] {
        let double = Double::over_tls(config).await;
        let told = Told::default();
        let generator = told.start(json!({"rate": 100}), &double.address, &authority);
        assert_eq!(
            told.until_told(&generator).await,
            format!("failed to agree on TLS with 127.0.0.1: its certificate is refused: {why}")
        );
        while generator.counted().1 < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(told.so_far().len(), 1, "it is told once");
        assert_eq!(double.seen(), []);
    }
}

/// The double speaks both protocols whatever was chosen, so that it is the choice that is judged.
#[tokio::test]
async fn a_server_that_does_not_choose_the_protocol_has_failed() {
    let authority = Authority::new();
    for (protocol, known, wanted) in [
        ("HTTP2", &["http/1.1"][..], "h2"),
        ("HTTP2", &[], "h2"),
        ("HTTP1", &["h2"], "http/1.1"),
    ] {
        let double = Double::over_tls(authority.server("127.0.0.1", known)).await;
        let told = Told::default();
        let fields = json!({"rate": 100, "protocol": protocol});
        let generator = told.start(fields, &double.address, &authority);
        assert_eq!(
            told.until_told(&generator).await,
            format!("failed to agree on TLS with 127.0.0.1: it does not choose {wanted} by ALPN")
        );
        assert_eq!(double.seen(), []);
    }
}

#[tokio::test]
async fn a_server_without_tls_fails_over_https() {
    let double = Double::plain().await;
    let told = Told::default();
    let generator = told.start(json!({"rate": 100}), &double.address, &Authority::new());
    let why = told.until_told(&generator).await;
    assert!(
        why.starts_with("failed to agree on TLS with 127.0.0.1: "),
        "{why}"
    );
    assert_eq!(double.seen(), []);
}

/// The load of a weight is not lost because its Secret came later, or the API server was away.
#[tokio::test]
async fn a_secret_that_comes_later_is_read_then() {
    let authority = Authority::new();
    let double = Double::over_tls(authority.server("127.0.0.1", &[])).await;
    let (pem, is_there) = (authority.pem().as_bytes().to_vec(), AtomicBool::new(false));
    let authorities: Authorities = Box::new(move || {
        let found = is_there.swap(true, Ordering::Relaxed).then(|| pem.clone());
        let missing = SecretError::Missing {
            namespace: "shop".to_owned(),
            name: "own".to_owned(),
        };
        async { found.map(Some).ok_or(missing) }.boxed()
    });
    let told = Told::default();
    let generator = told.start_trusting(json!({"rate": 100}), &double.address, authorities);
    until_answered(&generator, 3).await;
    assert_eq!(
        told.so_far(),
        ["failed to read Secret shop/own: there is none"]
    );
}
