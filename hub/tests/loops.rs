//! The loops on a real Postgres, with agents played by the test.

mod fleet;
#[path = "loops/deletion.rs"]
mod deletion;
#[path = "loops/two_hubs.rs"]
mod two_hubs;
#[path = "loops/waves.rs"]
mod waves;
