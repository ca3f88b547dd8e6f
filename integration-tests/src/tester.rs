//! The lab's tester, which runs the commands that hooks post.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use anyhow::{Context as _, Result};

use crate::{
    lab::{Lab, lab_command},
    process::OwnedProcess,
};

/// A tester that listens until it is dropped.
#[derive(Debug)]
pub struct Tester {
    /// Where pods and this machine reach it.
    pub url: String,
    _process: OwnedProcess,
}

impl Tester {
    /// Starts a tester on a free port of the lab's bridge.
    ///
    /// # Errors
    /// When it does not start, or does not say where it listens.
    pub fn start(lab: &Lab) -> Result<Self> {
        let listen = format!("{}:0", lab.bridge_address);
        // It ends when its standard input does, even when whoever started it was killed.
        let mut child = lab_command(&["tester", "--listen", &listen])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the tester")?;
        let stdout = child.stdout.take().context("the output is piped")?;
        let process = OwnedProcess::from_child("the tester", child);
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address)?;
        let address = address.trim();
        anyhow::ensure!(!address.is_empty(), "the tester says no address");
        Ok(Self {
            url: format!("http://{address}/"),
            _process: process,
        })
    }
}
