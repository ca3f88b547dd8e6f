//! One request of a user, and which version answered it.

use std::{
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
    let version = answer.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("x-version")
            .then(|| value.trim().to_owned())
    });
    version.with_context(|| format!("no version answered: {answer}"))
}
