//! Names of the objects that a run creates.

use bellwether_api::workload_adapter::WorkloadAdapter;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Label on canary pods and in the canary's selectors: [`run_label`].
pub const RUN_LABEL: &str = "bellwether.dev/run";
/// Label that Deployments put on their pods, to which Services are pinned.
pub const HASH_LABEL: &str = "pod-template-hash";
/// Label that DaemonSets put on their pods, to which Services are pinned.
pub const REVISION_LABEL: &str = "controller-revision-hash";
/// Longest name that is also a DNS label.
const MAX_NAME: usize = 63;

/// Returns the label by which the pods of two versions are told apart: the one that an adapter names, or,
/// where a copy runs beside a workload of a kind that needs none, that kind's.
#[must_use]
pub fn pin_label<'a>(kind: &str, adapter: Option<&'a WorkloadAdapter>) -> &'a str {
    match (adapter, kind) {
        (Some(adapter), _) => adapter.revision_label(),
        (None, "DaemonSet") => REVISION_LABEL,
        (None, _) => HASH_LABEL,
    }
}

/// Returns the name of the canary copy of `name`: `<name>-canary`, cut to 63 bytes with a hash of
/// the whole name when it is longer.
#[must_use]
pub fn canary_name(name: &str) -> String {
    cut(&format!("{name}-canary"))
}

/// Cuts a name to 63 bytes; what is cut is replaced by a hash of the whole name.
#[must_use]
pub fn cut(name: &str) -> String {
    if name.len() <= MAX_NAME {
        return name.to_owned();
    }
    let hash = hex::encode(&Sha256::digest(name.as_bytes())[..4]);
    let mut end = MAX_NAME - hash.len() - 1;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{hash}", name[..end].trim_end_matches(['-', '.']))
}

/// Returns the value of [`RUN_LABEL`]: the random end of the run's id, and the attempt.
#[must_use]
pub fn run_label(run: Uuid, attempt: u32) -> String {
    let id = run.simple().to_string();
    format!("{}-{attempt}", &id[id.len() - 12..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_stay_whole() {
        assert_eq!(canary_name("web"), "web-canary");
        assert_eq!(
            canary_name(&"a".repeat(56)),
            format!("{}-canary", "a".repeat(56))
        );
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let (one, two) = ("a".repeat(57), format!("{}b", "a".repeat(60)));
        for name in [&one, &two] {
            let cut = canary_name(name);
            assert_eq!(cut.len(), 63);
            assert!(cut.ends_with(|c: char| c.is_ascii_hexdigit()), "{cut}");
        }
        assert_ne!(canary_name(&one), canary_name(&two));
    }

    #[test]
    fn labels_tell_runs_and_attempts_apart() {
        let run = Uuid::from_u128(0x0190_0000_0000_7000_8000_1234_5678_9abc);
        assert_eq!(run_label(run, 2), "123456789abc-2");
    }
}
