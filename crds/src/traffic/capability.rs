//! What a rollout may ask of a traffic provider.

use std::fmt;

/// One thing that a provider can or cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Shares of requests by weight.
    Weights,
    /// Matches on a header's whole value.
    HeaderExact,
    /// Matches on how a header begins.
    HeaderPrefix,
    /// Matches on a header by regular expression.
    HeaderRegex,
    /// Matches on a cookie's whole value, whatever other cookies there are.
    CookieExact,
    /// Matches on how a cookie begins.
    CookiePrefix,
    /// Matches on a cookie by regular expression.
    CookieRegex,
    /// Matches on a query parameter's whole value.
    QueryExact,
    /// Matches on how a query parameter begins.
    QueryPrefix,
    /// Matches on a query parameter by regular expression.
    QueryRegex,
    /// Matches on the whole path.
    PathExact,
    /// Matches on how the path begins.
    PathPrefix,
    /// Matches on the path by regular expression.
    PathRegex,
    /// Matches on the method.
    Method,
    /// Matches on the listener's port.
    Port,
    /// Matches on the labels of the pod that asks.
    SourceLabels,
    /// Several conditions in one item of `match`, all of which must hold.
    AllOf,
    /// Several items of `match` that look at different things.
    AnyOf,
    /// Requests answered by the stable version are also sent to the canary.
    Mirror,
    /// A share of mirrored requests other than all or none.
    MirrorShare,
    /// Users stay on the version that answered first.
    Affinity,
    /// Splits TCP connections, not requests: what only requests have cannot be matched.
    Connections,
}

impl Capability {
    /// Every capability, in the order of tables.
    pub const ALL: [Self; 22] = [
        Self::Weights,
        Self::HeaderExact,
        Self::HeaderPrefix,
        Self::HeaderRegex,
        Self::CookieExact,
        Self::CookiePrefix,
        Self::CookieRegex,
        Self::QueryExact,
        Self::QueryPrefix,
        Self::QueryRegex,
        Self::PathExact,
        Self::PathPrefix,
        Self::PathRegex,
        Self::Method,
        Self::Port,
        Self::SourceLabels,
        Self::AllOf,
        Self::AnyOf,
        Self::Mirror,
        Self::MirrorShare,
        Self::Affinity,
        Self::Connections,
    ];

    /// Returns what stands in for it, nearest first, on a provider that lacks it.
    pub(super) fn nearest(self) -> &'static [Self] {
        match self {
            Self::HeaderExact => &[Self::HeaderRegex],
            Self::HeaderPrefix => &[Self::HeaderRegex, Self::HeaderExact],
            Self::HeaderRegex => &[Self::HeaderPrefix, Self::HeaderExact],
            Self::CookieExact => &[Self::CookieRegex, Self::HeaderExact],
            Self::CookiePrefix => &[Self::CookieRegex, Self::CookieExact, Self::HeaderExact],
            Self::CookieRegex => &[Self::CookiePrefix, Self::CookieExact, Self::HeaderExact],
            Self::QueryExact => &[Self::QueryRegex, Self::HeaderExact],
            Self::QueryPrefix => &[Self::QueryRegex, Self::QueryExact, Self::HeaderExact],
            Self::QueryRegex => &[Self::QueryPrefix, Self::QueryExact, Self::HeaderExact],
            Self::PathExact => &[Self::PathPrefix, Self::HeaderExact],
            Self::PathPrefix => &[Self::PathExact, Self::HeaderExact],
            Self::PathRegex => &[Self::PathPrefix, Self::PathExact, Self::HeaderExact],
            Self::Method | Self::Port | Self::SourceLabels | Self::AnyOf | Self::AllOf => {
                &[Self::HeaderExact, Self::Weights]
            }
            Self::MirrorShare => &[Self::Mirror, Self::Weights],
            Self::Mirror | Self::Affinity => &[Self::Weights],
            Self::Weights | Self::Connections => &[],
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weights => "split by weight",
            Self::HeaderExact => "match headers exactly",
            Self::HeaderPrefix => "match headers by prefix",
            Self::HeaderRegex => "match headers by regex",
            Self::CookieExact => "match cookies exactly",
            Self::CookiePrefix => "match cookies by prefix",
            Self::CookieRegex => "match cookies by regex",
            Self::QueryExact => "match query parameters exactly",
            Self::QueryPrefix => "match query parameters by prefix",
            Self::QueryRegex => "match query parameters by regex",
            Self::PathExact => "match the path exactly",
            Self::PathPrefix => "match the path by prefix",
            Self::PathRegex => "match the path by regex",
            Self::Method => "match the method",
            Self::Port => "match the port",
            Self::SourceLabels => "match source labels",
            Self::AllOf => "match several conditions at once",
            Self::AnyOf => "match any of several different conditions",
            Self::Mirror => "mirror requests",
            Self::MirrorShare => "mirror a share of requests",
            Self::Affinity => "keep sessions on one version",
            Self::Connections => "split TCP connections",
        })
    }
}
