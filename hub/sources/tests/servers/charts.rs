//! Charts and archives made for a test.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

/// Packs files as they are named.
pub fn tar_gzip(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, contents) in files {
        let mut header = Header::new_gnu();
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, contents.as_bytes())
            .expect("a file");
    }
    let tar = builder.into_inner().expect("an archive");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&tar).expect("memory");
    encoder.finish().expect("memory")
}

/// Packs the chart `web` in some version, as `helm package` does.
pub fn chart(version: &str) -> Vec<u8> {
    let about = format!("apiVersion: v2\nname: web\nversion: {version}\n");
    tar_gzip(&[
        ("web/Chart.yaml", &about),
        ("web/values.yaml", "replicas: 1\n"),
        ("web/templates/deployment.yaml", "kind: Deployment\n"),
    ])
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
