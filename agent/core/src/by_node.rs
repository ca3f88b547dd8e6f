//! Workloads with a pod on each node, which a run updates by evictions.

/// One pod of such a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePod {
    /// Its name.
    pub name: String,
    /// Whether it has the version that all pods which may change are to have.
    pub is_wanted: bool,
    /// Whether it is ready.
    pub ready: bool,
}

/// Pods that may go now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaving<'a> {
    /// Those that answer nobody: no budget is spent on them.
    pub broken: Vec<&'a str>,
    /// Those that serve.
    pub ready: Vec<&'a str>,
}

/// Chooses the pods that may go, of those that do not stop already: all but `held` of the other
/// version, broken ones first, then in the order of their names. Ready ones go only as long as at
/// most `max_unavailable` of the `nodes` are without an available pod, of which there are `available`.
#[must_use]
pub fn leaving(
    pods: &[NodePod],
    held: u32,
    nodes: u32,
    available: u32,
    max_unavailable: u32,
) -> Leaving<'_> {
    let counted = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let sized = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let others = || pods.iter().filter(|pod| !pod.is_wanted);
    let may = sized(counted(others().count()).saturating_sub(held));
    let named = |ready: bool| {
        let mut names: Vec<&str> = others()
            .filter(|pod| pod.ready == ready)
            .map(|pod| pod.name.as_str())
            .collect();
        names.sort_unstable();
        names
    };
    let ready_now = counted(pods.iter().filter(|pod| pod.ready).count());
    let missing = nodes.saturating_sub(ready_now.min(available));
    let mut leaving = Leaving {
        broken: named(false),
        ready: named(true),
    };
    leaving.broken.truncate(may);
    let quota = sized(max_unavailable.max(1).saturating_sub(missing));
    leaving
        .ready
        .truncate(quota.min(may - leaving.broken.len()));
    leaving
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `o` old, `n` new, in capitals when ready.
    fn pods(text: &str) -> Vec<NodePod> {
        let pod = |(number, letter): (usize, char)| NodePod {
            name: number.to_string(),
            is_wanted: letter.eq_ignore_ascii_case(&'n'),
            ready: letter.is_uppercase(),
        };
        text.chars().enumerate().map(pod).collect()
    }

    #[test]
    fn pods_go_one_by_one_and_never_more_than_are_let_go() {
        for (now, held, available, budget, broken, ready) in [
            ("OOOO", 3, 4, 1, &[][..], &["0"][..]),
            ("OOOO", 4, 4, 1, &[], &[]),
            ("OOOO", 0, 4, 1, &[], &["0"]),
            ("OOOO", 0, 4, 3, &[], &["0", "1", "2"]),
            ("OOOO", 2, 4, 3, &[], &["0", "1"]),
            // One stops, or its node has none yet.
            ("OOO", 0, 3, 1, &[], &[]),
            ("nOOO", 0, 3, 1, &[], &[]),
            ("NOOO", 0, 4, 1, &[], &["1"]),
            ("NOOO", 3, 4, 1, &[], &[]),
            // It was ready for less than minReadySeconds.
            ("NOOO", 0, 3, 1, &[], &[]),
            // The controller has not counted the one that is gone.
            ("OOO", 0, 4, 1, &[], &[]),
            // What answers nobody goes whatever is missing, but not beyond what is let go.
            ("NoOO", 0, 3, 1, &["1"], &[]),
            ("NooO", 2, 2, 1, &["1"], &[]),
            ("NooO", 3, 2, 1, &[], &[]),
            ("NNNN", 0, 4, 1, &[], &[]),
            ("OOOO", 0, 4, 0, &[], &["0"]),
        ] {
            let pods = pods(now);
            let found = leaving(&pods, held, 4, available, budget);
            assert_eq!(
                (&found.broken[..], &found.ready[..]),
                (broken, ready),
                "{now} {held}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_held_stays_and_the_budget_is_kept(
            now in "[oOnN]{0,12}", held in 0u32..12, available in 0u32..12, budget in 1u32..5,
        ) {
            let pods = pods(&now);
            let found = leaving(&pods, held, 12, available, budget);
            let others = pods.iter().filter(|pod| !pod.is_wanted).count();
            let goes = found.broken.len() + found.ready.len();
            prop_assert!(goes <= others.saturating_sub(held as usize));
            let serving = pods.iter().filter(|pod| pod.ready).count() - found.ready.len();
            prop_assert!(found.ready.is_empty() || 12 - serving <= budget as usize);
        }
    }
}
