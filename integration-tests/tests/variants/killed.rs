//! An agent that is killed over and over while it applies a release and prunes what that leaves out.

use std::{collections::BTreeMap, ops::Range, time::Duration, time::Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{
    agent_process::AgentProcess, cluster::Member, fixture::cluster_view, lab::AuditedRequest,
    suite::Case, wait::until,
};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

/// It kills an agent.
pub const ALONE: &[Case<Members>] = &[(
    "control_plane_agent_killed_between_writes_finishes_the_release_and_writes_nothing_else",
    "killed",
    killed,
)];

/// ConfigMaps of both releases, by their number: those that change come first.
const CHANGED: usize = 20;
const KEPT: usize = 80;
/// As many as go without somebody's word: a fifth.
const LEFT_OUT: Range<usize> = KEPT..100;
const NEW: Range<usize> = 100..110;
/// Every agent applies all of a release that is not in yet, which changes nothing of what another has applied, and
/// deletes what is left. It is killed at its first write, the next one at its eighth, then at its 27th and its 64th, and
/// at this deletion at the latest.
const DELETIONS: usize = 3;
/// So many cubes are no larger than the writes of a release, and so many agents may delete.
const MOST_KILLS: usize = 4 + (LEFT_OUT.end - LEFT_OUT.start) / DELETIONS;
/// Looks, two milliseconds apart, at an agent that does not write before the hub is asked: asking takes as long as many
/// writes.
const IDLE_LOOKS: u32 = 50;
const BYSTANDER: &str = "bystander";

/// What tells whether somebody wrote an object, made it anew, or left it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    uid: String,
    resource_version: String,
    version: String,
}

fn name_of(number: usize) -> String {
    format!("item-{number:03}")
}

/// What each ConfigMap of a release says.
fn content(revision: u64) -> BTreeMap<String, &'static str> {
    let version = |number: usize| match number {
        _ if revision == 1 => "v1",
        number if number < CHANGED || NEW.contains(&number) => "v2",
        _ => "v1",
    };
    let numbers = (0..KEPT).chain(if revision == 1 { LEFT_OUT } else { NEW });
    numbers
        .map(|number| (name_of(number), version(number)))
        .collect()
}

fn documents(members: &Members, cluster: &str, revision: u64) -> String {
    let manifests: Vec<Value> = content(revision)
        .into_iter()
        .map(|(name, version)| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
                "data": {"version": version}})
        })
        .collect();
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": members.name, "namespace": "default"},
        "spec": {"destination": {"clusters": [cluster]}, "targetNamespace": members.name,
            "components": [{"name": "maps", "manifests": manifests}]},
    })
    .to_string()
}

