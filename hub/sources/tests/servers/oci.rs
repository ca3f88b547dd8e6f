//! Artifacts of a real registry.

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use bellwether_sources::{OciReference, Source, SourceRequest};
use oci_client::client::ImageLayer;

use super::{
    charts::{chart, sha256, tar_gzip},
    http_server::HttpServer,
    registry::{Registry, layer},
    subject::{paths, subject, subject_with, with},
};

const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
const PROVENANCE: &str = "application/vnd.cncf.helm.chart.provenance.v1.prov";
const ARCHIVE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const TITLE: &str = "org.opencontainers.image.title";

fn chart_layer(version: &str) -> ImageLayer {
    layer(chart(version), CHART, &[])
}

fn artifact(url: String, reference: OciReference, path: &str) -> SourceRequest {
    SourceRequest::new(Source::Oci {
        url,
        reference,
        path: path.to_owned(),
    })
}

fn tag(name: &str) -> OciReference {
    OciReference::Tag(name.to_owned())
}

fn web(url: String, version: &str) -> Source {
    Source::HelmRepository {
        url,
        chart: "web".to_owned(),
        version: version.to_owned(),
    }
}

#[tokio::test]
async fn charts_are_fetched_by_version_and_by_range() {
    let registry = Registry::start(false);
    let mut digests = Vec::new();
    for (tag, version) in [
        ("1.2.3", "1.2.3"),
        ("1.10.0_build.5", "1.10.0+build.5"),
        ("2.0.0", "2.0.0"),
    ] {
        let layers = [chart_layer(version), layer("signed", PROVENANCE, &[])];
        digests.push(registry.push("charts/web", tag, &layers).await);
    }
    let subject = subject();
    for (version, revision) in [
        ("1.2.3", format!("1.2.3@{}", digests[0])),
        ("1.10.0+build.5", format!("1.10.0+build.5@{}", digests[1])),
        ("^1", format!("1.10.0+build.5@{}", digests[1])),
        (">=1", format!("2.0.0@{}", digests[2])),
    ] {
        let request = SourceRequest::new(web(registry.url("charts"), version));
        let fetched = subject.sources.fetch(&request).await.expect(version);
        assert_eq!(fetched.revision, revision);
        let expected = ["Chart.yaml", "templates/deployment.yaml", "values.yaml"];
        assert_eq!(paths(&fetched), expected);
        let resolved = subject.sources.resolve(&request).await.expect(version);
        assert_eq!(resolved.revision, revision);
    }
    for (version, reason) in [
        ("9.9.9", "NotFound"),
        ("^9", "NotFound"),
        ("latest", "InvalidSource"),
    ] {
        let request = SourceRequest::new(web(registry.url("charts"), version));
        assert_eq!(
            subject.refusal(&request).await.reason(),
            reason,
            "{version}"
        );
    }
    let other = SourceRequest::new(web(registry.url("nothing"), "1.2.3"));
    assert_eq!(subject.refusal(&other).await.reason(), "NotFound");
    let whole = artifact(registry.url("charts/web"), tag("1.2.3"), "");
    let whole = subject
        .sources
        .fetch(&whole)
        .await
        .expect("a chart is an artifact too");
    assert_eq!(whole.files[0].path, "Chart.yaml");
}

#[tokio::test]
async fn the_index_of_a_repository_may_lead_to_a_registry() {
    let registry = Registry::start(false);
    let layers = [chart_layer("1.2.3")];
    let manifest = registry.push("charts/web", "1.2.3", &layers).await;
    let url = format!("{}:1.2.3", registry.url("charts/web"));
    let index = |digest: &str| {
        format!(
            "apiVersion: v1\nentries: {{web: [{{version: 1.2.3, digest: {digest}, urls: [\"{url}\"]}}]}}\n"
        )
    };
    let (right, wrong) = (index(&sha256(&chart("1.2.3"))), index(&sha256(b"other")));
    let app = Router::new()
        .route("/right/index.yaml", get(|| async { right }))
        .route("/wrong/index.yaml", get(|| async { wrong }));
    let server = HttpServer::plain(app).await;
    let subject = subject();
    let request = SourceRequest::new(web(server.url("/right"), "1.2.3"));
    let fetched = subject.sources.fetch(&request).await.expect("fetched");
    assert_eq!(fetched.revision, format!("1.2.3@{manifest}"));
    let request = SourceRequest::new(web(server.url("/wrong"), "1.2.3"));
    let error = subject
        .sources
        .fetch(&request)
        .await
        .expect_err("another archive");
    assert_eq!(error.reason(), "DigestMismatch");
}

