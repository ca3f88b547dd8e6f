//! The loops on a real Postgres, with agents played by the test.

#![expect(clippy::disallowed_methods, reason = "tests tell the time themselves")]

#[path = "loops/allowances.rs"]
mod allowances;
#[path = "loops/cluster_traffic.rs"]
mod cluster_traffic;
#[path = "loops/cut_off.rs"]
mod cut_off;
#[path = "loops/deletion.rs"]
mod deletion;
#[path = "loops/dependencies.rs"]
mod dependencies;
mod fleet;
#[path = "loops/parts.rs"]
mod parts;
#[path = "loops/placement.rs"]
mod placement;
#[path = "loops/private.rs"]
mod private;
#[path = "loops/publishing.rs"]
mod publishing;
#[path = "../sources/tests/servers/registry.rs"]
mod registry;
#[path = "loops/rendering.rs"]
mod rendering;
#[path = "../sources/tests/servers/repository.rs"]
mod repository;
#[path = "loops/rollback.rs"]
mod rollback;
#[path = "loops/secret_values.rs"]
mod secret_values;
#[path = "../sources/tests/servers/ssh_server.rs"]
mod ssh_server;
#[path = "loops/too_large.rs"]
mod too_large;
#[path = "loops/two_hubs.rs"]
mod two_hubs;
#[path = "loops/uneven_losses.rs"]
mod uneven_losses;
#[path = "loops/waves.rs"]
mod waves;
