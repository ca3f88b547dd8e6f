//! Ranges of versions as Helm and Flux read them.

use std::str::FromStr;

use semver::{BuildMetadata, Prerelease, Version};

/// A range of semantic versions: `1.2.3`, `1.2`, `1.x`, `^1.2`, `~1.2.3`, `>=1.2, <2`, `1.2 - 1.4`,
/// `!=1.3.0`, and several of these joined by `||`. A version that lacks parts means all that begin so.
///
/// Prereleases are in it only where a limit has one itself: `>=1.0.0-0` takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRange {
    text: String,
    alternatives: Vec<Alternative>,
}

/// A text is no range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{text:?} is neither a version like 1.2.3 nor a range like ^1.2, ~1.2.3, 1.x, \">=1.2, <2\" or \
     \"1.2 - 1.4\""
)]
pub struct VersionRangeError {
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Alternative {
    spans: Vec<Span>,
    /// Whether a limit has a prerelease.
    prereleases: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    /// The lowest version in it.
    from: Option<Version>,
    /// The lowest version beyond it.
    to: Option<Version>,
    /// Whether everything but this span is meant.
    except: bool,
}

impl VersionRange {
    /// Tells whether a version is in the range. Build metadata does not count.
    pub fn matches(&self, version: &Version) -> bool {
        let plain = without_build(version.clone());
        self.alternatives.iter().any(|alternative| {
            (plain.pre.is_empty() || alternative.prereleases)
                && alternative.spans.iter().all(|span| span.matches(&plain))
        })
    }

    /// Returns the highest of some names that are versions in this range, with or without a leading `v`.
    pub fn highest<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        names
            .into_iter()
            .filter_map(|name| Some((parse_version(name)?, name)))
            .filter(|(version, _)| self.matches(version))
            .max_by(|(a, x), (b, y)| a.cmp(b).then(y.len().cmp(&x.len())))
            .map(|(_, name)| name)
    }
}

/// Reads a version with or without a leading `v`.
pub(crate) fn parse_version(name: &str) -> Option<Version> {
    Version::parse(name.strip_prefix('v').unwrap_or(name)).ok()
}

impl Span {
    fn matches(&self, version: &Version) -> bool {
        let within = self.from.as_ref().is_none_or(|from| version >= from)
            && self.to.as_ref().is_none_or(|to| version < to);
        within != self.except
    }
}

impl FromStr for VersionRange {
    type Err = VersionRangeError;

    fn from_str(text: &str) -> Result<Self, VersionRangeError> {
        let alternatives = text
            .split("||")
            .map(alternative)
            .collect::<Option<Vec<Alternative>>>()
            .ok_or_else(|| VersionRangeError {
                text: text.to_owned(),
            })?;
        Ok(Self {
            text: text.to_owned(),
            alternatives,
        })
    }
}

impl std::fmt::Display for VersionRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn alternative(text: &str) -> Option<Alternative> {
    // An operator may stand apart from its version.
    let mut words: Vec<String> = Vec::new();
    let mut operator = String::new();
    for word in text.split([' ', ',']).filter(|word| !word.is_empty()) {
        let is_operator = word.chars().all(|c| "<>=!^~".contains(c));
        operator.push_str(word);
        if !is_operator {
            words.push(std::mem::take(&mut operator));
        }
    }
    if words.is_empty() || !operator.is_empty() {
        return None;
    }
    let mut spans = Vec::new();
    let mut prereleases = false;
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        let (span, pre) = if words.next_if_eq(&"-").is_some() {
            let (low, high) = (Partial::parse(word)?, Partial::parse(words.next()?)?);
            let pre = low.has_prerelease() || high.has_prerelease();
            (span(Some(low.lowest()), high.beyond()), pre)
        } else {
            comparator(word)?
        };
        spans.push(span);
        prereleases |= pre;
    }
    Some(Alternative { spans, prereleases })
}

fn comparator(word: &str) -> Option<(Span, bool)> {
    let at = word.find(|c| !"<>=!^~".contains(c))?;
    let (operator, rest) = word.split_at(at);
    let partial = Partial::parse(rest)?;
    let made = match operator {
        "" | "=" | "==" => span(Some(partial.lowest()), partial.beyond()),
        "!=" => Span {
            except: true,
            ..span(Some(partial.lowest()), partial.beyond())
        },
        ">=" | "=>" => span(Some(partial.lowest()), None),
        ">" => match partial.beyond() {
            Some(beyond) => span(Some(beyond), None),
            None => return None,
        },
        "<" => span(None, Some(partial.lowest())),
        "<=" | "=<" => span(None, partial.beyond()),
        "~" | "~>" => span(Some(partial.lowest()), partial.tilde()),
        "^" => span(Some(partial.lowest()), partial.caret()),
        _ => return None,
    };
    Some((made, partial.has_prerelease()))
}

