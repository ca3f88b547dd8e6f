//! When the webhook's certificate and its authority are made anew.

use jiff::{SignedDuration, Timestamp};

/// How long a certificate is valid.
pub const CERTIFICATE_LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How long the authority that signs it is valid.
pub const AUTHORITY_LIFETIME: SignedDuration = SignedDuration::from_hours(5 * 365 * 24);

/// From when until when something is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: Timestamp,
    /// The last moment.
    pub not_after: Timestamp,
}

/// What is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Keep,
    /// A certificate, signed by the authority that there is.
    Issue,
    /// An authority, and a certificate signed by it.
    NewAuthority,
}

/// Tells what is to be made; absent = there is none, or it cannot be read. A certificate is replaced when
/// a third of its life is left, an authority when no certificate would fit into its own.
#[must_use]
pub fn step(now: Timestamp, authority: Option<Validity>, certificate: Option<Validity>) -> Step {
    let signs = authority.is_some_and(|authority| {
        authority.not_before <= now && now + CERTIFICATE_LIFETIME <= authority.not_after
    });
    if !signs {
        return Step::NewAuthority;
    }
    match certificate {
        Some(certificate) if is_fresh(now, certificate) => Step::Keep,
        _ => Step::Issue,
    }
}

fn is_fresh(now: Timestamp, certificate: Validity) -> bool {
    let life = certificate.not_after.duration_since(certificate.not_before);
    certificate.not_before <= now && certificate.not_after.duration_since(now) > life / 3
}

/// Tells whether the API server accepts it no more, or not yet.
#[must_use]
pub fn is_expired(now: Timestamp, certificate: Validity) -> bool {
    now < certificate.not_before || certificate.not_after <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).expect("a time")
    }

    fn days(from: i64, until: i64) -> Validity {
        Validity {
            not_before: now() + SignedDuration::from_hours(from * 24),
            not_after: now() + SignedDuration::from_hours(until * 24),
        }
    }

    #[test]
    fn what_ends_is_made_anew_before_it_does() {
        let authority = Some(days(-10, 1_000));
        let cases = [
            ("nothing", None, None, Step::NewAuthority),
            ("no certificate", authority, None, Step::Issue),
            ("fresh", authority, Some(days(-1, 89)), Step::Keep),
            (
                "most of its life is left",
                authority,
                Some(days(-59, 31)),
                Step::Keep,
            ),
            (
                "a third is left",
                authority,
                Some(days(-60, 30)),
                Step::Issue,
            ),
            ("ended", authority, Some(days(-100, -10)), Step::Issue),
            ("not valid yet", authority, Some(days(1, 91)), Step::Issue),
            (
                "the authority ends before it would",
                Some(days(-1_000, 89)),
                Some(days(-1, 89)),
                Step::NewAuthority,
            ),
            (
                "the authority ended",
                Some(days(-1_000, -1)),
                Some(days(-1, 89)),
                Step::NewAuthority,
            ),
            (
                "the authority is of the future",
                Some(days(1, 1_000)),
                Some(days(-1, 89)),
                Step::NewAuthority,
            ),
        ];
        for (what, authority, certificate, expected) in cases {
            assert_eq!(step(now(), authority, certificate), expected, "{what}");
        }
    }

    #[test]
    fn a_certificate_serves_from_its_beginning_until_its_end() {
        for (validity, expired) in [
            (days(0, 1), false),
            (days(-1, 0), true),
            (days(-2, -1), true),
            (days(1, 2), true),
        ] {
            assert_eq!(is_expired(now(), validity), expired, "{validity:?}");
        }
    }
}
