//! Checks of which regular expressions a provider's data plane reads.

use super::Findings;
use crate::{
    document::FieldPath, matching::Match, regex::fault, rollout::RolloutSpec, traffic::Provider,
};

/// Refuses what only PCRE reads where the data plane reads RE2's syntax. What nobody reads is refused
/// where it stands.
pub(super) fn check(
    findings: &mut Findings,
    at: &FieldPath,
    provider: Provider,
    rollout: &RolloutSpec,
) {
    if reads_pcre(provider) || !provider.is_supported() {
        return;
    }
    for regex in matches_of(rollout).flat_map(regexes) {
        if let Some(fault) = fault(regex).filter(|fault| fault.is_pcre) {
            let message = format!(
                "{} ({}) cannot match by the regex {regex:?}: {fault}, and its data plane reads RE2's \
                 syntax, which has neither",
                provider.field(),
                provider.kind()
            );
            findings.error(at, message);
        }
    }
}

/// nginx, and APISIX on top of it.
const fn reads_pcre(provider: Provider) -> bool {
    matches!(provider, Provider::Nginx | Provider::ApisixRoute)
}

fn matches_of(rollout: &RolloutSpec) -> impl Iterator<Item = &Match> {
    let canary = rollout.strategy.canary.iter();
    let test = rollout.strategy.ab_test.iter();
    canary
        .flat_map(|canary| {
            let steps = canary.steps.iter().flat_map(|step| &step.matches);
            canary.matches.iter().chain(steps)
        })
        .chain(test.flat_map(|test| &test.matches))
}

fn regexes(one: &Match) -> impl Iterator<Item = &str> {
    let named = [&one.headers, &one.cookies, &one.query_params];
    let named = named.into_iter().flatten();
    let path = one.path.iter().filter_map(|path| path.regex.as_deref());
    named.filter_map(|one| one.regex.as_deref()).chain(path)
}
