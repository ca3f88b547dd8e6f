//! The wire between hub and agent: messages, services and their limits.
//!
//! Data flow: `bellwether.proto` → [`wire`] (generated) → the hub's `grpc` and the agent's `link`.
//! Entry points: [`wire::link_server`], [`wire::link_client`], [`limits`].

pub mod codec;
pub mod limits;

/// The name in the hub's certificate that agents verify, whatever address they dial.
pub const HUB_SERVER_NAME: &str = "hub.bellwether.internal";

/// Messages, clients and servers, generated from `bellwether.proto`.
#[expect(missing_docs, reason = "generated; the .proto holds the comments")]
#[allow(clippy::unwrap_used, clippy::too_many_lines, reason = "generated")]
pub mod wire {
    tonic::include_proto!("bellwether.v1");
}
