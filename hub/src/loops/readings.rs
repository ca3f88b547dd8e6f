use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bellwether_api::{
    application::{ExternalGate, Gate, MetricGate},
    secret::HubSecretKeyRef,
    validate::is_own,
};
use bellwether_hub_core::run::{AskedGate, Reading, ReadingOutcome};
use bellwether_store::Store;
use http::{HeaderValue, header::AUTHORIZATION};
use jiff::{SignedDuration, Timestamp};
use reqwest::{
    Client, RequestBuilder,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use serde::Deserialize;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{clock::Clock, secrets};

/// How often a gate that waits is asked.
const ASK_EVERY: SignedDuration = SignedDuration::from_secs(10);
/// What nobody waits for any more is forgotten after this.
const FORGET_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// Gates that are asked at the same time, of all applications.
const AT_ONCE: usize = 16;
/// How long a query may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Asks the gates that need somebody else's answer, beside the loop: no decision waits for one.
pub(super) struct Readings {
    slots: Mutex<BTreeMap<Key, Slot>>,
    permits: Arc<Semaphore>,
    client: Client,
    clock: Clock,
    /// Where secrets are; absent = there are none.
    store: Option<Store>,
}

/// Run, wave, whether after it, and number of a gate.
type Key = (Uuid, usize, bool, usize);

#[derive(Debug)]
struct Slot {
    asked_at: Timestamp,
    wanted_at: Timestamp,
    reading: Option<Reading>,
}

impl Readings {
    pub fn new(clock: Clock, store: Option<Store>) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .dns_resolver(Arc::new(Elsewhere))
            .build()?;
        Ok(Self {
            slots: Mutex::default(),
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            client,
            clock,
            store,
        })
    }

    /// Returns what was answered last to the gates that a run waits for, and has those asked again
    /// whose answer is old. Their secrets are those of `namespace`.
    pub fn of(
        self: &Arc<Self>,
        run: Uuid,
        namespace: &str,
        asked: &[AskedGate<'_>],
    ) -> Vec<Reading> {
        let now = self.clock.now();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| now.duration_since(slot.wanted_at) < FORGET_AFTER);
        let mut readings = Vec::new();
        for gate in asked {
            let key = (run, gate.wave, gate.after, gate.index);
            let old = Slot {
                asked_at: Timestamp::MIN,
                wanted_at: now,
                reading: None,
            };
            let slot = slots.entry(key).or_insert(old);
            slot.wanted_at = now;
            readings.extend(slot.reading.clone());
            if now.duration_since(slot.asked_at) >= ASK_EVERY {
                slot.asked_at = now;
                let (this, gate) = (Arc::clone(self), gate.gate.clone());
                let namespace = namespace.to_owned();
                tokio::spawn(async move { this.ask(key, &namespace, &gate).await });
            }
        }
        readings
    }

    async fn ask(&self, key: Key, namespace: &str, gate: &Gate) {
        let Ok(_permit) = self.permits.acquire().await else {
            return;
        };
        let outcome = match (&gate.metric, &gate.external) {
            (Some(metric), _) => self.measure(namespace, metric).await,
            (None, Some(external)) => self.call(namespace, external).await,
            (None, None) => return,
        };
        let (_, wave, after, index) = key;
        let reading = Reading {
            wave,
            after,
            index,
            at: self.clock.now(),
            outcome,
        };
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get_mut(&key) {
            slot.reading = Some(reading);
        }
    }

    /// Puts the token into a request that a gate names; no answer without.
    async fn authorised(
        &self,
        request: RequestBuilder,
        namespace: &str,
        secret: Option<&HubSecretKeyRef>,
    ) -> Result<RequestBuilder, String> {
        let Some(secret) = secret else {
            return Ok(request);
        };
        let store = self.store.as_ref().ok_or("there are no secrets here")?;
        let token = secrets::token(store, namespace, secret)
            .await
            .map_err(|error| error.said())?;
        let mut header = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|_| "the token cannot be sent".to_owned())?;
        header.set_sensitive(true);
        Ok(request.header(AUTHORIZATION, header))
    }

    async fn call(&self, namespace: &str, gate: &ExternalGate) -> ReadingOutcome {
        let request = self.client.get(&gate.url).timeout(gate.timeout.as_std());
        let secret = gate.secret_ref.as_ref();
        let request = match self.authorised(request, namespace, secret).await {
            Ok(request) => request,
            Err(why) => return ReadingOutcome::Unknown { why },
        };
        match request.send().await {
            Ok(answer) if matches!(answer.status().as_u16(), 200..=202) => ReadingOutcome::Passed {
                value: answer.status().as_u16().to_string(),
            },
            Ok(answer) => ReadingOutcome::Failed {
                why: format!("it answered {}", answer.status().as_u16()),
            },
            Err(error) => ReadingOutcome::Unknown {
                why: unreachable(&error),
            },
        }
    }

    async fn measure(&self, namespace: &str, gate: &MetricGate) -> ReadingOutcome {
        match self.value(namespace, gate).await {
            Ok(value) if !value.is_finite() => ReadingOutcome::Unknown {
                why: format!("the query gives {value}"),
            },
            Ok(value) => {
                let (min, max) = (gate.range.min.as_ref(), gate.range.max.as_ref());
                let within = min.is_none_or(|min| value >= min.value())
                    && max.is_none_or(|max| value <= max.value());
                if within {
                    ReadingOutcome::Passed {
                        value: value.to_string(),
                    }
                } else {
                    ReadingOutcome::Failed {
                        why: format!("it is {value}"),
                    }
                }
            }
            Err(why) => ReadingOutcome::Unknown { why },
        }
    }

    async fn value(&self, namespace: &str, gate: &MetricGate) -> Result<f64, String> {
        let address = gate.address.as_deref().unwrap_or_default();
        let url = format!("{}/api/v1/query", address.trim_end_matches('/'));
        let query = gate.query.as_deref().unwrap_or_default();
        let request = self
            .client
            .post(url)
            .timeout(QUERY_TIMEOUT)
            .form(&[("query", query)]);
        let secret = gate.secret_ref.as_ref();
        let request = self.authorised(request, namespace, secret).await?;
        let mut answer = request.send().await.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|error| unreachable(&error))? {
            if body.len() + part.len() > MAX_ANSWER_BYTES {
                return Err("its answer is too long".to_owned());
            }
            body.extend_from_slice(&part);
        }
        let parsed: Answer = serde_json::from_slice(&body)
            .map_err(|_| format!("it answered {status} and no result of a query"))?;
        parsed.value()
    }
}

