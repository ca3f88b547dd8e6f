//! What agents report of their clusters.

use bellwether_proto::wire::{
    ClusterReport, ComplianceReport, NodeProperties, PodRequests, PolicyCounts,
    agent_message::Message as Up,
};
use bellwether_store::clusters;

use crate::{
    agent::{Held, Session, connect, joined},
    harness::{Hub, Site, eventually},
};

fn nodes(ready: u32) -> NodeProperties {
    NodeProperties {
        ready,
        allocatable_cpu_milli: 4_000,
        allocatable_memory_bytes: 1 << 34,
        regions: vec!["eu".to_owned()],
        zones: Vec::new(),
        requested: Some(PodRequests {
            cpu_milli: 1_500,
            memory_bytes: 1 << 32,
        }),
    }
}

async fn cluster(hub: &Hub) -> clusters::Cluster {
    let found = clusters::get(&hub.app().store, "eu-1").await;
    found.unwrap().unwrap()
}

#[tokio::test]
async fn what_an_agent_reports_is_kept_and_told_anew_when_it_changes() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "eu-1").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let mut hello = Held::default().hello();
    hello.nodes = Some(nodes(3));
    let session = Session::open_with(channel.clone(), hello).await.unwrap();
    let known = eventually("the nodes", async || cluster(&hub).await.nodes).await;
    let requested = known.requested.map(|one| (one.cpu_milli, one.memory_bytes));
    assert_eq!(requested, Some((1_500, 1 << 32)));
    assert_eq!((known.ready, known.regions), (3, vec!["eu".to_owned()]));
    session
        .say(Up::Cluster(ClusterReport {
            kubernetes_version: "v1.34.1".to_owned(),
            capabilities: vec!["apps/v1".to_owned()],
            api_kinds: vec!["apps/v1/Deployment".to_owned()],
            nodes: Some(nodes(5)),
            missing_rights: Vec::new(),
        }))
        .await;
    let known = eventually("the report", async || {
        let known = cluster(&hub).await;
        (known.nodes.as_ref().map(|nodes| nodes.ready) == Some(5)).then_some(known)
    })
    .await;
    assert_eq!(known.kubernetes_version.as_deref(), Some("v1.34.1"));
    assert_eq!(known.capabilities, ["apps/v1", "apps/v1/Deployment"]);
    // One that says nothing of its nodes says that they are not known.
    let silent = Session::open(channel.clone(), &Held::default())
        .await
        .unwrap();
    eventually("no nodes", async || {
        cluster(&hub).await.nodes.is_none().then_some(())
    })
    .await;
    drop((session, silent));
    let mut hello = Held::default().hello();
    hello.nodes = Some(NodeProperties {
        zones: vec!["z".to_owned(); 65],
        ..nodes(1)
    });
    let refused = Session::open_with(channel, hello).await.err().unwrap();
    assert!(refused.message().contains("too much"), "{refused:?}");
    hub.stop().await;
}

#[tokio::test]
async fn rights_that_an_agent_lacks_are_named_with_the_way_to_get_them() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "eu-1").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let mut hello = Held::default().hello();
    hello.missing_rights = vec!["may not in namespace shop: delete pods".to_owned()];
    let _session = Session::open_with(channel.clone(), hello).await.unwrap();
    let said = eventually("a condition", async || {
        let item = hub.get("clusters/eu-1").await;
        let conditions = item["status"]["conditions"].as_array().cloned()?;
        conditions
            .into_iter()
            .find(|one| one["type"] == "RightsComplete")
    })
    .await;
    assert_eq!(
        (&said["status"], &said["reason"]),
        (&"False".into(), &"RightsMissing".into())
    );
    let message = said["message"].as_str().unwrap();
    for words in [
        "may not in namespace shop: delete pods",
        "register cluster eu-1",
        "every --impersonate",
    ] {
        assert!(message.contains(words), "{words}: {message}");
    }
    // Registered again, it has them.
    let _session = Session::open(channel, &Held::default()).await.unwrap();
    eventually("no condition", async || {
        let item = hub.get("clusters/eu-1").await;
        item["status"].get("conditions").is_none().then_some(())
    })
    .await;
    hub.stop().await;
}

fn counts(policy: &str, fail: u64) -> PolicyCounts {
    PolicyCounts {
        policy: policy.to_owned(),
        source: "PolicyReport".to_owned(),
        pass: 10,
        fail,
        ..PolicyCounts::default()
    }
}

#[tokio::test]
async fn what_policy_engines_found_is_shown_by_cluster_and_over_all_of_them() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    for (name, fail) in [("eu-1", 3), ("eu-2", 4)] {
        let credentials = joined(&hub, name).await;
        let channel = connect(&hub, Some(&credentials)).await.unwrap();
        let session = Session::open(channel, &Held::default()).await.unwrap();
        let report = ComplianceReport {
            policies: vec![counts("require-labels", fail)],
            ..ComplianceReport::default()
        };
        session.say(Up::Compliance(report)).await;
        let path = format!("compliance?cluster={name}");
        let told = eventually("the report", async || {
            let told = hub.get(&path).await;
            told["items"][0]["since"].is_string().then_some(told)
        })
        .await;
        assert_eq!(told["items"][0]["total"]["fail"], fail, "{told}");
    }
    // A cluster without an engine is there, and not taken for compliant.
    joined(&hub, "eu-3").await;
    let all = hub.get("compliance").await;
    assert_eq!(all["items"].as_array().unwrap().len(), 3, "{all}");
    assert_eq!(all["items"][2].get("since"), None, "{all}");
    let policies = all["policies"].as_array().unwrap();
    assert_eq!(policies.len(), 1, "{all}");
    assert_eq!(
        (&policies[0]["fail"], &policies[0]["pass"]),
        (&7.into(), &20.into())
    );
    hub.stop().await;
}

#[tokio::test]
async fn a_report_that_no_agent_would_send_is_dropped() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "eu-1").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let session = Session::open(channel, &Held::default()).await.unwrap();
    let too_many = (0..201).map(|number| counts(&number.to_string(), 0));
    let unknown = PolicyCounts {
        source: "Hearsay".to_owned(),
        ..counts("a", 0)
    };
    for policies in [
        too_many.collect(),
        vec![unknown],
        vec![counts(&"a".repeat(257), 0)],
    ] {
        let report = ComplianceReport {
            policies,
            ..ComplianceReport::default()
        };
        session.say(Up::Compliance(report)).await;
    }
    // What is dropped holds nothing that is good back.
    let good = ComplianceReport {
        policies: vec![counts("good", 1)],
        ..ComplianceReport::default()
    };
    session.say(Up::Compliance(good)).await;
    let told = eventually("the good report", async || {
        let told = hub.get("compliance").await;
        told["items"][0]["since"].is_string().then_some(told)
    })
    .await;
    assert_eq!(told["policies"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told["policies"][0]["policy"], "good");
    hub.stop().await;
}