fn span(from: Option<Version>, to: Option<Version>) -> Span {
    Span {
        from,
        to,
        except: false,
    }
}

/// A version that may lack parts.
#[derive(Clone, Debug)]
struct Partial {
    major: Option<u64>,
    minor: Option<u64>,
    patch: Option<u64>,
    pre: Prerelease,
}

impl Partial {
    fn parse(text: &str) -> Option<Self> {
        let partial = Self::parse_any(text)?;
        // Every part has a next one.
        let parts = [partial.major, partial.minor, partial.patch];
        (!parts.contains(&Some(u64::MAX))).then_some(partial)
    }

    fn parse_any(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        if let Ok(version) = Version::parse(text) {
            return Some(Self {
                major: Some(version.major),
                minor: Some(version.minor),
                patch: Some(version.patch),
                pre: version.pre,
            });
        }
        let mut parts = Vec::new();
        let mut open = false;
        for part in text.split('.') {
            match part {
                "x" | "X" | "*" => {
                    open = true;
                    parts.push(None);
                }
                number if !open => parts.push(Some(number.parse().ok()?)),
                _ => return None,
            }
        }
        let at = |index: usize| parts.get(index).copied().flatten();
        (parts.len() <= 3).then(|| Self {
            major: at(0),
            minor: at(1),
            patch: at(2),
            pre: Prerelease::EMPTY,
        })
    }

    fn has_prerelease(&self) -> bool {
        !self.pre.is_empty()
    }

    fn lowest(&self) -> Version {
        let part = |part: Option<u64>| part.unwrap_or(0);
        Version {
            pre: self.pre.clone(),
            ..Version::new(part(self.major), part(self.minor), part(self.patch))
        }
    }

    /// The lowest version beyond all that begin so; none if all do.
    fn beyond(&self) -> Option<Version> {
        match (self.major, self.minor, self.patch) {
            (None, ..) => None,
            (Some(major), None, _) => Some(before(major + 1, 0, 0)),
            (Some(major), Some(minor), None) => Some(before(major, minor + 1, 0)),
            (Some(major), Some(minor), Some(patch)) => Some(if self.has_prerelease() {
                // Nothing stands between a prerelease and the same with one more part that is lowest.
                let pre = Prerelease::new(&format!("{}.0", self.pre)).unwrap_or_default();
                Version {
                    pre,
                    ..Version::new(major, minor, patch)
                }
            } else {
                before(major, minor, patch + 1)
            }),
        }
    }

    fn tilde(&self) -> Option<Version> {
        match (self.major, self.minor) {
            (Some(major), Some(minor)) => Some(before(major, minor + 1, 0)),
            _ => self.beyond(),
        }
    }

    fn caret(&self) -> Option<Version> {
        match (self.major, self.minor, self.patch) {
            (Some(0), Some(0), Some(patch)) => Some(before(0, 0, patch + 1)),
            (Some(0), Some(minor), _) => Some(before(0, minor + 1, 0)),
            (Some(major), ..) => Some(before(major + 1, 0, 0)),
            (None, ..) => None,
        }
    }
}

/// The lowest of all prereleases of a version: what is beyond it is beyond these too.
fn before(major: u64, minor: u64, patch: u64) -> Version {
    Version {
        pre: Prerelease::new("0").expect("a number is a prerelease"),
        ..Version::new(major, minor, patch)
    }
}

