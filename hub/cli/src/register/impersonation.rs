//! The right to act in the names of ServiceAccounts.

use std::collections::BTreeSet;

use anyhow::bail;
use bellwether_api::reference::NamespacedName;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::{Api, Client, api::DeleteParams};
use serde_json::{Value, json};

use super::{
    manifests::{labels, role_ref, subjects},
    remove::gone,
};

/// The Role of a namespace that gives it, and its binding.
const ROLE: &str = "bellwether-agent-impersonate";

/// Refuses ServiceAccounts of namespaces that the agent does not work in.
///
/// # Errors
/// There is one.
pub fn check(accounts: &[NamespacedName], namespaces: &[String]) -> anyhow::Result<()> {
    let stranger = |account: &&NamespacedName| !namespaces.contains(&account.namespace);
    if let Some(account) = accounts.iter().find(stranger) {
        bail!(
            "--impersonate {account}: the agent does not work in namespace {}; name it among --namespaces ({})",
            account.namespace,
            namespaces.join(", ")
        );
    }
    Ok(())
}

/// Lets the agent act in the names of just these ServiceAccounts of a namespace, and see that they exist; empty =
/// of none there.
#[must_use]
pub fn role(namespace: &str, accounts: &[NamespacedName]) -> Vec<Value> {
    let there = accounts
        .iter()
        .filter(|account| account.namespace == namespace);
    let names: BTreeSet<&str> = there.map(|account| account.name.as_str()).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let metadata = json!({"name": ROLE, "namespace": namespace, "labels": labels()});
    let mut role_ref = role_ref("Role");
    role_ref["name"] = json!(ROLE);
    vec![
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [{"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": names,
                "verbs": ["get", "impersonate"]}],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": role_ref,
            "subjects": subjects(),
        }),
    ]
}

/// Takes away the right to act in the names of ServiceAccounts of a namespace, if there is any.
///
/// # Errors
/// When the cluster refuses.
pub async fn take_away(client: &Client, namespace: &str) -> anyhow::Result<()> {
    let delete = DeleteParams::background();
    let bindings = Api::<RoleBinding>::namespaced(client.clone(), namespace);
    gone(bindings.delete(ROLE, &delete).await.map(drop))?;
    let roles = Api::<Role>::namespaced(client.clone(), namespace);
    gone(roles.delete(ROLE, &delete).await.map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(names: &[(&str, &str)]) -> Vec<NamespacedName> {
        let account = |(namespace, name): &(&str, &str)| NamespacedName {
            namespace: (*namespace).to_owned(),
            name: (*name).to_owned(),
        };
        names.iter().map(account).collect()
    }

    #[test]
    fn the_agent_may_act_in_the_names_of_the_named_accounts_alone() {
        let accounts = accounts(&[("web", "b"), ("web", "a"), ("web", "a"), ("shop", "c")]);
        let [role, binding] = &role("web", &accounts)[..] else {
            panic!("a role and its binding");
        };
        let rule = json!([{"apiGroups": [""], "resources": ["serviceaccounts"],
            "resourceNames": ["a", "b"], "verbs": ["get", "impersonate"]}]);
        assert_eq!(role["rules"], rule);
        assert_eq!(role["metadata"]["namespace"], "web");
        assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
        assert_eq!(super::role("other", &accounts), [] as [Value; 0]);
    }

    #[test]
    fn accounts_of_other_namespaces_are_refused() {
        let accounts = accounts(&[("web", "a"), ("shop", "c")]);
        let both = ["shop".to_owned(), "web".to_owned()];
        assert!(check(&accounts, &both).is_ok());
        let error = check(&accounts, &both[1..]).expect_err("shop is none of them");
        let said = "--impersonate shop/c: the agent does not work in namespace shop";
        assert!(error.to_string().starts_with(said), "{error}");
    }
}
