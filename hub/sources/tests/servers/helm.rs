//! Helm repositories over HTTP.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Response, StatusCode, header},
};
use bellwether_sources::{Source, SourceRequest};

use super::{
    charts::{chart, sha256, tar_gzip},
    http_server::HttpServer,
    subject::{paths, subject, subject_with, with},
};

/// A path that was asked for, and the credentials that came with it.
type Asked = (String, Option<String>);

/// What a server has by path, whom it wants to see, and whom it has seen.
#[derive(Clone, Default)]
struct Shelf {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    redirects: Arc<Mutex<BTreeMap<String, String>>>,
    wanted: Option<&'static str>,
    seen: Arc<Mutex<Vec<Asked>>>,
}

impl Shelf {
    fn put(&self, path: &str, contents: impl Into<Vec<u8>>) {
        let mut files = self.files.lock().expect("no panic");
        files.insert(path.to_owned(), contents.into());
    }

    fn redirect(&self, path: &str, to: String) {
        self.redirects
            .lock()
            .expect("no panic")
            .insert(path.to_owned(), to);
    }

    fn app(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    /// Returns the credentials that came with requests for a path.
    fn seen(&self, path: &str) -> Vec<Option<String>> {
        let seen = self.seen.lock().expect("no panic");
        let fits = seen.iter().filter(|(asked, _)| asked == path);
        fits.map(|(_, authorization)| authorization.clone())
            .collect()
    }
}

async fn answer(State(shelf): State<Shelf>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let sent = request.headers().get(header::AUTHORIZATION);
    let sent = sent.map(|value| value.to_str().expect("text").to_owned());
    shelf
        .seen
        .lock()
        .expect("no panic")
        .push((path.clone(), sent.clone()));
    let answer = |status: StatusCode, body: Vec<u8>| {
        Response::builder()
            .status(status)
            .body(Body::from(body))
            .expect("an answer")
    };
    if shelf.wanted.is_some() && sent.as_deref() != shelf.wanted {
        return answer(StatusCode::UNAUTHORIZED, Vec::new());
    }
    if let Some(to) = shelf.redirects.lock().expect("no panic").get(&path) {
        return Response::builder()
            .status(StatusCode::FOUND)
            .header(header::LOCATION, to)
            .body(Body::empty())
            .expect("an answer");
    }
    match shelf.files.lock().expect("no panic").get(&path) {
        Some(contents) => answer(StatusCode::OK, contents.clone()),
        None => answer(StatusCode::NOT_FOUND, Vec::new()),
    }
}

fn index(entries: &[(&str, &str, Option<&str>)]) -> String {
    let mut text = "apiVersion: v1\nentries:\n  web:\n".to_owned();
    for (version, url, digest) in entries {
        text += &format!("  - name: web\n    version: {version}\n    urls: [\"{url}\"]\n");
        if let Some(digest) = digest {
            text += &format!("    digest: {digest}\n");
        }
    }
    text
}

fn web(url: String, version: &str) -> Source {
    Source::HelmRepository {
        url,
        chart: "web".to_owned(),
        version: version.to_owned(),
    }
}

#[tokio::test]
async fn a_chart_is_fetched_by_version_and_by_range() {
    let shelf = Shelf::default();
    let server = HttpServer::plain(shelf.app()).await;
    let (old, new) = (chart("1.2.3"), chart("1.10.0"));
    shelf.put("/stable/web-1.2.3.tgz", old.clone());
    shelf.put("/elsewhere/web.tgz", new.clone());
    let elsewhere = server.url("/elsewhere/web.tgz");
    let entries = [
        ("1.2.3", "web-1.2.3.tgz", Some(sha256(&old))),
        ("1.10.0", elsewhere.as_str(), None),
    ];
    let entries: Vec<_> = entries
        .iter()
        .map(|(v, u, d)| (*v, *u, d.as_deref()))
        .collect();
    shelf.put("/stable/index.yaml", index(&entries));
    let subject = subject();
    for (version, archive, chosen) in [
        ("1.2.3", &old, "1.2.3"),
        ("^1", &new, "1.10.0"),
        ("~1.2", &old, "1.2.3"),
    ] {
        for url in ["/stable", "/stable/"] {
            let request = SourceRequest::new(web(server.url(url), version));
            let artifact = subject.sources.fetch(&request).await.expect("fetched");
            assert_eq!(
                artifact.revision,
                format!("{chosen}@sha256:{}", sha256(archive))
            );
            let expected = ["Chart.yaml", "templates/deployment.yaml", "values.yaml"];
            assert_eq!(paths(&artifact), expected);
            let resolved = subject.sources.resolve(&request).await.expect("resolved");
            assert_eq!(resolved.revision, artifact.revision);
        }
    }
    assert_eq!(
        shelf.seen("/stable/web-1.2.3.tgz").len(),
        4,
        "a digest in the index spares the archive"
    );
}

#[tokio::test]
async fn credentials_go_to_the_repository_alone() {
    let private = Shelf {
        wanted: Some("Basic Z2l0Omh1bnRlcjI="),
        ..Shelf::default()
    };
    let public = Shelf::default();
    let (server, other) = (
        HttpServer::plain(private.app()).await,
        HttpServer::plain(public.app()).await,
    );
    let archive = chart("1.0.0");
    private.put("/web-1.0.0.tgz", archive.clone());
    public.put("/web-2.0.0.tgz", archive.clone());
    public.put("/web-3.0.0.tgz", archive);
    private.redirect("/web-3.0.0.tgz", other.url("/web-3.0.0.tgz"));
    let elsewhere = other.url("/web-2.0.0.tgz");
    let entries = [
        ("1.0.0", "web-1.0.0.tgz", None),
        ("2.0.0", elsewhere.as_str(), None),
        ("3.0.0", "web-3.0.0.tgz", None),
    ];
    private.put("/index.yaml", index(&entries));
    let subject = subject();
    let entries = [("username", "git"), ("password", "hunter2")];
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        let request = with(web(server.url(""), version), &entries);
        subject.sources.fetch(&request).await.expect(version);
    }
    let sent = Some("Basic Z2l0Omh1bnRlcjI=".to_owned());
    assert_eq!(private.seen("/web-1.0.0.tgz"), [sent]);
    assert_eq!(public.seen("/web-2.0.0.tgz"), [None]);
    assert_eq!(
        public.seen("/web-3.0.0.tgz"),
        [None],
        "nor along a redirect"
    );
    for entries in [vec![], vec![("bearerToken", "hunter3")]] {
        let error = subject
            .refusal(&with(web(server.url(""), "1.0.0"), &entries))
            .await;
        assert_eq!(error.reason(), "Unauthorised");
        assert!(!error.to_string().contains("hunter"), "{error}");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_its_reason() {
    let shelf = Shelf::default();
    let server = HttpServer::plain(shelf.app()).await;
    let secure = HttpServer::tls(shelf.app()).await;
    let good = chart("1.0.0");
    shelf.put("/swapped.tgz", chart("6.6.6"));
    shelf.put("/page.tgz", "<html>");
    shelf.put("/flat.tgz", tar_gzip(&[("Chart.yaml", "name: web\n")]));
    shelf.put(
        "/two.tgz",
        tar_gzip(&[("web/Chart.yaml", ""), ("other/a", "")]),
    );
    shelf.put("/good.tgz", good.clone());
    shelf.redirect("/loop.tgz", server.url("/loop.tgz"));
    shelf.redirect("/private.tgz", "http://169.254.169.254/latest".to_owned());
    shelf.redirect("/scheme.tgz", "file:///etc/passwd".to_owned());
    shelf.redirect("/upgrade.tgz", secure.url("/good.tgz"));
    let digest = sha256(&good);
    shelf.put(
        "/index.yaml",
        index(&[
            ("1.0.0", "good.tgz", Some("md5:0")),
            ("1.0.1", "swapped.tgz", Some(&digest)),
            ("1.0.2", "page.tgz", None),
            ("1.0.3", "flat.tgz", None),
            ("1.0.4", "two.tgz", None),
            ("1.0.5", "missing.tgz", None),
            ("1.0.6", "loop.tgz", None),
            ("1.0.7", "private.tgz", None),
            ("1.0.8", "scheme.tgz", None),
            ("1.0.9", "upgrade.tgz", None),
            ("1.0.10", "file:///etc/passwd", None),
            ("1.0.11", "https://10.0.0.1/web.tgz", None),
        ]),
    );
    let subject = subject();
    for (version, reason) in [
        ("1.0.0", "Malformed"),
        ("1.0.1", "DigestMismatch"),
        ("1.0.2", "Malformed"),
        ("1.0.3", "Malformed"),
        ("1.0.4", "Malformed"),
        ("1.0.5", "NotFound"),
        ("1.0.6", "Redirected"),
        ("1.0.7", "InvalidSource"),
        ("1.0.8", "Redirected"),
        ("1.0.9", "Redirected"),
        ("1.0.10", "Malformed"),
        ("1.0.11", "AddressRefused"),
        ("9.9.9", "NotFound"),
        ("^9", "NotFound"),
        ("latest", "InvalidSource"),
    ] {
        let request = SourceRequest::new(web(server.url(""), version));
        let error = subject.sources.fetch(&request).await.expect_err(version);
        assert_eq!(error.reason(), reason, "{version}: {error}");
    }
    let nowhere = SourceRequest::new(web(server.url("/nowhere"), "1.0.0"));
    assert_eq!(subject.refusal(&nowhere).await.reason(), "NotFound");
}

#[tokio::test]
async fn a_repository_with_a_certificate_of_its_own_is_trusted_by_its_authority_alone() {
    let shelf = Shelf::default();
    let server = HttpServer::tls(shelf.app()).await;
    shelf.put("/web.tgz", chart("1.0.0"));
    shelf.put("/index.yaml", index(&[("1.0.0", "web.tgz", None)]));
    let subject = subject();
    let source = web(server.url(""), "1.0.0");
    let trusted = with(source.clone(), &[("ca.crt", &server.ca)]);
    subject.sources.fetch(&trusted).await.expect("trusted");
    let error = subject.refusal(&SourceRequest::new(source.clone())).await;
    assert_eq!(error.reason(), "Unreachable", "{error}");
    let error = subject
        .refusal(&with(source, &[("ca.crt", "no certificate")]))
        .await;
    assert_eq!(error.reason(), "InvalidSource", "{error}");
}

#[tokio::test]
async fn sizes_are_bounded_as_they_are_sent() {
    let shelf = Shelf::default();
    let server = HttpServer::plain(shelf.app()).await;
    shelf.put("/web.tgz", chart("1.0.0"));
    shelf.put("/index.yaml", index(&[("1.0.0", "web.tgz", None)]));
    let request = SourceRequest::new(web(server.url(""), "1.0.0"));
    for (index_bytes, archive_bytes, said) in
        [(20, 1 << 20, "index.yaml"), (1 << 20, 20, "the chart web")]
    {
        let subject = subject_with(|settings| {
            settings.limits.index_bytes = index_bytes;
            settings.limits.archive_bytes = archive_bytes;
        });
        let error = subject.refusal(&request).await;
        assert_eq!(error.reason(), "TooLarge");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_version_that_is_published_again_with_other_content_has_moved() {
    let shelf = Shelf::default();
    let server = HttpServer::plain(shelf.app()).await;
    shelf.put("/web.tgz", chart("1.0.0"));
    shelf.put("/index.yaml", index(&[("1.0.0", "web.tgz", None)]));
    let subject = subject();
    let mut request = SourceRequest::new(web(server.url(""), "1.0.0"));
    request.previous = Some(
        subject
            .sources
            .fetch(&request)
            .await
            .expect("fetched")
            .revision,
    );
    subject.sources.fetch(&request).await.expect("the same");
    shelf.put("/web.tgz", tar_gzip(&[("web/Chart.yaml", "name: web\n")]));
    assert_eq!(subject.refusal(&request).await.reason(), "TagMoved");
}

#[tokio::test]
async fn this_machine_is_refused_where_no_setting_allows_it() {
    let server = HttpServer::plain(Shelf::default().app()).await;
    let subject = subject_with(|settings| settings.addresses.allowed_networks.clear());
    let request = SourceRequest::new(web(server.url(""), "1.0.0"));
    let error = subject.refusal(&request).await;
    assert_eq!(error.reason(), "AddressRefused");
    let subject = subject_with(|settings| settings.addresses.plain_http_hosts.clear());
    let error = subject.refusal(&request).await;
    assert_eq!(error.reason(), "InvalidSource");
    assert!(error.to_string().contains("plain HTTP hosts"), "{error}");
}
