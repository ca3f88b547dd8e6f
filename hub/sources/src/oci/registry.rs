//! One repository of a registry, by the protocol of OCI distribution.
//!
//! The client library of the registry's protocol chooses its own addresses and redirects; this one asks
//! by [`Http`], which is bounded in both.

use bytes::Bytes;
use reqwest::{Url, header::LINK};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{
    challenge::{self, Challenge},
    manifest::{self, Descriptor, Manifest, is_digest},
};
use crate::{
    Credentials, HttpCredentials, Secret, SourceError,
    credentials::Tls,
    http::{Answer, Get, Http, host_of},
    settings::Limits,
};

/// Largest manifest, list of tags or token that is read, in bytes.
const SMALL_BYTES: u64 = 4 << 20;
/// Most pages of tags that are read.
const MAX_PAGES: usize = 100;
/// Most tags that are read.
const MAX_TAGS: usize = 100_000;

/// One repository of a registry.
pub(super) struct Registry<'a> {
    http: &'a Http,
    limits: &'a Limits,
    credentials: Option<&'a Credentials>,
    /// The root of the registry, over HTTP.
    base: Url,
    repository: String,
    /// As people write it.
    name: String,
    /// What the registry wants to see, once it has said so.
    authorization: Mutex<Option<Secret>>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl<'a> Registry<'a> {
    pub fn new(
        http: &'a Http,
        limits: &'a Limits,
        credentials: Option<&'a Credentials>,
        url: &Url,
    ) -> Result<Self, SourceError> {
        let host = host_of(url);
        let repository = url.path().trim_matches('/').to_owned();
        if !is_repository(&repository) {
            return Err(SourceError::Invalid {
                field: "url",
                why: "the name of a repository has lower-case letters, digits, -, _, . and /"
                    .to_owned(),
            });
        }
        // The name that people write is not the host that answers.
        let asked = match host.as_str() {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            other => other,
        };
        let port = url.port();
        let plain = http.is_plain(url.host_str().unwrap_or_default(), port.unwrap_or(80));
        let scheme = if plain { "http" } else { "https" };
        let base =
            Url::parse(&format!("{scheme}://{asked}/")).map_err(|_| SourceError::Invalid {
                field: "url",
                why: "its host is none".to_owned(),
            })?;
        let bearer = match credentials.and_then(|it| it.http.as_ref()) {
            Some(bearer @ HttpCredentials::Bearer { .. }) => Some(bearer.authorization()),
            _ => None,
        };
        Ok(Self {
            http,
            limits,
            credentials,
            base,
            name: format!("{host}/{repository}"),
            repository,
            authorization: Mutex::new(bearer),
        })
    }

    /// Returns the repository as people write it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the digest of a manifest, and the manifest.
    pub async fn manifest(&self, reference: &str) -> Result<(String, Manifest), SourceError> {
        let what = format!("{reference} of {}", self.name);
        let path = format!("manifests/{reference}");
        let answer = self
            .get(&path, Some(manifest::MEDIA_TYPES), SMALL_BYTES, &what)
            .await?;
        let promised = answer
            .headers
            .get("docker-content-digest")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let body = answer.success(&what)?;
        let digest = match promised {
            _ if is_digest(reference) => reference.to_owned(),
            Some(promised) if is_digest(&promised) => promised,
            _ => manifest::sha256(&body),
        };
        manifest::check(&format!("the manifest {what}"), &digest, &body)?;
        Ok((digest, Manifest::read(&what, &body)?))
    }

    /// Returns what a descriptor describes.
    pub async fn blob(&self, descriptor: &Descriptor) -> Result<Bytes, SourceError> {
        let what = format!("the blob {} of {}", descriptor.digest, self.name);
        let path = format!("blobs/{}", descriptor.digest);
        let limit = self.limits.archive_bytes.min(descriptor.size);
        let body = self.get(&path, None, limit, &what).await?.success(&what)?;
        manifest::check(&what, &descriptor.digest, &body)?;
        Ok(body)
    }

    /// Returns every tag.
    pub async fn tags(&self) -> Result<Vec<String>, SourceError> {
        let what = format!("the tags of {}", self.name);
        let mut path = "tags/list?n=1000".to_owned();
        let mut tags = Vec::new();
        for _ in 0..MAX_PAGES {
            let answer = self.get(&path, None, SMALL_BYTES, &what).await?;
            let next = answer
                .headers
                .get(LINK)
                .and_then(|value| next_page(value.to_str().ok()?));
            let body = answer.success(&what)?;
            let page: Tags =
                serde_json::from_slice(&body).map_err(|error| SourceError::Malformed {
                    what: what.clone(),
                    why: error.to_string(),
                })?;
            tags.extend(page.tags.unwrap_or_default());
            match next {
                Some(query) if tags.len() <= MAX_TAGS => path = format!("tags/list?{query}"),
                Some(_) => break,
                None => return Ok(tags),
            }
        }
        Err(SourceError::TooLarge {
            what,
            limit: format!("{MAX_TAGS} tags on {MAX_PAGES} pages"),
        })
    }

    async fn get(
        &self,
        path: &str,
        accept: Option<&str>,
        limit_bytes: u64,
        what: &str,
    ) -> Result<Answer, SourceError> {
        let url = self
            .base
            .join(&format!("v2/{}/{path}", self.repository))
            .expect("a checked name joins any root");
        // One request at a time asks for a token; those after it have it.
        let mut authorization = self.authorization.lock().await;
        let get = |authorization: Option<Secret>| {
            let url = url.clone();
            async move {
                let get = Get {
                    url,
                    accept,
                    authorization: authorization.as_ref(),
                    tls: self.tls(),
                    // An error's own words are larger than an empty blob.
                    limit_bytes: limit_bytes.max(1 << 16),
                    what,
                };
                self.http.get(get).await
            }
        };
        let answer = get(authorization.clone()).await?;
        if answer.status != 401 {
            return bounded(answer, limit_bytes, what);
        }
        let Some(challenge) = challenge::read(&answer.headers) else {
            return Ok(answer);
        };
        let Some(fresh) = self.answer(challenge, what).await? else {
            return Ok(answer);
        };
        if authorization.as_ref() == Some(&fresh) {
            return Ok(answer);
        }
        *authorization = Some(fresh);
        bounded(get(authorization.clone()).await?, limit_bytes, what)
    }

    fn tls(&self) -> Tls<'_> {
        self.credentials.map(Credentials::tls).unwrap_or_default()
    }

    /// Returns what a challenge wants to see, if the credentials have it.
    async fn answer(
        &self,
        challenge: Challenge,
        what: &str,
    ) -> Result<Option<Secret>, SourceError> {
        let ours = self.credentials.and_then(Credentials::authorization);
        let Challenge::Bearer {
            realm,
            service,
            scope,
        } = challenge
        else {
            return Ok(ours);
        };
        if let Some(HttpCredentials::Bearer { .. }) =
            self.credentials.and_then(|it| it.http.as_ref())
        {
            return Ok(ours);
        }
        let malformed = |why: &str| SourceError::Malformed {
            what: format!("the challenge of {}", self.name),
            why: why.to_owned(),
        };
        let mut url = Url::parse(&realm).map_err(|_| malformed("its realm is no URL"))?;
        // What protects the registry protects its tokens: the password goes there.
        if !matches!(url.scheme(), "https" | "http")
            || self.base.scheme() == "https" && url.scheme() != "https"
        {
            return Err(malformed("its realm is not https://"));
        }
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.repository));
        url.query_pairs_mut()
            .extend_pairs(service.iter().map(|service| ("service", service)))
            .append_pair("scope", &scope);
        let is_own = url.origin() == self.base.origin();
        let get = Get {
            url,
            accept: None,
            authorization: ours.as_ref(),
            tls: if is_own {
                self.tls()
            } else {
                self.tls().for_others()
            },
            limit_bytes: SMALL_BYTES,
            what,
        };
        let body = self.http.get(get).await?.success(what)?;
        // The parser's own words could hold the token.
        let token: Token =
            serde_json::from_slice(&body).map_err(|_| malformed("its realm gives no token"))?;
        let token = token.token.or(token.access_token);
        let token = token.ok_or_else(|| malformed("its realm gives no token"))?;
        Ok(Some(Secret::new(format!("Bearer {token}"))))
    }
}

