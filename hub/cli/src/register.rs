//! `register cluster` and `unregister cluster`: the agent in a member cluster, with the user's own
//! rights there. The hub never sees the kubeconfig.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use bellwether_api::{
    call::{Item, JoinMaterial, JoinTokenRequest},
    reference::NamespacedName,
};
use http::Method;
use jiff::{SignedDuration, Timestamp};

use crate::{
    args::RegisterArgs,
    client::{Body, Client},
    failure::{Code, Failure},
    kind::Kind,
    output::{note, print, yaml},
};

mod impersonation;
pub mod install;
mod manifests;
pub mod member;
mod metrics;
mod preflight;
mod remove;
mod rights;

use manifests::{Agent, objects};

/// The agent's namespace in a member cluster.
pub const NAMESPACE: &str = "bellwether-system";
/// The agent's Deployment and ServiceAccount, and its webhook's configuration.
pub const AGENT: &str = "bellwether-agent";
/// The Service by which the API server reaches the agent.
const WEBHOOK_SERVICE: &str = "bellwether-agent-webhook";

/// Installs the agent and waits for its first heartbeat.
///
/// # Errors
/// What the cluster or the hub refused, with the way out.
pub async fn register(client: anyhow::Result<Client>, args: &RegisterArgs) -> anyhow::Result<Code> {
    impersonation::check(&args.impersonate, &args.namespaces)?;
    if args.print {
        let agent = agent(args, &placeholder(args), rights::known(&args.kinds)?);
        for object in objects(&agent) {
            print(&format!("---\n{}", yaml(&object)?))?;
        }
        return Ok(Code::Done);
    }
    let client = client?;
    let kube = member::connect(args.context.as_deref(), args.kubeconfig.as_deref()).await?;
    let webhook = args.admission_webhook.failure_policy();
    let seen = preflight::check(&kube, &args.name, webhook.is_some()).await?;
    let kinds = rights::resolve(&kube, &args.kinds).await?;
    print(&format!(
        "✔ preflight   API {} ms, {}; rights ok; clock skew {:.1} s; {}\n",
        seen.answered_in.as_millis(),
        seen.version,
        seen.clock_skew_s,
        if seen.agent_before {
            "this cluster's own agent is renewed"
        } else {
            "no other agent found"
        }
    ))?;
    let asked = Timestamp::now();
    let join = join_material(&client, args).await?;
    let agent = agent(args, &join, kinds);
    if webhook.is_none() {
        // What is left of an earlier registration would ask an agent that does not answer any more.
        remove::webhook(&kube).await?;
    }
    let withdrawn = impersonation::withdraw(&kube, &agent.namespaces, &agent.impersonate).await?;
    install::install(&kube, &objects(&agent)).await?;
    print(&format!(
        "✔ agent       in ns {NAMESPACE}, pull mode (the hub stores no kubeconfig), namespaced RBAC: {}\n",
        args.namespaces.join(", ")
    ))?;
    tell_accounts(&args.impersonate, &withdrawn)?;
    if let Some(policy) = webhook {
        print(&format!(
            "✔ webhook     the API server asks the agent about updates of governed workloads of others \
             ({policy} while it is away)\n"
        ))?;
    }
    let waited = wait_for_heartbeat(&client, &kube, args, asked).await?;
    print(&format!(
        "✔ identity    certificate for agent {}, {}, renews itself\n",
        args.name, waited.certificate
    ))?;
    print(&format!(
        "✔ heartbeat   first one after {:.1} s\n",
        waited.after.as_secs_f64()
    ))?;
    if let Some(address) = &args.metrics_address {
        metrics::tell(&client, &args.name, address).await?;
    }
    print(&format!("cluster/{} registered\n", args.name))?;
    print(&format!(
        "  next  bellwether get clusters        undo  bellwether unregister cluster {}{}\n",
        args.name,
        args.context
            .as_ref()
            .map(|context| format!(" --context {context}"))
            .unwrap_or_default()
    ))?;
    Ok(Code::Done)
}

/// Says in whose names the agent may apply, and in whose it may not any more.
fn tell_accounts(given: &[NamespacedName], withdrawn: &[NamespacedName]) -> anyhow::Result<()> {
    let listed = |accounts: &[NamespacedName]| {
        let accounts: Vec<String> = accounts.iter().map(ToString::to_string).collect();
        accounts.join(", ")
    };
    if !given.is_empty() {
        print(&format!(
            "✔ accounts    it may apply in the names of ServiceAccounts {}\n",
            listed(given)
        ))?;
    }
    if !withdrawn.is_empty() {
        note(&format!(
            "warning: it may not apply in the names of ServiceAccounts {} any more, which it could before; \
             register again with every --impersonate to give that back",
            listed(withdrawn)
        ));
    }
    Ok(())
}

/// What stands in for join material where nothing is asked of a hub.
fn placeholder(args: &RegisterArgs) -> JoinMaterial {
    JoinMaterial {
        cluster: args.name.clone(),
        token: "<one-time token>".to_owned(),
        ca_hash: "<SHA-256 of the hub's CA>".to_owned(),
        addresses: vec!["<hub's address>".to_owned()],
        expires_at: String::new(),
    }
}

