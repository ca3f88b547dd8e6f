//! What every provider's cases are checked against, beside what they look like.

use std::collections::BTreeSet;

use bellwether_api::{
    matching::{Match, NamedMatch, ValueMatch},
    number::Weight,
    reference::ObjectRef,
    traffic::{Capability, Provider},
};
use serde_json::Value;

use super::{Affinity, Names, Split, own, render, renderer, tree::text};

/// A weight.
pub(super) fn weight(percent: u8) -> Weight {
    Weight::new(percent).expect("a weight")
}

/// The names that all cases use.
pub(super) fn names() -> Names {
    Names {
        namespace: "shop".into(),
        apex: "web".into(),
        canary: "web-canary".into(),
        rules: Vec::new(),
        copied: None,
    }
}

/// A value of every form: `=exact`, `^prefix`, `~regex`.
pub(super) fn named(name: &str, form: &str) -> NamedMatch {
    let ValueMatch {
        exact,
        prefix,
        regex,
    } = value(form);
    NamedMatch {
        name: name.into(),
        exact,
        prefix,
        regex,
    }
}

/// A value of every form: `=exact`, `^prefix`, `~regex`.
pub(super) fn value(form: &str) -> ValueMatch {
    let text = Some(form[1..].to_owned());
    let mut value = ValueMatch::default();
    match &form[..1] {
        "=" => value.exact = text,
        "^" => value.prefix = text,
        "~" => value.regex = text,
        other => panic!("no form {other:?}"),
    }
    value
}

/// One item with headers only.
pub(super) fn headers(headers: &[(&str, &str)]) -> Match {
    Match {
        headers: headers
            .iter()
            .map(|(name, form)| named(name, form))
            .collect(),
        ..Match::default()
    }
}

/// One item with cookies only.
pub(super) fn cookies(cookies: &[(&str, &str)]) -> Match {
    Match {
        cookies: cookies
            .iter()
            .map(|(name, form)| named(name, form))
            .collect(),
        ..Match::default()
    }
}

/// A split by matches alone.
pub(super) fn by_matches(matches: Vec<Match>) -> Split {
    Split {
        matches,
        ..Split::default()
    }
}

/// The canary is named and gets nothing.
pub(super) fn announced() -> Split {
    Split {
        announced: true,
        ..Split::default()
    }
}

/// A split that mirrors.
pub(super) fn mirrored(canary: u8, share: u8) -> Split {
    Split {
        mirror: weight(share),
        ..Split::by_weight(weight(canary))
    }
}

/// A split that keeps users where they were.
pub(super) fn sticky(canary: u8) -> Split {
    Split {
        affinity: Some(Affinity {
            cookie_name: "bellwether".into(),
            stable_cookie_name: None,
            max_age_s: 86_400,
            token: "r1-20".into(),
        }),
        ..Split::by_weight(weight(canary))
    }
}

/// The user's object and those that stand beside it, with the split in them.
pub(super) fn rendered(provider: Provider, object: &Value, split: &Split) -> Vec<Value> {
    rendered_with(provider, object, &names(), split)
}

/// The same with names of its own.
pub(super) fn rendered_with(
    provider: Provider,
    object: &Value,
    names: &Names,
    split: &Split,
) -> Vec<Value> {
    let mut out = vec![render(provider, object, names, split).expect("it can be split")];
    out.extend(own(provider, object, names, split).expect("it can be split"));
    out
}

/// Checks what holds for every provider: no split gives the object back byte by byte, a weight is
/// read back, whatever the user added survives, and what a provider claims it can render it does.
pub(super) fn check(provider: Provider, object: &Value) {
    check_with(provider, object, &names());
}

