//! A member cluster by the user's kubeconfig.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::{AGENT, NAMESPACE, manifests::CLUSTER_ANNOTATION};

/// Connects with a context of a kubeconfig; the current one, and the usual file, unless named.
///
/// # Errors
/// When the file or the context is missing or unusable.
pub async fn connect(context: Option<&str>, kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let file = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path).map_err(|error| {
            let cause = cause_of(&error);
            anyhow!("failed to read the kubeconfig {}: {cause}", path.display())
        })?,
        None => Kubeconfig::read().map_err(|error| {
            let cause = cause_of(&error);
            anyhow!("failed to read the kubeconfig; name it by --kubeconfig: {cause}")
        })?,
    };
    let names: Vec<String> = file
        .contexts
        .iter()
        .map(|context| context.name.clone())
        .collect();
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let mut config = Config::from_custom_kubeconfig(file, &options)
        .await
        .with_context(|| {
            format!(
                "failed to use context {:?} of the kubeconfig; it has: {}",
                context.unwrap_or("(current)"),
                names.join(", ")
            )
        })?;
    config.connect_timeout = Some(std::time::Duration::from_secs(10));
    config.read_timeout = Some(std::time::Duration::from_secs(30));
    // The time that a connection lay idle is not the next answer's.
    config.reset_reader_on_write = true;
    Client::try_from(config).context("failed to set up the connection to the cluster")
}

/// The innermost cause of an error whose outer ones say the same again.
fn cause_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

/// Returns the name under which the cluster's agent is registered; absent = it has none.
///
/// # Errors
/// When the cluster does not answer or refuses.
pub async fn registered_as(client: &Client) -> anyhow::Result<Option<String>> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let found = deployments
        .get_opt(AGENT)
        .await
        .context("failed to look for an agent in the cluster")?;
    Ok(found.map(|deployment| {
        deployment
            .metadata
            .annotations
            .unwrap_or_default()
            .remove(CLUSTER_ANNOTATION)
            .unwrap_or_default()
    }))
}

/// What keeps the agent's pod from running.
pub struct Trouble {
    /// One sentence with the way out.
    pub text: String,
    /// Whether waiting is pointless.
    pub is_final: bool,
}

/// Looks at the agent's pods.
///
/// # Errors
/// When the cluster does not answer or refuses.
pub async fn agent_trouble(client: &Client) -> anyhow::Result<Option<Trouble>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let params = ListParams::default().labels("app.kubernetes.io/name=bellwether-agent");
    let list = pods
        .list(&params)
        .await
        .context("failed to look at the agent's pod")?;
    let mut found = None;
    for pod in &list.items {
        if pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        found = trouble_of(pod).or(found);
    }
    if list.items.is_empty() {
        found = Some(Trouble {
            text: "the cluster has not made the agent's pod yet; `kubectl -n bellwether-system \
                   describe deploy/bellwether-agent` says why"
                .to_owned(),
            is_final: false,
        });
    }
    Ok(found)
}

fn trouble_of(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let container = status
        .container_statuses
        .as_ref()
        .and_then(|all| all.first());
    let Some(container) = container else {
        let message = status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.status == "False" && condition.message.is_some())
            .and_then(|condition| condition.message.clone())?;
        return Some(Trouble {
            text: format!("the agent's pod waits: {message}"),
            is_final: false,
        });
    };
    let state = container.state.as_ref()?;
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or("Waiting");
    let message = waiting.message.as_deref().unwrap_or("no message");
    let image = &container.image;
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" => {
            Some(Trouble {
                text: format!(
                    "the agent's image {image} is missing in the cluster ({reason}: {message}); \
                     load it into the nodes, or name one that they can pull by --agent-image"
                ),
                is_final: true,
            })
        }
        "ContainerCreating" | "PodInitializing" => None,
        _ => Some(Trouble {
            text: format!(
                "the agent's pod does not run ({reason}: {message}); `kubectl -n {NAMESPACE} logs \
                 deploy/{AGENT} --previous` says why"
            ),
            is_final: false,
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::trouble_of;

    #[test]
    fn missing_image_is_final_and_says_the_way_out() {
        let pod = serde_json::from_value(json!({"status": {"containerStatuses": [{
            "name": "agent", "image": "agent:x", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImageNeverPull", "message": "not present"}},
        }]}}))
        .expect("a pod");
        let trouble = trouble_of(&pod).expect("trouble");
        assert!(trouble.is_final);
        assert!(trouble.text.contains("agent:x") && trouble.text.contains("--agent-image"));
    }

    #[test]
    fn creating_is_no_trouble() {
        let pod = serde_json::from_value(json!({"status": {"containerStatuses": [{
            "name": "agent", "image": "agent:x", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ContainerCreating"}},
        }]}}))
        .expect("a pod");
        assert!(trouble_of(&pod).is_none());
    }
}
