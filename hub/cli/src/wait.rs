//! `wait`: until something is as it should be.

use std::time::Duration;

use anyhow::bail;
use bellwether_api::{
    call::Item,
    cluster::ClusterCondition,
    status::Health,
    view::{RunPhase, RunView},
};
use futures::StreamExt as _;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    args::{Format, Global, WaitArgs},
    client::{Client, ServerEvent},
    failure::{Code, Failure},
    kind::{Kind, one_target, run_path, segment},
    output::{document, note, print},
    watch::code_of,
};

/// How long is paused before a stream that broke off is opened again.
const PAUSE: Duration = Duration::from_millis(500);

/// What an object is at one moment.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    /// The words that say how it is.
    words: Vec<String>,
    /// Set when nothing more happens to it by itself: how the command ends unless that is what was
    /// waited for.
    ended: Option<Code>,
    /// The object.
    value: Value,
}

/// Waits until an object is as one of the words says.
///
/// # Errors
/// [`Failure::Timeout`], a word that says nothing of such an object, or what the hub refused.
pub async fn wait(client: &Client, global: &Global, args: &WaitArgs) -> anyhow::Result<Code> {
    let (kind, name) = match (Kind::parse(&args.kind), &args.name) {
        // `wait shop` is `wait rollout shop`.
        (Err(_), None) if !args.kind.contains('/') => (Kind::Rollout, args.kind.clone()),
        _ => one_target(&args.kind, args.name.as_deref())?,
    };
    let wanted = wanted(kind, &args.words)?;
    let named = kind;
    // The run that what is stored now leads to is followed as its rollout is: the Application itself tells
    // the state of whatever run came last.
    let kind = match kind {
        Kind::Application if wanted.iter().all(|word| is_of_run(word)) => Kind::Rollout,
        kind => kind,
    };
    let path = match kind {
        Kind::Rollout => run_path(global, &name, "watch"),
        Kind::Application => format!(
            "/api/v1/watch?kinds=Application&namespace={}",
            segment(&global.namespace)
        ),
        _ => format!("/api/v1/watch?kinds={}", kind.word()),
    };
    if named != Kind::Rollout {
        // Who waits for what is not there is told so at once.
        let _: Item = client.get(&named.path(&global.namespace, &name)).await?;
    }
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    let mut last: Option<Seen> = None;
    loop {
        let mut stream = match client.events(&path).await {
            Ok(stream) => stream,
            // A hub that was reached once comes back.
            Err(error) if last.is_some() && !is_refusal(&error) => {
                pause(deadline, last.as_ref()).await?;
                continue;
            }
            Err(error) => return Err(error),
        };
        while let Some(Ok(event)) = next(&mut stream, deadline, last.as_ref()).await? {
            let Some(seen) = seen(kind, &name, &event)? else {
                continue;
            };
            if let Some(word) = seen.words.iter().find(|word| wanted.contains(word)) {
                told(named, &name, word, &seen, args.output)?;
                return Ok(Code::Done);
            }
            if let Some(code) = seen.ended {
                note(&format!(
                    "error: {}/{name} is {}, and nothing more happens to it by itself",
                    named.word().to_lowercase(),
                    seen.words.join(", ")
                ));
                return Ok(code);
            }
            last = Some(seen);
        }
        pause(deadline, last.as_ref()).await?;
    }
}

fn is_refusal(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<Failure>(),
        Some(Failure::Refused(problem)) if !problem.retryable
    )
}

async fn pause(deadline: Option<Instant>, last: Option<&Seen>) -> Result<(), Failure> {
    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
        return Err(late(last));
    }
    tokio::time::sleep(PAUSE).await;
    Ok(())
}

fn late(last: Option<&Seen>) -> Failure {
    let state = match last {
        Some(seen) => format!("it is {}", seen.words.join(", ")),
        None => "the hub has said nothing of it".to_owned(),
    };
    Failure::Timeout(format!("it did not come in time; {state}"))
}

type Events = futures::stream::BoxStream<'static, anyhow::Result<ServerEvent>>;

/// The next event; absent = the stream ended.
async fn next(
    stream: &mut Events,
    deadline: Option<Instant>,
    last: Option<&Seen>,
) -> anyhow::Result<Option<anyhow::Result<ServerEvent>>> {
    let Some(deadline) = deadline else {
        return Ok(stream.next().await);
    };
    match tokio::time::timeout_at(deadline, stream.next()).await {
        Ok(event) => Ok(event),
        Err(_) => bail!(late(last)),
    }
}

fn told(
    kind: Kind,
    name: &str,
    word: &str,
    seen: &Seen,
    format: Option<Format>,
) -> anyhow::Result<()> {
    match format {
        Some(format @ (Format::Json | Format::Yaml)) => document(&seen.value, format),
        _ => print(&format!("{}/{name} {word}\n", kind.word().to_lowercase())),
    }
}