#[tokio::test]
async fn archives_and_files_are_fetched_by_tag_range_and_digest() {
    let registry = Registry::start(false);
    let tree = tar_gzip(&[("./deploy/app.yaml", "version: 1\n"), ("./docs/a.md", "")]);
    let first = registry
        .push("config", "1.0.0", &[layer(tree, ARCHIVE, &[])])
        .await;
    let files = [
        layer("a: 1\n", "application/yaml", &[(TITLE, "deploy/a.yaml")]),
        layer(
            "b: 1\n",
            "application/vnd.oci.image.layer.v1.tar",
            &[(TITLE, "deploy/b.yaml")],
        ),
    ];
    let second = registry.push("config", "1.1.0", &files).await;
    let subject = subject();
    for (reference, revision, names) in [
        (tag("1.0.0"), format!("1.0.0@{first}"), vec!["app.yaml"]),
        (
            OciReference::Digest(first.clone()),
            first.clone(),
            vec!["app.yaml"],
        ),
        (
            OciReference::Semver("^1".to_owned()),
            format!("1.1.0@{second}"),
            vec!["a.yaml", "b.yaml"],
        ),
    ] {
        let request = artifact(registry.url("config"), reference, "deploy");
        let fetched = subject.sources.fetch(&request).await.expect("fetched");
        assert_eq!(fetched.revision, revision);
        assert_eq!(paths(&fetched), names);
        let resolved = subject.sources.resolve(&request).await.expect("resolved");
        assert_eq!(resolved.revision, revision);
    }
    for (reference, path, reason) in [
        (tag("2.0.0"), "", "NotFound"),
        (
            OciReference::Digest(format!("sha256:{}", "0".repeat(64))),
            "",
            "NotFound",
        ),
        (tag("1.0.0"), "nowhere", "NotFound"),
        (tag("a/b"), "", "InvalidSource"),
        (
            OciReference::Digest("sha256:0".to_owned()),
            "",
            "InvalidSource",
        ),
    ] {
        let request = artifact(registry.url("config"), reference.clone(), path);
        let error = subject.sources.fetch(&request).await.expect_err("refused");
        assert_eq!(error.reason(), reason, "{reference:?}: {error}");
    }
    let tagged = artifact(
        format!("{}:1.0.0", registry.url("config")),
        tag("1.0.0"),
        "",
    );
    assert_eq!(subject.refusal(&tagged).await.reason(), "InvalidSource");
}

#[tokio::test]
async fn a_tag_moves_and_a_version_does_not() {
    let registry = Registry::start(false);
    let push = |contents: &'static str| {
        let layers = [layer(contents, "text/plain", &[(TITLE, "a")])];
        let registry = &registry;
        async move { registry.push("config", "1.0.0", &layers).await }
    };
    push("one").await;
    let subject = subject();
    let mut by_tag = artifact(registry.url("config"), tag("1.0.0"), "");
    let range = OciReference::Semver("^1".to_owned());
    let mut by_range = artifact(registry.url("config"), range, "");
    for request in [&mut by_tag, &mut by_range] {
        let fetched = subject.sources.fetch(request).await.expect("fetched");
        request.previous = Some(fetched.revision);
    }
    let digest = push("two").await;
    let fetched = subject.sources.fetch(&by_tag).await.expect("a tag moves");
    assert_eq!(fetched.revision, format!("1.0.0@{digest}"));
    assert_eq!(subject.refusal(&by_range).await.reason(), "TagMoved");
}

#[tokio::test]
async fn layers_that_are_not_safe_or_not_known_are_refused() {
    let registry = Registry::start(false);
    let file = |name: &str| layer("x", "text/plain", &[(TITLE, name)]);
    for (tag, layers) in [
        ("out", vec![file("../evil")]),
        ("twice", vec![file("a"), file("A")]),
        (
            "zstd",
            vec![layer(
                "x",
                "application/vnd.oci.image.layer.v1.tar+zstd",
                &[],
            )],
        ),
        ("broken", vec![layer("x", ARCHIVE, &[])]),
    ] {
        registry.push("odd", tag, &layers).await;
    }
    let subject = subject();
    for (name, reason) in [
        ("out", "UnsafeArchive"),
        ("twice", "UnsafeArchive"),
        ("zstd", "Unsupported"),
        ("broken", "Malformed"),
    ] {
        let request = artifact(registry.url("odd"), tag(name), "");
        let error = subject.sources.fetch(&request).await.expect_err(name);
        assert_eq!(error.reason(), reason, "{name}: {error}");
    }
    let chart = SourceRequest::new(web(registry.url(""), "1.0.0"));
    registry.push("web", "1.0.0", &[file("a")]).await;
    let error = subject.sources.fetch(&chart).await.expect_err("no chart");
    assert!(error.to_string().contains("not a Helm chart"), "{error}");
    let small = subject_with(|settings| settings.limits.archive_bytes = 3);
    registry
        .push(
            "odd",
            "large",
            &[layer("four", "text/plain", &[(TITLE, "a")])],
        )
        .await;
    let large = artifact(registry.url("odd"), tag("large"), "");
    let error = small.sources.fetch(&large).await.expect_err("too large");
    assert_eq!(error.reason(), "TooLarge");
}

