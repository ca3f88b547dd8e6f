use bellwether_api::application::ApplicationSpec;

use super::{ReleaseContent, Written};

/// As what an application was published last, which is as its newest release was made.
#[derive(Clone, Copy, Debug)]
pub enum Published<'a> {
    /// Never.
    Never,
    /// The newest release is what the records said.
    Release(&'a ReleaseContent),
    /// The newest release restores an earlier one, while the record said this: whoever took back
    /// what was published has not published something else by that.
    InsteadOf(&'a Written),
}

/// Tells whether what an application says is stored as a draft, not rolled: it names the version that
/// was published already. Without a name every change is published.
#[must_use]
pub fn is_draft(spec: &ApplicationSpec, published: Published<'_>) -> bool {
    let before = match published {
        Published::Never => None,
        Published::Release(content) => content.publish_version.as_deref(),
        Published::InsteadOf(written) => written.publish_version(),
    };
    spec.publish_version.is_some() && spec.publish_version.as_deref() == before
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::release::content;

    fn spec(version: Option<&str>) -> ApplicationSpec {
        serde_json::from_value(json!({
            "destination": {"fleet": "all"}, "publishVersion": version,
            "components": [{"name": "web", "manifests": [{"kind": "ConfigMap"}]}],
        }))
        .expect("a spec")
    }

    #[test]
    fn a_change_under_the_published_name_is_a_draft() {
        for (before, now, draft) in [
            (None, None, false),
            (None, Some("v1"), false),
            (Some("v1"), None, false),
            (Some("v1"), Some("v2"), false),
            (Some("v1"), Some("v1"), true),
        ] {
            let released = content("shop", &spec(before), &[]).expect("content");
            let now = spec(now);
            assert_eq!(is_draft(&now, Published::Release(&released)), draft);
            let written = Written::of(&spec(before));
            assert_eq!(is_draft(&now, Published::InsteadOf(&written)), draft);
            assert!(!is_draft(&now, Published::Never), "the first release rolls");
        }
    }

    #[test]
    fn another_name_alone_is_another_release() {
        let made = |version| content("shop", &spec(version), &[]).expect("content");
        assert_ne!(made(Some("v1")).digest(), made(Some("v2")).digest());
        assert_ne!(
            Written::of(&spec(Some("v1"))),
            Written::of(&spec(Some("v2")))
        );
        let text = serde_json::to_string(&made(None)).expect("JSON");
        assert!(!text.contains("publishVersion"), "digests of before stay");
    }
}
