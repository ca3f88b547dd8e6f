//! What each provider can do.

use super::Capability::{self, *};

pub(super) const HTTP_ROUTE: &[Capability] = &[
    Weights,
    HeaderExact,
    HeaderPrefix,
    HeaderRegex,
    CookieExact,
    CookiePrefix,
    CookieRegex,
    QueryExact,
    QueryPrefix,
    QueryRegex,
    PathExact,
    PathPrefix,
    PathRegex,
    Method,
    AllOf,
    AnyOf,
    Mirror,
    MirrorShare,
    Affinity,
];

pub(super) const LINKERD_HTTP_ROUTE: &[Capability] = &[
    Weights,
    HeaderExact,
    HeaderPrefix,
    HeaderRegex,
    CookieExact,
    CookiePrefix,
    CookieRegex,
    QueryExact,
    QueryPrefix,
    QueryRegex,
    PathExact,
    PathPrefix,
    PathRegex,
    Method,
    AllOf,
    AnyOf,
];

pub(super) const MESH_SERVICE: &[Capability] = &[
    Weights,
    HeaderExact,
    HeaderPrefix,
    HeaderRegex,
    CookieExact,
    CookiePrefix,
    CookieRegex,
    QueryExact,
    QueryPrefix,
    QueryRegex,
    PathExact,
    PathPrefix,
    PathRegex,
    Method,
    AllOf,
    AnyOf,
    Mirror,
    MirrorShare,
];

pub(super) const GRPC_ROUTE: &[Capability] = &[
    Weights,
    HeaderExact,
    HeaderPrefix,
    HeaderRegex,
    AllOf,
    AnyOf,
    Mirror,
    MirrorShare,
];

pub(super) const CONNECTIONS: &[Capability] = &[Weights, Connections];

pub(super) const WEIGHTS: &[Capability] = &[Weights];

pub(super) const NGINX: &[Capability] = &[
    Weights,
    HeaderExact,
    HeaderPrefix,
    HeaderRegex,
    CookieExact,
    CookiePrefix,
    CookieRegex,
];

pub(super) const VIRTUAL_SERVICE: &[Capability] = &[
    Weights,
    HeaderExact,
    HeaderPrefix,
    HeaderRegex,
    CookieExact,
    CookiePrefix,
    CookieRegex,
    QueryExact,
    QueryPrefix,
    QueryRegex,
    PathExact,
    PathPrefix,
    PathRegex,
    Method,
    Port,
    SourceLabels,
    AllOf,
    AnyOf,
    Mirror,
    MirrorShare,
    Affinity,
    Connections,
];

pub(super) const APISIX_ROUTE: &[Capability] = &[
    Weights,
    HeaderExact,
    HeaderPrefix,
    HeaderRegex,
    CookieExact,
    CookiePrefix,
    CookieRegex,
    QueryExact,
    QueryPrefix,
    QueryRegex,
    PathExact,
    PathPrefix,
    PathRegex,
    Method,
    AllOf,
    AnyOf,
];

pub(super) const INGRESS_ROUTE: &[Capability] = &[
    Weights,
    HeaderExact,
    HeaderPrefix,
    HeaderRegex,
    CookieExact,
    CookiePrefix,
    CookieRegex,
    QueryExact,
    QueryPrefix,
    QueryRegex,
    PathExact,
    PathPrefix,
    PathRegex,
    Method,
    AllOf,
    AnyOf,
    Mirror,
    MirrorShare,
];

pub(super) const TRAEFIK_SERVICE: &[Capability] = &[Weights, Mirror, MirrorShare];

pub(super) const HTTP_PROXY: &[Capability] = &[
    Weights,
    HeaderExact,
    HeaderPrefix,
    HeaderRegex,
    CookieExact,
    CookiePrefix,
    CookieRegex,
    QueryExact,
    QueryPrefix,
    QueryRegex,
    PathExact,
    PathPrefix,
    PathRegex,
    AllOf,
    AnyOf,
    Mirror,
    MirrorShare,
];
