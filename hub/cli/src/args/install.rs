//! `install`.

use std::path::PathBuf;

use bellwether_api::installation::AGENT_NAMESPACE;
use clap::{Args, Subcommand};

/// `install …`.
#[derive(Subcommand, Debug)]
pub enum InstallCommand {
    /// Install the kinds of records as custom resources in the cluster that hosts the hub
    Crds(CrdsArgs),
}

/// `install crds`.
#[derive(Args, Debug)]
pub struct CrdsArgs {
    /// Context of the kubeconfig
    #[arg(long)]
    pub context: Option<String>,
    /// The kubeconfig; KUBECONFIG or ~/.kube/config unless given
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The hub's ServiceAccount there, which gets the rights that mirroring takes, and whose namespace is made
    /// and marked as Bellwether's own; none are given unless it is named
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = service_account)]
    pub service_account: Option<(String, String)>,
    /// Print the manifests and change nothing
    #[arg(long)]
    pub print: bool,
}

fn service_account(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((AGENT_NAMESPACE, _)) => Err(format!(
            "{AGENT_NAMESPACE} is the agent's, and goes when this cluster is unregistered; give the hub a \
             namespace of its own, such as bellwether"
        )),
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("it is NAMESPACE/NAME, such as bellwether/bellwether-hub".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::service_account;

    #[test]
    fn the_hub_does_not_live_in_the_agents_namespace() {
        assert_eq!(
            service_account("bellwether/hub"),
            Ok(("bellwether".to_owned(), "hub".to_owned()))
        );
        for wrong in ["hub", "/hub", "bellwether/", "bellwether-system/hub"] {
            assert!(service_account(wrong).is_err(), "{wrong}");
        }
    }
}
