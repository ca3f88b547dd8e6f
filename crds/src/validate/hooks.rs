//! Checks of hooks.

use std::collections::BTreeSet;

use super::{finding::Findings, fleet::http_address, names};
use crate::{
    document::FieldPath,
    duration::Dur,
    hooks::{Hook, HookKind, HookWhen},
    metric_template::SecretKeyRef,
    rollout::RolloutSpec,
};

/// The longest that one call may take: a run stands still meanwhile.
const MAX_TIMEOUT: Dur = Dur::from_secs(300);
/// Calls that may follow a failed one.
const MAX_RETRIES: u32 = 10;

pub(super) fn check(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    if rollout.hooks.is_empty() {
        return;
    }
    findings.error(
        path,
        "hooks are not supported by this version of Bellwether",
    );
    let mut seen = BTreeSet::new();
    for (index, hook) in rollout.hooks.iter().enumerate() {
        let at = path.index(index);
        one(findings, &at, hook);
        if !seen.insert(hook.name.as_str()) {
            let message = format!("two hooks are named {:?}", hook.name);
            findings.error(&at.key("name"), message);
        }
    }
    let at_every_check = |hook: &&Hook| hook.kind == HookKind::Rollout;
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

fn one(findings: &mut Findings, path: &FieldPath, hook: &Hook) {
    names::name(findings, &path.key("name"), &hook.name);
    http_address(findings, &path.key("url"), &hook.url);
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

fn secret_ref(findings: &mut Findings, path: &FieldPath, secret: &SecretKeyRef) {
    names::name(findings, &path.key("name"), &secret.name);
    if secret.key.as_ref().is_none_or(String::is_empty) {
        findings.error(&path.key("key"), "name the key of the Secret");
    }
}