const RUN_PHASES: [RunPhase; 11] = [
    RunPhase::Pending,
    RunPhase::Progressing,
    RunPhase::Soaking,
    RunPhase::WaitingApproval,
    RunPhase::Suspended,
    RunPhase::Halted,
    RunPhase::RollingBack,
    RunPhase::Succeeded,
    RunPhase::Failed,
    RunPhase::Aborted,
    RunPhase::Superseded,
];
const HEALTHS: [Health; 5] = [
    Health::Healthy,
    Health::Progressing,
    Health::Degraded,
    Health::Missing,
    Health::Unknown,
];
const CONDITIONS: [ClusterCondition; 7] = [
    ClusterCondition::Ready,
    ClusterCondition::Degraded,
    ClusterCondition::ClockSkew,
    ClusterCondition::Revoked,
    ClusterCondition::Cloned,
    ClusterCondition::Pending,
    ClusterCondition::Unknown,
];

/// Stands for every state in which a run waits for a human.
const WAITING: &str = "Waiting";

/// The words that are said of a kind.
fn vocabulary(kind: Kind) -> Result<Vec<String>, Failure> {
    fn words<T: Serialize + std::fmt::Debug>(list: &[T]) -> Vec<String> {
        list.iter().map(|one| format!("{one:?}")).collect()
    }
    match kind {
        Kind::Rollout => {
            let mut all = words(&RUN_PHASES);
            all.push(WAITING.to_owned());
            Ok(all)
        }
        Kind::Application => {
            let mut all = words(&HEALTHS);
            all.push("Draft".to_owned());
            // What both know is a health: `Progressing`.
            let of_runs = vocabulary(Kind::Rollout)?;
            let others: Vec<String> = of_runs
                .into_iter()
                .filter(|one| !all.contains(one))
                .collect();
            all.extend(others);
            Ok(all)
        }
        Kind::Cluster => Ok(words(&CONDITIONS)),
        _ => Err(Failure::Usage(
            "wait waits for an application, a rollout or a cluster".into(),
        )),
    }
}

/// Tells whether a word says how a run is, and nothing else.
fn is_of_run(word: &str) -> bool {
    let is = |phase: &RunPhase| format!("{phase:?}") == word;
    RUN_PHASES.iter().any(is) && !HEALTHS.iter().any(|health| format!("{health:?}") == word)
}

/// Reads what is waited for, in whatever case.
fn wanted(kind: Kind, words: &[String]) -> Result<Vec<String>, Failure> {
    let known = vocabulary(kind)?;
    let mut wanted = Vec::new();
    for word in words {
        let found = known.iter().find(|one| one.eq_ignore_ascii_case(word));
        match found.map(String::as_str) {
            Some(WAITING) => {
                let waiting = RUN_PHASES
                    .iter()
                    .filter(|phase| code_of(**phase) == Code::WaitsForHuman);
                wanted.extend(waiting.map(|phase| format!("{phase:?}")));
            }
            Some(word) => wanted.push(word.to_owned()),
            None => {
                return Err(Failure::Usage(format!(
                    "{word:?} is nothing that a {} is; wait --for one of {}",
                    kind.word().to_lowercase(),
                    known.join(", ")
                )));
            }
        }
    }
    let of_runs = wanted.iter().filter(|word| is_of_run(word)).count();
    if kind == Kind::Application && of_runs > 0 && of_runs < wanted.len() {
        return Err(Failure::Usage(
            "states of a run (Succeeded, Failed, Waiting, …) and the health of an application are waited \
             for by a command each"
                .into(),
        ));
    }
    Ok(wanted)
}

/// What an event says of the object; absent = nothing.
fn seen(kind: Kind, name: &str, event: &ServerEvent) -> anyhow::Result<Option<Seen>> {
    if kind == Kind::Rollout {
        if event.event != "status" {
            return Ok(None);
        }
        let view: RunView = serde_json::from_str(&event.data)?;
        return Ok(Some(Seen {
            words: vec![format!("{:?}", view.state)],
            ended: ended(view.state),
            value: serde_json::to_value(&view)?,
        }));
    }
    if !matches!(event.event.as_str(), "added" | "modified" | "deleted") {
        return Ok(None);
    }
    let item: Item = serde_json::from_str(&event.data)?;
    if item.metadata.name != name {
        return Ok(None);
    }
    if event.event == "deleted" {
        bail!("{}/{name} was deleted", kind.word().to_lowercase());
    }
    Ok(Some(of_item(kind, item)?))
}

