//! What an operator sets: flags, each also an environment variable `BELLWETHER_…`.

mod custom_resources;

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    path::PathBuf,
    time::Duration,
};

use bellwether_api::{duration::Dur, reference::NamespacedName};

pub use custom_resources::{AdmissionAddress, CustomResourceConfig, FailurePolicy};

/// Settings of one hub process.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Folder of the hub's own files: database, certificate authority, keys, sockets
    #[arg(long, env = "BELLWETHER_DATA_DIR", default_value_os_t = default_data_dir())]
    pub data_dir: PathBuf,
    /// Address of the HTTP API
    #[arg(long, env = "BELLWETHER_LISTEN", default_value = "127.0.0.1:7700")]
    pub listen: SocketAddr,
    /// Address that agents connect to
    #[arg(long, env = "BELLWETHER_AGENT_LISTEN", default_value = "0.0.0.0:7701")]
    pub agent_listen: SocketAddr,
    /// host:port at which agents reach the hub; goes into join tokens; may be repeated
    #[arg(long, env = "BELLWETHER_AGENT_ADDRESS", value_delimiter = ',')]
    pub agent_address: Vec<String>,
    /// Postgres to use; without it the hub runs its own
    #[arg(
        long,
        env = "BELLWETHER_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub database_url: Option<String>,
    /// Folder of `initdb` and `postgres` for the hub's own Postgres
    #[arg(long, env = "BELLWETHER_POSTGRES_BIN", value_name = "DIR")]
    pub postgres_bin: Option<PathBuf>,
    /// Folder of the certificate authority and of the key for Secrets; hubs of one database share it [default: `DATA_DIR/pki`]
    #[arg(long, env = "BELLWETHER_PKI_DIR", value_name = "DIR")]
    pub pki_dir: Option<PathBuf>,
    /// File of the key that seals Secrets and secrets; made at the first start, hubs of one database share it [default: `PKI_DIR/blob.key`]
    #[arg(long, env = "BELLWETHER_SECRET_KEY_FILE", value_name = "FILE")]
    pub secret_key_file: Option<PathBuf>,
    /// Secret of the hub (`bellwether secret set`) whose values sign push webhooks; without it there are none
    #[arg(
        long,
        env = "BELLWETHER_WEBHOOK_SECRET",
        value_name = "NAMESPACE/NAME",
        value_parser = namespaced
    )]
    pub webhook_secret: Option<NamespacedName>,
    /// Host part of the identities in certificates
    #[arg(
        long,
        env = "BELLWETHER_TRUST_DOMAIN",
        default_value = "bellwether.local"
    )]
    pub trust_domain: String,
    /// How long a cluster's certificate is valid; renewed at half of it
    #[arg(long, env = "BELLWETHER_CERTIFICATE_LIFETIME", default_value = "24h")]
    pub certificate_lifetime: Dur,
    /// Private networks that sources may be fetched from, such as 10.1.0.0/16; public addresses always may
    #[arg(
        long,
        env = "BELLWETHER_SOURCE_NETWORKS",
        value_delimiter = ',',
        value_name = "CIDR"
    )]
    pub source_networks: Vec<bellwether_sources::Network>,
    /// Hosts that sources are fetched from without TLS, as name or name:port
    #[arg(
        long,
        env = "BELLWETHER_SOURCE_PLAIN_HTTP_HOSTS",
        value_delimiter = ',',
        value_name = "HOST"
    )]
    pub source_plain_http_hosts: Vec<String>,
    /// The program that renders charts and kustomizations [default: bellwether-renderer beside this one]
    #[arg(long, env = "BELLWETHER_RENDERER", value_name = "FILE")]
    pub renderer: Option<PathBuf>,
    /// Records as custom resources.
    #[command(flatten)]
    pub custom_resources: CustomResourceConfig,
    /// Program that components name by `plugin`, under this name; the file PROGRAM.schema.json beside it, if
    /// there is one, says which parameters it takes
    #[arg(
        long = "plugin",
        env = "BELLWETHER_PLUGINS",
        value_delimiter = ',',
        value_name = "NAME=PROGRAM",
        value_parser = named_program
    )]
    pub plugins: Vec<(String, PathBuf)>,
    /// How log lines look
    #[arg(long, env = "BELLWETHER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Folder of the certificate authority.
    #[must_use]
    pub fn pki_dir(&self) -> PathBuf {
        self.pki_dir
            .clone()
            .unwrap_or_else(|| self.data_dir.join("pki"))
    }

    /// The Unix socket of the HTTP API.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.data_dir.join("hub.sock")
    }

    /// The key that encrypts secrets and blobs with Secrets; hubs of one database share it.
    #[must_use]
    pub fn blob_key_path(&self) -> PathBuf {
        let own = self.secret_key_file.clone();
        own.unwrap_or_else(|| self.pki_dir().join("blob.key"))
    }

    /// How long a cluster's certificate is valid.
    #[must_use]
    pub fn certificate_lifetime(&self) -> Duration {
        self.certificate_lifetime.as_std()
    }

    /// `host:port` pairs at which agents reach this hub; the machine's own address where the
    /// operator named none. `port` is the one that was bound.
    #[must_use]
    pub fn advertised_addresses(&self, port: u16) -> Vec<String> {
        if !self.agent_address.is_empty() {
            return self.agent_address.clone();
        }
        let address = if self.agent_listen.ip().is_unspecified() {
            outward_address()
        } else {
            self.agent_listen.ip()
        };
        vec![SocketAddr::new(address, port).to_string()]
    }
}

/// The address of the interface that leads outward; nothing is sent.
fn outward_address() -> IpAddr {
    let local = IpAddr::from([127, 0, 0, 1]);
    UdpSocket::bind("0.0.0.0:0")
        .and_then(|socket| {
            socket
                .connect("192.0.2.1:9")
                .and_then(|()| socket.local_addr())
        })
        .map_or(local, |address| address.ip())
}

fn named_program(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, program)) if !name.is_empty() && !program.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(program)))
        }
        _ => Err("it is NAME=PROGRAM, such as web-service=/opt/renderers/web-service".to_owned()),
    }
}

fn namespaced(text: &str) -> Result<NamespacedName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok(NamespacedName {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            })
        }
        _ => Err("it is NAMESPACE/NAME, such as default/push".to_owned()),
    }
}

fn default_data_dir() -> PathBuf {
    if nix::unistd::Uid::effective().is_root() {
        return PathBuf::from("/var/lib/bellwether");
    }
    std::env::home_dir().map_or_else(
        || PathBuf::from("bellwether-data"),
        |home| home.join(".local/share/bellwether"),
    )
}
