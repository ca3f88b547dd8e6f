//! Add-ons: applications that every member of a fleet gets before it gets any other.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{
    fleet::FleetSpec,
    reference::{ApplicationRef, NamespacedName},
};
use serde::Deserialize as _;
use serde_json::Value;

use crate::{
    dependencies::{Edges, closure},
    placement::{
        self, Choice, Chosen, ClusterFacts, Placement, PlacementError, Verdict, is_member,
    },
};

/// Namespace of add-ons that name none: fleets have no namespace.
pub const HOME: &str = "default";

/// Every fleet, by name.
pub type Fleets = BTreeMap<String, FleetSpec>;

/// Fleets that cannot be read, as one that a newer hub wrote, and the add-ons that they may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread(BTreeMap<String, Option<BTreeSet<NamespacedName>>>);

impl Unread {
    /// Notes a fleet whose spec cannot be read. Where not even its add-ons can, each application may be one.
    pub fn note(&mut self, fleet: &str, spec: &Value) {
        let addons = match spec.get("addons") {
            None => Some(Vec::new()),
            Some(addons) => Vec::<ApplicationRef>::deserialize(addons).ok(),
        };
        let named = addons.map(|addons| addons.iter().map(|one| one.within(HOME)).collect());
        self.0.insert(fleet.to_owned(), named);
    }

    /// Sees to it that none of the fleets may have an application as an add-on.
    ///
    /// # Errors
    /// One may: whom it has as members is not known, and nobody is to lose what it may be to have.
    pub fn has_none(&self, application: &NamespacedName) -> Result<(), PlacementError> {
        let may = |addons: &Option<BTreeSet<NamespacedName>>| {
            addons.as_ref().is_none_or(|all| all.contains(application))
        };
        match self.0.iter().find(|(_, addons)| may(addons)) {
            None => Ok(()),
            Some((name, _)) => Err(PlacementError::UnreadFleet { name: name.clone() }),
        }
    }
}

/// Reads fleets by name and spec; `tell` hears of each that cannot be read.
pub fn read(
    specs: impl IntoIterator<Item = (String, Value)>,
    tell: impl Fn(&str, &serde_json::Error),
) -> (Fleets, Unread) {
    let (mut fleets, mut unread) = (Fleets::new(), Unread::default());
    for (name, spec) in specs {
        match FleetSpec::deserialize(&spec) {
            Ok(read) => {
                fleets.insert(name, read);
            }
            Err(error) => {
                tell(&name, &error);
                unread.note(&name, &spec);
            }
        }
    }
    (fleets, unread)
}

/// Returns the add-ons of one fleet, in its order.
pub fn of_fleet(fleet: &FleetSpec) -> impl Iterator<Item = NamespacedName> + '_ {
    fleet.addons.iter().map(|addon| addon.within(HOME))
}

/// Tells whether a fleet has an application as an add-on.
#[must_use]
pub fn has(fleet: &FleetSpec, application: &NamespacedName) -> bool {
    let is = |one: &ApplicationRef| {
        one.name == application.name
            && one.namespace.as_deref().unwrap_or(HOME) == application.namespace
    };
    fleet.addons.iter().any(is)
}

/// Returns the add-ons of all fleets.
#[must_use]
pub fn all(fleets: &Fleets) -> BTreeSet<NamespacedName> {
    fleets.values().flat_map(of_fleet).collect()
}

/// Returns the add-ons of every fleet that has the cluster as a member.
#[must_use]
pub fn of_cluster(fleets: &Fleets, cluster: &ClusterFacts) -> BTreeSet<NamespacedName> {
    fleets
        .values()
        .filter(|fleet| !fleet.addons.is_empty() && is_member(fleet, cluster))
        .flat_map(of_fleet)
        .collect()
}

/// Resolves an application's destination, and adds the members of every fleet that has it as an
/// add-on. Sorted by name.
///
/// # Errors
/// [`PlacementError`] when the destination is empty or its fleet does not exist.
pub fn with_addons(
    application: &NamespacedName,
    placed: Result<Placement, PlacementError>,
    fleets: &Fleets,
    clusters: &[ClusterFacts],
) -> Result<Placement, PlacementError> {
    let mut placement = placed?;
    let having: Vec<&FleetSpec> = fleets
        .values()
        .filter(|fleet| has(fleet, application))
        .collect();
    if having.is_empty() {
        return Ok(placement);
    }
    let there: BTreeSet<uuid::Uuid> = placement.clusters.iter().map(|one| one.id).collect();
    let joins = |cluster: &&ClusterFacts| {
        !there.contains(&cluster.id) && having.iter().any(|fleet| is_member(fleet, cluster))
    };
    placement
        .clusters
        .extend(clusters.iter().filter(joins).cloned());
    placement.clusters.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(placement)
}

/// Chooses the clusters of an application, and adds the members of every fleet that has it as an add-on:
/// no policy keeps an add-on from them.
///
/// # Errors
/// As [`with_addons`].
pub fn choose(
    application: &NamespacedName,
    choice: Choice<'_>,
    fleets: &Fleets,
) -> Result<Chosen, PlacementError> {
    let mut chosen = placement::choose(choice)?;
    let before: BTreeSet<uuid::Uuid> = chosen.placement.clusters.iter().map(|one| one.id).collect();
    let placed = Ok(std::mem::take(&mut chosen.placement));
    chosen.placement = with_addons(application, placed, fleets, choice.clusters)?;
    for cluster in &chosen.placement.clusters {
        if before.contains(&cluster.id) {
            continue;
        }
        let verdict = match choice.standing.holding.contains(&cluster.id) {
            true => Verdict::Stays,
            false => Verdict::Joins,
        };
        chosen.verdicts.retain(|(id, _)| *id != cluster.id);
        chosen.verdicts.push((cluster.id, verdict));
    }
    Ok(chosen)
}

