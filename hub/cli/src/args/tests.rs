use std::path::Path;

use bellwether_api::{
    call::ActionVerb,
    number::{IntOrPercent, Weight},
    strategy::Manual,
};
use clap::{CommandFactory as _, Parser as _};

use super::{Cli, Command, ExplainCommand, RolloutCommand};

#[test]
fn help_shows_the_name_it_was_called_by() {
    let help = |program: &str| {
        let error = Cli::called(Path::new(program))
            .try_get_matches_from([program, "rollout", "abort", "--help"])
            .expect_err("help is shown");
        error.to_string()
    };
    let plugin = help("/usr/local/bin/kubectl-bellwether");
    assert!(
        plugin.contains("Usage: kubectl bellwether rollout abort"),
        "{plugin}"
    );
    let own = help("target/debug/bellwether");
    assert!(own.contains("Usage: bellwether rollout abort"), "{own}");
}

#[test]
fn grammar_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn pause_is_suspend() {
    let cli = Cli::try_parse_from(["bellwether", "rollout", "pause", "shop"]).expect("parses");
    assert!(matches!(
        cli.command,
        Command::Rollout(RolloutCommand::Suspend(_))
    ));
}

fn set_weight(words: &[&str]) -> Result<(Manual, Option<String>), clap::Error> {
    let words = ["bellwether", "rollout", "set-weight"].iter().chain(words);
    let Command::Rollout(command) = Cli::try_parse_from(words)?.command else {
        panic!("it is a sub-command of rollout");
    };
    let (verb, args) = command.action().expect("it acts");
    assert_eq!((verb, args.name.as_str()), (ActionVerb::SetWeight, "shop"));
    Ok((command.set().expect("it sets"), args.cluster.clone()))
}

#[test]
fn set_weight_takes_a_share_and_pods() {
    let manual = |weight, replicas| Manual {
        weight: Weight::clamped(weight),
        replicas,
    };
    let plain = set_weight(&["shop", "30", "--reason", "slowly"]).expect("parses");
    assert_eq!(plain, (manual(30, None), None));
    let words = ["shop", "0", "--replicas", "20%", "--cluster", "c1"];
    let share = Some(IntOrPercent::Percent(20));
    let placed = set_weight(&words).expect("parses");
    assert_eq!(placed, (manual(0, share), Some("c1".to_owned())));
    for wrong in [
        &["shop"][..],
        &["shop", "101"],
        &["shop", "-1"],
        &["shop", "30%"],
        &["shop", "30", "--replicas", "few"],
    ] {
        let error = set_weight(wrong).expect_err("it is refused");
        assert_eq!(error.exit_code(), 2, "{wrong:?}");
    }
    let error = set_weight(&["shop", "101"]).expect_err("it is refused");
    assert!(error.to_string().contains("0 to 100"), "{error}");
}

#[test]
fn undo_names_a_revision_and_rollback_does_not() {
    let read = |words: &[&str]| {
        let words = ["bellwether", "rollout"].iter().chain(words);
        let cli = Cli::try_parse_from(words)?;
        let Command::Rollout(command) = cli.command else {
            panic!("it is a sub-command of rollout");
        };
        let (verb, args) = command.action().expect("it acts");
        Ok::<_, clap::Error>((verb, args.name.clone(), command.to_revision()))
    };
    let rollback = |to| (ActionVerb::Rollback, "shop".to_owned(), to);
    assert_eq!(read(&["rollback", "shop"]).expect("parses"), rollback(None));
    assert_eq!(read(&["undo", "shop"]).expect("parses"), rollback(None));
    assert_eq!(
        read(&["undo", "shop", "--to-revision", "3"]).expect("parses"),
        rollback(Some(3))
    );
    assert!(read(&["rollback", "shop", "--to-revision", "3"]).is_err());
    assert_eq!(
        read(&["finish", "shop"]).expect("parses"),
        (ActionVerb::Finish, "shop".to_owned(), None)
    );
}

#[test]
fn explain_is_of_overrides_or_of_placement() {
    let read = |words: &[&str]| {
        let words = ["bellwether", "explain"].iter().chain(words);
        let Command::Explain(args) = Cli::try_parse_from(words)?.command else {
            panic!("it explains");
        };
        let overrides = args.overrides.map(|args| (args.name, args.cluster));
        let placement = args.what.map(|ExplainCommand::Placement { name, .. }| name);
        Ok::<_, clap::Error>((overrides, placement))
    };
    let of = |name: &str| Some((name.to_owned(), "c1".to_owned()));
    let words = ["shop", "--cluster", "c1"];
    assert_eq!(read(&words).expect("parses"), (of("shop"), None));
    let words = ["app/placement", "--cluster", "c1", "--of", "3"];
    assert_eq!(read(&words).expect("parses"), (of("app/placement"), None));
    let words = ["placement", "shop"];
    assert_eq!(
        read(&words).expect("parses"),
        (None, Some("shop".to_owned()))
    );
    for wrong in [&[][..], &["shop"], &["placement"], &["shop", "--cluster"]] {
        assert!(read(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn unknown_flags_are_refused() {
    let error = Cli::try_parse_from(["bellwether", "get", "fleets", "--watc"])
        .expect_err("a typo is an error");
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("--watch"), "{error}");
}
