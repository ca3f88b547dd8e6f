//! What `git` means when it fails.

use super::location::Location;
use crate::{SourceError, settings::Limits};

/// How much of what `git` says is passed on, in characters.
const MAX_WORDS: usize = 200;

/// Reads a failure from what `git` complained about, in the C locale.
pub(super) fn read(complaint: &str, location: &Location, limits: &Limits) -> SourceError {
    let says = |words: &[&str]| words.iter().any(|word| complaint.contains(word));
    let host = location.host_and_port();
    let what = location.shown().to_owned();
    if says(&[
        "env: ",
        "prlimit: failed",
        "ssh: not found",
        "cannot run ssh",
    ]) {
        return SourceError::Local {
            doing: "run git, with env of coreutils, prlimit of util-linux and ssh",
            source: std::io::Error::other(last_words(complaint)),
        };
    }
    if says(&["File too large"]) {
        return SourceError::TooLarge {
            what,
            limit: format!("{} bytes of a pack", limits.git_pack_bytes),
        };
    }
    if says(&["Out of memory", "out of memory", "mmap failed"]) {
        return SourceError::TooLarge {
            what,
            limit: "the memory that git may use".to_owned(),
        };
    }
    if says(&["REMOTE HOST IDENTIFICATION HAS CHANGED"]) {
        let why = "it offers another key than known_hosts has".to_owned();
        return SourceError::HostKeyUnknown { host, why };
    }
    if says(&["Host key verification failed", "host key is known"]) {
        let why = "known_hosts has no key of it".to_owned();
        return SourceError::HostKeyUnknown { host, why };
    }
    unauthorised(&says, &host, &what)
        .or_else(|| not_found(&says, &what))
        .or_else(|| unreachable(&says, &host))
        .or_else(|| by_status(complaint, &host, &what))
        .unwrap_or_else(|| SourceError::Malformed {
            what,
            why: last_words(complaint),
        })
}

fn unauthorised(says: &dyn Fn(&[&str]) -> bool, host: &str, what: &str) -> Option<SourceError> {
    let why = if says(&["Load key", "invalid format", "error in libcrypto"]) {
        "identity is no private key that OpenSSH reads without a passphrase"
    } else if says(&["Permission denied"]) {
        "it does not accept the key"
    } else if says(&[
        "could not read Username",
        "could not read Password",
        "error: 401",
    ]) {
        "it wants credentials, or other ones"
    } else if says(&["Authentication failed", "error: 403"]) {
        "it does not accept the credentials"
    } else {
        return None;
    };
    Some(SourceError::Unauthorised {
        host: host.to_owned(),
        what: what.to_owned(),
        why: why.to_owned(),
    })
}

fn not_found(says: &dyn Fn(&[&str]) -> bool, what: &str) -> Option<SourceError> {
    let nothing_there = says(&[
        "not found",
        "does not appear to be a git repository",
        "error: 404",
        "Repository not found",
    ]);
    if nothing_there && !says(&["command not found"]) {
        return Some(SourceError::NotFound {
            what: format!("the repository {what}"),
        });
    }
    says(&[
        "not our ref",
        "Server does not allow request for unadvertised object",
        "couldn't find remote ref",
        "remote error: upload-pack: not our ref",
    ])
    .then(|| SourceError::NotFound {
        what: format!("the commit in {what}"),
    })
}

