//! The private Postgres: adopted after a kill, refused twice, and clear about what is missing.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use bellwether_store::{
    BlobCipher, Store, StoreOptions,
    postgres::{Embedded, EmbeddedConfig, EmbeddedError},
};

/// A directory that the server's user may enter, whatever the umask.
fn open_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn config(dir: &Path) -> EmbeddedConfig {
    EmbeddedConfig::new(dir.join("postgres")).without_fsync()
}

async fn ping(url: &str) -> Result<(), bellwether_store::StoreError> {
    let cipher = BlobCipher::from_key(&[1; 32]);
    Store::connect(StoreOptions::new(url), cipher)
        .await?
        .ping()
        .await
}

fn pid(data_dir: &Path) -> String {
    let text = fs::read_to_string(data_dir.join("postmaster.pid")).unwrap();
    text.lines().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_outlives_its_hub_and_is_adopted() {
    let dir = open_dir();
    let server = Embedded::start(&config(dir.path())).await.unwrap();
    assert!(!server.was_adopted());
    ping(server.url()).await.unwrap();
    let data_dir = server.layout().data_dir.clone();
    let socket_dir = server.layout().socket_dir.clone();
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data_dir), mode(&socket_dir)), (0o700, 0o700));

    // A second hub on the same directory is told how to join.
    let second = Embedded::start(&config(dir.path())).await.err().unwrap();
    assert!(matches!(&second, EmbeddedError::Locked { url, .. } if url == server.url()));
    assert!(second.to_string().contains("DATABASE_URL="), "{second}");

    // Dropping is what a kill -9 leaves: the lock is free, the server runs on.
    let before = pid(&data_dir);
    drop(server);
    let server = Embedded::start(&config(dir.path())).await.unwrap();
    assert!(server.was_adopted());
    assert_eq!(pid(&data_dir), before);
    ping(server.url()).await.unwrap();
    assert!(!server.revive().await.unwrap());

    let url = server.url().to_owned();
    server.stop().await.unwrap();
    assert!(!data_dir.join("postmaster.pid").exists());
    assert!(ping(&url).await.is_err());

    // A pid file that a crash left behind stops nobody.
    fs::write(data_dir.join("postmaster.pid"), "999999\n").unwrap();
    let server = Embedded::start(&config(dir.path())).await.unwrap();
    assert!(!server.was_adopted());
    ping(server.url()).await.unwrap();
    server.stop().await.unwrap();
    assert!(!socket_dir.exists());
}

#[tokio::test]
async fn missing_binaries_are_named_with_the_way_out() {
    let dir = open_dir();
    let nowhere = dir.path().join("nowhere");
    let config = EmbeddedConfig {
        postgres_bin: Some(nowhere.clone()),
        ..config(dir.path())
    };
    let error = Embedded::start(&config).await.err().unwrap();
    assert!(matches!(error, EmbeddedError::NotInstalled { .. }));
    let text = error.to_string();
    for needed in [
        "apt-get install -y postgresql",
        "DATABASE_URL",
        &nowhere.to_string_lossy(),
    ] {
        assert!(text.contains(needed), "{text}");
    }
}

#[tokio::test]
async fn data_of_another_version_is_named() {
    let dir = open_dir();
    fs::create_dir_all(dir.path().join("postgres")).unwrap();
    fs::write(dir.path().join("postgres/PG_VERSION"), "7\n").unwrap();
    let error = Embedded::start(&config(dir.path())).await.err().unwrap();
    assert!(error.to_string().contains("postgresql-7"), "{error}");
}

#[tokio::test]
async fn a_directory_that_the_servers_user_cannot_enter_is_named() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let error = Embedded::start(&config(dir.path())).await.err().unwrap();
    let way_out = format!("chmod o+x {}", dir.path().display());
    assert!(error.to_string().contains(&way_out), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_setting_says_what_the_server_said() {
    let dir = open_dir();
    let config = config(dir.path()).setting("shared_buffers", "lots");
    let error = Embedded::start(&config).await.err().unwrap();
    assert!(error.to_string().contains("shared_buffers"), "{error}");
}
