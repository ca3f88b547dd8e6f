use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bellwether_api::{alert_provider::AlertProviderKind, validate::is_own};
use bellwether_hub_core::alert::{Delivery, judge};
use bellwether_sources::{Network, Secret};
use reqwest::{
    Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use serde_json::Value;

/// How long one message may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Posts messages: to no address of the hub's own machine or link, unless its networks have it, and over no
/// redirect.
pub(super) struct Sender {
    client: Client,
    reach: Reach,
}

/// Which addresses are the hub's own, and which of them may be asked all the same.
#[derive(Clone, Debug)]
struct Reach(Arc<[Network]>);

impl Reach {
    fn allows(&self, address: IpAddr) -> bool {
        !is_own(address) || self.0.iter().any(|network| network.contains(address))
    }
}

impl Resolve for Reach {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|at| reach.allows(at.ip())).collect();
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

impl Sender {
    pub(super) fn new(networks: Vec<Network>) -> Result<Self, reqwest::Error> {
        let reach = Reach(networks.into());
        let builder = || {
            Client::builder()
                .redirect(Policy::none())
                .connect_timeout(Duration::from_secs(5))
                .dns_resolver(Arc::new(reach.clone()))
        };
        // A machine without authorities can still post to plain hosts.
        let client = builder()
            .build()
            .or_else(|_| builder().tls_certs_only([]).build())?;
        Ok(Self { client, reach })
    }

    /// Posts a message. Whatever is said of it says nothing of the address, which is a secret.
    pub(super) async fn post(
        &self,
        kind: AlertProviderKind,
        address: &Secret,
        body: &Value,
    ) -> Delivery {
        let url = match self.url(address.expose()) {
            Ok(url) => url,
            Err(why) => {
                return Delivery::Refused {
                    why: why.to_owned(),
                };
            }
        };
        let sent = self.client.post(url).timeout(TIMEOUT).json(body).send();
        let mut answer = match sent.await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() || error.is_builder() => {
                return Delivery::Again {
                    why: "it cannot be reached".to_owned(),
                };
            }
            Err(_) => {
                return Delivery::Unknown {
                    why: "it does not answer, and may have taken the message".to_owned(),
                };
            }
        };
        let status = answer.status().as_u16();
        let mut said = Vec::new();
        while let Ok(Some(part)) = answer.chunk().await {
            let room = MAX_ANSWER_BYTES.saturating_sub(said.len());
            said.extend_from_slice(&part[..part.len().min(room)]);
            if room <= part.len() {
                break;
            }
        }
        judge(kind, status, &said)
    }

    fn url(&self, address: &str) -> Result<Url, &'static str> {
        let url = Url::parse(address).map_err(|_| "its address is no URL")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("its address begins with neither https:// nor http://");
        }
        let host = url.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let literal: Option<IpAddr> = bare.parse().ok();
        if literal.is_some_and(|address| !self.reach.allows(address)) {
            return Err("its address is one of the hub's own machine");
        }
        Ok(url)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    async fn posted(sender: &Sender, address: &str) -> Delivery {
        let address = Secret::new(address);
        sender
            .post(AlertProviderKind::Slack, &address, &json!({}))
            .await
    }

    #[tokio::test]
    async fn the_hubs_own_machine_is_not_told_and_no_address_is_said() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let sender = Sender::new(Vec::new()).unwrap();
        for address in [
            "http://127.0.0.1:1/sesame",
            "http://[::1]/sesame",
            "https://169.254.169.254/sesame",
            "ftp://example.com/sesame",
            "sesame",
        ] {
            let Delivery::Refused { why } = posted(&sender, address).await else {
                panic!("{address} was asked");
            };
            assert!(!why.contains("sesame") && !why.contains("127"), "{why}");
        }
        let local = posted(&sender, "http://localhost:1/sesame").await;
        assert!(matches!(local, Delivery::Again { why } if !why.contains("sesame")));
    }

    #[tokio::test]
    async fn who_cannot_be_reached_is_tried_again_and_who_is_silent_is_not() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let sender = Sender::new(vec!["127.0.0.0/8".parse().unwrap()]).unwrap();
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let refused = posted(&sender, &format!("http://127.0.0.1:{port}/")).await;
        assert!(matches!(refused, Delivery::Again { .. }), "{refused:?}");
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let accepts = tokio::spawn(async move { drop(silent.accept().await) });
        let unknown = posted(&sender, &format!("http://127.0.0.1:{port}/")).await;
        assert!(matches!(unknown, Delivery::Unknown { .. }), "{unknown:?}");
        accepts.await.unwrap();
    }
}
