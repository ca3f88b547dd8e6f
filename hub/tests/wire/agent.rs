//! An agent that speaks the real protocol and keeps what it holds in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bellwether_api::root::Root;
use bellwether_hub::pki::Issued;
use bellwether_proto::{
    HUB_SERVER_NAME,
    limits::PROTOCOL,
    wire::{
        Ack, AgentMessage, Beat, Blob, BlobRange, Certificate, Credit, EnrolRequest, Hello,
        HubMessage, Refused, RenewRequest, UnitChange, Want, Welcome, agent_message::Message as Up,
        hub_message::Message as Down, identity_client::IdentityClient, link_client::LinkClient,
    },
};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use crate::harness::Hub;

pub const KUBE_UID: &str = "8d1d3e2c-0000-4000-8000-000000000001";
const PATIENCE: Duration = Duration::from_secs(15);

/// A key and a request for its certificate that asks for nothing.
pub fn request() -> (KeyPair, Vec<u8>) {
    request_with(CertificateParams::default())
}

pub fn request_with(params: CertificateParams) -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let csr = params.serialize_request(&key).unwrap().der().to_vec();
    (key, csr)
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Credentials {
    pub key: Vec<u8>,
    pub chain: Vec<Vec<u8>>,
    pub cluster: Uuid,
}

impl Credentials {
    pub fn new(key: &KeyPair, answer: &Certificate) -> Self {
        Self {
            key: key.serialize_der(),
            chain: answer.chain_der.iter().map(|der| der.to_vec()).collect(),
            cluster: answer.cluster_id.parse().unwrap(),
        }
    }

    pub fn issued(key: &KeyPair, issued: &Issued, cluster: Uuid) -> Self {
        Self {
            key: key.serialize_der(),
            chain: issued.chain_der.clone(),
            cluster,
        }
    }
}

/// Connects to a hub; a failed handshake is an error.
pub async fn connect(
    hub: &Hub,
    credentials: Option<&Credentials>,
) -> Result<Channel, std::io::Error> {
    connect_by(hub, credentials, &rustls::version::TLS13).await
}

