//! Whether a push webhook was sent by somebody who knows its secret.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::Secret;

/// How far the time in a signature may be from the hub's, in seconds.
const TOLERANCE_S: i64 = 300;

/// Why a webhook is not believed. Nothing of the secret or the right signature is in it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SignatureError {
    /// The header is not of the form that it must have.
    #[error("the signature has not the form {form}")]
    Form {
        /// The form that is expected.
        form: &'static str,
    },
    /// The signature is of another secret or another body.
    #[error("the signature does not fit the body and the secret")]
    Wrong,
    /// The signature is too old, or of the future.
    #[error("the signature's time is more than {TOLERANCE_S} s from the hub's")]
    Stale,
    /// The hub has no secret for this: nothing would be proven.
    #[error("the webhook's secret is empty")]
    NoSecret,
}

/// Checks GitHub's `X-Hub-Signature-256`: `sha256=` and the HMAC-SHA256 of the body. Gitea and Forgejo
/// send it too.
///
/// # Errors
///
/// If the header is of another form, or of another secret or body.
pub fn verify_github(secret: &Secret, header: &str, body: &[u8]) -> Result<(), SignatureError> {
    let signature = header
        .strip_prefix("sha256=")
        .and_then(|hex| hex::decode(hex).ok())
        .ok_or(SignatureError::Form { form: "sha256=HEX" })?;
    mac(secret, &[body])?
        .verify_slice(&signature)
        .map_err(|_| SignatureError::Wrong)
}

/// Checks GitLab's `X-Gitlab-Token`, which is the secret itself.
///
/// # Errors
///
/// If it is another one.
pub fn verify_gitlab(secret: &Secret, header: &str) -> Result<(), SignatureError> {
    if secret.expose().is_empty() {
        return Err(SignatureError::NoSecret);
    }
    let same = header.as_bytes().ct_eq(secret.expose().as_bytes());
    bool::from(same).then_some(()).ok_or(SignatureError::Wrong)
}

/// Checks Bellwether's own signature, which its hooks and alerts carry too: `t=SECONDS,v1=HEX`, the
/// HMAC-SHA256 of `SECONDS.BODY`. Several `v1` may be there while a secret is replaced; one must fit.
///
/// # Errors
///
/// If the header is of another form, is older than five minutes or that far ahead of `now_s` (seconds
/// since 1970), or is of another secret or body.
pub fn verify_generic(
    secret: &Secret,
    header: &str,
    body: &[u8],
    now_s: i64,
) -> Result<(), SignatureError> {
    let form = || SignatureError::Form {
        form: "t=SECONDS,v1=HEX",
    };
    let mut time = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=').ok_or_else(form)? {
            ("t", value) if time.is_none() => time = Some(value),
            ("t", _) => return Err(form()),
            ("v1", value) => signatures.push(hex::decode(value).map_err(|_| form())?),
            // Versions to come stand beside the one that is known.
            _ => {}
        }
    }
    let time = time.ok_or_else(form)?;
    let time_s: i64 = time.parse().map_err(|_| form())?;
    if signatures.is_empty() {
        return Err(form());
    }
    let mac = mac(secret, &[time.as_bytes(), b".", body])?;
    let fits = signatures
        .iter()
        .any(|signature| mac.clone().verify_slice(signature).is_ok());
    if !fits {
        return Err(SignatureError::Wrong);
    }
    if now_s.abs_diff(time_s) > TOLERANCE_S.unsigned_abs() {
        return Err(SignatureError::Stale);
    }
    Ok(())
}

fn mac(secret: &Secret, parts: &[&[u8]]) -> Result<Hmac<Sha256>, SignatureError> {
    if secret.expose().is_empty() {
        return Err(SignatureError::NoSecret);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(secret: &str, text: &str) -> String {
        let mac = mac(&Secret::new(secret), &[text.as_bytes()]).expect("a secret");
        hex::encode(mac.finalize().into_bytes())
    }

    #[test]
    fn githubs_own_example_is_believed() {
        // From GitHub's documentation of webhooks.
        let secret = Secret::new("It's a Secret to Everybody");
        let header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(verify_github(&secret, header, b"Hello, World!"), Ok(()));
        let wrong = Err(SignatureError::Wrong);
        assert_eq!(verify_github(&secret, header, b"Hello, World?"), wrong);
        assert_eq!(
            verify_github(&Secret::new("other"), header, b"Hello, World!"),
            wrong
        );
        assert_eq!(
            verify_github(&secret, &header[..61], b"Hello, World!"),
            wrong
        );
        for header in ["", "sha1=00", "sha256=zz", "757107ea"] {
            let error = verify_github(&secret, header, b"").expect_err(header);
            assert!(matches!(error, SignatureError::Form { .. }), "{header}");
        }
    }

    #[test]
    fn gitlabs_token_is_the_secret() {
        let secret = Secret::new("hunter2");
        assert_eq!(verify_gitlab(&secret, "hunter2"), Ok(()));
        for token in ["", "hunter", "hunter22", "Hunter2"] {
            assert_eq!(verify_gitlab(&secret, token), Err(SignatureError::Wrong));
        }
    }

    #[test]
    fn an_empty_secret_proves_nothing() {
        let empty = Secret::new("");
        assert_eq!(verify_gitlab(&empty, ""), Err(SignatureError::NoSecret));
        let header = "sha256=00";
        assert_eq!(
            verify_github(&empty, header, b""),
            Err(SignatureError::NoSecret)
        );
        let header = "t=1,v1=00";
        assert_eq!(
            verify_generic(&empty, header, b"", 1),
            Err(SignatureError::NoSecret)
        );
    }

    #[test]
    fn the_own_signature_binds_time_and_body() {
        let secret = Secret::new("s");
        let right = signed("s", "1000.body");
        let check = |header: &str, now_s| verify_generic(&secret, header, b"body", now_s);
        let header = format!("t=1000,v1={right}");
        assert_eq!(check(&header, 1000), Ok(()));
        assert_eq!(check(&header, 1300), Ok(()));
        assert_eq!(check(&header, 700), Ok(()));
        assert_eq!(check(&header, 1301), Err(SignatureError::Stale));
        assert_eq!(check(&header, 699), Err(SignatureError::Stale));
        let old = signed("old", "1000.body");
        assert_eq!(
            check(&format!("t=1000, v1={old}, v1={right}, v2=x"), 1000),
            Ok(())
        );
        assert_eq!(
            check(&format!("t=1000,v1={old}"), 1000),
            Err(SignatureError::Wrong)
        );
        assert_eq!(
            check(&format!("t=1001,v1={right}"), 1000),
            Err(SignatureError::Wrong)
        );
        for header in [
            String::new(),
            format!("v1={right}"),
            "t=1000".to_owned(),
            format!("t=x,v1={right}"),
            format!("t=1000,t=1000,v1={right}"),
        ] {
            let error = check(&header, 1000).expect_err("no form");
            assert!(matches!(error, SignatureError::Form { .. }), "{header}");
        }
    }
}
