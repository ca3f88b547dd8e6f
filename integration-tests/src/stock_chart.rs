//! Charts of other projects, byte for byte as these released them.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::{chart_repository::packed_folder, go_module::GoModule};

/// A chart of somebody else.
#[derive(Clone, Copy, Debug)]
pub struct StockChart {
    /// The name that it has in its `Chart.yaml`, which is that of its folder.
    pub name: &'static str,
    /// The version that it has there.
    pub version: &'static str,
    module: GoModule,
    /// The folder in the module that holds it.
    folder: &'static str,
    /// What `find . -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum` says in its folder.
    sha256: &'static str,
}

/// The chart of KWOK, of the version that plays the nodes of the lab.
pub const KWOK: StockChart = StockChart {
    name: "kwok",
    version: "0.2.0",
    module: GoModule {
        path: "sigs.k8s.io/kwok",
        version: "v0.8.0",
        sum: "h1:OTIOTwgROqPMovcTwxICx2eYQ4AwLpSx5EpjbDKF4SQ=",
    },
    folder: "charts/kwok",
    sha256: "1d8eeb5cc04f0a1ab89214a27b2e34bf577f51a165a546bcc8fad7dd2558e831",
};

/// The bundle of policies that Kyverno publishes.
pub const KYVERNO_POLICIES: StockChart = StockChart {
    name: "kyverno-policies",
    version: "3.3.6",
    module: GoModule {
        path: "github.com/kyverno/kyverno",
        version: "v1.13.6",
        sum: "h1:hsyfL8Ty1zQRlUQsY9KV8xxA188sfUyQtsFBqlyLq/g=",
    },
    folder: "charts/kyverno-policies",
    sha256: "c4cccaf8236a06cd9a9de8863642a71d3e07d6140ba91ffcc90dde681534bd87",
};

impl StockChart {
    /// Packs the chart.
    ///
    /// # Errors
    /// When it cannot be had, or what was packed is not, file by file, what was pinned.
    pub fn packed(&self) -> Result<Vec<u8>> {
        let archive = packed_folder(&self.module.folder()?.join(self.folder))?;
        let found = files_sha256(&archive, self.name)?;
        ensure!(
            found == self.sha256,
            "the files of chart {} have the digest {found}, not {}",
            self.name,
            self.sha256
        );
        Ok(archive)
    }
}

/// The digest of the files in the folder of a packed chart.
fn files_sha256(archive: &[u8], chart: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("chart.tgz");
    fs::write(&file, archive)?;
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(&file)
        .arg("-C")
        .arg(folder.path())
        .status()?;
    ensure!(unpacked.success(), "the chart cannot be unpacked");
    let root = folder.path().join(chart);
    let mut lines = String::new();
    for file in files_below(&root)? {
        let digest = hex::encode(Sha256::digest(fs::read(root.join(&file))?));
        writeln!(lines, "{digest}  {}", file.display())?;
    }
    // As `sha256sum` reads what is piped into it.
    Ok(hex::encode(Sha256::digest(lines)))
}

/// Every file below `root`, from there, in order.
fn files_below(root: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![root.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}
