//! Debian's `docker-registry` on this machine, for one user alone, and a client to fill it.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol, Config, ImageLayer},
    manifest::OciImageManifest,
    secrets::RegistryAuth,
};
use tempfile::TempDir;

/// Who may use it.
pub const USER: &str = "git";
/// That user's password.
pub const PASSWORD: &str = "hunter2";

/// `PASSWORD` as an htpasswd file has it.
const USERS: &str = "git:$2b$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.\n";
/// What a chart is in a registry.
const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// A registry that ends when it is dropped.
#[derive(Debug)]
pub struct OciRegistry {
    address: String,
    child: Child,
    _directory: TempDir,
}

impl OciRegistry {
    /// Starts a registry without TLS on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When the Debian package `docker-registry` is not installed, or it does not come up.
    pub fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let users = directory.path().join("users");
        std::fs::write(&users, USERS)?;
        let configuration = format!(
            "version: 0.1\nlog: {{level: info, formatter: text}}\nstorage: {{inmemory: {{}}}}\n\
             http: {{addr: \"127.0.0.1:0\"}}\n\
             auth: {{htpasswd: {{realm: test, path: \"{}\"}}}}\n",
            users.display()
        );
        let file = directory.path().join("config.yml");
        std::fs::write(&file, configuration)?;
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("failed to start docker-registry, of the Debian package of that name")?;
        let found = address_of(&mut child);
        let mut registry = Self {
            address: String::new(),
            child,
            _directory: directory,
        };
        registry.address = found?;
        Ok(registry)
    }

    /// Pushes a packed chart into the folder `charts`.
    ///
    /// # Errors
    /// When the registry refuses.
    pub fn push_chart(&self, name: &str, version: &str, archive: Vec<u8>) -> Result<()> {
        let kind = "application/vnd.cncf.helm.config.v1+json";
        let layer = ImageLayer::new(archive, CHART.to_owned(), None);
        self.push(&format!("charts/{name}:{version}"), layer, kind)
    }

    /// Pushes one file, as ORAS does, and gives the address of its repository.
    ///
    /// # Errors
    /// When the registry refuses.
    pub fn push_file(&self, name: &str, tag: &str, file: &str, content: &str) -> Result<String> {
        let title = ("org.opencontainers.image.title".to_owned(), file.to_owned());
        let kind = "application/yaml".to_owned();
        let content = content.as_bytes().to_vec();
        let layer = ImageLayer::new(content, kind, Some([title].into()));
        let config = "application/vnd.unknown.config.v1+json";
        self.push(&format!("{name}:{tag}"), layer, config)?;
        Ok(format!("oci://{}/{name}", self.address))
    }

    fn push(&self, path: &str, layer: ImageLayer, config: &str) -> Result<()> {
        // Another test of this program may have chosen one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::new(ClientConfig {
            protocol: ClientProtocol::Http,
            ..ClientConfig::default()
        });
        let reference: Reference = format!("{}/{path}", self.address).parse()?;
        let layers = [layer];
        let config = Config::new(b"{}".to_vec(), config.to_owned(), None);
        let manifest = OciImageManifest::build(&layers, &config, None);
        let auth = RegistryAuth::Basic(USER.to_owned(), PASSWORD.to_owned());
        let runtime = tokio::runtime::Runtime::new()?;
        let pushed = client.push(&reference, &layers, config, &auth, Some(manifest));
        runtime.block_on(pushed)?;
        Ok(())
    }

    /// The folder of its charts, as a component names it.
    #[must_use]
    pub fn charts(&self) -> String {
        format!("oci://{}/charts", self.address)
    }
}

/// Waits for the line that says where it listens, and reads on so that it can write on.
fn address_of(child: &mut Child) -> Result<String> {
    let mut lines = BufReader::new(child.stderr.take().context("piped")?).lines();
    let mut seen = Vec::new();
    let address = loop {
        let line = lines.next();
        let line = line.with_context(|| format!("the registry ended: {seen:?}"))??;
        if let Some((_, rest)) = line.split_once("listening on ") {
            let end = rest.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
            break rest[..end.unwrap_or(rest.len())].to_owned();
        }
        seen.push(line);
    };
    std::thread::spawn(move || lines.for_each(drop));
    Ok(address)
}

impl Drop for OciRegistry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