/// Tells whether an application comes before others in every cluster: an add-on, and whatever one
/// waits for. None of these waits for the add-ons of a fleet, so that nobody waits for each other.
#[must_use]
pub fn comes_first(application: &NamespacedName, fleets: &Fleets, edges: &Edges) -> bool {
    let addons = all(fleets);
    addons.contains(application) || closure(addons.iter(), edges).contains(application)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use bellwether_api::application::Destination;

    use super::*;
    use crate::{dependencies::cycle, placement::Standing};

    fn fleets() -> Fleets {
        serde_json::from_value(json!({
            "edge": {"selector": {"matchLabels": {"tier": "edge"}},
                     "addons": [{"name": "monitoring"}, {"name": "mesh", "namespace": "infra"}]},
            "core": {"clusters": ["c1"]},
        }))
        .expect("fleets")
    }

    #[test]
    fn what_a_fleet_that_cannot_be_read_may_have_is_placed_nowhere_else() {
        let name = |namespace: &str, name: &str| NamespacedName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let mut unread = Unread::default();
        assert_eq!(unread.has_none(&name("infra", "mesh")), Ok(()));
        unread.note("none", &json!({"selector": "of a newer hub"}));
        assert_eq!(unread.has_none(&name("infra", "mesh")), Ok(()));
        unread.note(
            "edge",
            &json!({"selector": 7, "addons": [{"name": "monitoring"},
                {"name": "mesh", "namespace": "infra"}]}),
        );
        let refused = || {
            Err(PlacementError::UnreadFleet {
                name: "edge".to_owned(),
            })
        };
        assert_eq!(unread.has_none(&name("infra", "mesh")), refused());
        assert_eq!(unread.has_none(&name("default", "monitoring")), refused());
        assert_eq!(unread.has_none(&name("default", "shop")), Ok(()));
        unread.note("edge", &json!({"addons": "of a newer hub"}));
        assert_eq!(unread.has_none(&name("default", "shop")), refused());
    }

    fn cluster(number: u128, tier: &str) -> ClusterFacts {
        ClusterFacts {
            id: Uuid::from_u128(number),
            name: format!("c{number}"),
            labels: BTreeMap::from([("tier".to_owned(), tier.to_owned())]),
            metrics: None,
            traffic: Vec::new(),
            scheduling: std::sync::Arc::default(),
        }
    }

    fn app(namespace: &str, name: &str) -> NamespacedName {
        NamespacedName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn members_get_the_add_ons_beside_whoever_is_named() {
        let clusters = [cluster(1, "core"), cluster(2, "edge"), cluster(3, "edge")];
        let names = |application: &NamespacedName, destination: serde_json::Value| {
            let destination: Destination =
                serde_json::from_value(destination).expect("a destination");
            let all = fleets();
            let standing = Standing::default();
            let choice = Choice {
                destination: &destination,
                policy: None,
                fleet: destination.fleet.as_ref().and_then(|name| all.get(name)),
                clusters: &clusters,
                standing: &standing,
            };
            let chosen = choose(application, choice, &all).expect("chosen");
            let is_chosen = |id| !chosen.loses(id);
            assert!(
                chosen
                    .placement
                    .clusters
                    .iter()
                    .all(|one| is_chosen(one.id))
            );
            let placed = chosen.placement;
            let all = placed.clusters.into_iter();
            all.map(|one| one.name).collect::<Vec<_>>()
        };
        let core = json!({"fleet": "core"});
        assert_eq!(
            names(&app("default", "monitoring"), core.clone()),
            ["c1", "c2", "c3"]
        );
        assert_eq!(
            names(&app("infra", "mesh"), json!({"clusters": ["c3"]})),
            ["c2", "c3"]
        );
        assert_eq!(names(&app("default", "mesh"), core), ["c1"]);
    }

    #[test]
    fn each_cluster_has_the_add_ons_of_its_fleets() {
        assert_eq!(
            of_cluster(&fleets(), &cluster(1, "core")),
            BTreeSet::default()
        );
        assert_eq!(
            of_cluster(&fleets(), &cluster(2, "edge")),
            BTreeSet::from([app("default", "monitoring"), app("infra", "mesh")])
        );
    }

    #[test]
    fn what_an_add_on_waits_for_does_not_wait_for_add_ons() {
        let edges = Edges::from([
            (app("infra", "mesh"), vec![app("infra", "certificates")]),
            (app("infra", "certificates"), vec![app("infra", "dns")]),
            (app("shop", "web"), vec![app("shop", "db")]),
        ]);
        for (application, first) in [
            (app("default", "monitoring"), true),
            (app("infra", "certificates"), true),
            (app("infra", "dns"), true),
            (app("shop", "web"), false),
            (app("shop", "db"), false),
        ] {
            assert_eq!(
                comes_first(&application, &fleets(), &edges),
                first,
                "{application}"
            );
        }
        // As if all others waited for every add-on: still nobody waits for each other.
        let mut whole = edges.clone();
        let addons = all(&fleets());
        for other in [app("shop", "web"), app("shop", "db")] {
            whole.entry(other).or_default().extend(addons.clone());
        }
        for name in whole.keys() {
            assert_eq!(cycle(name, &whole), None, "{name}");
        }
    }
}
