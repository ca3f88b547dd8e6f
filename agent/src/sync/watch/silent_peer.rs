//! Against an API server, over a socket, that falls silent in the middle of a watch.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::*;
use crate::connect;

/// What the server was asked so far.
#[derive(Default)]
struct Server {
    watches: AtomicUsize,
    is_silent: Notify,
}

fn answer(body: &Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

impl Server {
    async fn serve(&self, mut stream: TcpStream) {
        let mut request = vec![0; 8192];
        let read = stream.read(&mut request).await.unwrap_or(0);
        let request = String::from_utf8_lossy(&request[..read]).into_owned();
        if !request.contains("watch=true") {
            let body = if request.starts_with("GET /apis/apps/v1 ") {
                json!({"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": [
                    {"name": "deployments", "singularName": "", "namespaced": true,
                        "kind": "Deployment", "verbs": ["list", "watch"]}]})
            } else {
                let items: [Value; 0] = [];
                json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                    "metadata": {"resourceVersion": "7"}, "items": items})
            };
            let _ = stream.write_all(answer(&body).as_bytes()).await;
            return;
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head.as_bytes()).await;
        if self.watches.fetch_add(1, Ordering::Relaxed) == 0 {
            self.is_silent.notify_one();
        } else {
            let event = json!({"type": "MODIFIED", "object": {
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"name": "web", "namespace": "shop", "resourceVersion": "8"}}});
            let event = format!("{event}\n");
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            let _ = stream.write_all(chunk.as_bytes()).await;
        }
        // Neither says another word nor closes.
        std::future::pending::<()>().await;
    }
}

/// A connection that nobody closes and nothing comes from would be listened to for ever.
#[tokio::test]
async fn a_watch_whose_peer_falls_silent_is_opened_again() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = Arc::new(Server::default());
    let serving = Arc::clone(&server);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = Arc::clone(&serving);
            tokio::spawn(async move { server.serve(stream).await });
        }
    });
    let (_directory, path) = connect::tests::kubeconfig(address);
    let client = connect::client(Some(&path), Counter::default());
    let watches = Watches::new(Arc::new(Cluster::new(client.await.expect("a client"))));
    let poke = Arc::new(Poke::default());
    let target = ObjectRef {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: Some("shop".to_owned()),
        name: "web".to_owned(),
    };
    let names = Wants::Names([target.name.clone()].into());
    watches.set("unit", [(WatchKey::of(&target), names)].into(), &poke);
    server.is_silent.notified().await;
    poke.woken().await;
    let _ = poke.take();
    // Until the client has read the head: what is timed is the silence after it.
    tokio::time::sleep(Duration::from_millis(200)).await;

    // What changes now is told to nobody, a minute long.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(55)).await;
    assert_eq!(server.watches.load(Ordering::Relaxed), 1, "it is not hasty");
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
    let woken = tokio::time::timeout(Duration::from_secs(20), poke.woken()).await;
    assert!(woken.is_ok(), "the watch was not opened again");
    assert_eq!(poke.take().objects, BTreeSet::from([target]));
    assert_eq!(server.watches.load(Ordering::Relaxed), 2);
}
