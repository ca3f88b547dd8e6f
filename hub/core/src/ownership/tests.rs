use super::*;

const POLICIES: [AdoptPolicy; 3] = [
    AdoptPolicy::Never,
    AdoptPolicy::IfIdentical,
    AdoptPolicy::Always,
];
const EFFECTS: [Effect; 3] = [Effect::Creates, Effect::Changes, Effect::Nothing];

const fn repository(name: &str, adopt: AdoptPolicy) -> Writer<'_> {
    Writer::Repository { name, adopt }
}

const fn resource(adopt: AdoptPolicy) -> Writer<'static> {
    Writer::CustomResource { adopt }
}

fn of_platform() -> Owner {
    Owner::Repository("platform".to_owned())
}

const OF_RESOURCE: Owner = Owner::CustomResource { missing: false };
const OF_MISSING: Owner = Owner::CustomResource { missing: true };

fn refused_by_repository() -> Result<Claim, Refusal> {
    Err(Refusal::OfRepository {
        repository: "platform".to_owned(),
    })
}

#[test]
fn what_comes_from_somewhere_is_changed_there_alone() {
    for effect in EFFECTS {
        assert_eq!(may_write(Writer::Person, None, effect), Ok(Claim::Stays));
        for adopt in POLICIES {
            let own = repository("platform", adopt);
            let other = repository("other", adopt);
            let resource = resource(adopt);
            let (platform, of_resource) = (Some(&of_platform()), Some(&OF_RESOURCE));
            assert_eq!(may_write(own, platform, effect), Ok(Claim::Stays));
            assert_eq!(may_write(resource, of_resource, effect), Ok(Claim::Stays));
            // Two sources never share a record, whatever they would adopt and even if they agree.
            assert_eq!(may_write(other, platform, effect), refused_by_repository());
            assert_eq!(
                may_write(resource, platform, effect),
                refused_by_repository()
            );
            assert_eq!(
                may_write(own, of_resource, effect),
                Err(Refusal::OfCustomResource)
            );
        }
    }
    let changes = Effect::Changes;
    assert_eq!(
        may_write(Writer::Person, Some(&of_platform()), changes),
        refused_by_repository()
    );
    assert_eq!(
        may_write(Writer::Person, Some(&OF_RESOURCE), changes),
        Err(Refusal::OfCustomResource)
    );
    // Applying what is there already does no harm.
    for owner in [of_platform(), OF_RESOURCE, OF_MISSING] {
        assert_eq!(
            may_write(Writer::Person, Some(&owner), Effect::Nothing),
            Ok(Claim::Stays)
        );
    }
    assert!(may_be_deleted(None));
    assert!(!may_be_deleted(Some(&of_platform())) && !may_be_deleted(Some(&OF_RESOURCE)));
}

#[test]
fn what_came_from_elsewhere_is_taken_over_as_adopt_says() {
    for (writer, adopts, takes) in [
        (
            (|adopt| repository("platform", adopt)) as fn(AdoptPolicy) -> Writer<'static>,
            REPOSITORY_ADOPTS,
            REPOSITORY_TAKES,
        ),
        (resource, RESOURCE_ADOPTS, RESOURCE_TAKES),
    ] {
        let cases = [
            (AdoptPolicy::Never, Effect::Creates, Ok(Claim::Takes)),
            (
                AdoptPolicy::Never,
                Effect::Nothing,
                Err(Refusal::Exists { remedy: adopts }),
            ),
            (
                AdoptPolicy::Never,
                Effect::Changes,
                Err(Refusal::Exists { remedy: adopts }),
            ),
            (AdoptPolicy::IfIdentical, Effect::Creates, Ok(Claim::Takes)),
            (AdoptPolicy::IfIdentical, Effect::Nothing, Ok(Claim::Takes)),
            (
                AdoptPolicy::IfIdentical,
                Effect::Changes,
                Err(Refusal::Differs { remedy: takes }),
            ),
            (AdoptPolicy::Always, Effect::Changes, Ok(Claim::Takes)),
        ];
        for (adopt, effect, wanted) in cases {
            assert_eq!(
                may_write(writer(adopt), None, effect),
                wanted,
                "{adopt:?} {effect:?}"
            );
        }
    }
}

#[test]
fn a_record_whose_custom_resource_is_missing_is_free_for_whoever_changes_it() {
    let missing = Some(&OF_MISSING);
    assert_eq!(
        may_write(Writer::Person, missing, Effect::Changes),
        Ok(Claim::Frees)
    );
    assert!(may_be_deleted(missing));
    let always = repository("platform", AdoptPolicy::Always);
    assert_eq!(
        may_write(always, missing, Effect::Changes),
        Ok(Claim::Takes)
    );
    let careful = repository("platform", AdoptPolicy::IfIdentical);
    assert!(may_write(careful, missing, Effect::Changes).is_err());
    // One that is back has its record again, whatever it says of adopting.
    assert_eq!(
        may_write(resource(AdoptPolicy::Never), missing, Effect::Changes),
        Ok(Claim::Takes)
    );
}
