//! `register` and `unregister`.

use std::{path::PathBuf, time::Duration};

use bellwether_api::{
    reference::NamespacedName,
    validate::{is_dns_domain, is_dns_label},
};
use clap::{Args, Subcommand, ValueEnum};

use super::{parse_duration, parse_label};

/// `register …`.
#[derive(Subcommand, Debug)]
pub enum RegisterCommand {
    /// Install the agent in a cluster and wait for its heartbeat
    Cluster(RegisterArgs),
}

/// `register cluster`.
#[derive(Args, Debug)]
pub struct RegisterArgs {
    /// The cluster's name in the fleet
    pub name: String,
    /// Context of the kubeconfig
    #[arg(long)]
    pub context: Option<String>,
    /// The kubeconfig; KUBECONFIG or ~/.kube/config unless given
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Labels of the cluster
    #[arg(short = 'l', long = "label", value_name = "K=V", value_parser = parse_label, value_delimiter = ',')]
    pub labels: Vec<(String, String)>,
    /// Namespaces that the agent may work in
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "default",
        value_name = "NAME,…"
    )]
    pub namespaces: Vec<String>,
    /// Kinds that the agent may manage there, as kind or resource.group
    #[arg(long, value_delimiter = ',', value_name = "KIND,…")]
    pub kinds: Vec<String>,
    /// ServiceAccounts in whose names the agent may apply, as NAMESPACE/NAME; `spec.serviceAccount` of
    /// applications names them
    #[arg(long, value_delimiter = ',', value_name = "NAMESPACE/NAME", value_parser = parse_account)]
    pub impersonate: Vec<NamespacedName>,
    /// Base URL of the cluster's Prometheus, as its pods reach it
    #[arg(long, value_name = "URL")]
    pub metrics_address: Option<String>,
    /// Image of the agent
    #[arg(
        long,
        env = "BELLWETHER_AGENT_IMAGE",
        default_value = concat!("ghcr.io/bellwether-dev/bellwether-agent:", env!("CARGO_PKG_VERSION")),
        value_name = "REF"
    )]
    pub agent_image: String,
    /// When the image is pulled
    #[arg(long, value_enum, default_value_t = PullPolicy::IfNotPresent)]
    pub image_pull_policy: PullPolicy,
    /// Where the agent reaches the hub; the hub's own answer unless given
    #[arg(long, value_name = "HOST:PORT")]
    pub hub_address: Option<String>,
    /// What becomes of an update of a workload of others while the agent does not answer; off = the API
    /// server does not ask it, and updates are held once they are seen
    #[arg(long, value_enum, default_value_t = AdmissionWebhook::Ignore, value_name = "POLICY")]
    pub admission_webhook: AdmissionWebhook,
    /// Let the agent list what policy engines report: policy reports of the whole cluster, and
    /// constraints of Gatekeeper with every kind of theirs
    #[arg(long)]
    pub policy_reports: bool,
    /// Let the agent list the pods of every namespace, to add up what they ask for: placement then knows
    /// what the cluster has free
    #[arg(long)]
    pub count_pods: bool,
    /// Print the manifests and change nothing
    #[arg(long)]
    pub print: bool,
    /// How long to wait for the heartbeat
    #[arg(long, default_value = "2m", value_parser = parse_duration)]
    pub timeout: Duration,
}

/// Whether the API server asks the agent before it takes updates of workloads of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AdmissionWebhook {
    /// It does; while the agent does not answer they are let through.
    Ignore,
    /// It does; while the agent does not answer they are refused.
    Fail,
    /// It does not.
    Off,
}

impl AdmissionWebhook {
    /// Returns Kubernetes' word for the failure policy; absent = there is no webhook.
    #[must_use]
    pub const fn failure_policy(self) -> Option<&'static str> {
        match self {
            Self::Ignore => Some("Ignore"),
            Self::Fail => Some("Fail"),
            Self::Off => None,
        }
    }
}

/// When the agent's image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PullPolicy {
    /// Where the node lacks it.
    #[value(name = "IfNotPresent")]
    IfNotPresent,
    /// Never.
    #[value(name = "Never")]
    Never,
    /// At every start.
    #[value(name = "Always")]
    Always,
}

impl PullPolicy {
    /// Returns Kubernetes' word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
            Self::Always => "Always",
        }
    }
}

/// `unregister …`.
#[derive(Subcommand, Debug)]
pub enum UnregisterCommand {
    /// Revoke the cluster's identity and remove the agent; workloads stay
    Cluster {
        /// The cluster's name
        name: String,
        /// Context of the kubeconfig
        #[arg(long)]
        context: Option<String>,
        /// The kubeconfig; KUBECONFIG or ~/.kube/config unless given
        #[arg(long, value_name = "FILE")]
        kubeconfig: Option<PathBuf>,
        /// Only forget the cluster at the hub; leave the agent where it is
        #[arg(long)]
        hub_only: bool,
    },
}

/// `revoke …`.
#[derive(Subcommand, Debug)]
pub enum RevokeCommand {
    /// Refuse the cluster's certificates from now on; `register cluster` lets it in again
    Cluster {
        /// The cluster's name
        name: String,
        /// Why; shown at the cluster
        #[arg(long, default_value = "")]
        reason: String,
        /// Do not ask
        #[arg(short = 'y', long)]
        yes: bool,
    },
}

/// Namespaces whose ServiceAccounts are those of the cluster itself and of the agent.
const NEVER_IMPERSONATED: [&str; 2] = ["kube-system", crate::register::NAMESPACE];

fn parse_account(text: &str) -> Result<NamespacedName, String> {
    let (namespace, name) = text
        .split_once('/')
        .filter(|(namespace, name)| is_dns_label(namespace) && is_dns_domain(name))
        .ok_or_else(|| format!("{text:?} is no ServiceAccount; write it as NAMESPACE/NAME"))?;
    if NEVER_IMPERSONATED.contains(&namespace) {
        return Err(format!(
            "ServiceAccounts of {namespace} have rights on the cluster itself; no application is applied in \
             their names"
        ));
    }
    Ok(NamespacedName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::parse_account;

    #[test]
    fn accounts_are_named_with_their_namespace_and_none_of_the_clusters_own_is() {
        let read = |text: &str| parse_account(text).map(|account| account.to_string());
        assert_eq!(
            read("shop/web.deployer"),
            Ok("shop/web.deployer".to_owned())
        );
        for (text, said) in [
            ("deployer", "write it as NAMESPACE/NAME"),
            ("shop/", "write it as NAMESPACE/NAME"),
            ("shop/*", "write it as NAMESPACE/NAME"),
            ("shop/a/b", "write it as NAMESPACE/NAME"),
            ("kube-system/default", "rights on the cluster itself"),
            (
                "bellwether-system/bellwether-agent",
                "rights on the cluster itself",
            ),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
