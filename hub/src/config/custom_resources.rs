//! Flags of mirroring custom resources.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use bellwether_api::custom_resource::WEBHOOK_PATH;
use serde_json::{Value, json};

/// Whether and how custom resources are mirrored.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CustomResourceConfig {
    /// Mirror records from custom resources of the cluster that hosts the hub
    #[arg(long, env = "BELLWETHER_CUSTOM_RESOURCES")]
    pub custom_resources: bool,
    /// The kubeconfig of that cluster; without it the hub is a pod there
    #[arg(
        long,
        env = "BELLWETHER_KUBECONFIG",
        value_name = "FILE",
        requires = "custom_resources"
    )]
    pub kubeconfig: Option<PathBuf>,
    /// Address at which the API server asks about custom resources before it takes them; without it they
    /// are checked once they are stored
    #[arg(
        long,
        env = "BELLWETHER_ADMISSION_LISTEN",
        value_name = "ADDRESS",
        requires_all = ["custom_resources", "admission_address"]
    )]
    pub admission_listen: Option<SocketAddr>,
    /// Where the API server reaches that address: host:port, or NAMESPACE/SERVICE with port 443
    #[arg(
        long,
        env = "BELLWETHER_ADMISSION_ADDRESS",
        value_name = "HOST:PORT|NAMESPACE/SERVICE",
        requires = "admission_listen"
    )]
    pub admission_address: Option<AdmissionAddress>,
    /// What becomes of a custom resource while no hub answers
    #[arg(
        long,
        env = "BELLWETHER_ADMISSION_FAILURE_POLICY",
        value_enum,
        default_value_t = FailurePolicy::Ignore
    )]
    pub admission_failure_policy: FailurePolicy,
}

impl CustomResourceConfig {
    /// The name by which API servers know the hub; absent = they do not ask it.
    #[must_use]
    pub fn server_name(&self) -> Option<String> {
        self.admission_address
            .as_ref()
            .map(AdmissionAddress::server_name)
    }
}

/// What becomes of a custom resource while no hub answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum FailurePolicy {
    /// It is stored, and checked once a hub sees it.
    #[default]
    Ignore,
    /// It is refused.
    Fail,
}

impl FailurePolicy {
    /// Kubernetes' word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ignore => "Ignore",
            Self::Fail => "Fail",
        }
    }
}

/// Where an API server reaches the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdmissionAddress {
    /// By a name or address of its own.
    Host {
        /// The name or address; IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// By a Service of the cluster, at port 443.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl AdmissionAddress {
    /// The name in the hub's certificate that the API server looks for.
    #[must_use]
    pub fn server_name(&self) -> String {
        match self {
            Self::Host { host, .. } => host.clone(),
            Self::Service { namespace, name } => format!("{name}.{namespace}.svc"),
        }
    }

    /// The address as a webhook's configuration names it.
    #[must_use]
    pub fn client_config(&self) -> Value {
        match self {
            Self::Host { host, port } if host.contains(':') => {
                json!({"url": format!("https://[{host}]:{port}{WEBHOOK_PATH}")})
            }
            Self::Host { host, port } => {
                json!({"url": format!("https://{host}:{port}{WEBHOOK_PATH}")})
            }
            Self::Service { namespace, name } => json!({"service": {
                "namespace": namespace, "name": name, "path": WEBHOOK_PATH, "port": 443,
            }}),
        }
    }
}

impl FromStr for AdmissionAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "it is HOST:PORT or NAMESPACE/SERVICE, such as bellwether/hub-admission".to_owned();
        if let Some((namespace, name)) = text.split_once('/') {
            let is_name = |text: &str| bellwether_api::validate::is_dns_label(text);
            if !is_name(namespace) || !is_name(name) {
                return Err(wrong());
            }
            return Ok(Self::Service {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            });
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = host.trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Self::Host { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_or_services() {
        let read = |text: &str| text.parse::<AdmissionAddress>();
        let host = read("hub.example.com:7702").expect("a host");
        assert_eq!(host.server_name(), "hub.example.com");
        assert_eq!(
            host.client_config(),
            json!({"url": "https://hub.example.com:7702/admit"})
        );
        let v6 = read("[fd00::1]:7702").expect("an address");
        assert_eq!(v6.server_name(), "fd00::1");
        assert_eq!(
            v6.client_config(),
            json!({"url": "https://[fd00::1]:7702/admit"})
        );
        let service = read("bellwether/hub").expect("a service");
        assert_eq!(service.server_name(), "hub.bellwether.svc");
        assert_eq!(service.client_config()["service"]["path"], "/admit");
        for wrong in ["hub", "hub:", ":7702", "hub:port", "/hub", "a/b/c", "A/b"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
