//! The one request that a load sends again and again.

use bellwether_api::hooks::{Load, LoadProtocol};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Uri,
    header::HOST,
    uri::{Authority, Scheme},
};
use http_body_util::Empty;
use rustls::pki_types::ServerName;

use super::failing::LoadError;

/// One request as it is sent again and again.
pub(super) struct Prepared {
    method: Method,
    scheme: Scheme,
    path: String,
    host: Authority,
    /// The host without its port, as TLS asks for it and verifies it; absent = there is no TLS.
    server_name: Option<ServerName<'static>>,
    address: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    protocol: LoadProtocol,
}

impl Prepared {
    /// Reads what a load says about its requests.
    ///
    /// # Errors
    /// The URL, the method or a header is none.
    pub(super) fn of(load: &Load, url: &str) -> Result<Self, LoadError> {
        let none = |what| LoadError::NoRequest { what };
        let uri: Uri = url.parse().map_err(|_| none("URL"))?;
        let authority = uri.authority().ok_or(none("URL"))?.clone();
        let scheme = uri.scheme().cloned().unwrap_or(Scheme::HTTP);
        let over_tls = scheme == Scheme::HTTPS;
        let by_default = if over_tls { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(by_default);
        let headers = headers(load).ok_or(none("headers"))?;
        let named = headers.iter().find(|(name, _)| name == HOST);
        let host = match named.map(|(_, host)| Authority::try_from(host.as_bytes())) {
            Some(host) => host.map_err(|_| none("Host header"))?,
            None => authority.clone(),
        };
        let server_name = if over_tls {
            Some(server_name(&host).ok_or(none("host"))?)
        } else {
            None
        };
        Ok(Self {
            method: load.method.parse().map_err(|_| none("method"))?,
            path: uri
                .path_and_query()
                .map_or("/", http::uri::PathAndQuery::as_str)
                .to_owned(),
            server_name,
            address: format!("{}:{port}", authority.host()),
            headers: headers
                .into_iter()
                .filter(|(name, _)| name != HOST)
                .collect(),
            protocol: load.protocol,
            scheme,
            host,
        })
    }

    /// Where the server is, as `host:port`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Who the server has to show itself to be; absent = there is no TLS.
    pub(super) fn server_name(&self) -> Option<ServerName<'static>> {
        self.server_name.clone()
    }

    /// Makes the request.
    ///
    /// # Errors
    /// Its parts make no request.
    pub(super) fn request(&self) -> Result<Request<Empty<Bytes>>, LoadError> {
        let (host, path) = (self.host.as_str(), self.path.as_str());
        let mut builder = Request::builder().method(self.method.clone());
        builder = match self.protocol {
            LoadProtocol::Http1 => builder.uri(path).header(HOST, host),
            // HTTP/2 names the host in the URI.
            LoadProtocol::Http2 => builder.uri(format!("{}://{host}{path}", self.scheme)),
        };
        for (name, value) in &self.headers {
            builder = builder.header(name.clone(), value.clone());
        }
        builder
            .body(Empty::new())
            .map_err(|_| LoadError::NoRequest { what: "URL" })
    }
}

/// The headers of a load; absent = one of them is none.
fn headers(load: &Load) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let read = |(name, value): (&String, &String)| Some((name.parse().ok()?, value.parse().ok()?));
    load.headers.iter().map(read).collect()
}

fn server_name(host: &Authority) -> Option<ServerName<'static>> {
    let host = host.host();
    // IPv6 addresses stand in brackets in a URL, and without them in a certificate.
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    ServerName::try_from(bare.unwrap_or(host).to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn load(fields: serde_json::Value) -> Load {
        serde_json::from_value(fields).expect("a load")
    }

    #[test]
    fn a_server_is_asked_at_its_address_and_verified_by_the_host_that_is_asked_for() {
        for (url, headers, address, name) in [
            ("http://web/", json!({}), "web:80", None),
            (
                "https://web.shop/",
                json!({}),
                "web.shop:443",
                Some("web.shop"),
            ),
            ("https://web:8443/cart", json!({}), "web:8443", Some("web")),
            (
                "https://10.96.0.7/",
                json!({"Host": "shop.example:8443"}),
                "10.96.0.7:443",
                Some("shop.example"),
            ),
            (
                "https://10.96.0.7/",
                json!({}),
                "10.96.0.7:443",
                Some("10.96.0.7"),
            ),
            (
                "https://[fd00::7]:8443/",
                json!({}),
                "[fd00::7]:8443",
                Some("fd00::7"),
            ),
            (
                "https://[fd00::7]",
                json!({}),
                "[fd00::7]:443",
                Some("fd00::7"),
            ),
        ] {
            let prepared = Prepared::of(&load(json!({"headers": headers})), url);
            let prepared = prepared.unwrap_or_else(|error| panic!("{url}: {error}"));
            let found = prepared.server_name();
            let found = found.as_ref().map(ServerName::to_str);
            assert_eq!(prepared.address(), address, "{url}");
            assert_eq!(found.as_deref(), name, "{url}");
        }
    }

    #[test]
    fn the_host_and_the_path_are_asked_for_in_the_way_of_the_protocol() {
        for (protocol, uri, host) in [
            ("HTTP1", "/cart?a=b", Some("shop.example")),
            ("HTTP2", "https://shop.example/cart?a=b", None),
        ] {
            let load = load(json!({"protocol": protocol, "headers": {"host": "shop.example"}}));
            let prepared = Prepared::of(&load, "https://10.96.0.7/cart?a=b").expect("a request");
            let request = prepared.request().expect("a request");
            assert_eq!(request.uri().to_string(), uri);
            let named = request.headers().get(HOST);
            assert_eq!(named.and_then(|host| host.to_str().ok()), host);
        }
    }

    #[test]
    fn what_is_no_request_is_named_without_its_words() {
        for (url, fields, what) in [
            ("https://s3cret host/", json!({}), "URL"),
            ("/cart", json!({}), "URL"),
            ("https://web/", json!({"method": "G T"}), "method"),
            ("https://web/", json!({"headers": {"a b": "c"}}), "headers"),
            (
                "https://web/",
                json!({"headers": {"Host": "s3cret/"}}),
                "Host header",
            ),
            ("https://-/", json!({}), "host"),
        ] {
            let error = Prepared::of(&load(fields), url).err().expect("no request");
            let said = error.to_string();
            assert_eq!(
                said,
                format!("failed to make requests: their {what} cannot be used")
            );
        }
    }
}
