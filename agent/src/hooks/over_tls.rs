//! Hooks and their loads over TLS, as a run asks for them: by the name of a Secret.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bellwether_agent_core::hooks::{HookOutcome, HookScene};
use bellwether_api::{hooks::Hook, status::Phase};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{
    HookCaller, LoadTarget,
    double::{Authority, Double},
};
use crate::metrics::{SecretError, SecretReader};

/// The key `ca.crt` of Secrets in the namespace `shop`, by their name.
struct Secrets(BTreeMap<&'static str, String>);

impl SecretReader for Secrets {
    fn read<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, SecretError>> {
        let found = self.0.get(name).filter(|_| namespace == "shop");
        let found = found.map(|pem| [("ca.crt".to_owned(), pem.clone().into_bytes())].into());
        let missing = SecretError::Missing {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        Box::pin(async move { found.ok_or(missing) })
    }
}

/// Trusts `own` by the Secret of that name; there are two others.
fn caller(own: &Authority) -> HookCaller {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let caller = HookCaller::new(Arc::new(Secrets(
        [
            ("own", own.pem().to_owned()),
            ("other", Authority::new().pem().to_owned()),
            ("broken", "no certificate".to_owned()),
        ]
        .into(),
    )));
    caller.cluster_name().send_replace(Some("eu-1".to_owned()));
    caller
}

fn hook(fields: Value, secret: Option<&str>) -> Hook {
    let mut all = json!({"name": "h", "timeout": "5s"});
    for (key, value) in fields.as_object().expect("fields") {
        all[key] = value.clone();
    }
    if let Some(secret) = secret {
        all["caSecretRef"] = json!({"name": secret, "key": "ca.crt"});
    }
    serde_json::from_value(all).expect("a hook")
}

/// Why a hook failed; absent = it passed.
async fn failure(caller: &HookCaller, double: &Double, secret: Option<&str>) -> Option<String> {
    let scene = HookScene {
        name: "web".into(),
        namespace: "shop".into(),
        phase: Phase::Progressing,
        checksum: String::new(),
        cluster: String::new(),
        application: "default/shop".into(),
        revision: 1,
    };
    let url = format!("https://{}/gate", double.address);
    match caller
        .call(&hook(json!({"url": url}), secret), scene, None)
        .await
    {
        HookOutcome::Passed => None,
        HookOutcome::Failed { why } => Some(why),
    }
}

#[tokio::test]
async fn a_hook_over_tls_passes_with_the_authority_of_its_secret_and_no_other() {
    let authority = Authority::new();
    let double = Double::over_tls(authority.server("127.0.0.1", &[])).await;
    let caller = caller(&authority);
    for secret in [None, Some("other"), Some("broken"), Some("none")] {
        let why = failure(&caller, &double, secret).await;
        assert!(why.is_some(), "it passed with {secret:?}");
    }
    assert_eq!(double.seen(), [], "nothing is posted before it is verified");
    assert_eq!(failure(&caller, &double, Some("own")).await, None);
    assert_eq!(double.seen().len(), 1);
}

#[tokio::test]
async fn a_hook_fails_with_a_certificate_that_has_expired_or_is_for_another_name_and_says_so() {
    let authority = Authority::new();
    let caller = caller(&authority);
    let expired = Double::over_tls(authority.expired_server("127.0.0.1")).await;
    let why = failure(&caller, &expired, Some("own")).await;
    let why = why.expect("it has expired");
    assert!(why.contains("certificate expired"), "{why}");
    let other = Double::over_tls(authority.server("tester.example", &[])).await;
    let why = failure(&caller, &other, Some("own")).await;
    let why = why.expect("it is for another name");
    assert!(why.contains("not valid for name"), "{why}");
    assert_eq!((expired.seen(), other.seen()), (vec![], vec![]));
}

/// What the load of a hook with this Secret has said, once it has been answered or said something.
async fn said(caller: &HookCaller, double: &Double, secret: Option<&str>) -> Vec<String> {
    let hook = hook(json!({"load": {"rate": 100}}), secret);
    let target = LoadTarget {
        url: format!("https://{}/cart?token=s3cret", double.address),
        timeout: Duration::from_secs(5),
        lasts: None,
    };
    let said = Arc::<Mutex<Vec<String>>>::default();
    let heard = Arc::clone(&said);
    let tell = move |why: &str| {
        heard
            .lock()
            .expect("no test panics here")
            .push(why.to_owned())
    };
    let load = hook.load().expect("a load");
    let generator = caller.load(&hook, load, target, "shop", tell);
    let so_far = || said.lock().expect("no test panics here").clone();
    while generator.counted().0 == 0 && so_far().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    so_far()
}

#[tokio::test]
async fn a_load_over_tls_arrives_with_the_authority_of_its_secret_and_no_other() {
    let authority = Authority::new();
    let double = Double::over_tls(authority.server("127.0.0.1", &["h2", "http/1.1"])).await;
    let caller = caller(&authority);
    for (secret, why) in [
        (
            Some("other"),
            "failed to agree on TLS with 127.0.0.1: its certificate is refused: nobody who is \
             trusted has signed it",
        ),
        (
            Some("broken"),
            "failed to trust anybody: caSecretRef holds no certificates as PEM",
        ),
        (
            Some("none"),
            "failed to read Secret shop/none: there is none",
        ),
    ] {
        assert_eq!(said(&caller, &double, secret).await, [why]);
    }
    // Whoever the machine trusts, it is not this one.
    assert_eq!(said(&caller, &double, None).await.len(), 1);
    assert_eq!(double.seen(), [], "nothing is sent before it is verified");
    assert_eq!(said(&caller, &double, Some("own")).await, [""; 0]);
    assert_eq!(double.seen()[0].path, "/cart");
}
