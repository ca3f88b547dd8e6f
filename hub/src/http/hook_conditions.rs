//! What calls of fleets' hooks came to, as conditions of clusters and fleets.

use bellwether_api::call::{Condition, HOOKS_DELIVERED};
use bellwether_store::fleet_hooks::{CallState, HookCall};
use uuid::Uuid;

/// Calls that one condition names; the rest is counted.
const MAX_NAMED: usize = 5;

/// What was not told of a cluster; absent = everything was, or there was nothing to tell.
#[must_use]
pub fn of_cluster(unsettled: &[HookCall], cluster: Uuid) -> Option<Condition> {
    condition(unsettled.iter().filter(|call| call.cluster == cluster))
}

/// What the hooks of a fleet were not told; absent = everything was, or there was nothing to tell.
#[must_use]
pub fn of_fleet(unsettled: &[HookCall], fleet: &str) -> Option<Condition> {
    condition(unsettled.iter().filter(|call| call.fleet == fleet))
}

fn condition<'a>(calls: impl Iterator<Item = &'a HookCall>) -> Option<Condition> {
    let calls: Vec<&HookCall> = calls.collect();
    let given_up = calls.iter().any(|call| call.state == CallState::GivenUp);
    let mut words: Vec<String> = calls
        .iter()
        .take(MAX_NAMED)
        .map(|call| said(call))
        .collect();
    if calls.len() > MAX_NAMED {
        words.push(format!("and {} more", calls.len() - MAX_NAMED));
    }
    (!calls.is_empty()).then(|| Condition {
        kind: HOOKS_DELIVERED.to_owned(),
        status: "False".to_owned(),
        reason: if given_up { "GivenUp" } else { "Retrying" }.to_owned(),
        message: words.join("; "),
    })
}

fn said(call: &HookCall) -> String {
    let HookCall {
        fleet, hook, event, ..
    } = call;
    let (of, why) = (&call.cluster_name, &call.message);
    let what = format!("hook {hook} of fleet {fleet} was not told {event:?} of {of}: {why}");
    match call.state {
        CallState::GivenUp => format!("{what}; given up after {} tries", call.tries),
        CallState::Waiting | CallState::Delivered => {
            format!(
                "{what}; tried {} times, again at {}",
                call.tries, call.next_at
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use bellwether_api::fleet_hook::FleetEvent;
    use jiff::Timestamp;

    use super::*;

    fn call(fleet: &str, cluster: u128, state: CallState) -> HookCall {
        HookCall {
            id: Uuid::nil(),
            fleet: fleet.to_owned(),
            hook: "inventory".to_owned(),
            event: FleetEvent::ClusterRegistered,
            cluster: Uuid::from_u128(cluster),
            cluster_name: format!("c{cluster}"),
            body: String::new(),
            created_at: Timestamp::UNIX_EPOCH,
            next_at: Timestamp::UNIX_EPOCH,
            tries: 3,
            state,
            message: "it answered 500".to_owned(),
        }
    }

    #[test]
    fn a_cluster_and_a_fleet_say_what_was_not_told_and_why() {
        let calls = [
            call("eu", 1, CallState::Waiting),
            call("us", 2, CallState::GivenUp),
        ];
        let of_one = of_cluster(&calls, Uuid::from_u128(1)).expect("it waits");
        assert_eq!(
            (of_one.status.as_str(), of_one.reason.as_str()),
            ("False", "Retrying")
        );
        assert_eq!(
            of_one.message,
            "hook inventory of fleet eu was not told ClusterRegistered of c1: it answered 500; \
             tried 3 times, again at 1970-01-01T00:00:00Z"
        );
        let of_us = of_fleet(&calls, "us").expect("it was given up");
        assert_eq!(of_us.reason, "GivenUp");
        assert!(
            of_us.message.ends_with("given up after 3 tries"),
            "{}",
            of_us.message
        );
        assert_eq!(of_cluster(&calls, Uuid::from_u128(3)), None);
    }
}
