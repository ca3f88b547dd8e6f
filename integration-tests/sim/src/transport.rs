//! What hub and agents say to each other.

use std::collections::BTreeMap;

use bellwether_api::{root::Root, status::UnitStatus};
use bellwether_store::desired::UnitVersion;
use uuid::Uuid;

/// A message on a cluster's stream.
#[derive(Clone, Debug)]
pub struct Message {
    /// The cluster at one end.
    pub cluster: Uuid,
    /// The hub at the other end.
    pub hub: usize,
    /// What is said.
    pub body: Body,
}

/// What is said.
#[derive(Clone, Debug)]
pub enum Body {
    /// Agent: a stream begins.
    Hello {
        /// The highest epoch that it has seen.
        seen_epoch: u64,
        /// The generation that it holds.
        generation: u64,
        /// The root of what it holds.
        root: Root,
        /// The agent's process: no other one has an end of this stream.
        process: u64,
    },
    /// Agent: it is there.
    Beat {
        /// The session.
        epoch: u64,
    },
    /// Agent: it holds a generation durably.
    Ack {
        /// The session.
        epoch: u64,
        /// The generation.
        generation: u64,
        /// The root.
        root: Root,
    },
    /// Agent: the latest state of the application.
    Status {
        /// The session.
        epoch: u64,
        /// Rises within the session.
        sequence: u64,
        /// The state.
        status: Box<UnitStatus>,
    },
    /// Hub: the stream is open.
    Welcome {
        /// The session.
        epoch: u64,
        /// The process that said Hello.
        process: u64,
    },
    /// Hub: it is there.
    Pong {
        /// The session.
        epoch: u64,
    },
    /// Hub: what changed, or everything.
    Units {
        /// The session.
        epoch: u64,
        /// Whether it is everything.
        snapshot: bool,
        /// The generation that it starts from.
        from: u64,
        /// The generation that it leads to.
        to: u64,
        /// The root at `to`.
        root: Root,
        /// The units.
        units: Vec<UnitVersion>,
        /// Their contents.
        blobs: BTreeMap<[u8; 32], Vec<u8>>,
    },
    /// Hub: a report is stored.
    StatusAck {
        /// The session.
        epoch: u64,
        /// The report.
        sequence: u64,
        /// The last event of the report; 0 = it brought none.
        event: u64,
    },
}

impl Body {
    /// Tells whether the agent says it.
    #[must_use]
    pub const fn is_upward(&self) -> bool {
        matches!(
            self,
            Self::Hello { .. } | Self::Beat { .. } | Self::Ack { .. } | Self::Status { .. }
        )
    }
}
