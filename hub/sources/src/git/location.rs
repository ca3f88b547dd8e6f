//! Where a Git repository is.

use std::net::Ipv6Addr;

use reqwest::Url;

use crate::{SourceError, http::host_of, request::parse_url};

/// Where a Git repository is, as `git` and people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub transport: Transport,
    /// The host, without brackets.
    pub host: String,
    pub port: u16,
    /// What `git` is told.
    pub argument: String,
}

/// How a repository is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Https,
    Http,
    Ssh,
}

impl Location {
    /// Reads `https://…`, `http://…`, `ssh://…` or `USER@HOST:PATH`.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let not_valid = |why: &str| SourceError::Invalid {
            field: "url",
            why: why.to_owned(),
        };
        if text.starts_with('-') || text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(not_valid(
                "it begins with - or has a space or control character in it",
            ));
        }
        if !text.contains("://") {
            return Self::parse_short(text).ok_or_else(|| {
                not_valid("it is https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH")
            });
        }
        let url = parse_url(text, &["https", "http", "ssh"])?;
        let (transport, usual) = match url.scheme() {
            "https" => (Transport::Https, 443),
            "http" => (Transport::Http, 80),
            _ => (Transport::Ssh, 22),
        };
        let host = url.host_str().unwrap_or_default();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let user = url.username();
        let is_host = is_name(&host) || host.parse::<Ipv6Addr>().is_ok();
        if !is_host || host.starts_with('-') || user.starts_with('-') || !is_name(user) {
            return Err(not_valid("its user or host is none"));
        }
        if url.path().trim_matches('/').is_empty() {
            return Err(not_valid("it has no path"));
        }
        Ok(Self {
            transport,
            host,
            port: url.port().unwrap_or(usual),
            argument: url.as_str().to_owned(),
        })
    }

    fn parse_short(text: &str) -> Option<Self> {
        let (user, rest) = text.split_once('@')?;
        let (host, path) = rest.split_once(':')?;
        let fits = !user.is_empty()
            && is_name(user)
            && is_name(host)
            && !host.is_empty()
            && !host.starts_with('-')
            && !path.is_empty()
            && !path.starts_with('-');
        fits.then(|| Self {
            transport: Transport::Ssh,
            host: host.to_owned(),
            port: 22,
            argument: text.to_owned(),
        })
    }

    /// Returns the repository as errors name it.
    pub fn shown(&self) -> &str {
        &self.argument
    }

    /// Returns the host with its port where it is not the usual one.
    pub fn host_and_port(&self) -> String {
        match (self.transport, self.port) {
            (Transport::Ssh, 22) => self.host.clone(),
            (Transport::Ssh, port) => format!("{}:{port}", self.host),
            _ => Url::parse(&self.argument).map_or_else(|_| self.host.clone(), |url| host_of(&url)),
        }
    }
}

fn is_name(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_spelling_is_read() {
        for (text, transport, host, port) in [
            (
                "https://git.example/a/b.git",
                Transport::Https,
                "git.example",
                443,
            ),
            (
                "https://git.example:8443/a",
                Transport::Https,
                "git.example",
                8443,
            ),
            (
                "ssh://git@git.example/a/b",
                Transport::Ssh,
                "git.example",
                22,
            ),
            (
                "ssh://git@git.example:2222/a",
                Transport::Ssh,
                "git.example",
                2222,
            ),
            (
                "ssh://git@[2001:db8::1]:2222/a",
                Transport::Ssh,
                "2001:db8::1",
                2222,
            ),
            ("git@git.example:a/b.git", Transport::Ssh, "git.example", 22),
        ] {
            let location = Location::parse(text).expect(text);
            let seen = (location.transport, location.host.as_str(), location.port);
            assert_eq!(seen, (transport, host, port), "{text}");
            assert_eq!(location.argument, text);
        }
    }

    #[test]
    fn what_git_could_take_for_something_else_is_refused() {
        for text in [
            "--upload-pack=touch /tmp/x",
            "-oProxyCommand=x",
            "ext::sh -c x",
            "ext::sh",
            "file:///etc",
            "/etc",
            "../x",
            "git://git.example/a",
            "git@-oProxyCommand=x:a",
            "ssh://-oProxyCommand=x/a",
            "ssh://-x@git.example/a",
            "ssh://git@$(x)/a",
            "ssh://git@a;x/a",
            "git@git.example:",
            "git@git.example:-x",
            "https://git.example",
            "https://git.example/a b",
            "https://git.example/a\nb",
            "a'b@git.example:x",
        ] {
            let error = Location::parse(text).expect_err(text);
            assert_eq!(error.reason(), "InvalidSource", "{text}");
        }
    }
}
