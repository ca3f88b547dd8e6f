//! Which addresses the hub fetches from: what a user names must not reach what only the hub can reach.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use crate::SourceError;

/// Which addresses may be asked, and where without TLS.
///
/// The default is public addresses alone, and TLS or SSH everywhere. Whoever writes an application could
/// otherwise make the hub ask services that trust its network: a cloud's metadata service, its own
/// database, a neighbour's administration page.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    /// Networks that are allowed though they are private, of this machine, or of this link: those of an
    /// own Git server or registry.
    pub allowed_networks: Vec<Network>,
    /// Hosts, as `name` or `name:port`, that are asked over plain HTTP: `http://` is accepted for them
    /// alone, and a registry among them is spoken to without TLS.
    pub plain_http_hosts: Vec<String>,
}

impl AddressPolicy {
    /// Tells whether a host is asked over plain HTTP.
    pub(crate) fn is_plain(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let with_port = format!("{host}:{port}");
        self.plain_http_hosts
            .iter()
            .any(|plain| plain.eq_ignore_ascii_case(host) || plain.eq_ignore_ascii_case(&with_port))
    }

    /// Returns why an address is refused, if it is.
    pub(crate) fn refusal(&self, address: IpAddr) -> Option<&'static str> {
        let address = address.to_canonical();
        if self
            .allowed_networks
            .iter()
            .any(|network| network.contains(address))
        {
            return None;
        }
        match address {
            IpAddr::V4(v4) => refusal_v4(v4),
            IpAddr::V6(v6) => refusal_v6(v6),
        }
    }

    /// Returns the addresses of a host that may be asked.
    ///
    /// # Errors
    ///
    /// If it has none, or none that may be.
    pub(crate) async fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, SourceError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found: Vec<SocketAddr> = tokio::net::lookup_host((bare, port))
            .await
            .map_err(|_| SourceError::Unreachable {
                host: host.to_owned(),
                why: "its name does not resolve".to_owned(),
            })?
            .collect();
        let mut refused = None;
        let mut allowed = Vec::new();
        for address in found {
            match self.refusal(address.ip()) {
                None => allowed.push(address),
                Some(kind) => refused = Some((address.ip(), kind)),
            }
        }
        match (allowed.is_empty(), refused) {
            (false, _) => Ok(allowed),
            (true, Some((address, kind))) => Err(refused_address(host, address, kind)),
            (true, None) => Err(SourceError::Unreachable {
                host: host.to_owned(),
                why: "its name has no address".to_owned(),
            }),
        }
    }
}

fn refused_address(host: &str, address: IpAddr, kind: &str) -> SourceError {
    SourceError::AddressRefused {
        host: host.to_owned(),
        address: address.to_string(),
        why: format!(
            "{kind}, which the hub does not fetch from unless its allowed source networks have it"
        ),
    }
}

fn refusal_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, ..] = address.octets();
    match (a, b) {
        (0, _) => Some("an address of no host"),
        (127, _) => Some("an address of the hub's own machine"),
        (169, 254) => Some("a link-local address"),
        (10, _) | (172, 16..=31) | (192, 168) => Some("a private address"),
        (100, 64..=127) => Some("a private address (carrier-grade NAT)"),
        (192, 0) if address.octets()[2] == 0 => Some("a reserved address"),
        (198, 18..=19) => Some("a reserved address"),
        (224..=255, _) => Some("a multicast or reserved address"),
        _ => None,
    }
}

fn refusal_v6(address: Ipv6Addr) -> Option<&'static str> {
    let parts = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        refusal_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("an address of no host"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("an address of the hub's own machine"),
        // Addresses of IPv4 in other clothes: compatible, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            embedded(high, low)
        }
        [0x2002, high, low, ..] => embedded(high, low),
        [first, ..] if first & 0xfe00 == 0xfc00 => Some("a private address"),
        [first, ..] if first & 0xffc0 == 0xfe80 => Some("a link-local address"),
        [first, ..] if first & 0xffc0 == 0xfec0 => Some("a private address"),
        [first, ..] if first & 0xff00 == 0xff00 => Some("a multicast address"),
        [0x64, 0xff9b, 1, ..] => Some("a private address (NAT64)"),
        _ => None,
    }
}

/// A network, written as `10.0.0.0/8` or as a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text is no network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a network; write an address and a number of bits, like 10.0.0.0/8")]
pub struct NetworkError {
    text: String,
}

impl Network {
    /// Tells whether an address is of this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let shift = 32 - u32::from(self.bits);
                u64::from(ours.to_bits()) >> shift == u64::from(theirs.to_bits()) >> shift
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let cut = |bits: u128| bits.checked_shr(128 - u32::from(self.bits)).unwrap_or(0);
                cut(ours.to_bits()) == cut(theirs.to_bits())
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let error = || NetworkError {
            text: text.to_owned(),
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => bits.parse().map_err(|_| error())?,
        };
        if bits > most {
            return Err(error());
        }
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_hub_can_reach_is_refused_in_every_spelling() {
        let policy = AddressPolicy::default();
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "64:ff9b:1::1",
        ] {
            let parsed: IpAddr = address.parse().expect(address);
            assert!(policy.refusal(parsed).is_some(), "{address}");
        }
        for address in [
            "8.8.8.8",
            "172.32.0.1",
            "192.169.0.1",
            "100.128.0.1",
            "2606:4700::1111",
        ] {
            let parsed: IpAddr = address.parse().expect(address);
            assert_eq!(policy.refusal(parsed), None, "{address}");
        }
    }

    #[test]
    fn an_allowed_network_opens_itself_alone() {
        let policy = AddressPolicy {
            allowed_networks: vec!["10.1.0.0/16".parse().expect("a network")],
            ..AddressPolicy::default()
        };
        let refused = |address: &str| policy.refusal(address.parse().expect(address)).is_some();
        assert!(!refused("10.1.255.3"));
        assert!(!refused("::ffff:10.1.0.1"));
        assert!(refused("10.2.0.1"));
        assert!(refused("127.0.0.1"));
    }

    #[test]
    fn networks_are_read_and_contain() {
        let contains = |network: &str, address: &str| {
            let network: Network = network.parse().expect(network);
            network.contains(address.parse().expect(address))
        };
        assert!(contains("0.0.0.0/0", "8.8.8.8"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(contains("::/0", "fd00::1"));
        assert!(contains("fd00::/8", "fdff::1"));
        assert!(!contains("fd00::/8", "fc00::1"));
        assert!(contains("10.0.0.7", "10.0.0.7"));
        assert!(!contains("10.0.0.7", "10.0.0.6"));
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/x",
            "localhost",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn plain_http_is_for_named_hosts() {
        let policy = AddressPolicy {
            plain_http_hosts: vec!["registry.lan:5000".to_owned(), "charts.lan".to_owned()],
            ..AddressPolicy::default()
        };
        assert!(policy.is_plain("registry.lan", 5000));
        assert!(!policy.is_plain("registry.lan", 80));
        assert!(policy.is_plain("Charts.lan", 8080));
        assert!(!policy.is_plain("other.lan", 80));
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_refused_with_the_way_out() {
        let error = AddressPolicy::default()
            .resolve("localhost", 443)
            .await
            .expect_err("refused");
        assert_eq!(error.reason(), "AddressRefused");
        assert!(
            error.to_string().contains("allowed source networks"),
            "{error}"
        );
    }
}