#[tokio::test]
async fn a_private_registry_is_opened_with_a_password() {
    let registry = Registry::start(true);
    registry
        .push("charts/web", "1.2.3", &[chart_layer("1.2.3")])
        .await;
    let subject = subject();
    let source = web(registry.url("charts"), "^1");
    let right = [("username", "git"), ("password", "hunter2")];
    subject
        .sources
        .fetch(&with(source.clone(), &right))
        .await
        .expect("opened");
    for entries in [
        vec![],
        vec![("username", "git"), ("password", "hunter3")],
        vec![("bearerToken", "hunter2")],
    ] {
        let error = subject.refusal(&with(source.clone(), &entries)).await;
        assert_eq!(error.reason(), "Unauthorised", "{error}");
        assert!(!error.to_string().contains("hunter"), "{error}");
    }
}

/// A registry that hands out tokens elsewhere, as most public ones do.
fn with_tokens(realm: String) -> Router {
    let manifests = move |headers: axum::http::HeaderMap| async move {
        let sent = headers.get(header::AUTHORIZATION);
        if sent.is_some_and(|value| value == "Bearer the-token") {
            let digest = format!("sha256:{}", sha256(b"contents"));
            let layer = serde_json::json!({
                "mediaType": "text/plain", "digest": digest, "size": 8, "annotations": {TITLE: "a"}
            });
            return axum::Json(serde_json::json!({"schemaVersion": 2, "layers": [layer]}))
                .into_response();
        }
        let challenge =
            format!("Bearer realm=\"{realm}\",service=\"s\",scope=\"repository:a/b:pull\"");
        (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, challenge)],
        )
            .into_response()
    };
    Router::new()
        .route("/v2/a/b/manifests/{reference}", get(manifests))
        .route("/v2/a/b/blobs/{digest}", get(|| async { "contents" }))
}

fn tokens() -> Router {
    let give = |uri: axum::http::Uri, headers: axum::http::HeaderMap| async move {
        let sent = headers.get(header::AUTHORIZATION);
        let query = uri.query().unwrap_or_default();
        let asked =
            query.contains("service=s") && query.contains("scope=repository%3Aa%2Fb%3Apull");
        if asked && sent.is_some_and(|value| value == "Basic Z2l0Omh1bnRlcjI=") {
            return axum::Json(serde_json::json!({"token": "the-token"})).into_response();
        }
        StatusCode::UNAUTHORIZED.into_response()
    };
    Router::new().route("/token", get(give))
}

#[tokio::test]
async fn a_password_is_exchanged_for_a_token() {
    let issuer = HttpServer::plain(tokens()).await;
    let server = HttpServer::plain(with_tokens(issuer.url("/token"))).await;
    let subject = subject();
    let request = artifact(format!("oci://{}/a/b", server.address), tag("1"), "");
    let right = [("username", "git"), ("password", "hunter2")];
    let fetched = subject
        .sources
        .fetch(&with(request.source.clone(), &right))
        .await;
    assert_eq!(paths(&fetched.expect("opened")), ["a"]);
    assert_eq!(subject.refusal(&request).await.reason(), "Unauthorised");
}

#[tokio::test]
async fn a_password_does_not_go_where_a_challenge_must_not_lead() {
    let subject = subject();
    let right = [("username", "git"), ("password", "hunter2")];
    for (realm, reason) in [
        ("file:///etc/passwd", "Malformed"),
        ("no URL", "Malformed"),
        ("http://localhost/token", "InvalidSource"),
        ("https://169.254.169.254/token", "AddressRefused"),
    ] {
        let server = HttpServer::plain(with_tokens(realm.to_owned())).await;
        let request = artifact(format!("oci://{}/a/b", server.address), tag("1"), "");
        let error = subject.refusal(&with(request.source, &right)).await;
        assert_eq!(error.reason(), reason, "{realm}: {error}");
    }
    // A registry with TLS cannot lead to a realm without.
    let issuer = HttpServer::plain(tokens()).await;
    let server = HttpServer::tls(with_tokens(issuer.url("/token"))).await;
    let port = server.address.port();
    let request = artifact(format!("oci://localhost:{port}/a/b"), tag("1"), "");
    let mut entries = right.to_vec();
    entries.push(("ca.crt", &server.ca));
    let error = subject.refusal(&with(request.source, &entries)).await;
    assert_eq!(error.reason(), "Malformed", "{error}");
}

#[tokio::test]
async fn content_that_is_not_what_its_digest_says_is_refused() {
    let app = Router::new().route(
        "/v2/a/b/manifests/{reference}",
        get(|| async { axum::Json(serde_json::json!({"schemaVersion": 2, "layers": []})) }),
    );
    let server = HttpServer::plain(app).await;
    let subject = subject();
    let reference = OciReference::Digest(format!("sha256:{}", "0".repeat(64)));
    let request = artifact(format!("oci://{}/a/b", server.address), reference, "");
    assert_eq!(subject.refusal(&request).await.reason(), "DigestMismatch");
}
