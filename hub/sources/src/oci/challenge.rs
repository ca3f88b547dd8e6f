//! What a registry says it wants before it answers.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// How a registry wants to be asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// With a user and a password.
    Basic,
    /// With a token that is got elsewhere.
    Bearer {
        /// Where.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// For what.
        scope: Option<String>,
    },
}

/// Reads the challenges of an answer; Bearer goes before Basic.
pub(super) fn read(headers: &HeaderMap) -> Option<Challenge> {
    let mut basic = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else {
            continue;
        };
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            let parameters = parameters(rest);
            let get = |name: &str| {
                let mut found = parameters
                    .iter()
                    .filter(|(key, _)| key.eq_ignore_ascii_case(name));
                found.next().map(|(_, value)| value.clone())
            };
            if let Some(realm) = get("realm") {
                let (service, scope) = (get("service"), get("scope"));
                return Some(Challenge::Bearer {
                    realm,
                    service,
                    scope,
                });
            }
        }
    }
    basic
}

/// Reads `a="b", c=d`; commas within quotes belong to the value.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',']).to_owned();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.push((key, value.trim().to_owned()));
        rest = left;
    }
    found
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn challenge(texts: &[&'static str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(text));
        }
        read(&headers)
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_a_challenge_or_none(text in "(Bearer |Basic |)[a-z=\", é]{0,24}") {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.append(WWW_AUTHENTICATE, value);
            }
            if let Some(Challenge::Bearer { realm, .. }) = read(&headers) {
                proptest::prop_assert!(text.contains("realm") && text.contains(&realm));
            }
        }
    }

    #[test]
    fn challenges_of_real_registries_are_read() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let bearer = |scope: Option<&str>| Challenge::Bearer {
            realm: "https://auth.docker.io/token".to_owned(),
            service: Some("registry.docker.io".to_owned()),
            scope: scope.map(str::to_owned),
        };
        assert_eq!(
            challenge(&[hub]),
            Some(bearer(Some("repository:a/b:pull,push")))
        );
        let spaced = r#"bearer realm="https://auth.docker.io/token", service=registry.docker.io"#;
        assert_eq!(
            challenge(&["Basic realm=\"x\"", spaced]),
            Some(bearer(None))
        );
        assert_eq!(challenge(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        assert_eq!(challenge(&["basic"]), Some(Challenge::Basic));
        for text in [
            "",
            "Negotiate",
            "Bearer",
            "Bearer service=\"x\"",
            "Bearer realm",
        ] {
            assert_eq!(challenge(&[text]), None, "{text}");
        }
    }
}
