//! Generates the wire's types; no protoc on the machine is needed.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=bellwether.proto");
    let descriptors = protox::compile(["bellwether.proto"], [Path::new(".")])?;
    tonic_prost_build::configure()
        .bytes(".bellwether.v1")
        .codec_path("crate::codec::WireCodec")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)?;
    Ok(())
}
