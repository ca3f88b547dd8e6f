//! Checks of the hooks of fleets.

use std::collections::BTreeSet;

use super::{finding::Findings, names, sources, waves};
use crate::{document::FieldPath, fleet_hook::FleetHook};

/// Hooks of one fleet at most.
const MAX_HOOKS: usize = 16;

pub(super) fn hooks(findings: &mut Findings, path: &FieldPath, hooks: &[FleetHook]) {
    if hooks.len() > MAX_HOOKS {
        findings.error(path, format!("a fleet has at most {MAX_HOOKS} hooks"));
    }
    let mut seen = BTreeSet::new();
    for (index, hook) in hooks.iter().enumerate() {
        let path = path.index(index);
        names::name(findings, &path.key("name"), &hook.name);
        if !seen.insert(&hook.name) {
            findings.error(
                &path.key("name"),
                "another hook of this fleet has this name",
            );
        }
        waves::reached_by_hub(findings, &path.key("url"), &hook.url);
        check(findings, &path, hook);
    }
}

fn check(findings: &mut Findings, path: &FieldPath, hook: &FleetHook) {
    let twice = hook.events.iter().enumerate();
    for (index, event) in twice {
        if hook.events[..index].contains(event) {
            let at = path.key("events").index(index);
            findings.error(&at, format!("{event:?} stands here twice"));
        }
    }
    let timeout = path.key("timeout");
    match hook.timeout.as_millis() {
        0 => findings.error(&timeout, "no answer comes in 0s"),
        60_001.. => findings.error(&timeout, "an answer may take at most 60s"),
        _ => {}
    }
    let (secret, at) = (&hook.hmac_secret_ref, path.key("hmacSecretRef"));
    names::name(findings, &at.key("name"), &secret.name);
    sources::key(findings, &at.key("key"), &secret.key);
    if let Some(namespace) = &secret.namespace {
        names::name(findings, &at.key("namespace"), namespace);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::hooks;
    use crate::{document::FieldPath, validate::finding::Findings};

    fn found(fields: Value) -> Vec<String> {
        let mut hook = json!({"name": "inventory", "url": "https://cmdb.example/clusters",
            "hmacSecretRef": {"name": "cmdb", "key": "hmac"}});
        for (key, value) in fields.as_object().expect("fields") {
            hook[key] = value.clone();
        }
        let hook = serde_json::from_value(hook).expect("a hook");
        let mut findings = Findings::default();
        hooks(&mut findings, &FieldPath::spec().key("hooks"), &[hook]);
        said(findings)
    }

    fn said(findings: Findings) -> Vec<String> {
        match findings.into_validated(()) {
            Ok(_) => Vec::new(),
            Err(found) => found.iter().map(|one| format!("{one:?}")).collect(),
        }
    }

    #[test]
    fn a_hook_with_a_secret_and_an_address_of_the_network_passes() {
        assert_eq!(found(json!({})), Vec::<String>::new());
        let all = json!({"events": ["ClusterRegistered", "ClusterDetached"], "timeout": "30s",
            "hmacSecretRef": {"name": "cmdb", "key": "hmac", "namespace": "platform"}});
        assert_eq!(found(all), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_called_or_signed_is_refused() {
        for (fields, why) in [
            (json!({"url": "ftp://cmdb.example"}), "http"),
            (json!({"url": "http://127.0.0.1:8080/"}), "itself"),
            (json!({"url": "http://169.254.169.254/"}), "itself"),
            (json!({"timeout": "0s"}), "0s"),
            (json!({"timeout": "2m"}), "60s"),
            (
                json!({"events": ["ClusterDetached", "ClusterDetached"]}),
                "twice",
            ),
            (
                json!({"hmacSecretRef": {"name": "cmdb", "key": "no/key"}}),
                "letters",
            ),
            (
                json!({"hmacSecretRef": {"name": "No_Name", "key": "hmac"}}),
                "name",
            ),
        ] {
            let said = found(fields.clone());
            assert_eq!(said.len(), 1, "{fields}: {said:?}");
            assert!(said[0].contains(why), "{fields}: {said:?}");
        }
    }

    #[test]
    fn a_name_stands_for_one_hook() {
        let hook = serde_json::from_value(json!({"name": "a", "url": "https://a.example",
            "hmacSecretRef": {"name": "a", "key": "hmac"}}));
        let hook: crate::fleet_hook::FleetHook = hook.expect("a hook");
        let mut findings = Findings::default();
        hooks(&mut findings, &FieldPath::spec(), &[hook.clone(), hook]);
        assert_eq!(said(findings).len(), 1);
    }
}