fn of_item(kind: Kind, item: Item) -> anyhow::Result<Seen> {
    let status = item.status.clone().unwrap_or_default();
    let word = |field: &str| status[field].as_str().map(str::to_owned);
    let words: Vec<String> = match kind {
        Kind::Application => {
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let draft = conditions
                .filter_map(|one| one["type"].as_str())
                .find(|kind| *kind == "Draft");
            // Its run's state says nothing of what was applied just now; that of the rollout does.
            word("health")
                .into_iter()
                .chain(draft.map(str::to_owned))
                .collect()
        }
        _ => word("condition").into_iter().collect(),
    };
    Ok(Seen {
        words,
        ended: None,
        value: serde_json::to_value(&item)?,
    })
}

/// A run that ended otherwise will not come to it; one that waits for a human may.
fn ended(phase: RunPhase) -> Option<Code> {
    match phase {
        RunPhase::Superseded => None,
        phase if phase.is_terminal() => Some(match code_of(phase) {
            Code::Done => Code::Failed,
            other => other,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bellwether_api::view::{RunPhase, RunView};
    use serde_json::json;

    use super::{ended, is_of_run, seen, wanted};
    use crate::{client::ServerEvent, failure::Code, kind::Kind, sample::canary_under_way};

    fn words(kind: Kind, words: &[&str]) -> Result<Vec<String>, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        wanted(kind, &words).map_err(|error| error.to_string())
    }

    #[test]
    fn words_are_known_in_any_case_and_others_are_refused() {
        assert_eq!(
            words(Kind::Rollout, &["succeeded", "WAITINGAPPROVAL"]),
            Ok(vec!["Succeeded".to_owned(), "WaitingApproval".to_owned()])
        );
        assert!(words(Kind::Application, &["Healthy", "Draft"]).is_ok());
        assert!(words(Kind::Cluster, &["Ready"]).is_ok());
        let refused = words(Kind::Rollout, &["Healthy"]).expect_err("no state of a run");
        assert!(refused.contains("Succeeded"), "{refused}");
        assert!(words(Kind::Application, &["Succeeded"]).is_ok());
        assert!(words(Kind::Fleet, &["Ready"]).is_err());
    }

    #[test]
    fn an_application_is_waited_for_by_its_run_or_by_its_health() {
        let run = words(Kind::Application, &["succeeded", "failed"]).expect("states of a run");
        assert_eq!(run, ["Succeeded", "Failed"]);
        assert!(run.iter().all(|word| is_of_run(word)));
        let waiting = words(Kind::Application, &["waiting"]).expect("it waits for a human");
        assert!(
            waiting.contains(&"WaitingApproval".to_owned()),
            "{waiting:?}"
        );
        assert!(!waiting.contains(&"Progressing".to_owned()), "{waiting:?}");
        assert_eq!(words(Kind::Rollout, &["Waiting"]), Ok(waiting));
        let health = words(Kind::Application, &["progressing"]).expect("a health");
        assert!(!health.iter().any(|word| is_of_run(word)));
        let mixed = words(Kind::Application, &["Healthy", "Failed"]).expect_err("two sorts");
        assert!(mixed.contains("a command each"), "{mixed}");
    }

    #[test]
    fn a_run_that_ended_otherwise_is_no_longer_waited_for() {
        for (phase, code) in [
            (RunPhase::Failed, Some(Code::Failed)),
            (RunPhase::Aborted, Some(Code::Failed)),
            (RunPhase::Succeeded, Some(Code::Failed)),
            (RunPhase::Superseded, None),
            (RunPhase::Halted, None),
            (RunPhase::WaitingApproval, None),
            (RunPhase::Progressing, None),
        ] {
            assert_eq!(ended(phase), code, "{phase:?}");
        }
    }

    #[test]
    fn only_what_concerns_the_object_is_seen() {
        let event = |event: &str, data: serde_json::Value| ServerEvent {
            event: event.into(),
            data: data.to_string(),
            ..ServerEvent::default()
        };
        let item = |name: &str| {
            json!({"apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
                   "metadata": {"name": name}, "spec": {},
                   "status": {"state": "Succeeded", "health": "Healthy",
                              "conditions": [{"type": "Draft"}]}})
        };
        let look = |event: &ServerEvent| seen(Kind::Application, "web", event).expect("read");
        assert_eq!(look(&event("added", item("db"))), None);
        assert_eq!(look(&event("synced", json!({}))), None);
        let found = look(&event("modified", item("web"))).expect("it is seen");
        assert_eq!(found.words, ["Healthy", "Draft"]);
        assert!(seen(Kind::Application, "web", &event("deleted", item("web"))).is_err());
        let view = RunView {
            state: RunPhase::Soaking,
            ..canary_under_way()
        };
        let told = event("status", serde_json::to_value(&view).expect("JSON"));
        let found = seen(Kind::Rollout, "web", &told)
            .expect("read")
            .expect("seen");
        assert_eq!(found.words, ["Soaking"]);
    }
}
