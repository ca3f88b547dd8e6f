//! Checks of hooks.

use std::{collections::BTreeSet, net::Ipv6Addr};

use super::{finding::Findings, fleet::http_address, names};
use crate::{
    application::ApprovalGate,
    document::FieldPath,
    duration::Dur,
    hooks::{Hook, HookKind, HookWhen, JobTarget, Load},
    metric_template::SecretKeyRef,
    rollout::RolloutSpec,
    strategy::Batch,
};

/// The longest that one call may take: a run stands still meanwhile.
const MAX_TIMEOUT: Dur = Dur::from_secs(300);
/// Requests a second of one load, and its connections.
const MAX_RATE: u32 = 1_000;
const MAX_CONNECTIONS: u32 = 50;
/// Hooks of one rollout.
const MAX_HOOKS: usize = 20;
/// Calls that may follow a failed one.
const MAX_RETRIES: u32 = 10;

pub(super) fn check(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    if rollout.hooks.is_empty() {
        return;
    }
    if rollout.hooks.len() > MAX_HOOKS {
        findings.error(path, format!("use at most {MAX_HOOKS} hooks"));
    }
    let mut seen = BTreeSet::new();
    for (index, hook) in rollout.hooks.iter().enumerate() {
        let at = path.index(index);
        one(findings, &at, hook);
        never_called(findings, &at.key("type"), hook.kind, rollout);
        without_traffic(findings, &at, hook, rollout);
        if !seen.insert(hook.name.as_str()) {
            let message = format!("two hooks are named {:?}", hook.name);
            findings.error(&at.key("name"), message);
        }
    }
    let at_every_check = |hook: &&Hook| hook.kind == HookKind::Rollout && hook.load().is_none();
    let timeouts_ms: i64 = rollout
        .hooks
        .iter()
        .filter(at_every_check)
        .map(|hook| hook.timeout.as_millis())
        .sum();
    if timeouts_ms > 0 && timeouts_ms >= rollout.analysis.interval.as_millis() {
        findings.warn(
            path,
            "the timeouts of the Rollout hooks together are not shorter than analysis.interval: \
             checks may come later than it says",
        );
    }
}

/// Refuses a hook at a point that the plan never comes to.
fn never_called(findings: &mut Findings, path: &FieldPath, kind: HookKind, rollout: &RolloutSpec) {
    let of_steps = matches!(
        kind,
        HookKind::PreRollout
            | HookKind::Rollout
            | HookKind::ConfirmTrafficIncrease
            | HookKind::ConfirmPromotion
    );
    if rollout.analysis.skip && of_steps {
        let message =
            format!("analysis.skip leaves out the steps: a {kind:?} hook is never called");
        findings.error(path, message);
    }
    let canary = rollout.strategy.canary.as_ref();
    let by_hand = canary.is_some_and(|canary| canary.manual.is_some());
    if by_hand && kind == HookKind::ConfirmTrafficIncrease {
        findings.error(
            path,
            "canary.manual has its weight set by a human, who is not asked again by a hook",
        );
    }
}

/// Refuses what needs a canary's traffic in a plan that updates in place.
fn without_traffic(findings: &mut Findings, path: &FieldPath, hook: &Hook, rollout: &RolloutSpec) {
    let batch = rollout.strategy.batch.as_ref();
    if batch.is_none_or(Batch::splits) {
        return;
    }
    let before_traffic = matches!(
        hook.kind,
        HookKind::PreRollout | HookKind::ConfirmTrafficIncrease
    );
    if before_traffic {
        let kind = hook.kind;
        findings.error(
            &path.key("type"),
            format!("no step has a weight or a match: a {kind:?} hook is never called; use ConfirmRollout or Rollout"),
        );
    }
    if hook.load().is_some_and(|load| load.url.is_none()) {
        findings.error(
            &path.key("load"),
            "without a weight or a match the new version has no Service that could get the load; name a \
             url",
        );
    }
}

