//! Writes `crds/yaml/*.yaml`: `cargo run -p bellwether-api --example generate-crds`.

use std::{fs, path::Path};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("yaml");
    fs::create_dir_all(&folder).expect("the folder can be made");
    for (plural, definition) in bellwether_api::schema::custom_resource_definitions() {
        println!("{plural} {}", serde_json::to_string_pretty(&definition).unwrap());
    }
}
