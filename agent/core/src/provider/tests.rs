use bellwether_api::traffic::{Capability, Provider};

use super::{
    golden::{announced, by_matches, headers, named, names},
    pattern::{confined, cookies, escape},
    *,
};

#[test]
fn every_supported_provider_has_a_renderer_and_no_other() {
    for provider in Provider::ALL {
        assert_eq!(
            renderer(provider).is_some(),
            provider.is_supported() && provider.has_object(),
            "{provider:?}"
        );
    }
}

#[test]
fn only_who_needs_it_names_a_canary_that_gets_nothing() {
    // Of HTTPRoutes and GRPCRoutes it depends on who serves them.
    let can = |provider: &Provider| {
        let by_server = [
            Provider::HttpRoute,
            Provider::GrpcRoute,
            Provider::LinkerdHttpRoute,
        ];
        *provider == Provider::HttpProxy || by_server.contains(provider)
    };
    for provider in Provider::ALL {
        assert_eq!(
            announces(provider),
            provider == Provider::HttpProxy,
            "{provider:?}"
        );
        assert_eq!(can_announce(provider), can(&provider), "{provider:?}");
        let route = serde_json::json!({"spec": {"rules": [{"backendRefs": [{"name": "web"}]}]}});
        if !can_announce(provider) && provider.has_object() {
            let same = render(provider, &route, &names(), &announced());
            assert_eq!(same.expect("unchanged"), route, "{provider:?}");
        }
    }
}

#[test]
fn what_a_provider_lacks_is_not_rendered_in_part() {
    for provider in Provider::ALL {
        if provider.capabilities().contains(&Capability::HeaderRegex) {
            continue;
        }
        let split = by_matches(vec![headers(&[("x-user", "~.*")])]);
        let refused = render(provider, &serde_json::json!({}), &names(), &split);
        assert!(
            matches!(refused, Err(RenderError::Lacking { .. })),
            "{provider:?}: {refused:?}"
        );
    }
}

#[test]
fn cookies_are_found_among_others() {
    assert_eq!(
        cookies(&[named("type", "=in.sider")]).expect("a pattern"),
        r"^(?:.*;)?\s*type=in\.sider\s*(?:;.*)?$"
    );
    assert_eq!(
        cookies(&[named("type", "^in")]).expect("a pattern"),
        r"^(?:.*;)?\s*type=in[^;]*\s*(?:;.*)?$"
    );
    assert_eq!(
        cookies(&[named("a", "=1"), named("b", "=2")]).expect("a pattern"),
        r"^(?:.*;)?\s*(?:a=1\s*;(?:.*;)?\s*b=2|b=2\s*;(?:.*;)?\s*a=1)\s*(?:;.*)?$"
    );
    let four = ["a", "b", "c", "d"].map(|name| named(name, "=1"));
    assert!(matches!(
        cookies(&four),
        Err(RenderError::TooMany { limit: 3, .. })
    ));
}

#[test]
fn a_regex_stays_within_its_cookie() {
    for (regex, expected) in [
        ("in.*", "in[^;]*"),
        ("^in(side|out)r?$", "in(side|out)r?"),
        (r"\S+\.\d", r"[^\s;]+\.\d"),
        ("[^a-f]x[]a]", r"[^;a-f]x[\]a]"),
        ("(?i)v[[:alpha:]]+", "(?i)v[[:alpha:]]+"),
        (r"cost\$", r"cost\$"),
    ] {
        assert_eq!(confined(regex).expect(regex), expected, "{regex}");
    }
    for regex in [
        "a|^b", "a$b", r"\Qx\E", "(?=x)", "(?P<n>x)", "[ -~]", "[;]", "[a", r"a\", r"[\S]",
    ] {
        assert!(confined(regex).is_err(), "{regex}");
    }
}

#[test]
fn escaped_texts_stand_for_themselves() {
    assert_eq!(escape("a.b+c(d)"), r"a\.b\+c\(d\)");
}
