//! Calls hooks: one POST each, bounded in time, never redirected.

mod caller;
#[cfg(test)]
mod double;
mod load;
#[cfg(test)]
mod over_tls;

use std::{fmt, time::Duration};

use bellwether_agent_core::hooks::{HookOutcome, outcome, signature};
use bellwether_api::hooks::Hook;

pub use caller::HookCaller;
pub use load::{LoadGenerator, LoadTarget};

use crate::{clock::wall, desired::chain};

/// The header that carries the signature of a body.
const SIGNATURE_HEADER: &str = "bellwether-signature";

/// What goes with the calls of one hook. Its debug form shows nothing.
#[derive(Clone, Default)]
pub struct HookSecrets {
    /// The key that signs bodies; absent = they are not signed.
    pub signing_key: Option<Vec<u8>>,
    /// The bearer token; absent = none.
    pub token: Option<String>,
    /// The authorities that alone are trusted, as PEM; absent = those of the system.
    pub authorities: Option<Vec<u8>>,
}

impl fmt::Debug for HookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookSecrets(<redacted>)")
    }
}

/// Calls a hook and, where it fails, calls it again as often as it says. It always answers: what
/// went wrong stands in the outcome, without a word of what was sent.
pub async fn call(hook: &Hook, body: &[u8], secrets: &HookSecrets) -> HookOutcome {
    let client = match client(hook, secrets) {
        Ok(client) => client,
        Err(error) => return outcome(None, &format!("TLS cannot be set up: {}", chain(&error))),
    };
    let mut last = once(&client, hook, body, secrets).await;
    for _ in 0..hook.retries {
        if last == HookOutcome::Passed {
            break;
        }
        last = once(&client, hook, body, secrets).await;
    }
    last
}

fn client(hook: &Hook, secrets: &HookSecrets) -> Result<reqwest::Client, reqwest::Error> {
    let timeout = Duration::from_millis(hook.timeout.as_millis().unsigned_abs());
    let authorities = secrets
        .authorities
        .as_deref()
        .map(reqwest::Certificate::from_pem_bundle)
        .transpose()?;
    let builder = || {
        let builder = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .no_proxy();
        match &authorities {
            Some(authorities) => builder.tls_certs_only(authorities.clone()),
            None => builder,
        }
    };
    crate::metrics::http_client(builder)
}

async fn once(
    client: &reqwest::Client,
    hook: &Hook,
    body: &[u8],
    secrets: &HookSecrets,
) -> HookOutcome {
    let Some(url) = &hook.url else {
        return outcome(None, "it has no URL");
    };
    let mut request = client
        .post(url)
        .header("content-type", "application/json")
        .body(body.to_vec());
    if let Some(token) = &secrets.token {
        request = request.bearer_auth(token);
    }
    if let Some(key) = &secrets.signing_key {
        request = request.header(SIGNATURE_HEADER, signature(key, wall(), body));
    }
    match request.send().await {
        // The status says all; the body is not read, however long it is.
        Ok(response) => outcome(Some(response.status().as_u16()), ""),
        Err(error) if error.is_timeout() => {
            outcome(None, &format!("it did not answer in {}", hook.timeout))
        }
        Err(error) => outcome(None, &chain(&error.without_url())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A receiver that answers by the number of the call, and remembers what it was told; `None` =
    /// it never answers.
    async fn receiver(
        answer: impl Fn(usize) -> Option<u16> + Send + Sync + 'static,
    ) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!(
            "http://{}/hook",
            listener.local_addr().expect("it is bound")
        );
        let told = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&told);
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut text = String::new();
                let mut chunk = [0; 4096];
                while !text.ends_with('}') {
                    let Ok(read @ 1..) = stream.read(&mut chunk).await else {
                        break;
                    };
                    text.push_str(&String::from_utf8_lossy(&chunk[..read]));
                }
                let call = {
                    let mut seen = seen.lock().expect("no test panics here");
                    seen.push(text);
                    seen.len()
                };
                match answer(call) {
                    Some(status) => {
                        let head = format!(
                            "HTTP/1.1 {status} -\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                        );
                        let _ = stream.write_all(head.as_bytes()).await;
                    }
                    None => held.push(stream),
                }
            }
        });
        (url, told)
    }

    fn hook(url: &str, more: Value) -> Hook {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut fields = json!({"name": "h", "url": url, "timeout": "5s"});
        for (key, value) in more.as_object().expect("fields") {
            fields[key] = value.clone();
        }
        serde_json::from_value(fields).expect("a hook")
    }

    #[tokio::test]
    async fn the_body_is_posted_signed_and_with_the_token() {
        let (url, told) = receiver(|_| Some(202)).await;
        let secrets = HookSecrets {
            signing_key: Some(b"key".to_vec()),
            token: Some("s3cret".into()),
            authorities: None,
        };
        let outcome = call(&hook(&url, json!({})), b"{\"a\":1}", &secrets).await;
        assert_eq!(outcome, HookOutcome::Passed);
        let told = told.lock().expect("no test panics here")[0].clone();
        assert!(told.starts_with("POST /hook HTTP/1.1\r\n"), "{told}");
        assert!(told.ends_with("\r\n\r\n{\"a\":1}"), "{told}");
        assert!(told.contains("authorization: Bearer s3cret\r\n"), "{told}");
        let header = told
            .lines()
            .find_map(|line| line.strip_prefix("bellwether-signature: "))
            .expect("a signature");
        let seconds = header
            .strip_prefix("t=")
            .and_then(|rest| rest.split(',').next()?.parse().ok())
            .expect("a time");
        let at = jiff::Timestamp::from_second(seconds).expect("a time");
        assert_eq!(header, signature(b"key", at, b"{\"a\":1}"));
        assert!(!format!("{secrets:?}").contains("s3cret"));
    }

    #[tokio::test]
    async fn a_failed_call_is_repeated_as_often_as_the_hook_says() {
        let (url, told) = receiver(|call| Some(if call < 3 { 500 } else { 200 })).await;
        let secrets = HookSecrets::default();
        let outcome = call(&hook(&url, json!({"retries": 1})), b"{}", &secrets).await;
        assert_eq!(
            outcome,
            HookOutcome::Failed {
                why: "it answered 500".into()
            }
        );
        assert_eq!(told.lock().expect("no test panics here").len(), 2);
        let outcome = call(&hook(&url, json!({"retries": 5})), b"{}", &secrets).await;
        assert_eq!(outcome, HookOutcome::Passed);
        assert_eq!(
            told.lock().expect("no test panics here").len(),
            3,
            "no call after a pass"
        );
    }

    #[tokio::test]
    async fn a_hook_that_hangs_redirects_or_is_away_has_failed() {
        let secrets = HookSecrets::default();
        let failed = async |hook: Hook| match call(&hook, b"{}", &secrets).await {
            HookOutcome::Failed { why } => why,
            HookOutcome::Passed => panic!("it passed"),
        };
        let (hangs, _) = receiver(|_| None).await;
        let why = failed(hook(&hangs, json!({"timeout": "200ms"}))).await;
        assert_eq!(why, "it did not answer in 200ms");
        let (redirects, _) = receiver(|_| Some(307)).await;
        let why = failed(hook(&redirects, json!({}))).await;
        assert_eq!(why, "it answered 307, and redirects are not followed");
        let why = failed(hook("http://127.0.0.1:1/?token=s3cret", json!({}))).await;
        assert!(!why.contains("s3cret"), "{why}");
    }
}