fn unreachable(says: &dyn Fn(&[&str]) -> bool, host: &str) -> Option<SourceError> {
    let why = if says(&[
        "SSL certificate problem",
        "server certificate verification failed",
        "SSL:",
        "certificate",
    ]) {
        "its certificate is not trusted"
    } else if says(&[
        "getpeername() failed",
        "Transport endpoint is not connected",
        "GnuTLS recv error",
        "gnutls_handshake() failed",
        "TLS fatal alert",
        "Recv failure",
        "Send failure",
    ]) {
        "it ended the connection; it may demand a client certificate (tls.crt and tls.key), or another one"
    } else if says(&[
        "Connection refused",
        "Failed to connect",
        "Couldn't connect",
    ]) {
        "it refuses connections"
    } else if says(&["timed out", "Timeout", "Operation too slow"]) {
        "it took too long to answer"
    } else if says(&[
        "Could not resolve host",
        "No route to host",
        "Network is unreachable",
        "Connection reset",
        "Connection closed",
        "kex_exchange_identification",
        "early EOF",
        "hung up unexpectedly",
        "Empty reply from server",
    ]) {
        "the connection failed"
    } else {
        return None;
    };
    Some(SourceError::Unreachable {
        host: host.to_owned(),
        why: why.to_owned(),
    })
}

/// Reads `The requested URL returned error: 503`.
fn by_status(complaint: &str, host: &str, what: &str) -> Option<SourceError> {
    let (_, rest) = complaint.split_once("returned error: ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let status: u16 = digits.parse().ok()?;
    let (host, what) = (host.to_owned(), what.to_owned());
    Some(match status {
        300..400 => SourceError::Redirected {
            host,
            to: "another address".to_owned(),
            why: "and redirects are not followed for Git; write that address (often the same with \
                  .git at its end)"
                .to_owned(),
        },
        status => SourceError::Unavailable { host, status, what },
    })
}

/// Returns the last line, which is where `git` says why.
fn last_words(complaint: &str) -> String {
    let last = complaint.lines().rev().find(|line| !line.trim().is_empty());
    let words: String = last
        .unwrap_or("git failed without a word")
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_WORDS)
        .collect();
    words.trim_start_matches("fatal: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(complaint: &str) -> SourceError {
        let location = Location::parse("https://git.example/a").expect("a location");
        read(complaint, &location, &Limits::default())
    }

    #[test]
    fn what_git_says_becomes_a_reason() {
        for (complaint, expected) in [
            (
                "fatal: repository 'https://git.example/a/' not found",
                "NotFound",
            ),
            (
                "fatal: could not read Username for 'https://git.example': terminal prompts disabled",
                "Unauthorised",
            ),
            (
                "fatal: Authentication failed for 'https://git.example/a/'",
                "Unauthorised",
            ),
            (
                "fatal: unable to access 'https://git.example/a/': The requested URL returned error: 403",
                "Unauthorised",
            ),
            (
                "fatal: unable to access 'https://git.example/a/': The requested URL returned error: 301",
                "Redirected",
            ),
            (
                "fatal: unable to access 'https://git.example/a/': The requested URL returned error: 503",
                "Unavailable",
            ),
            (
                "fatal: unable to access 'https://git.example/a/': server certificate verification failed. CAfile: none",
                "Unreachable",
            ),
            (
                "fatal: unable to access 'https://git.example/a/': getpeername() failed with errno 107: Transport endpoint is not connected",
                "Unreachable",
            ),
            (
                "fatal: unable to access 'https://git.example/a/': GnuTLS recv error (-12): A TLS fatal alert has been received.",
                "Unreachable",
            ),
            (
                "Host key verification failed.\nfatal: Could not read from remote repository.",
                "HostKeyUnknown",
            ),
            (
                "git@git.example: Permission denied (publickey).",
                "Unauthorised",
            ),
            (
                "fatal: write error: File too large\nfatal: fetch-pack: invalid index-pack output",
                "TooLarge",
            ),
            (
                "fatal: remote error: upload-pack: not our ref 0000",
                "NotFound",
            ),
            ("fatal: the remote end hung up unexpectedly", "Unreachable"),
            (
                "sh: 1: ssh: not found\nfatal: Could not read from remote repository.",
                "FetchFailed",
            ),
            (
                "prlimit: failed to execute git: No such file or directory",
                "FetchFailed",
            ),
            ("fatal: bad object 00", "Malformed"),
            ("", "Malformed"),
        ] {
            assert_eq!(reason(complaint).reason(), expected, "{complaint}");
        }
    }
}
