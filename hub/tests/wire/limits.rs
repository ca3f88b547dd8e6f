//! Peers that send too much, too little or nonsense.

use bellwether_proto::{
    limits::MAX_MESSAGE_BYTES,
    wire::{self, Beat, Status, agent_message::Message as Up, hub_message::Message as Down},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::Code;

use crate::{
    agent::{Held, Session, connect, enrol_as, joined},
    harness::Site,
};

#[tokio::test(flavor = "multi_thread")]
async fn message_beyond_the_limit_ends_the_stream_and_nothing_else() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let mut session = Session::open(channel.clone(), &Held::default())
        .await
        .unwrap();
    let bomb = wire::UnitStatus {
        key: "application/default/shop".into(),
        sequence: 1,
        detail_json: vec![b' '; MAX_MESSAGE_BYTES + 1].into(),
    };
    session.say(Up::Status(Status { units: vec![bomb] })).await;
    // The snapshot of nothing may come first.
    let status = loop {
        match session.hear().await {
            Ok(message) => assert!(message.is_some(), "the stream ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::OutOfRange);
    // The connection and the hub go on.
    Session::open(channel, &Held::default()).await.unwrap();
    hub.stop().await;
}

/// Who hears nothing of the hub would be taken for reachable for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_on_which_the_hub_is_not_heard_ends() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let held = Held::default();
    let mut hearing = Session::open(channel.clone(), &held).await.unwrap();
    let mut heard = 0;
    for _ in 0..8 {
        let beat = Beat {
            root: held.root().as_bytes().to_vec().into(),
            hub_beat: heard,
            ..Beat::default()
        };
        hearing.say(Up::Beat(beat)).await;
        heard = loop {
            if let Down::Beat(beat) = hearing.hear().await.unwrap().expect("it goes on") {
                break beat.number;
            }
        };
    }
    assert_eq!(heard, 8);
    drop(hearing);
    let mut deaf = Session::open(channel, &held).await.unwrap();
    for _ in 0..5 {
        deaf.beat(&held).await;
    }
    assert_eq!(deaf.last_word().await.unwrap().code, "one-way");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_that_no_agent_says_is_refused() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();

    let mut hello = Held::default().hello();
    (hello.protocol_min, hello.protocol_max) = (7, 9);
    let refused = Session::open_with(channel.clone(), hello)
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("protocols 7 to 9"), "{refused}");

    let mut hello = Held::default().hello();
    hello.root = vec![1; 31].into();
    let refused = Session::open_with(channel.clone(), hello)
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), Code::InvalidArgument);

    let mut hello = Held::default().hello();
    hello.capabilities = vec!["x".repeat(10_000)];
    let refused = Session::open_with(channel.clone(), hello)
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), Code::InvalidArgument);

    // Generations and epochs of an agent's own making use nothing up.
    let mut hello = Held::default().hello();
    hello.epoch = u64::MAX;
    let session = Session::open_with(channel, hello).await.unwrap();
    assert!(session.welcome.epoch < u64::MAX / 2);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_that_is_no_request_costs_no_token() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let material = hub.token("uat-1").await;
    let (key, _) = crate::agent::request();
    let nonsense = (key, b"no request".to_vec());
    let refused = enrol_as(&hub, &material.token, "uid", nonsense)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    crate::agent::enrol(&hub, &material.token).await.unwrap();
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_is_refused() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let mut tcp = TcpStream::connect(hub.address()).await.unwrap();
    tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // An alert, then the end.
    let _ = tcp.read_to_end(&mut answer).await;
    assert!(answer.len() < 16, "nothing is served: {answer:?}");
    hub.stop().await;
}
