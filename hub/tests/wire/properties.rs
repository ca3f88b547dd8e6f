//! What agents report of their clusters.

use bellwether_proto::wire::{
    ClusterReport, NodeProperties, PodRequests, agent_message::Message as Up,
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
