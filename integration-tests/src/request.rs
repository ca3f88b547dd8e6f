//! One request of a user, which version answered it, and the cookies that a user keeps.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, Result};

/// Asks the data plane at `url`, such as `http://198.19.0.11:8000`, for `/` of `host` on a new
/// connection, and returns the version that answered.
///
/// # Errors
/// When nothing answers, or what answers names no version.
pub fn answering_version(url: &str, host: &str, headers: &[(&str, &str)]) -> Result<String> {
    let answer = ask(url, host, headers)?;
    let version = named(&answer, "x-version").next();
    version.with_context(|| format!("no version answered: {answer}"))
}

/// A user who keeps the cookies that answers set, as a browser does for one host and path.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    /// Values by name.
    pub cookies: BTreeMap<String, String>,
}

/// What a [`Visitor`] was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The version that answered.
    pub version: String,
    /// The `Set-Cookie` headers, whole; empty = no cookie was set.
    pub set_cookies: Vec<String>,
}

impl Visitor {
    /// Asks as [`answering_version`] does, with the cookies kept so far, and keeps those of the answer.
    ///
    /// # Errors
    /// As [`answering_version`].
    pub fn ask(&mut self, url: &str, host: &str) -> Result<Answered> {
        let kept: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let kept = kept.join("; ");
        let headers: &[(&str, &str)] = if kept.is_empty() {
            &[]
        } else {
            &[("Cookie", &kept)]
        };
        let answer = ask(url, host, headers)?;
        let version = named(&answer, "x-version").next();
        let version = version.with_context(|| format!("no version answered: {answer}"))?;
        let set_cookies: Vec<String> = named(&answer, "set-cookie").collect();
        for cookie in &set_cookies {
            let pair = cookie.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').context("a cookie has a value")?;
            self.cookies
                .insert(name.trim().to_owned(), value.trim().to_owned());
        }
        Ok(Answered {
            version,
            set_cookies,
        })
    }
}

/// The values of a header of an answer.
fn named(answer: &str, header: &str) -> impl Iterator<Item = String> {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    head.lines().filter_map(move |line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(header)
            .then(|| value.trim().to_owned())
    })
}

fn ask(url: &str, host: &str, headers: &[(&str, &str)]) -> Result<String> {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).with_context(|| address.to_owned())?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
