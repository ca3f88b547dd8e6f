use bellwether_api::rollout::RolloutSpec;

use super::*;
use crate::metrics::{SecretError, SecretReader};

fn silence(reason: &'static str, message: &str) -> Option<Silence> {
    Some(Silence {
        reason,
        message: message.to_owned(),
    })
}

#[test]
fn a_unit_that_names_nothing_any_more_is_forgotten() {
    let plan = plan_at("http://127.0.0.1:1");
    let sources = OwnSources::default();
    let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(|| {});
    let found = OwnSource::of_plan("web", &plan, "shop");
    sources.name("unit", found, Arc::clone(&wake));
    assert_eq!(sources.named.borrow().len(), 1);
    sources.name("unit", Vec::new(), wake);
    assert_eq!(sources.named.borrow().len(), 0);
}

struct NoSecrets;

impl SecretReader for NoSecrets {
    fn read<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, SecretError>> {
        let missing = SecretError::Missing {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        Box::pin(async move { Err(missing) })
    }
}

fn plan_at(address: &str) -> RolloutSpec {
    let plan = serde_json::json!({
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "strategy": {"canary": {"weights": [50]}},
        "analysis": {"metrics": [{"name": "queue", "query": "max(queue)", "range": {"max": "1"},
            "source": {"type": "Prometheus", "address": address}}]},
    });
    serde_json::from_value(plan).expect("a plan")
}

/// The first unit's source takes connections and says nothing; nobody is where the second one's is.
#[tokio::test]
async fn a_source_that_is_slow_keeps_no_other_answer_back() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let slow = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let at = slow.local_addr().expect("an address");
    let sources = OwnSources::default();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    for (unit, address) in [
        ("a-slow", format!("http://{at}")),
        ("b-away", "http://127.0.0.1:1".to_owned()),
    ] {
        let told = told.clone();
        let wake = Arc::new(move || told.send(unit).expect("somebody listens"));
        let found = OwnSource::of_plan("web", &plan_at(&address), "shop");
        sources.name(unit, found, wake);
    }
    let clock = crate::clock::Clock::begin(None);
    let meter = Meter::new(Arc::new(NoSecrets), "bellwether", clock).expect("a meter");
    let first = tokio::select! {
        () = sources.run(meter) => None,
        first = heard.recv() => first,
    };
    assert_eq!(first, Some("b-away"));
    assert_eq!(sources.silent("b-away").len(), 1);
    assert_eq!(sources.silent("a-slow"), [""; 0], "it may still answer");
}

#[tokio::test(start_paused = true)]
async fn no_more_are_asked_at_once_than_may_be_and_whoever_was_never_asked_is_first() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let clock = crate::clock::Clock::begin(None);
    let meter = Meter::new(Arc::new(NoSecrets), "bellwether", clock).expect("a meter");
    let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(|| {});
    let of = |port: usize| {
        let address = format!("http://127.0.0.1:{port}");
        OwnSource::of_plan("web", &plan_at(&address), "shop")
    };
    let mut named = BTreeMap::new();
    let sources: Vec<OwnSource> = (1..=MAX_AT_ONCE).flat_map(of).collect();
    let known: Vec<String> = sources.iter().map(OwnSource::key).collect();
    named.insert(
        "old".to_owned(),
        Named {
            sources,
            wake: Arc::clone(&wake),
        },
    );
    let mut asking = Asking::default();
    asking.aim(named.clone());
    assert_eq!(asking.ask(&meter), None);
    assert_eq!(asking.asked.len(), MAX_AT_ONCE);
    for key in known {
        assert!(asking.hear((key, None)));
    }
    let again = Instant::now() + EVERY;
    assert_eq!(asking.ask(&meter), Some(again));
    tokio::time::advance(EVERY).await;
    let sources: Vec<OwnSource> = of(9_999);
    let new = sources[0].key();
    named.insert("new".to_owned(), Named { sources, wake });
    asking.aim(named);
    assert_eq!(asking.ask(&meter), None);
    assert_eq!(asking.asked.len(), MAX_AT_ONCE);
    assert!(asking.asked.contains(&new));
}

#[tokio::test(start_paused = true)]
async fn one_slow_answer_is_no_news_and_the_same_silence_is_told_once() {
    use MetricSourceKind::{Datadog, Prometheus};
    let now = Instant::now();
    let good = Known::after(None, None, Prometheus, now);
    assert_eq!(
        (&good.state, good.due),
        (&State::Answers, Some(now + EVERY))
    );
    let doubted = Known::after(Some(&good), silence("Unreachable", "a"), Prometheus, now);
    assert_eq!(
        (&doubted.state, doubted.due),
        (&State::Doubted, Some(now + DOUBT))
    );
    let silent = Known::after(Some(&doubted), silence("Unreachable", "b"), Prometheus, now);
    assert_eq!(silent.due, Some(now + EVERY_WHILE_SILENT));
    let same = Known::after(Some(&silent), silence("Unreachable", "c"), Prometheus, now);
    assert_eq!(same.state, silent.state, "other words of the same");
    let other = Known::after(Some(&silent), silence("Unauthorized", "d"), Prometheus, now);
    assert_ne!(other.state, silent.state);
    assert_eq!(
        Known::after(Some(&silent), None, Prometheus, now).state,
        State::Answers
    );
    // Whoever was never heard is told of at once.
    let first = Known::after(None, silence("Unreachable", "a"), Prometheus, now);
    assert!(matches!(first.state, State::Silent(_)));

    let counted = Known::after(None, None, Datadog, now);
    assert_eq!(
        counted.due, None,
        "nobody is asked by the minute who counts"
    );
    let silent = Known::after(None, silence("Unauthorized", "a"), Datadog, now);
    assert_eq!(silent.due, Some(now + EVERY_WHILE_SILENT_COUNTED));
}
