//! Debian's `docker-registry` on this machine, which ends with its test, and a client to fill it.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol, Config, ImageLayer},
    manifest::OciImageManifest,
    secrets::RegistryAuth,
};
use tempfile::TempDir;

/// The user `git` with the password `hunter2`.
const USERS: &str = "git:$2b$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.\n";

pub struct Registry {
    pub address: String,
    child: Child,
    auth: RegistryAuth,
    _directory: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// Starts a registry, for anybody or for one user alone.
    pub fn start(private: bool) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let users = directory.path().join("users");
        std::fs::write(&users, USERS).expect("users");
        let mut configuration = "version: 0.1\nlog: {level: info, formatter: text}\n\
             storage: {inmemory: {}}\nhttp: {addr: \"127.0.0.1:0\"}\n"
            .to_owned();
        let mut auth = RegistryAuth::Anonymous;
        if private {
            let path = users.display();
            configuration += &format!("auth: {{htpasswd: {{realm: test, path: \"{path}\"}}}}\n");
            auth = RegistryAuth::Basic("git".to_owned(), "hunter2".to_owned());
        }
        let file = directory.path().join("config.yml");
        std::fs::write(&file, configuration).expect("a configuration");
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry, of the Debian package of that name");
        let address = address_of(&mut child);
        Self {
            address,
            child,
            auth,
            _directory: directory,
        }
    }

    /// Pushes layers as a tag and returns the digest of the manifest.
    pub async fn push(&self, repository: &str, tag: &str, layers: &[ImageLayer]) -> String {
        let client = Client::new(ClientConfig {
            protocol: ClientProtocol::Http,
            ..ClientConfig::default()
        });
        let reference = format!("{}/{repository}:{tag}", self.address);
        let reference: Reference = reference.parse().expect("a reference");
        let config = Config::new(b"{}".to_vec(), "application/vnd.test+json".to_owned(), None);
        let manifest = OciImageManifest::build(layers, &config, None);
        client
            .push(&reference, layers, config, &self.auth, Some(manifest))
            .await
            .expect("pushed");
        client
            .fetch_manifest_digest(&reference, &self.auth)
            .await
            .expect("a digest")
    }

    pub fn url(&self, repository: &str) -> String {
        format!("oci://{}/{repository}", self.address)
    }
}

/// Waits for the line that says where it listens, and reads on so that it can write on.
fn address_of(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut seen = Vec::new();
    let address = loop {
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("the registry ended: {seen:?}"));
        let line = line.expect("text");
        if let Some((_, rest)) = line.split_once("listening on ") {
            let end = rest.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
            break rest[..end.unwrap_or(rest.len())].to_owned();
        }
        seen.push(line);
    };
    std::thread::spawn(move || lines.for_each(drop));
    address
}

pub fn layer(
    data: impl Into<Vec<u8>>,
    media_type: &str,
    annotations: &[(&str, &str)],
) -> ImageLayer {
    let annotations: BTreeMap<String, String> = annotations
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    ImageLayer::new(data.into(), media_type.to_owned(), Some(annotations))
}