pub async fn connect_by(
    hub: &Hub,
    credentials: Option<&Credentials>,
    version: &'static SupportedProtocolVersion,
) -> Result<Channel, std::io::Error> {
    let mut roots = RootCertStore::empty();
    for ca in hub.app().pki.trusted_ca_der() {
        roots.add(CertificateDer::from(ca)).unwrap();
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match credentials {
        None => builder.with_no_client_auth(),
        Some(credentials) => {
            let chain = credentials
                .chain
                .iter()
                .cloned()
                .map(CertificateDer::from)
                .collect();
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(credentials.key.clone()));
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(hub.address()).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(HUB_SERVER_NAME).unwrap();
    let tls = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await?;
    let mut stream = Some(TokioIo::new(tls));
    let connector = tower::service_fn(move |_: http::Uri| {
        let stream = stream.take();
        async move { stream.ok_or_else(|| std::io::Error::other("the connection ended")) }
    });
    Endpoint::from_static("http://hub")
        .connect_with_connector(connector)
        .await
        .map_err(std::io::Error::other)
}

/// Enrols with a token.
pub async fn enrol(hub: &Hub, token: &str) -> Result<(KeyPair, Certificate), Status> {
    enrol_as(hub, token, KUBE_UID, request()).await
}

pub async fn enrol_as(
    hub: &Hub,
    token: &str,
    kube_uid: &str,
    (key, csr): (KeyPair, Vec<u8>),
) -> Result<(KeyPair, Certificate), Status> {
    let channel = connect(hub, None).await.unwrap();
    let answer = IdentityClient::new(channel)
        .enrol(EnrolRequest {
            token: token.to_owned(),
            csr_der: csr.into(),
            cluster_uid: kube_uid.to_owned(),
            agent_version: "0.0.0-test".to_owned(),
        })
        .await?;
    Ok((key, answer.into_inner()))
}

/// A cluster that is enrolled.
pub async fn joined(hub: &Hub, name: &str) -> Credentials {
    let material = hub.token(name).await;
    let (key, answer) = enrol(hub, &material.token).await.unwrap();
    Credentials::new(&key, &answer)
}

pub async fn renew(channel: Channel) -> Result<(KeyPair, Certificate), Status> {
    let (key, csr) = request();
    let answer = IdentityClient::new(channel)
        .renew(RenewRequest {
            csr_der: csr.into(),
        })
        .await?;
    Ok((key, answer.into_inner()))
}

/// What an agent holds; outlives its sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub incarnation: u64,
    pub generation: u64,
    pub epoch: u64,
    /// Generation and digest; no digest = tombstone.
    pub units: BTreeMap<String, (u64, Option<[u8; 32]>)>,
    /// Packed contents by digest.
    pub blobs: BTreeMap<[u8; 32], Vec<u8>>,
}

impl Held {
    pub fn root(&self) -> Root {
        Root::of(
            self.units.iter().filter_map(|(key, (_, digest))| {
                digest.as_ref().map(|digest| (key.as_str(), digest))
            }),
        )
    }

    pub fn hello(&self) -> Hello {
        Hello {
            protocol_min: PROTOCOL,
            protocol_max: PROTOCOL,
            incarnation: self.incarnation,
            generation: self.generation,
            root: Bytes::copy_from_slice(self.root().as_bytes()),
            agent_version: "0.0.0-test".to_owned(),
            kubernetes_version: "v1.33.0".to_owned(),
            cluster_uid: KUBE_UID.to_owned(),
            capabilities: vec!["apps/v1".to_owned()],
            api_kinds: Vec::new(),
            nodes: None,
            epoch: self.epoch,
            agent_time_ms: jiff::Timestamp::now().as_millisecond(),
            instance: Bytes::new(),
            missing_rights: Vec::new(),
        }
    }

    pub fn take(&mut self, unit: &UnitChange) {
        let digest: Option<[u8; 32]> = unit.digest.as_ref().try_into().ok();
        let newer = self
            .units
            .get(&unit.key)
            .is_none_or(|(held, _)| unit.generation > *held);
        if newer {
            self.units
                .insert(unit.key.clone(), (unit.generation, digest));
        }
        if let Some(digest) = digest
            && !unit.inline_blob.is_empty()
        {
            self.blobs.insert(digest, unit.inline_blob.to_vec());
        }
    }
}

/// An open session.
pub struct Session {
    pub welcome: Welcome,
    up: mpsc::Sender<AgentMessage>,
    down: Streaming<HubMessage>,
}

impl Session {
    pub async fn open(channel: Channel, held: &Held) -> Result<Self, Status> {
        Self::open_with(channel, held.hello()).await
    }

    pub async fn open_with(channel: Channel, hello: Hello) -> Result<Self, Status> {
        let (up, messages) = mpsc::channel(64);
        up.send(AgentMessage {
            message: Some(Up::Hello(hello)),
        })
        .await
        .unwrap();
        let answer = LinkClient::new(channel)
            .session(ReceiverStream::new(messages))
            .await?;
        let mut down = answer.into_inner();
        match down.message().await?.and_then(|message| message.message) {
            Some(Down::Welcome(welcome)) => Ok(Self { welcome, up, down }),
            other => panic!("no welcome but {other:?}"),
        }
    }

    pub async fn say(&self, message: Up) {
        // A session that has ended hears nothing; what it said last is read from `hear`.
        let _ = self
            .up
            .send(AgentMessage {
                message: Some(message),
            })
            .await;
    }

    /// The next message; nothing = the stream ended.
    pub async fn hear(&mut self) -> Result<Option<Down>, Status> {
        let message = tokio::time::timeout(PATIENCE, self.down.message()).await;
        Ok(message
            .expect("the hub is silent")?
            .and_then(|message| message.message))
    }

    /// Reads until the hub ends the stream; gives its last word.
    pub async fn last_word(&mut self) -> Option<Refused> {
        let mut last = None;
        loop {
            match self.hear().await {
                Ok(Some(Down::Refused(refused))) => last = Some(refused),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return last,
            }
        }
    }

    pub async fn beat(&self, held: &Held) {
        self.say(Up::Beat(Beat {
            generation: held.generation,
            root: Bytes::copy_from_slice(held.root().as_bytes()),
            applied_generation: held.generation,
            ..Beat::default()
        }))
        .await;
    }

    /// Takes what comes until `generation` is held with every content, and acknowledges it.
    pub async fn catch_up(&mut self, held: &mut Held, generation: u64) {
        while held.generation < generation {
            let message = self.hear().await.unwrap().expect("the stream goes on");
            self.take(held, message).await;
        }
    }

    pub async fn take(&mut self, held: &mut Held, message: Down) {
        let reached = match message {
            Down::Delta(delta) => {
                assert!(delta.from <= held.generation, "a gap: {delta:?}");
                delta.changes.iter().for_each(|unit| held.take(unit));
                Some((delta.to, delta.root))
            }
            Down::Snapshot(part) => {
                part.units.iter().for_each(|unit| held.take(unit));
                part.complete.then_some((part.generation, part.root))
            }
            _ => None,
        };
        let Some((generation, root)) = reached else {
            return;
        };
        assert_eq!(
            held.root().as_bytes().as_slice(),
            root.as_ref(),
            "the root comes out"
        );
        self.fetch_missing(held).await;
        held.generation = generation.max(held.generation);
        held.incarnation = self.welcome.incarnation;
        held.epoch = self.welcome.epoch;
        self.say(Up::Ack(Ack {
            generation: held.generation,
            root,
        }))
        .await;
        self.say(Up::Credit(Credit { batches: 1 })).await;
    }

    async fn fetch_missing(&mut self, held: &mut Held) {
        let missing: BTreeSet<[u8; 32]> = held
            .units
            .values()
            .filter_map(|(_, digest)| *digest)
            .filter(|digest| !held.blobs.contains_key(digest))
            .collect();
        for digest in missing {
            let blob = self.fetch(digest).await;
            held.blobs.insert(digest, blob);
        }
    }

    /// Fetches one content, piece by piece.
    pub async fn fetch(&mut self, digest: [u8; 32]) -> Vec<u8> {
        let range = BlobRange {
            digest: Bytes::copy_from_slice(&digest),
            offset: 0,
        };
        self.say(Up::Want(Want { blobs: vec![range] })).await;
        let mut content = Vec::new();
        loop {
            match self.hear().await.unwrap().expect("the stream goes on") {
                Down::Blob(Blob {
                    offset,
                    total_bytes,
                    data,
                    ..
                }) => {
                    assert_eq!(offset, u64::try_from(content.len()).unwrap());
                    content.extend_from_slice(&data);
                    self.say(Up::Credit(Credit { batches: 1 })).await;
                    if u64::try_from(content.len()).unwrap() == total_bytes {
                        return content;
                    }
                }
                other => panic!("no blob but {other:?}"),
            }
        }
    }
}
