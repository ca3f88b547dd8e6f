//! `install`.

use std::path::PathBuf;

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
    /// The hub's ServiceAccount there, which gets the rights that mirroring takes; none are given unless
    /// it is named
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = service_account)]
    pub service_account: Option<(String, String)>,
    /// Print the manifests and change nothing
    #[arg(long)]
    pub print: bool,
}

fn service_account(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("it is NAMESPACE/NAME, such as bellwether/bellwether-hub".to_owned()),
    }
}
