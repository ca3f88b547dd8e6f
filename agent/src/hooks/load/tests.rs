//! Against servers of both protocols.

use std::{convert::Infallible, sync::Mutex};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::server::conn::auto;
use serde_json::json;

use super::{Arc, Duration, Load, LoadGenerator, LoadTarget, TokioExecutor, TokioIo};

/// What was requested.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    version: http::Version,
    method: String,
    path: String,
    /// As HTTP/2 names it.
    host: Option<String>,
    header: Option<String>,
}

type Seen = Arc<Mutex<Vec<Request>>>;

/// A server of both protocols that notes what was requested.
async fn server() -> (String, Seen) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let seen = Seen::default();
    let notes = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let notes = Arc::clone(&notes);
            let service = service_fn(move |request: http::Request<Incoming>| {
                let path = request.uri().path().to_owned();
                let header = request
                    .headers()
                    .get("x-load")
                    .map(|value| value.to_str().expect("a text").to_owned());
                notes.lock().expect("no test panics here").push(Request {
                    version: request.version(),
                    method: request.method().to_string(),
                    path,
                    host: request.uri().host().map(str::to_owned),
                    header,
                });
                async { Ok::<_, Infallible>(http::Response::new("hello".to_owned())) }
            });
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, seen)
}

fn load(fields: serde_json::Value) -> Load {
    serde_json::from_value(fields).expect("a load")
}

fn target(address: &str) -> LoadTarget {
    LoadTarget {
        url: format!("http://{address}/cart"),
        timeout: Duration::from_secs(5),
        lasts: None,
    }
}

async fn until_answered(generator: &LoadGenerator, count: u64) {
    while generator.counted().0 < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn requests_carry_method_path_and_headers() {
    let (address, seen) = server().await;
    let load = load(json!({
        "rate": 200, "method": "HEAD", "headers": {"x-load": "yes"},
    }));
    let generator = LoadGenerator::start(load, target(&address));
    until_answered(&generator, 5).await;
    assert_eq!(generator.counted().1, 0);
    let first = seen.lock().expect("no test panics here")[0].clone();
    let expected = Request {
        version: http::Version::HTTP_11,
        method: "HEAD".into(),
        path: "/cart".into(),
        host: None,
        header: Some("yes".into()),
    };
    assert_eq!(first, expected);
}

/// Over one connection, on which HTTP/2 is spoken from the first byte on.
#[tokio::test]
async fn requests_go_over_http2_where_that_is_asked_for() {
    let (address, seen) = server().await;
    let load = load(json!({
        "rate": 200, "concurrency": 1, "protocol": "HTTP2",
        "headers": {"x-load": "yes", "Host": "shop.example"},
    }));
    let generator = LoadGenerator::start(load, target(&address));
    until_answered(&generator, 20).await;
    assert_eq!(generator.counted().1, 0);
    let seen = seen.lock().expect("no test panics here").clone();
    let expected = Request {
        version: http::Version::HTTP_2,
        method: "GET".into(),
        path: "/cart".into(),
        host: Some("shop.example".into()),
        header: Some("yes".into()),
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
    let generator = LoadGenerator::start(load, target(&address));
    while generator.counted().1 < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(generator.counted().0, 0);
}

#[tokio::test]
async fn the_rate_is_the_most_there_is_and_ends_with_its_time() {
    let (address, seen) = server().await;
    let target = LoadTarget {
        lasts: Some(Duration::from_millis(500)),
        ..target(&address)
    };
    let generator = LoadGenerator::start(load(json!({"rate": 20, "concurrency": 4})), target);
    until_answered(&generator, 4).await;
    while !generator.task.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let count = seen.lock().expect("no test panics here").len();
    assert!(
        (4..=14).contains(&count),
        "{count} requests in half a second"
    );
}

#[tokio::test]
async fn nothing_is_requested_once_it_is_dropped() {
    let (address, seen) = server().await;
    let generator = LoadGenerator::start(load(json!({"rate": 100})), target(&address));
    until_answered(&generator, 3).await;
    let task = generator.task.abort_handle();
    drop(generator);
    while !task.is_finished() {
        tokio::task::yield_now().await;
    }
    let count = || seen.lock().expect("no test panics here").len();
    let before = count();
    tokio::time::sleep(Duration::from_millis(100)).await;
    // One request may have been on its way.
    assert!(count() <= before + 2, "{before}, then {}", count());
}

#[tokio::test]
async fn a_target_that_is_away_is_asked_slowly() {
    let generator = LoadGenerator::start(load(json!({"rate": 1000})), target("127.0.0.1:1"));
    while generator.counted().1 < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(generator.counted().0, 0);
}