async fn join_material(client: &Client, args: &RegisterArgs) -> anyhow::Result<JoinMaterial> {
    let request = JoinTokenRequest {
        cluster: args.name.clone(),
        labels: args.labels.iter().cloned().collect(),
        metrics_address: args.metrics_address.clone(),
        ttl: None,
    };
    client
        .post("/api/v1/join-tokens", &request)
        .await
        .context("failed to get a join token")
}

fn agent(args: &RegisterArgs, join: &JoinMaterial, kinds: Vec<rights::Resource>) -> Agent {
    Agent {
        cluster: args.name.clone(),
        image: args.agent_image.clone(),
        pull_policy: args.image_pull_policy.word().to_owned(),
        hub_addresses: match &args.hub_address {
            Some(address) => vec![address.clone()],
            None => join.addresses.clone(),
        },
        ca_hash: join.ca_hash.clone(),
        token: join.token.clone(),
        namespaces: args.namespaces.clone(),
        kinds,
        impersonate: args.impersonate.clone(),
        policy_reports: args.policy_reports,
        webhook: args.admission_webhook.failure_policy().map(str::to_owned),
        count_pods: args.count_pods,
    }
}

struct Heartbeat {
    after: Duration,
    certificate: String,
}

/// Waits until the hub hears from the agent; says what stands in the way when it does not.
async fn wait_for_heartbeat(
    client: &Client,
    kube: &kube::Client,
    args: &RegisterArgs,
    asked: Timestamp,
) -> anyhow::Result<Heartbeat> {
    let start = Instant::now();
    let path = Kind::Cluster.path("", &args.name);
    let mut last_trouble = String::new();
    loop {
        let item: Item = client.get(&path).await?;
        let status = item.status.unwrap_or_default();
        let fresh = status["lastSeen"]
            .as_str()
            .and_then(|at| at.parse::<Timestamp>().ok())
            .is_some_and(|at| at >= asked);
        let skewed = status["condition"] == "ClockSkew";
        if fresh && skewed {
            let message = status["message"].as_str().unwrap_or_default();
            note(&format!("warning: {}: {message}", args.name));
        }
        let works = matches!(status["condition"].as_str(), Some("Ready" | "Degraded"));
        if fresh && (skewed || works) {
            let certificate = status["certificateExpires"]
                .as_str()
                .and_then(|at| at.parse::<Timestamp>().ok())
                .map_or_else(
                    || "issued".to_owned(),
                    |end| life(end.duration_since(asked)),
                );
            return Ok(Heartbeat {
                after: start.elapsed(),
                certificate,
            });
        }
        if let Some(trouble) = member::agent_trouble(kube).await? {
            if trouble.is_final {
                bail!("{}", trouble.text);
            }
            last_trouble = trouble.text;
        }
        if start.elapsed() > args.timeout {
            let hint = if last_trouble.is_empty() {
                "its pod runs; see `kubectl -n bellwether-system logs deploy/bellwether-agent`, and \
                 whether the cluster reaches the hub (--hub-address)"
                    .to_owned()
            } else {
                last_trouble
            };
            let waited = args.timeout.as_secs();
            return Err(anyhow!(Failure::Timeout(format!(
                "no heartbeat from the agent within {waited} s: {hint}"
            ))));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

fn life(span: SignedDuration) -> String {
    // Rounded: some seconds have passed since it was issued, and clocks differ a little.
    let minutes = (span.as_secs() + 30) / 60;
    if minutes >= 100 {
        format!("{} h", (minutes + 30) / 60)
    } else {
        format!("{minutes} min")
    }
}

/// Takes a cluster out: lets runs go back, removes the agent where a place is given, and revokes
/// its identity at the hub. Workloads stay.
///
/// # Errors
/// What the cluster or the hub refused.
pub async fn unregister(
    client: &Client,
    name: &str,
    place: Option<(Option<&str>, Option<&Path>)>,
) -> anyhow::Result<Code> {
    let path = Kind::Cluster.path("", name);
    let _: Item = client.get(&path).await?;
    if let Some((context, kubeconfig)) = place {
        let kube = member::connect(context, kubeconfig).await?;
        match member::registered_as(&kube).await? {
            Some(own) if own == name => remove::remove(&kube).await?,
            Some(other) => bail!(
                "that cluster is registered as {other}, not as {name}; name the right --context"
            ),
            None => note(&format!(
                "no agent found in that cluster; forgetting {name} at the hub"
            )),
        }
    }
    let _: serde_json::Value = client.call(Method::DELETE, &path, Body::Empty).await?;
    print(&format!(
        "cluster/{name} unregistered; its workloads stay as they are\n"
    ))?;
    Ok(Code::Done)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::life;

    #[test]
    fn lives_are_round() {
        assert_eq!(life(SignedDuration::from_secs(86_397)), "24 h");
        assert_eq!(life(SignedDuration::from_secs(86_460)), "24 h");
        assert_eq!(life(SignedDuration::from_secs(300)), "5 min");
    }
}
