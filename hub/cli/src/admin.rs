//! Labels of clusters, tokens of the API, versions.

use std::collections::BTreeMap;

use bellwether_api::call::{
    ApiTokenList, ApiTokenRequest, ApiTokenView, Item, LabelRequest, RevokeRequest, VersionInfo,
};
use http::Method;
use jiff::Timestamp;

use crate::{
    args::{Global, TokenCommand},
    client::{Body, Client},
    failure::{Code, Failure},
    kind::{Kind, segment},
    output::{confirmed, note, print},
    render::{list::grid, span::ago},
};

/// Sets and removes labels of a cluster.
///
/// # Errors
/// What the hub refused.
pub async fn label(client: &Client, name: &str, changes: &[String]) -> anyhow::Result<Code> {
    let request = LabelRequest {
        labels: parse_changes(changes)?,
    };
    let path = format!("{}/labels", Kind::Cluster.path("", name));
    let _: Item = client
        .call(Method::PATCH, &path, Body::json(&request)?)
        .await?;
    print(&format!("cluster/{name} labeled\n"))?;
    Ok(Code::Done)
}

fn parse_changes(changes: &[String]) -> Result<BTreeMap<String, Option<String>>, Failure> {
    changes
        .iter()
        .map(
            |change| match (change.split_once('='), change.strip_suffix('-')) {
                (Some((key, value)), _) if !key.is_empty() => {
                    Ok((key.to_owned(), Some(value.to_owned())))
                }
                (None, Some(key)) if !key.is_empty() => Ok((key.to_owned(), None)),
                _ => Err(Failure::Usage(format!(
                    "{change:?} is neither key=value nor key-"
                ))),
            },
        )
        .collect()
}

/// Takes a cluster's identity away, after asking.
///
/// # Errors
/// What the hub refused.
pub async fn revoke(client: &Client, name: &str, reason: &str, yes: bool) -> anyhow::Result<Code> {
    cut_off(client, name, reason, yes, ("revoke", "revoked")).await
}

/// Detaches a cluster, after asking: it is cut off, keeps its place, and may be registered again.
///
/// # Errors
/// What the hub refused.
pub async fn detach(client: &Client, name: &str, reason: &str, yes: bool) -> anyhow::Result<Code> {
    cut_off(client, name, reason, yes, ("detach", "detached")).await
}

async fn cut_off(
    client: &Client,
    name: &str,
    reason: &str,
    yes: bool,
    (verb, done): (&str, &str),
) -> anyhow::Result<Code> {
    let path = Kind::Cluster.path("", name);
    let _: Item = client.get(&path).await?;
    let question = format!(
        "{verb} cluster/{name}? it is cut off at once; its workloads stay, and what is under way \
         there ends by its agent alone."
    );
    if !confirmed(&question, yes)? {
        note(&format!("nothing {done}."));
        return Ok(Code::Error);
    }
    let request = RevokeRequest {
        reason: reason.to_owned(),
    };
    let _: Item = client.post(&format!("{path}/revoke"), &request).await?;
    print(&format!(
        "cluster/{name} {done}\n  undo  bellwether register cluster {name} --context …\n"
    ))?;
    Ok(Code::Done)
}

/// Runs a sub-command of `token`.
///
/// # Errors
/// What the hub refused.
pub async fn token(client: &Client, command: &TokenCommand) -> anyhow::Result<Code> {
    match command {
        TokenCommand::Create {
            name,
            role,
            namespaces,
        } => {
            let request = ApiTokenRequest {
                name: name.clone(),
                role: role.clone(),
                namespaces: namespaces.clone(),
            };
            let made: ApiTokenView = client.post("/api/v1/tokens", &request).await?;
            note(&format!("token/{name} created; it is shown only now"));
            print(&format!("{}\n", made.token.unwrap_or_default()))?;
        }
        TokenCommand::List => {
            let tokens: ApiTokenList = client.get("/api/v1/tokens").await?;
            let now = Timestamp::now();
            let rows = tokens.items.iter().map(|token| {
                vec![
                    token.name.clone(),
                    token.role.clone(),
                    token.namespaces.join(","),
                    ago(Some(&token.created_at), now),
                ]
            });
            print(&grid(&["NAME", "ROLE", "NAMESPACES", "AGE"], rows))?;
        }
        TokenCommand::Revoke { name } => {
            let path = format!("/api/v1/tokens/{}", segment(name));
            let _: serde_json::Value = client.call(Method::DELETE, &path, Body::Empty).await?;
            print(&format!("token/{name} revoked\n"))?;
        }
    }
    Ok(Code::Done)
}

/// Prints the versions of this program and of the hub.
///
/// # Errors
/// Never because of the hub: an absent one is said.
pub async fn version(client: anyhow::Result<Client>, _: &Global) -> anyhow::Result<Code> {
    print(&format!("bellwether {}\n", env!("CARGO_PKG_VERSION")))?;
    let asked = match client {
        Ok(client) => client.get::<VersionInfo>("/api/v1/version").await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(hub) => {
            print(&format!(
                "hub        {} ({})\n",
                hub.version, hub.api_version
            ))?;
            print(&format!("you are    {}\n", hub.principal))?;
        }
        Err(error) => note(&format!("hub        {error}")),
    }
    Ok(Code::Done)
}

#[cfg(test)]
mod tests {
    use super::parse_changes;

    #[test]
    fn labels_are_set_and_removed() {
        let changes = parse_changes(&["tier=canary".into(), "old-".into(), "a-b=".into()])
            .expect("valid changes");
        assert_eq!(changes["tier"], Some("canary".into()));
        assert_eq!(changes["old"], None);
        assert_eq!(changes["a-b"], Some(String::new()));
        assert!(parse_changes(&["tier".into()]).is_err());
    }
}
