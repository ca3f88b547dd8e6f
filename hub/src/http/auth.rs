//! Who calls: the machine's administrator over the Unix socket, or whoever has a token.

use std::{io, os::unix::fs::OpenOptionsExt as _, path::Path, sync::Arc};

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bellwether_hub_core::authorize::{EVERY_NAMESPACE, Kind, Principal, Role, Verb, authorize};
use bellwether_store::{
    Store, StoreError,
    api_tokens::{self, ApiToken, CreateError},
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::problem::{ApiError, ApiResult};
use crate::app::App;

/// First characters of every API token, so that people and scanners know one.
const TOKEN_PREFIX: &str = "bwt_";

/// How a request came in.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// Over the network.
    Network,
    /// Over the Unix socket, from a process of this user.
    Local {
        /// The process' user.
        uid: u32,
    },
}

/// Whoever makes a request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Name, role and namespaces.
    pub principal: Principal,
    /// Hash of the token; absent = over the Unix socket.
    pub token: Option<[u8; 32]>,
}

impl Caller {
    /// Lets the request go on if the principal may do this.
    ///
    /// # Errors
    /// 403 that names who may not do what.
    pub fn may(&self, verb: Verb, kind: Kind, namespace: Option<&str>) -> ApiResult<()> {
        Ok(authorize(&self.principal, verb, kind, namespace)?)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(unknown)
    }
}

fn unknown() -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "Unauthenticated",
        "who are you? give a token: `bellwether --token …`, BELLWETHER_TOKEN, or `Authorization: \
         Bearer …`",
    )
}

fn refused() -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "Unauthenticated",
        "the hub does not know this token: it was mistyped, revoked, or belongs to another hub; make \
         one by `bellwether token create` on the hub's machine and give it by --token",
    )
}

/// Finds out who calls; nobody gets past it unknown.
pub async fn authenticate(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request
        .extensions()
        .get::<ConnectInfo<Peer>>()
        .map_or(Peer::Network, |info| info.0);
    match identify(&app.store, peer, request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

async fn identify(store: &Store, peer: Peer, headers: &HeaderMap) -> ApiResult<Caller> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().map_err(|_| refused())?;
        let (scheme, token) = text.split_once(' ').ok_or_else(refused)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(refused());
        }
        let hash = hash(token.trim());
        let principal = principal_of(store, &hash).await?.ok_or_else(refused)?;
        return Ok(Caller {
            principal,
            token: Some(hash),
        });
    }
    let own = nix::unistd::Uid::effective().as_raw();
    match peer {
        Peer::Local { uid } if uid == 0 || uid == own => {
            let name = nix::unistd::User::from_uid(uid.into())
                .ok()
                .flatten()
                .map_or_else(|| uid.to_string(), |user| user.name);
            Ok(Caller {
                principal: Principal::local_admin(format!("local:{name}")),
                token: None,
            })
        }
        Peer::Local { .. } | Peer::Network => Err(unknown()),
    }
}

/// Returns whose token has this hash; absent when nobody's has, or it was revoked.
///
/// # Errors
/// The database fails.
pub async fn principal_of(store: &Store, hash: &[u8; 32]) -> Result<Option<Principal>, StoreError> {
    let Some(token) = api_tokens::by_hash(store, hash).await? else {
        return Ok(None);
    };
    if !bool::from(token.hash.ct_eq(hash)) {
        return Ok(None);
    }
    let Ok(role) = token.role.parse::<Role>() else {
        tracing::error!(principal = %token.name, "an API token has an unknown role");
        return Ok(None);
    };
    let namespaces = if token.namespaces.is_empty() {
        vec![EVERY_NAMESPACE.to_owned()]
    } else {
        token.namespaces
    };
    Ok(Some(Principal {
        name: token.name,
        role,
        namespaces,
    }))
}

/// Makes the secret of a token.
pub fn new_token() -> String {
    let secret: [u8; 32] = rand::random();
    format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(secret))
}

/// Returns what is kept of a token.
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Why the local administrator's token is not there.
#[derive(Debug, thiserror::Error)]
pub enum LocalTokenError {
    /// The file cannot be read or written.
    #[error("failed to keep the token in {path:?}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The database refused it.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps an administrator's token in the data folder, readable by the hub's own user alone, so
/// that programs of that user can use the API over TCP.
///
/// # Errors
/// When the file or the database cannot be written.
pub async fn keep_local_token(app: &App) -> Result<(), LocalTokenError> {
    let path = app.config.data_dir.join("token");
    let token = read_or_make(&path).map_err(|source| LocalTokenError::File {
        path: path.clone(),
        source,
    })?;
    let hash = hash(&token);
    if api_tokens::by_hash(&app.store, &hash).await?.is_some() {
        return Ok(());
    }
    let row = ApiToken {
        id: Uuid::now_v7(),
        // Hubs of one database have a token each.
        name: format!("local-{}", hex::encode(&hash[..4])),
        role: Role::Admin.as_str().to_owned(),
        namespaces: Vec::new(),
        hash,
        created_at: app.clock.now(),
        created_by: "hub".to_owned(),
        revoked_at: None,
    };
    let mut tx = app.store.begin().await?;
    api_tokens::create(&mut tx, &row).await?;
    tx.commit().await?;
    Ok(())
}

fn read_or_make(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let token = new_token();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path)?;
    io::Write::write_all(&mut file, token.as_bytes())?;
    Ok(token)
}
