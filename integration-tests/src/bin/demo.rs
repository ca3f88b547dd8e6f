//! `make demo` and `make demo-down`.

use anyhow::{Result, bail};
use bellwether_integration_tests::demo::{run, teardown};

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        None | Some("up") => run(),
        Some("down") => teardown::down(),
        Some(other) => bail!("unknown argument {other:?}; use up or down"),
    }
}
