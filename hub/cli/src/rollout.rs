//! The verbs on a run.

use std::time::Duration;

use bellwether_api::{
    call::{ActionRequest, ActionVerb, ActionView},
    strategy::Manual,
    view::RunView,
};

use crate::{
    args::{ActionArgs, Global, RolloutCommand},
    client::Client,
    failure::{Code, Failure},
    get,
    kind::{run_name, run_path},
    output::{Screen, note, print},
    rollback,
    watch::{Follow, Until, follow},
};

/// Runs a sub-command of `rollout`.
///
/// # Errors
/// What the hub refused; a conflict where the revision is another one by now.
pub async fn run(
    client: &Client,
    global: &Global,
    command: &RolloutCommand,
) -> anyhow::Result<Code> {
    if let Some((verb, args)) = command.action() {
        let said = Said {
            verb,
            set: command.set(),
            to_revision: command.to_revision(),
        };
        return act(client, global, said, args).await;
    }
    match command {
        RolloutCommand::History { name, output } => {
            get::history(client, global, name, *output).await
        }
        RolloutCommand::Status {
            name,
            wait,
            timeout,
            output,
        } => {
            let screen = Screen::new(global);
            if *wait || timeout.is_some() {
                let how = Follow {
                    until: Until::EndedOrHuman,
                    format: *output,
                    timeout: *timeout,
                };
                return follow(client, global, &screen, name, how).await;
            }
            get::show_run(client, global, &screen, name, *output).await
        }
        _ => Err(Failure::Usage("no such sub-command".into()).into()),
    }
}

/// What is said, beside where and why.
#[derive(Clone, Copy)]
struct Said {
    verb: ActionVerb,
    set: Option<Manual>,
    to_revision: Option<u64>,
}

async fn act(
    client: &Client,
    global: &Global,
    said: Said,
    args: &ActionArgs,
) -> anyhow::Result<Code> {
    let Said {
        verb,
        set,
        to_revision,
    } = said;
    let request = ActionRequest {
        verb,
        wave: args.wave.clone(),
        cluster: args.cluster.clone(),
        step: args.step,
        expected_revision: args.revision,
        weight: set.map(|set| set.weight),
        replicas: set.and_then(|set| set.replicas),
        to_revision,
        reason: args.reason.clone(),
    };
    let action: ActionView = client
        .post(&run_path(global, &args.name, "actions"), &request)
        .await?;
    let action = answered(client, action).await?;
    if let Some(code) = refused(&action) {
        return Ok(code);
    }
    print(&format!("{}\n", line(verb, args, &action)))?;
    let (lines, code) = by_cluster(&action);
    print(&lines)?;
    if verb == ActionVerb::Rollback && action.result.is_some() {
        return rollback::follow(client, global, args, to_revision).await;
    }
    if !args.wait && args.timeout.is_none() || verb == ActionVerb::Finish {
        return Ok(code);
    }
    let until = wait_until(verb);
    let how = Follow {
        until,
        format: None,
        timeout: args.timeout,
    };
    let screen = Screen::new(global);
    let code = follow(client, global, &screen, &args.name, how).await?;
    if verb == ActionVerb::Abort {
        let view: RunView = client.get(&run_path(global, &args.name, "status")).await?;
        if view.state == bellwether_api::view::RunPhase::Aborted {
            note(&format!(
                "revision {} is marked failed and will not start again by itself",
                view.revision
            ));
            // What was asked for happened.
            return Ok(Code::Done);
        }
    }
    Ok(code)
}

/// Waits shortly for the run's answer; without one the action stands and is answered later.
async fn answered(client: &Client, action: ActionView) -> anyhow::Result<ActionView> {
    let path = format!("/api/v1/actions/{}", action.id);
    let mut action = action;
    for _ in 0..50 {
        if action.result.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        action = client.get(&path).await?;
    }
    Ok(action)
}

