use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bellwether_api::{
    application::{ExternalGate, Gate, MetricGate},
    prometheus_answer::Answer,
    query_freshness::{Freshness, PART, judge},
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

    /// The number that a gate's query gives, where the series that it reads are fresh: Prometheus answers for
    /// minutes with the last sample of a target that is gone.
    async fn value(&self, namespace: &str, gate: &MetricGate) -> Result<f64, String> {
        let query = gate.query.as_deref().unwrap_or_default();
        let freshness = Freshness::of(query, gate.window).map_err(|error| error.to_string())?;
        let value = async {
            let answer = self.query(namespace, gate, query).await?;
            let instant = answer.instant().map_err(|error| error.to_string())?;
            let instant = instant.ok_or("the query gives no value")?;
            Ok::<_, String>(instant.value)
        };
        let read = async {
            let Some(freshness) = &freshness else {
                return Ok(Vec::new());
            };
            let answer = self.query(namespace, gate, &freshness.query).await?;
            let values = answer.values_by(PART).map_err(|error| error.to_string())?;
            Ok::<_, String>(freshness.read(&values, None))
        };
        let (value, read) = tokio::try_join!(value, read)?;
        judge(&read)?;
        Ok(value)
    }

    async fn query(
        &self,
        namespace: &str,
        gate: &MetricGate,
        query: &str,
    ) -> Result<Answer, String> {
        let address = gate.address.as_deref().unwrap_or_default();
        let url = format!("{}/api/v1/query", address.trim_end_matches('/'));
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
        serde_json::from_slice(&body)
            .map_err(|_| format!("it answered {status} and no result of a query"))
    }
}

/// Resolves names, but for addresses of the host itself and of its link: a name must not reach what an
/// address may not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elsewhere;

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
pub(super) fn unreachable(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        "it does not answer in time".to_owned()
    } else if error.is_connect() {
        "it cannot be reached".to_owned()
    } else {
        "its answer breaks off".to_owned()
    }
}

#[cfg(test)]
#[path = "readings_tests.rs"]
mod tests;
