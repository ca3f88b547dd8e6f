//! The right to act in the names of ServiceAccounts.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use bellwether_api::reference::NamespacedName;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::{Api, Client, api::DeleteParams};
use serde_json::{Value, json};

use super::{manifests::bound_role, remove::gone};

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
    let rules = json!([{"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": names,
        "verbs": ["get", "impersonate"]}]);
    bound_role(ROLE, namespace, &rules).into()
}

/// Takes away what an earlier registration gave in these namespaces and `accounts` lacks: at once where none of them
/// lies in the namespace, and otherwise as its Role is written anew. Gives the ServiceAccounts in whose names the agent
/// may not act any more; empty = it loses nothing, or nobody let whoever registers look.
///
/// # Errors
/// When the cluster refuses.
pub async fn withdraw(
    client: &Client,
    namespaces: &[String],
    accounts: &[NamespacedName],
) -> anyhow::Result<Vec<NamespacedName>> {
    let delete = DeleteParams::background();
    let mut withdrawn = Vec::new();
    for namespace in namespaces {
        let roles = Api::<Role>::namespaced(client.clone(), namespace);
        let role = found(&roles).await?;
        let before = role.iter().flat_map(|role| named(role, namespace));
        withdrawn.extend(before.filter(|account| !accounts.contains(account)));
        if accounts.iter().any(|one| one.namespace == *namespace) {
            continue;
        }
        let bindings = Api::<RoleBinding>::namespaced(client.clone(), namespace);
        if found(&bindings).await?.is_some() {
            gone(bindings.delete(ROLE, &delete).await.map(drop))?;
        }
        if role.is_some() {
            gone(roles.delete(ROLE, &delete).await.map(drop))?;
        }
    }
    Ok(withdrawn)
}

async fn found<K>(api: &Api<K>) -> anyhow::Result<Option<K>>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    match api.get_opt(ROLE).await {
        // Whoever may not even look has given none.
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
        found => {
            found.context("failed to look for the right to act in the names of ServiceAccounts")
        }
    }
}

/// The ServiceAccounts that a Role names.
fn named(role: &Role, namespace: &str) -> Vec<NamespacedName> {
    let rules = role.rules.iter().flatten();
    let names = rules.flat_map(|rule| rule.resource_names.iter().flatten());
    names
        .map(|name| NamespacedName {
            namespace: namespace.to_owned(),
            name: name.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Method, Request, Response, StatusCode};
    use kube::client::Body;

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

    /// A cluster where namespace `web` has a Role for `a` and `b`, and namespace `shop` none; with what is deleted.
    /// Whoever asks may delete nothing that is not there, and look only if `looks`.
    fn cluster(looks: bool) -> (Client, Arc<Mutex<Vec<String>>>) {
        let deleted = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&deleted);
        let service = tower::service_fn(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let is_there = path.contains("/namespaces/web/");
            let found = super::role("web", &accounts(&[("web", "a"), ("web", "b")]));
            let found = found[usize::from(path.contains("/rolebindings/"))].clone();
            let refused = |code: u16, reason: &str| {
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                    "message": "no", "reason": reason})
            };
            let (code, answer) = match *request.method() {
                Method::GET if !looks => (StatusCode::FORBIDDEN, refused(403, "Forbidden")),
                Method::GET if is_there => (StatusCode::OK, found),
                Method::GET => (StatusCode::NOT_FOUND, refused(404, "NotFound")),
                _ if is_there => {
                    seen.lock().expect("no test panics here").push(path);
                    (StatusCode::OK, found)
                }
                _ => (StatusCode::FORBIDDEN, refused(403, "Forbidden")),
            };
            let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
            *response.status_mut() = code;
            async move { Ok::<_, kube::Error>(response) }
        });
        (Client::new(service, "default"), deleted)
    }

    #[tokio::test]
    async fn only_what_was_given_is_taken_away_and_told() {
        let both = ["shop".to_owned(), "web".to_owned()];
        for (looks, kept, withdrawn, gone) in [
            (true, &[][..], &[("web", "a"), ("web", "b")][..], 2),
            (
                true,
                &[("web", "b"), ("shop", "c")][..],
                &[("web", "a")][..],
                0,
            ),
            (false, &[][..], &[][..], 0),
        ] {
            let (client, deleted) = cluster(looks);
            let told = withdraw(&client, &both, &accounts(kept)).await;
            assert_eq!(told.expect("it may"), accounts(withdrawn), "{kept:?}");
            let deleted = deleted.lock().expect("no test panics here");
            assert_eq!(deleted.len(), gone, "{deleted:?}");
        }
    }
}