/// Says why an action did nothing; absent = it took effect, or is not answered yet.
fn refused(action: &ActionView) -> Option<Code> {
    let result = action.result.as_ref()?;
    let code = match result["outcome"].as_str()? {
        // A run of a cluster's own answers there.
        "Executed" | "Sent" => return None,
        "Conflict" | "Stale" => Code::Conflict,
        _ => Code::Error,
    };
    let message = result["message"].as_str().unwrap_or("the run refused it");
    note(&format!("error: {message}   (action/{})", action.id));
    Some(code)
}

/// One line a cluster, and whether one of them failed.
fn by_cluster(action: &ActionView) -> (String, Code) {
    let mut lines = String::new();
    let mut code = Code::Done;
    let clusters = action
        .result
        .as_ref()
        .and_then(|result| result["clusters"].as_array());
    for one in clusters.into_iter().flatten() {
        let text = |field: &str| one[field].as_str().unwrap_or_default();
        let done = text("outcome") == "Executed";
        if !done {
            code = Code::Error;
        }
        lines.push_str(&format!(
            "  cluster/{}  {}{}\n",
            text("cluster"),
            if done { "" } else { "error: " },
            text("message")
        ));
    }
    (lines, code)
}

/// Suspending is done once it waits; everything else goes on from where it stood.
const fn wait_until(verb: ActionVerb) -> Until {
    match verb {
        ActionVerb::Suspend => Until::EndedOrHuman,
        _ => Until::Ended,
    }
}

fn line(verb: ActionVerb, args: &ActionArgs, action: &ActionView) -> String {
    let done = match verb {
        ActionVerb::Approve => "approved",
        ActionVerb::Promote => "promoted",
        ActionVerb::Suspend => "suspended",
        ActionVerb::Resume => "resumed",
        ActionVerb::Skip => "skipped",
        ActionVerb::Abort => "aborted",
        ActionVerb::Retry => "retried",
        ActionVerb::SetWeight => "weight set",
        ActionVerb::Rollback => "rolled back",
        ActionVerb::Finish => "finished",
    };
    let mut place = String::new();
    if let Some(wave) = &args.wave {
        place.push_str(&format!("  wave {wave}"));
    }
    if let Some(cluster) = &args.cluster {
        place.push_str(&format!("  cluster {cluster}"));
    }
    let answer = match action
        .result
        .as_ref()
        .and_then(|result| result["message"].as_str())
    {
        Some(message) if !message.is_empty() => format!("  {message}"),
        Some(_) => String::new(),
        None => "  (not answered yet)".to_owned(),
    };
    format!(
        "rollout/{} {done}{place}  revision {}{answer}  (action/{})",
        run_name(&args.name),
        action.revision,
        action.id
    )
}

#[cfg(test)]
mod tests {
    use bellwether_api::call::ActionView;
    use serde_json::json;

    use super::by_cluster;
    use crate::failure::Code;

    fn answered(clusters: serde_json::Value) -> ActionView {
        serde_json::from_value(json!({
            "id": uuid::Uuid::nil(), "run": uuid::Uuid::nil(), "revision": 3, "type": "suspend",
            "by": "ana", "createdAt": "2026-01-01T00:00:00Z",
            "result": {"outcome": "Executed", "message": "", "clusters": clusters},
        }))
        .expect("an action")
    }

    #[test]
    fn every_cluster_has_a_line_and_one_that_failed_fails_the_command() {
        let line = |name: &str, outcome: &str, message: &str| json!({"cluster": name, "outcome": outcome, "message": message});
        let (lines, code) = by_cluster(&answered(json!([
            line("c1", "Executed", "suspended: its weight stays"),
            line("c2", "Executed", "does not start"),
        ])));
        assert_eq!(
            lines,
            "  cluster/c1  suspended: its weight stays\n  cluster/c2  does not start\n"
        );
        assert_eq!(code, Code::Done);
        let (lines, code) = by_cluster(&answered(json!([line(
            "c1",
            "Refused",
            "its queue is full"
        )])));
        assert_eq!(lines, "  cluster/c1  error: its queue is full\n");
        assert_eq!(code, Code::Error);
        assert_eq!(
            by_cluster(&answered(json!([]))),
            (String::new(), Code::Done)
        );
    }
}
