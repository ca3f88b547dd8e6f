use bellwether_api::root::Root;

use super::*;
use crate::desired::double::Server;

#[tokio::test]
async fn a_commit_is_carried_out_although_its_session_is_over() {
    let server = Server::default();
    let desired = server.agent().await;
    let commit = Commit {
        incarnation: 1,
        epoch: 6,
        to: 3,
        changes: Vec::new(),
        blobs: Vec::new(),
        snapshot: true,
        root: *Root::EMPTY.as_bytes(),
    };
    let mut changed = desired.subscribe();
    drop(carry_out(desired.clone(), commit));
    let limit = Duration::from_secs(10);
    let noted = timeout(limit, changed.changed()).await;
    noted.expect("it is carried out").expect("it is held");
    assert_eq!(desired.held().generation, 3);
}
