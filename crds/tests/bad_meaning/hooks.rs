//! Hooks and what they point to.

use super::check;

#[test]
fn hooks_that_are_never_called() {
    let hooks = "hooks:
      - {name: test, url: 'http://tester/'}
      - {type: ConfirmTrafficIncrease, name: rise, url: 'http://tester/'}
      - {type: PostRollout, name: done, url: 'http://tester/'}
      analysis: ";
    check(
        &[
            (
                "analysis: {metrics: [{name: request-success-rate, range: {min: \"99\"}}]}",
                hooks,
            ),
            ("      analysis: ", "      analysis: {skip: true}"),
        ],
        &[
            "15:9 spec.components[0].rollout.hooks[0].type: analysis.skip leaves out the steps: a \
             Rollout hook is never called",
            "16:10 spec.components[0].rollout.hooks[1].type: analysis.skip leaves out the steps: a \
             ConfirmTrafficIncrease hook is never called",
        ],
    );
    let by_hand = [
        ("canary: {stepWeight: 10}", "canary: {manual: {weight: 10}}"),
        (
            "analysis: {metrics:",
            "hooks: [{type: ConfirmTrafficIncrease, name: rise, url: 'http://tester/'}]
      analysis: {metrics:",
        ),
    ];
    check(
        &by_hand,
        &[
            "14:16 spec.components[0].rollout.hooks[0].type: canary.manual has its weight set by a \
             human, who is not asked again by a hook",
        ],
    );
}

#[test]
fn targets_of_hooks() {
    check(
        &[(
            "analysis: {metrics:",
            "hooks:
      - {type: PreRollout, name: none}
      - {type: ConfirmRollout, name: both, url: 'http://tester/', approval: {}}
      - {type: Rollout, name: check, approval: {}}
      - {type: ConfirmPromotion, name: few, approval: {by: [ann], count: 2}, rawBody: true, metadata: {data: a}}
      - {type: ConfirmPromotion, name: zero, approval: {count: 0}}
      - {type: ConfirmPromotion, name: right, approval: {by: [ann, bob], count: 2}}
      analysis: {metrics:",
        )],
        &[
            "15:9 spec.components[0].rollout.hooks[0]: the hook has no target: set url, or approval \
             for a gate that humans open",
            "16:9 spec.components[0].rollout.hooks[1]: a hook has one target: set one of url, \
             approval, load and job",
            "17:38 spec.components[0].rollout.hooks[2].approval: humans open gates, and a Rollout \
             hook holds none; use ConfirmRollout, ConfirmTrafficIncrease or ConfirmPromotion",
            "18:67 spec.components[0].rollout.hooks[3].approval.count: 1 may approve, 2 must",
            "18:78 spec.components[0].rollout.hooks[3].rawBody: nothing is posted for an approval",
            "18:93 spec.components[0].rollout.hooks[3].metadata: nothing is posted for an approval",
            "19:57 spec.components[0].rollout.hooks[4].approval.count: use at least 1",
        ],
    );
}

#[test]
fn loads() {
    check(
        &[(
            "analysis: {metrics:",
            "hooks:
      - {name: right}
      - {name: much, load: {rate: 5000, concurrency: 0, duration: 0s, url: 'https://u@b/', method: get}}
      - {type: PreRollout, name: early, load: {headers: {'a b': c}}}
      - {name: cmd, metadata: {cmd: 'hey http://web/'}}
      - {name: two, load: {protocol: HTTP2, rate: 0}}
      analysis: {metrics:",
        )],
        &[
            "16:29 spec.components[0].rollout.hooks[1].load.rate: use 1 to 1000",
            "16:41 spec.components[0].rollout.hooks[1].load.concurrency: use 1 to 50",
            "16:57 spec.components[0].rollout.hooks[1].load.duration: use at least 1s",
            "16:71 spec.components[0].rollout.hooks[1].load.url: an address carries no user or password",
            "16:92 spec.components[0].rollout.hooks[1].load.method: a method is a word of capitals, \
             such as GET",
            "17:41 spec.components[0].rollout.hooks[2].load: load is made while a weight is judged, by \
             Rollout hooks; this one is a PreRollout hook",
            "17:58 spec.components[0].rollout.hooks[2].load.headers[\"a b\"]: a header has a name of \
             letters, digits and dashes, and a printable value",
            "18:21 spec.components[0].rollout.hooks[3].metadata: nothing is posted for a load",
            "19:45 spec.components[0].rollout.hooks[4].load.rate: use 1 to 1000",
        ],
    );
}

#[test]
fn loads_over_https() {
    check(
        &[(
            "analysis: {metrics:",
            "hooks:
      - {name: right, load: {url: 'https://[fd00::7]:8443/', protocol: HTTP2}, caSecretRef: {name: a, key: b}}
      - {name: fleets, caSecretRef: {name: a, key: b}}
      - {name: plain, load: {url: 'http://web/'}, caSecretRef: {name: a, key: b}}
      - {name: own, load: {}, caSecretRef: {name: a, key: b}}
      - {name: keyless, load: {url: 'https://web/'}, caSecretRef: {name: a}}
      - {name: named, load: {url: 'https://web/', headers: {Host: 'shop.example:8443'}}}
      - {name: six, load: {url: 'https://web/', headers: {host: '[fd00::7]'}}}
      - {name: none, load: {url: 'https://web/', headers: {host: 'https://shop.example'}}}
      - {name: far, load: {url: 'https://web:99999/'}}
      - {name: late, type: ConfirmPromotion, approval: {}, caSecretRef: {name: a, key: b}}
      analysis: {metrics:",
        )],
        &[
            "17:51 spec.components[0].rollout.hooks[2].caSecretRef: only over https is anybody \
             trusted; name a load.url that starts with https://",
            "18:31 spec.components[0].rollout.hooks[3].caSecretRef: only over https is anybody \
             trusted; name a load.url that starts with https://",
            "19:54 spec.components[0].rollout.hooks[4].caSecretRef.key: name the key of the Secret",
            "22:60 spec.components[0].rollout.hooks[7].load.headers.host: a host is a name or an \
             address, such as shop.example, maybe with :PORT",
            "23:28 spec.components[0].rollout.hooks[8].load.url: a port is a number from 1 to 65535",
            "24:60 spec.components[0].rollout.hooks[9].caSecretRef: nothing is posted for an approval",
        ],
    );
}

#[test]
fn jobs() {
    check(
        &[(
            "analysis: {metrics:",
            "hooks:
      - {name: right, job: {template: {spec: {containers: [{name: a, image: b}]}}}}
      - {name: empty, job: {template: {metadata: {labels: {app: web}}}}}
      - {type: Event, name: event, job: {template: {spec: {containers: [{name: a}]}}}, rawBody: true, metadata: {data: a}}
      analysis: {metrics:",
        )],
        &[
            "16:29 spec.components[0].rollout.hooks[1].job.template: the template has no \
             spec.containers",
            "16:51 spec.components[0].rollout.hooks[1].job.template.metadata.labels: leave labels out: \
             a Service may select pods by them",
            "17:36 spec.components[0].rollout.hooks[2].job: a Job is a test, and a Event hook is none; \
             use PreRollout or Rollout",
            "17:88 spec.components[0].rollout.hooks[2].rawBody: nothing is posted for a Job",
            "17:103 spec.components[0].rollout.hooks[2].metadata: nothing is posted for a Job",
        ],
    );
}

#[test]
fn hooks() {
    check(
        &[(
            "analysis: {metrics:",
            "hooks:
      - {name: load, url: 'http://tester/', metadata: {type: bash}}
      - {name: load, url: 'tester', timeout: 0s, retries: 11, rawBody: true, when: Failed}
      - {name: done, type: PostRollout, when: Failed, url: 'http://u:p@x', hmacSecretRef: {name: k}}
      analysis: {metrics:",
        )],
        &[
            "16:10 spec.components[0].rollout.hooks[1].name: two hooks are named \"load\"",
            "16:22 spec.components[0].rollout.hooks[1].url: an address starts with http:// or \
             https://",
            "16:37 spec.components[0].rollout.hooks[1].timeout: use more than 0s and at most 5m",
            "16:50 spec.components[0].rollout.hooks[1].retries: use at most 10",
            "16:63 spec.components[0].rollout.hooks[1].rawBody: rawBody posts metadata.data, which \
             is not set",
            "16:78 spec.components[0].rollout.hooks[1].when: when belongs to hooks of type \
             PostRollout",
            "17:55 spec.components[0].rollout.hooks[2].url: an address carries no user or password",
            "17:76 spec.components[0].rollout.hooks[2].hmacSecretRef.key: name the key of the Secret",
        ],
    );
}
