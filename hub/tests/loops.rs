//! The loops on a real Postgres, with agents played by the test.

#![expect(clippy::disallowed_methods, reason = "tests tell the time themselves")]

#[path = "loops/deletion.rs"]
mod deletion;
#[path = "loops/dependencies.rs"]
mod dependencies;
mod fleet;
#[path = "loops/rendering.rs"]
mod rendering;
#[path = "loops/rollback.rs"]
mod rollback;
#[path = "loops/two_hubs.rs"]
mod two_hubs;
#[path = "loops/waves.rs"]
mod waves;