/// Resolves names, but for addresses of the host itself and of its link: a name must not reach what an
/// address may not.
#[derive(Clone, Copy, Debug)]
struct Elsewhere;

impl Resolve for Elsewhere {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let elsewhere: Vec<SocketAddr> = found.filter(|at| !is_own(at.ip())).collect();
            Ok(Box::new(elsewhere.into_iter()) as Addrs)
        })
    }
}

/// Says that there was no answer, without the address: it may hold a password.
fn unreachable(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        "it does not answer in time".to_owned()
    } else if error.is_connect() {
        "it cannot be reached".to_owned()
    } else {
        "its answer breaks off".to_owned()
    }
}

/// What Prometheus answers to an instant query.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Series>),
    Scalar((f64, String)),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Series {
    value: (f64, String),
}

impl Answer {
    fn value(self) -> Result<f64, String> {
        let text = match self.data {
            Some(Data::Scalar((_, text))) => text,
            Some(Data::Vector(mut series)) if series.len() == 1 => series.remove(0).value.1,
            Some(Data::Vector(series)) if series.is_empty() => {
                return Err("the query gives no value".to_owned());
            }
            Some(Data::Vector(series)) => {
                return Err(format!("the query gives {} values, not one", series.len()));
            }
            Some(Data::Matrix(_) | Data::String(_)) => {
                return Err("the query gives no instant value".to_owned());
            }
            None => return Err(format!("the query is refused: {}", self.error)),
        };
        text.parse().map_err(|_| format!("{text:?} is no number"))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use axum::{
        Router,
        http::{HeaderMap, HeaderValue, StatusCode, header::AUTHORIZATION},
        routing::any,
    };
    use bellwether_api::reference::NamespacedName;
    use bellwether_hub_core::run::{AskedGate, Reading, ReadingOutcome};
    use bellwether_store::{
        Store,
        secrets::{SecretValue, set},
    };
    use serde_json::json;
    use uuid::Uuid;

    use super::Readings;
    use crate::clock::{Clock, wall};

    /// A server that answers this to everything; gives its address.
    async fn server(status: u16, body: &'static str) -> String {
        let status = StatusCode::from_u16(status).expect("a status");
        let router = Router::new().fallback(any(move || async move { (status, body) }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    async fn answered(gate: serde_json::Value) -> ReadingOutcome {
        answered_with(gate, None).await
    }

    async fn answered_with(gate: serde_json::Value, store: Option<Store>) -> ReadingOutcome {
        // As the hub does when it starts; the second to do so changes nothing.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let gate = serde_json::from_value(gate).expect("a gate");
        let readings = Arc::new(Readings::new(Clock::begin(wall()), store).expect("a client"));
        let asked = [AskedGate {
            wave: 1,
            after: true,
            index: 0,
            gate: &gate,
        }];
        let run = Uuid::from_u128(7);
        assert_eq!(
            readings.of(run, "default", &asked),
            [],
            "nothing was answered yet"
        );
        loop {
            if let Some(Reading {
                wave,
                after,
                index,
                outcome,
                ..
            }) = readings.of(run, "default", &asked).into_iter().next()
            {
                assert_eq!((wave, after, index), (1, true, 0));
                return outcome;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn an_address_answers_by_its_status() {
        for (status, passes) in [
            (200, true),
            (202, true),
            (204, false),
            (302, false),
            (500, false),
        ] {
            let url = server(status, "").await;
            let outcome = answered(json!({"external": {"url": url}})).await;
            let passed = matches!(outcome, ReadingOutcome::Passed { .. });
            assert_eq!(passed, passes, "{status}: {outcome:?}");
            assert_eq!(passes, !matches!(outcome, ReadingOutcome::Failed { .. }));
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_says_nothing() {
        let outcome =
            answered(json!({"external": {"url": "http://127.0.0.1:1/secret?token=x"}})).await;
        let ReadingOutcome::Unknown { why } = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(why, "it cannot be reached");
        // A name of the host itself is none.
        let outcome = answered(json!({"external": {"url": "http://localhost:1"}})).await;
        assert!(
            matches!(outcome, ReadingOutcome::Unknown { .. }),
            "{outcome:?}"
        );
    }

    /// A server that answers to this token alone.
    async fn private_server(body: &'static str) -> String {
        let answer = move |headers: HeaderMap| async move {
            let sent = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
            if sent == Some(b"Bearer hunter2") {
                (StatusCode::OK, body)
            } else {
                (StatusCode::UNAUTHORIZED, "hunter2 is what you did not send")
            }
        };
        let router = Router::new().fallback(any(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn a_token_of_the_hub_is_sent_and_a_missing_one_opens_nothing() {
        let store = bellwether_store::testing::store().await;
        let name = NamespacedName {
            namespace: "default".to_owned(),
            name: "ask".to_owned(),
        };
        let entries = [("token", "hunter2\n"), ("other", "hunter3")]
            .map(|(key, value)| (key.to_owned(), SecretValue::new(value.into())));
        let mut tx = store.begin().await.expect("a transaction");
        set(&mut tx, &name, &entries.into(), "ana", wall())
            .await
            .expect("a secret");
        tx.commit().await.expect("a commit");

        let body =
            r#"{"status": "success", "data": {"resultType": "scalar", "result": [1, "99"]}}"#;
        let url = private_server(body).await;
        let external =
            |secret: serde_json::Value| json!({"external": {"url": url, "secretRef": secret}});
        let metric = json!({"metric": {"address": url, "query": "up", "range": {"min": "99"},
            "secretRef": {"name": "ask"}}});
        for (gate, expected, said) in [
            (external(json!({"name": "ask"})), "Passed", ""),
            (metric, "Passed", ""),
            (
                external(json!({"name": "ask", "key": "other"})),
                "Failed",
                "401",
            ),
            (
                external(json!({"name": "aks"})),
                "Unknown",
                "SecretNotFound",
            ),
            (
                external(json!({"name": "ask", "key": "tokne"})),
                "Unknown",
                "has no key",
            ),
        ] {
            let outcome = format!(
                "{:?}",
                answered_with(gate.clone(), Some(store.clone())).await
            );
            assert!(
                outcome.starts_with(expected) && outcome.contains(said),
                "{gate}: {outcome}"
            );
            assert!(!outcome.contains("hunter"), "{outcome}");
        }
    }

    #[tokio::test]
    async fn only_one_number_within_the_limits_opens() {
        let vector = |values: &str| -> &'static str {
            let series: Vec<String> = values
                .split_whitespace()
                .map(|value| format!(r#"{{"metric": {{}}, "value": [1, "{value}"]}}"#))
                .collect();
            format!(
                r#"{{"status": "success", "data": {{"resultType": "vector", "result": [{}]}}}}"#,
                series.join(",")
            )
            .leak()
        };
        for (body, expected) in [
            (vector("99.5"), "Passed"),
            (vector("98"), "Failed"),
            (vector(""), "Unknown"),
            (vector("99.5 99.6"), "Unknown"),
            (vector("NaN"), "Unknown"),
            (vector("+Inf"), "Unknown"),
            (
                r#"{"status": "success", "data": {"resultType": "scalar", "result": [1, "99"]}}"#,
                "Passed",
            ),
            (r#"{"status": "error", "error": "parse error"}"#, "Unknown"),
            ("<html>", "Unknown"),
        ] {
            let address = server(200, body).await;
            let gate =
                json!({"metric": {"address": address, "query": "up", "range": {"min": "99"}}});
            let outcome = answered(gate).await;
            assert!(
                format!("{outcome:?}").starts_with(expected),
                "{body}: {outcome:?}"
            );
        }
    }
}
