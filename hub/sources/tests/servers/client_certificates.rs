//! Servers that know their clients by certificates.

use axum::{Router, http::StatusCode, routing::get};
use bellwether_sources::{OciReference, Source, SourceError};

use super::{
    charts::{chart, tar_gzip},
    git::{branch, source},
    http_server::HttpServer,
    repository::Repository,
    subject::{Subject, paths, subject, with},
};

/// A server that demands a certificate, what opens it, and what does not.
struct Guarded {
    server: HttpServer,
    certificate: String,
    key: String,
    strange: (String, String),
}

impl Guarded {
    async fn serving(app: Router) -> Self {
        let (server, certificate, key) = HttpServer::mutual(app).await;
        let (_other, strange_certificate, strange_key) = HttpServer::mutual(Router::new()).await;
        Self {
            server,
            certificate,
            key,
            strange: (strange_certificate, strange_key),
        }
    }

    /// It opens with its certificate, and with no other and without one it does not.
    async fn opens_alone(&self, subject: &Subject, wanted: &Source) -> Vec<String> {
        let ca = ("ca.crt", self.server.ca.as_str());
        let shown = [
            ca,
            ("tls.crt", self.certificate.as_str()),
            ("tls.key", self.key.as_str()),
        ];
        let opened = subject.sources.fetch(&with(wanted.clone(), &shown)).await;
        let opened = opened.expect("it is opened");
        let strange = [
            ca,
            ("tls.crt", self.strange.0.as_str()),
            ("tls.key", self.strange.1.as_str()),
        ];
        for entries in [&[ca][..], &strange] {
            let error = subject.refusal(&with(wanted.clone(), entries)).await;
            self.is_refused_without_its_key(&error);
        }
        paths(&opened)
            .into_iter()
            .map(|path| path.to_owned())
            .collect()
    }

    fn is_refused_without_its_key(&self, error: &SourceError) {
        assert_eq!(error.reason(), "Unreachable", "{error}");
        let said = error.to_string();
        assert!(!said.contains("PRIVATE KEY"), "{said}");
    }
}

#[tokio::test]
async fn a_git_repository_opens_to_a_client_certificate() {
    let repository = Repository::new();
    let (app, _seen) = repository.app(None);
    let guarded = Guarded::serving(app).await;
    let subject = subject();
    let main = source(&guarded.server, branch("main"));
    assert!(!guarded.opens_alone(&subject, &main).await.is_empty());
    for file in super::git::walk(subject.directory.path()) {
        let contents = std::fs::read(&file).expect("readable");
        let text = String::from_utf8_lossy(&contents);
        assert!(!text.contains("PRIVATE KEY"), "{file:?} outlives a fetch");
    }
}

#[tokio::test]
async fn a_helm_repository_opens_to_a_client_certificate_which_no_other_host_sees() {
    let archive = chart("1.0.0");
    let index = "apiVersion: v1\nentries:\n  web:\n  - {name: web, version: 1.0.0, urls: [web.tgz]}\n  \
                 - {name: web, version: 2.0.0, urls: [far.tgz]}\n";
    // It demands a certificate of another authority: one that is shown to it ends the connection, as none does.
    let (far, ..) = HttpServer::mutual(Router::new()).await;
    let elsewhere = far.url("/web.tgz");
    let app = Router::new()
        .route("/index.yaml", get(move || async move { index }))
        .route("/web.tgz", get(move || async move { archive }))
        .route(
            "/far.tgz",
            get(move || async move { (StatusCode::FOUND, [("location", elsewhere)]) }),
        );
    let guarded = Guarded::serving(app).await;
    let subject = subject();
    let chart = |version: &str| Source::HelmRepository {
        url: guarded.server.url(""),
        chart: "web".to_owned(),
        version: version.to_owned(),
    };
    let files = guarded.opens_alone(&subject, &chart("1.0.0")).await;
    assert!(files.contains(&"Chart.yaml".to_owned()), "{files:?}");

    let ca = format!("{}{}", guarded.server.ca, far.ca);
    let entries = [
        ("ca.crt", ca.as_str()),
        ("tls.crt", guarded.certificate.as_str()),
        ("tls.key", guarded.key.as_str()),
    ];
    let redirected = with(chart("2.0.0"), &entries);
    let error = subject.sources.fetch(&redirected).await.expect_err("shut");
    assert!(
        error.to_string().contains("demands a client certificate"),
        "nothing was shown to the other host: {error}"
    );
}

#[tokio::test]
async fn a_registry_opens_to_a_client_certificate() {
    let layer = tar_gzip(&[("a", "text")]);
    let digest = format!("sha256:{}", super::charts::sha256(&layer));
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": digest, "size": layer.len()}],
    });
    let app = Router::new()
        .route(
            "/v2/a/b/manifests/{reference}",
            get(move || async move { axum::Json(manifest) }),
        )
        .route("/v2/a/b/blobs/{digest}", get(move || async move { layer }));
    let guarded = Guarded::serving(app).await;
    let subject = subject();
    let wanted = Source::Oci {
        url: format!("oci://localhost:{}/a/b", guarded.server.address.port()),
        reference: OciReference::Tag("1".to_owned()),
        path: String::new(),
    };
    assert_eq!(guarded.opens_alone(&subject, &wanted).await, ["a"]);
}

#[tokio::test]
async fn a_certificate_that_is_none_is_said_without_its_key() {
    let guarded = Guarded::serving(Router::new()).await;
    let subject = subject();
    let wanted = Source::HelmRepository {
        url: guarded.server.url(""),
        chart: "web".to_owned(),
        version: "1.0.0".to_owned(),
    };
    let (_, strange_key) = &guarded.strange;
    for (certificate, key) in [
        ("no certificate", "hunter2"),
        (guarded.certificate.as_str(), "hunter2"),
        (guarded.certificate.as_str(), strange_key.as_str()),
    ] {
        let entries = [("tls.crt", certificate), ("tls.key", key)];
        let error = subject.refusal(&with(wanted.clone(), &entries)).await;
        assert_eq!(error.reason(), "InvalidSource", "{error}");
        let said = error.to_string();
        assert!(
            said.contains("tls.crt") && !said.contains("hunter2"),
            "{said}"
        );
    }
}