fn one(findings: &mut Findings, path: &FieldPath, hook: &Hook) {
    names::name(findings, &path.key("name"), &hook.name);
    target(findings, path, hook);
    if hook.timeout < Dur::from_millis(1) || hook.timeout > MAX_TIMEOUT {
        findings.error(
            &path.key("timeout"),
            format!("use more than 0s and at most {MAX_TIMEOUT}"),
        );
    }
    if hook.retries > MAX_RETRIES {
        findings.error(&path.key("retries"), format!("use at most {MAX_RETRIES}"));
    }
    if hook.raw_body && !hook.metadata.contains_key("data") {
        findings.error(
            &path.key("rawBody"),
            "rawBody posts metadata.data, which is not set",
        );
    }
    if hook.when != HookWhen::Always && hook.kind != HookKind::PostRollout {
        findings.error(
            &path.key("when"),
            "when belongs to hooks of type PostRollout",
        );
    }
    for (field, secret) in [
        ("hmacSecretRef", &hook.hmac_secret_ref),
        ("authSecretRef", &hook.auth_secret_ref),
        ("caSecretRef", &hook.ca_secret_ref),
    ] {
        if let Some(secret) = secret {
            secret_ref(findings, &path.key(field), secret);
        }
    }
}

/// Exactly one target, with nothing beside it that it has no use for.
fn target(findings: &mut Findings, path: &FieldPath, hook: &Hook) {
    let set = [
        hook.url.is_some(),
        hook.approval.is_some(),
        hook.load.is_some(),
        hook.job.is_some(),
    ];
    if set.into_iter().filter(|set| *set).count() > 1 {
        findings.error(
            path,
            "a hook has one target: set one of url, approval, load and job",
        );
    } else if let Some(url) = &hook.url {
        http_address(findings, &path.key("url"), url);
    } else if let Some(gate) = &hook.approval {
        approval(findings, path, hook, gate);
    } else if let Some(run) = &hook.job {
        job(findings, path, hook, run);
    } else if let Some(made) = hook.load() {
        load(findings, path, hook, &made);
    } else {
        let message = "the hook has no target: set url, or approval for a gate that humans open";
        findings.error(path, message);
    }
}

fn approval(findings: &mut Findings, path: &FieldPath, hook: &Hook, approval: &ApprovalGate) {
    let at = path.key("approval");
    if !hook.kind.holds_a_gate() {
        let message = format!(
            "humans open gates, and a {:?} hook holds none; use ConfirmRollout, \
             ConfirmTrafficIncrease or ConfirmPromotion",
            hook.kind
        );
        findings.error(&at, message);
    }
    if approval.count == 0 {
        findings.error(&at.key("count"), "use at least 1");
    } else if !approval.by.is_empty()
        && usize::try_from(approval.count).is_ok_and(|count| count > approval.by.len())
    {
        let message = format!("{} may approve, {} must", approval.by.len(), approval.count);
        findings.error(&at.key("count"), message);
    }
    nothing_posted(findings, path, hook, "an approval");
    if hook.ca_secret_ref.is_some() {
        let message = "nothing is posted for an approval";
        findings.error(&path.key("caSecretRef"), message);
    }
}

fn job(findings: &mut Findings, path: &FieldPath, hook: &Hook, job: &JobTarget) {
    let at = path.key("job");
    if !matches!(hook.kind, HookKind::PreRollout | HookKind::Rollout) {
        let message = format!(
            "a Job is a test, and a {:?} hook is none; use PreRollout or Rollout",
            hook.kind
        );
        findings.error(&at, message);
    }
    let at = at.key("template");
    let containers = job.template.pointer("/spec/containers");
    let some = containers
        .and_then(|all| all.as_array())
        .is_some_and(|all| !all.is_empty());
    if !some {
        findings.error(&at, "the template has no spec.containers");
    }
    if job.template.pointer("/metadata/labels").is_some() {
        let message = "leave labels out: a Service may select pods by them";
        findings.error(&at.key("metadata").key("labels"), message);
    }
    if hook.timeout < Dur::from_secs(1) {
        findings.error(
            &path.key("timeout"),
            "a Job has whole seconds; use at least 1s",
        );
    }
    for (field, is_set) in [
        ("metadata", !hook.metadata.is_empty()),
        ("rawBody", hook.raw_body),
        ("hmacSecretRef", hook.hmac_secret_ref.is_some()),
        ("authSecretRef", hook.auth_secret_ref.is_some()),
        ("caSecretRef", hook.ca_secret_ref.is_some()),
    ] {
        if is_set {
            findings.error(&path.key(field), "nothing is posted for a Job");
        }
    }
}