fn bounded(answer: Answer, limit_bytes: u64, what: &str) -> Result<Answer, SourceError> {
    if answer.status.is_success() && answer.body.len() as u64 > limit_bytes {
        return Err(SourceError::TooLarge {
            what: what.to_owned(),
            limit: format!("{limit_bytes} bytes"),
        });
    }
    Ok(answer)
}

fn is_repository(name: &str) -> bool {
    let fine =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    name.len() <= 255
        && name
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && part.bytes().all(fine))
}

/// Returns the query of `<…?QUERY>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    if !rest.contains("next") {
        return None;
    }
    let (_, query) = target.split_once('?')?;
    Some(query.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_of_the_same_repository_whatever_the_link_says() {
        let link = r#"<https://elsewhere.example/v2/x/tags/list?last=b&n=2>; rel="next""#;
        assert_eq!(next_page(link).as_deref(), Some("last=b&n=2"));
        assert_eq!(next_page(r#"</v2/x>; rel="prev""#), None);
        assert_eq!(next_page("nonsense"), None);
    }

    #[test]
    fn names_of_repositories_are_checked_before_they_are_asked_for() {
        for name in ["a", "library/nginx", "a-b/c_d/e.f"] {
            assert!(is_repository(name), "{name}");
        }
        for name in ["", "A", "a//b", "../a", "a/../b", "a b", "a?b", "a%2fb"] {
            assert!(!is_repository(name), "{name}");
        }
    }
}
