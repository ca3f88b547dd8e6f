//! Which components of a bundle may be applied, when some wait for others.

use std::collections::BTreeSet;

use bellwether_api::bundle::BundleComponent;

/// Tells whether any component waits for another: otherwise all of them are applied at once.
#[must_use]
pub fn is_ordered(components: &[BundleComponent]) -> bool {
    components.iter().any(|one| !one.depends_on.is_empty())
}

/// Returns the components that may be applied: those of which everything before them is `done`, which
/// means applied as a whole and healthy. What is not in the bundle is not waited for.
#[must_use]
pub fn open(components: &[BundleComponent], done: &BTreeSet<String>) -> BTreeSet<String> {
    let known = |name: &String| components.iter().any(|one| one.name == *name);
    let mut open: BTreeSet<String> = BTreeSet::new();
    loop {
        let next = components.iter().find(|one| {
            let mut before = one.depends_on.iter().filter(|name| known(name));
            // What is healthy without being open is what an earlier release left.
            !open.contains(&one.name)
                && before.all(|name| open.contains(name) && done.contains(name))
        });
        match next {
            Some(next) => open.insert(next.name.clone()),
            None => return open,
        };
    }
}

/// Says of every component that is not open what it waits for, in the bundle's order.
#[must_use]
pub fn waiting(
    components: &[BundleComponent],
    open: &BTreeSet<String>,
    done: &BTreeSet<String>,
) -> Vec<(String, Vec<String>)> {
    let known = |name: &&String| components.iter().any(|one| one.name == **name);
    let closed = components.iter().filter(|one| !open.contains(&one.name));
    closed
        .map(|one| {
            let before = one.depends_on.iter().filter(known);
            let left = before.filter(|name| !(open.contains(*name) && done.contains(*name)));
            (one.name.clone(), left.cloned().collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn component(name: &str, after: &[&str]) -> BundleComponent {
        BundleComponent {
            name: name.to_owned(),
            objects: Vec::new(),
            health: Vec::new(),
            hooks: Vec::new(),
            depends_on: names(after).into_iter().collect(),
            sync: None,
            service_account: None,
        }
    }

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn shop() -> Vec<BundleComponent> {
        vec![
            component("web", &["api", "cache"]),
            component("db", &[]),
            component("api", &["db"]),
            component("cache", &[]),
        ]
    }

    #[test]
    fn each_comes_once_all_before_it_are_healthy() {
        let shop = shop();
        for (done, opened) in [
            (&[][..], &["db", "cache"][..]),
            (&["cache"], &["db", "cache"]),
            (&["db"], &["db", "cache", "api"]),
            (&["db", "api"], &["db", "cache", "api"]),
            (&["db", "api", "cache"], &["db", "cache", "api", "web"]),
            // Healthy by what an earlier release left, and not applied as this one has it.
            (&["api", "cache"], &["db", "cache"]),
        ] {
            assert_eq!(open(&shop, &names(done)), names(opened), "{done:?}");
        }
        assert!(is_ordered(&shop));
        assert!(!is_ordered(&shop[1..2]));
    }

    #[test]
    fn whoever_waits_says_for_what() {
        let done = names(&["cache"]);
        let open = open(&shop(), &done);
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(
            waiting(&shop(), &open, &done),
            [
                ("web".to_owned(), list(&["api"])),
                ("api".to_owned(), list(&["db"])),
            ]
        );
    }

    #[test]
    fn what_is_not_in_the_bundle_is_not_waited_for() {
        let alone = [component("web", &["gone"])];
        assert_eq!(open(&alone, &BTreeSet::new()), names(&["web"]));
        assert_eq!(waiting(&alone, &names(&["web"]), &BTreeSet::new()), []);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        /// However health comes and goes: nothing is open before what comes first is, and once all
        /// that is open is healthy more opens until everything is.
        #[test]
        fn order_holds_and_comes_to_an_end(
            pairs in prop::collection::vec((0_usize..6, 0_usize..6), 0..12),
            healthy in prop::collection::btree_set(0_usize..6, 0..6),
        ) {
            let name = |number: usize| format!("c{number}");
            let components: Vec<BundleComponent> = (0..6)
                .map(|number| {
                    // Only earlier ones: validation refuses circles.
                    let after = pairs.iter().filter(|(from, to)| *from == number && *to < number);
                    let after: Vec<String> = after.map(|(_, to)| name(*to)).collect();
                    let after: Vec<&str> = after.iter().map(String::as_str).collect();
                    component(&name(number), &after)
                })
                .collect();
            let done: BTreeSet<String> = healthy.into_iter().map(name).collect();
            let opened = open(&components, &done);
            for one in components.iter().filter(|one| opened.contains(&one.name)) {
                for before in &one.depends_on {
                    prop_assert!(opened.contains(before) && done.contains(before));
                }
            }
            let mut done = BTreeSet::new();
            for _ in 0..6 {
                done = open(&components, &done);
            }
            prop_assert_eq!(done.len(), 6, "everything comes in");
        }
    }
}