fn load(findings: &mut Findings, path: &FieldPath, hook: &Hook, load: &Load) {
    let at = path.key("load");
    if hook.kind != HookKind::Rollout {
        let message = format!(
            "load is made while a weight is judged, by Rollout hooks; this one is a {:?} hook",
            hook.kind
        );
        findings.error(&at, message);
    }
    load_settings(findings, &at, load);
    nothing_posted(findings, path, hook, "a load");
    // Without `load` it may be the fleet that names a URL.
    let is_own = hook.load.is_some();
    if hook.ca_secret_ref.is_some() && is_own && !load.url.as_deref().is_some_and(is_over_tls) {
        findings.error(
            &path.key("caSecretRef"),
            "only over https is anybody trusted; name a load.url that starts with https://",
        );
    }
}

fn is_over_tls(url: &str) -> bool {
    url.starts_with("https://")
}

/// Checks how load is made.
pub(super) fn load_settings(findings: &mut Findings, at: &FieldPath, load: &Load) {
    for (field, value, most) in [
        ("rate", load.rate, MAX_RATE),
        ("concurrency", load.concurrency, MAX_CONNECTIONS),
    ] {
        if value == 0 || value > most {
            findings.error(&at.key(field), format!("use 1 to {most}"));
        }
    }
    if load
        .duration
        .is_some_and(|duration| duration < Dur::from_secs(1))
    {
        findings.error(&at.key("duration"), "use at least 1s");
    }
    if let Some(url) = &load.url {
        http_address(findings, &at.key("url"), url);
    }
    let method = &load.method;
    if method.is_empty() || !method.chars().all(|c| c.is_ascii_uppercase()) {
        findings.error(
            &at.key("method"),
            "a method is a word of capitals, such as GET",
        );
    }
    let token = |name: &String| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    for (name, value) in &load.headers {
        if !token(name) || value.chars().any(|c| !(' '..='~').contains(&c)) {
            findings.error(
                &at.key("headers").key(name),
                "a header has a name of letters, digits and dashes, and a printable value",
            );
        } else if name.eq_ignore_ascii_case("host") && !is_host(value) {
            findings.error(
                &at.key("headers").key(name),
                "a host is a name or an address, such as shop.example, maybe with :PORT",
            );
        }
    }
}

/// Tells whether a text may stand in the header `Host`.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let in_brackets = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_name = |name: &str| {
        let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        begins_well
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let is_host = in_brackets.map_or_else(
        || is_name(host),
        |address| address.parse::<Ipv6Addr>().is_ok(),
    );
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn nothing_posted(findings: &mut Findings, path: &FieldPath, hook: &Hook, what: &str) {
    for (field, is_set) in [
        ("retries", hook.retries > 0),
        ("metadata", !hook.metadata.is_empty()),
        ("rawBody", hook.raw_body),
        ("hmacSecretRef", hook.hmac_secret_ref.is_some()),
        ("authSecretRef", hook.auth_secret_ref.is_some()),
    ] {
        if is_set {
            findings.error(&path.key(field), format!("nothing is posted for {what}"));
        }
    }
}

fn secret_ref(findings: &mut Findings, path: &FieldPath, secret: &SecretKeyRef) {
    names::name(findings, &path.key("name"), &secret.name);
    if secret.key.as_ref().is_none_or(String::is_empty) {
        findings.error(&path.key("key"), "name the key of the Secret");
    }
}