/// The ConfigMaps of the test, its bystander among them.
fn seen(member: &Member, namespace: &str) -> Result<BTreeMap<String, Seen>> {
    let text = |object: &Value, pointer: &str| {
        let found = object.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let listed = member.list("v1", "ConfigMap", namespace)?;
    Ok(listed
        .iter()
        .map(|object| {
            let seen = Seen {
                uid: text(object, "/metadata/uid"),
                resource_version: text(object, "/metadata/resourceVersion"),
                version: text(object, "/data/version"),
            };
            (text(object, "/metadata/name"), seen)
        })
        .filter(|(name, _)| name == BYSTANDER || name.starts_with("item-"))
        .collect())
}

fn killed(members: &Members) -> Result<()> {
    let cluster = members.names()[1];
    let member = members.cluster(cluster)?;
    let namespace = members.name.as_str();
    member.create(&json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": BYSTANDER, "namespace": namespace}, "data": {"version": "mine"}}))?;
    members.cli.apply(&documents(members, cluster, 1))?;
    members.wait_ended(namespace, 1, RunPhase::Succeeded, LIMIT)?;
    let before = seen(member, namespace)?;
    ensure!(before.len() == LEFT_OUT.end + 1, "{before:?}");
    let Ok(mut agents) = members.agents.lock() else {
        bail!("another test died with the agents in hand");
    };
    let mut agents = agents.iter_mut();
    let agent = agents.find(|agent| agent.cluster == cluster);
    let agent = agent.context("the agent")?;
    let outcome = killed_over_and_over(members, agent, member)
        .and_then(|()| told(members, cluster))
        .and_then(|()| as_written(&before, &seen(member, namespace)?))
        .and_then(|()| last_start(members, agent, member));
    // Other tests have the same cluster.
    if !agent.is_running() {
        agent.start()?;
    }
    outcome?;
    members.wait_ready(cluster)
}

/// Has the second release come in by agents that die on the way.
fn killed_over_and_over(
    members: &Members,
    agent: &mut AgentProcess,
    member: &Member,
) -> Result<()> {
    let cluster = agent.cluster.clone();
    let mut writes = Writes::from_now(members, &cluster)?;
    members.cli.apply(&documents(members, &cluster, 2))?;
    let (mut applying, mut pruning) = (0, 0);
    for root in 1_usize.. {
        if !writes.come_before_the_end(root.pow(3))? {
            break;
        }
        agent.kill()?;
        let left = seen(member, &members.name)?;
        let wanted = content(2);
        let applied = wanted
            .iter()
            .all(|(name, version)| left.get(name).is_some_and(|seen| seen.version == *version));
        let is_left = |number: usize| left.contains_key(&name_of(number));
        applying += usize::from(!applied);
        pruning += usize::from(applied && LEFT_OUT.into_iter().any(is_left));
        ensure!(
            applying + pruning <= MOST_KILLS,
            "killed {applying} times while it applied, and {pruning} while it pruned, in vain"
        );
        agent.start()?;
    }
    ensure!(
        applying >= 2 && pruning >= 1,
        "killed {applying} times while it applied, and {pruning} while it pruned"
    );
    Ok(())
}

/// The objects that agents write in the test's namespace, as the API server logs them.
struct Writes<'a> {
    members: &'a Members,
    cluster: &'a str,
    /// How much of the log was read.
    read_bytes: u64,
}

impl<'a> Writes<'a> {
    fn from_now(members: &'a Members, cluster: &'a str) -> Result<Self> {
        let mut writes = Self {
            members,
            cluster,
            read_bytes: 0,
        };
        writes.more()?;
        Ok(writes)
    }

    /// Those since the last call.
    fn more(&mut self) -> Result<Vec<AuditedRequest>> {
        let lab = &self.members.lab;
        let (requests, read_bytes) = lab.audit_from(self.cluster, self.read_bytes)?;
        self.read_bytes = read_bytes;
        let is_ours = |one: &AuditedRequest| {
            one.user_agent.starts_with("bellwether-agent")
                && one.is_write()
                && one.namespace == self.members.name
        };
        Ok(requests.into_iter().filter(is_ours).collect())
    }

    /// Waits for that many, or as many deletions as there may be; tells whether they came before the release was in.
    fn come_before_the_end(&mut self, count: usize) -> Result<bool> {
        let (mut found, mut deletions, mut idle_looks) = (0, 0, 0);
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            let more = self.more()?;
            found += more.len();
            deletions += more.iter().filter(|one| one.verb == "delete").count();
            if found >= count || deletions >= DELETIONS {
                return Ok(true);
            }
            idle_looks = if more.is_empty() { idle_looks + 1 } else { 0 };
            if idle_looks < IDLE_LOOKS {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            }
            idle_looks = 0;
            let run = self.members.run(&self.members.name)?;
            if run.revision == 2 && run.state == RunPhase::Succeeded {
                return Ok(false);
            }
        }
        bail!("{found} writes of {count} came, and the release did not")
    }
}

/// To the hub it was one attempt, which succeeded.
fn told(members: &Members, cluster: &str) -> Result<()> {
    let run = members.run(&members.name)?;
    let shown = cluster_view(&run, cluster)?;
    ensure!(shown.attempt == 1, "{run:#?}");
    Ok(())
}

/// Every object is what the release says, and the same that it was; what it does not change was not written.
fn as_written(before: &BTreeMap<String, Seen>, after: &BTreeMap<String, Seen>) -> Result<()> {
    let mut wanted = content(2);
    wanted.insert(BYSTANDER.to_owned(), "mine");
    let found: BTreeMap<String, &str> = after
        .iter()
        .map(|(name, seen)| (name.clone(), seen.version.as_str()))
        .collect();
    ensure!(found == wanted, "{found:?}");
    for (name, now) in after {
        let Some(then) = before.get(name) else {
            continue;
        };
        ensure!(then.uid == now.uid, "{name} was made anew");
        ensure!(
            (then.version == now.version) == (then.resource_version == now.resource_version),
            "{name}: {then:?} {now:?}"
        );
    }
    Ok(())
}

/// Whoever starts then puts back what somebody edited, so that it has looked at everything, and writes nothing else.
fn last_start(members: &Members, agent: &mut AgentProcess, member: &Member) -> Result<()> {
    agent.kill()?;
    let cluster = agent.cluster.clone();
    let mut writes = Writes::from_now(members, &cluster)?;
    // It is the last one that agents look at.
    let edited = name_of(NEW.end - 1);
    let by_hand = json!({"data": {"version": "by hand"}});
    member.patch("v1", "ConfigMap", &members.name, &edited, &by_hand)?;
    agent.start()?;
    until(LIMIT, "the edit to be put back", || {
        let seen = seen(member, &members.name)?;
        Ok((seen[&edited].version == "v2").then_some(()))
    })?;
    members.wait_ready(&cluster)?;
    let written = writes.more()?;
    ensure!(
        written.len() == 1 && written[0].object == edited,
        "{written:#?}"
    );
    Ok(())
}