fn without_build(version: Version) -> Version {
    Version {
        build: BuildMetadata::EMPTY,
        ..version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(range: &str, version: &str) -> bool {
        let range: VersionRange = range.parse().expect(range);
        range.matches(&Version::parse(version).expect(version))
    }

    #[test]
    fn ranges_hold_what_helm_says_they_hold() {
        for (range, inside, outside) in [
            (
                "1.2.3",
                vec!["1.2.3", "1.2.3+build"],
                vec!["1.2.4", "1.2.2", "1.2.3-rc.1"],
            ),
            ("v1.2.3", vec!["1.2.3"], vec!["1.3.0"]),
            ("1.2", vec!["1.2.0", "1.2.9"], vec!["1.3.0", "1.1.9"]),
            ("1.x", vec!["1.0.0", "1.9.9"], vec!["2.0.0", "1.1.0-rc.1"]),
            ("*", vec!["0.0.1", "9.9.9"], vec!["1.0.0-rc.1"]),
            ("^1.2.3", vec!["1.2.3", "1.9.0"], vec!["1.2.2", "2.0.0"]),
            ("^0.2.3", vec!["0.2.3", "0.2.9"], vec!["0.3.0", "1.0.0"]),
            ("^0.0.3", vec!["0.0.3"], vec!["0.0.4"]),
            ("^0", vec!["0.9.0"], vec!["1.0.0"]),
            ("~1.2.3", vec!["1.2.3", "1.2.9"], vec!["1.3.0"]),
            ("~1", vec!["1.9.0"], vec!["2.0.0"]),
            (">=1.2, <2", vec!["1.2.0", "1.9.9"], vec!["2.0.0", "1.1.9"]),
            (">= 1.2 < 2", vec!["1.2.0", "1.9.9"], vec!["2.0.0", "1.1.9"]),
            (">1.2", vec!["1.3.0"], vec!["1.2.9", "1.2.0"]),
            (">1.2.3", vec!["1.2.4"], vec!["1.2.3"]),
            ("<=1.2", vec!["1.2.9", "0.1.0"], vec!["1.3.0"]),
            ("1.2 - 1.4", vec!["1.2.0", "1.4.9"], vec!["1.5.0", "1.1.9"]),
            ("1.2.0 - 1.4.5", vec!["1.4.5"], vec!["1.4.6"]),
            (
                "!=1.3.0, ^1",
                vec!["1.3.1", "1.2.9"],
                vec!["1.3.0", "2.0.0"],
            ),
            ("~1.2 || ^3", vec!["1.2.3", "3.4.5"], vec!["1.3.0", "2.0.0"]),
            (
                ">=1.0.0-0",
                vec!["1.0.0-rc.1", "2.0.0-beta", "1.0.0"],
                vec!["0.9.9"],
            ),
            ("^1.0.0-0", vec!["1.5.0-rc.1"], vec!["2.0.0-rc.1", "2.0.0"]),
            (
                "1.0.0-rc.1",
                vec!["1.0.0-rc.1"],
                vec!["1.0.0-rc.2", "1.0.0", "1.0.0-rc.1.1"],
            ),
        ] {
            for version in inside {
                assert!(matches(range, version), "{version} is in {range}");
            }
            for version in outside {
                assert!(!matches(range, version), "{version} is not in {range}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn an_exact_version_holds_itself_and_a_caret_nothing_lower(
            major: u64, minor: u64, patch: u64, other in "[0-9.*x<>=!^~ |,v-]{0,16}",
        ) {
            let version = Version::new(major, minor, patch);
            for operator in ["", "^", "~", ">=", "<="] {
                if let Ok(range) = format!("{operator}{version}").parse::<VersionRange>() {
                    proptest::prop_assert!(range.matches(&version), "{range}");
                }
            }
            if let Ok(range) = format!("^{version}").parse::<VersionRange>() {
                let lower = Version::new(major, minor, patch.saturating_sub(1));
                proptest::prop_assert!(lower == version || !range.matches(&lower));
            }
            // Whatever is written, it is a range or none.
            if let Ok(range) = other.parse::<VersionRange>() {
                range.matches(&version);
            }
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "", "latest", "1.2.3.4", "^", "1.x.3", "|| 1", ">=", "1 -", ">*", "=!1", "main",
        ] {
            let error = text.parse::<VersionRange>().expect_err(text).to_string();
            assert!(error.contains("^1.2"), "{error}");
        }
    }

    #[test]
    fn the_highest_is_by_version_and_not_by_letters() {
        let range: VersionRange = "^1".parse().expect("a range");
        let names = ["1.9.0", "v1.10.0", "2.0.0", "latest", "1.11.0-rc.1", "1.2"];
        assert_eq!(range.highest(names), Some("v1.10.0"));
        assert_eq!(range.highest(["2.0.0"]), None);
        assert_eq!(range.highest(["v1.0.0", "1.0.0"]), Some("1.0.0"));
        assert_eq!(range.highest(["1.0.0", "v1.0.0"]), Some("1.0.0"));
    }
}