/// The same with names of its own.
pub(super) fn check_with(provider: Provider, object: &Value, names: &Names) {
    let none = render(provider, object, names, &Split::default()).expect("nothing to do");
    assert_eq!(none.to_string(), object.to_string(), "no split");
    let own_none = own(provider, object, names, &Split::default()).expect("nothing to do");
    assert!(own_none.is_empty(), "no split");
    let renderer = renderer(provider).expect("it is supported");
    assert_eq!(
        renderer.observed_weight(object, &[], names),
        Some(Weight::ZERO),
        "the user's own object"
    );
    for percent in 0..=100 {
        let objects = rendered_with(provider, object, names, &Split::by_weight(weight(percent)));
        foreseen(provider, object, names, &objects[1..]);
        let beside: Vec<&Value> = objects[1..].iter().collect();
        assert_eq!(
            renderer.observed_weight(&objects[0], &beside, names),
            Some(weight(percent)),
            "{percent} %"
        );
        survives(object, &objects[0]);
    }
    for (capability, split) in asked() {
        let can = provider.capabilities().contains(&capability);
        let outcome = render(provider, object, names, &split)
            .and_then(|one| own(provider, object, names, &split).map(|own| (one, own)));
        assert_eq!(outcome.is_ok(), can, "{capability:?}: {outcome:?}");
        if let Ok((one, beside)) = outcome {
            foreseen(provider, object, names, &beside);
            survives(object, &one);
            assert!(
                one != *object || !beside.is_empty(),
                "{capability:?} changes nothing"
            );
            let beside: Vec<&Value> = beside.iter().collect();
            let seen = renderer.observed_weight(&one, &beside, names);
            assert_eq!(seen, Some(split.weight), "{capability:?}");
        }
    }
}

/// Every object beside the user's is one that is looked for, and taken away at the end.
fn foreseen(provider: Provider, object: &Value, names: &Names, beside: &[Value]) {
    let of = |object: &Value| ObjectRef {
        api_version: text(object, "apiVersion").to_owned(),
        kind: text(object, "kind").to_owned(),
        namespace: Some(text(&object["metadata"], "namespace").to_owned()),
        name: text(&object["metadata"], "name").to_owned(),
    };
    let renderer = renderer(provider).expect("it is supported");
    let targets = renderer.own_targets(&of(object), names);
    for one in beside {
        assert!(targets.contains(&of(one)), "{} is not foreseen", of(one));
    }
}

/// One split for each capability that asks for that one and what belongs to it.
fn asked() -> Vec<(Capability, Split)> {
    use Capability as C;
    let path = |form: &str| Match {
        path: Some(value(form)),
        ..Match::default()
    };
    let query = |form: &str| Match {
        query_params: vec![named("debug", form)],
        ..Match::default()
    };
    let one = |item: Match| by_matches(vec![item]);
    vec![
        (C::HeaderExact, one(headers(&[("X-User", "=insider")]))),
        (C::HeaderPrefix, one(headers(&[("X-User", "^in")]))),
        (C::HeaderRegex, one(headers(&[("X-User", "~in.*")]))),
        (C::CookieExact, one(cookies(&[("type", "=insider")]))),
        (C::CookiePrefix, one(cookies(&[("type", "^in")]))),
        (C::CookieRegex, one(cookies(&[("type", "~in.*")]))),
        (C::QueryExact, one(query("=1"))),
        (C::QueryPrefix, one(query("^1"))),
        (C::QueryRegex, one(query("~1.*"))),
        (C::PathExact, one(path("=/beta/x"))),
        (C::PathPrefix, one(path("^/beta"))),
        (C::PathRegex, one(path("~/beta/[0-9]+"))),
        (
            C::Method,
            one(Match {
                method: Some("POST".into()),
                ..Match::default()
            }),
        ),
        (
            C::Port,
            one(Match {
                port: Some(8443),
                ..Match::default()
            }),
        ),
        (
            C::SourceLabels,
            one(Match {
                source_labels: [("app".to_owned(), "tester".to_owned())].into(),
                ..Match::default()
            }),
        ),
        (C::Mirror, mirrored(0, 100)),
        (C::MirrorShare, mirrored(0, 30)),
        (C::Affinity, sticky(20)),
    ]
}

/// Every text that begins with `kept-` is still there.
fn survives(before: &Value, after: &Value) {
    let (before, after) = (kept(before), kept(after));
    let lost: Vec<&String> = before.difference(&after).collect();
    assert!(!before.is_empty(), "the case has nothing that must survive");
    assert!(lost.is_empty(), "{lost:?} is lost");
}

fn kept(value: &Value) -> BTreeSet<String> {
    match value {
        Value::String(text) if text.starts_with("kept-") => [text.clone()].into(),
        Value::Array(items) => items.iter().flat_map(kept).collect(),
        Value::Object(fields) => fields.values().flat_map(kept).collect(),
        _ => BTreeSet::new(),
    }
}
