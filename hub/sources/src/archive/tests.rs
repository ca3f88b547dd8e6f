use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, Header};

use super::*;
use crate::Artifact;

/// Makes an archive of raw entries: the library itself refuses to write most of these.
fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, contents) in entries {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(contents.len() as u64);
        if matches!(kind, EntryType::Link | EntryType::Symlink) {
            header.as_old_mut().linkname[..11].copy_from_slice(b"/etc/passwd");
        }
        header.set_cksum();
        builder.append(&header, *contents).expect("an entry");
    }
    builder.into_inner().expect("an archive")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn unpacked(archive: &[u8], packing: Packing, limits: &Limits) -> Result<Artifact, SourceError> {
    let mut tree = Tree::new(limits);
    unpack("the archive", archive, packing, limits, &mut tree)?;
    tree.into_artifact("1".to_owned(), "")
}

fn refusal(entries: &[(&str, EntryType, &[u8])]) -> String {
    let error = unpacked(
        &gzip(&archive(entries)),
        Packing::TarGzip,
        &Limits::default(),
    )
    .expect_err("refused");
    assert_eq!(error.reason(), "UnsafeArchive", "{error}");
    error.to_string()
}

#[test]
fn files_and_their_modes_come_out() {
    let mut builder = Builder::new(Vec::new());
    for (name, mode) in [("./run.sh", 0o755), ("dir/values.yaml", 0o644)] {
        let mut header = Header::new_gnu();
        header.set_size(2);
        header.set_mode(mode);
        builder
            .append_data(&mut header, name, &b"a\n"[..])
            .expect("a file");
    }
    let long = format!("{}/long.yaml", "d".repeat(150));
    let mut header = Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    builder
        .append_data(&mut header, &long, &b""[..])
        .expect("a long name");
    let tar = builder.into_inner().expect("an archive");
    for (bytes, packing) in [(tar.clone(), Packing::Tar), (gzip(&tar), Packing::TarGzip)] {
        let artifact = unpacked(&bytes, packing, &Limits::default()).expect("fine");
        let seen: Vec<(&str, bool)> = artifact
            .files
            .iter()
            .map(|file| (file.path.as_str(), file.executable))
            .collect();
        assert_eq!(
            seen,
            [
                (long.as_str(), false),
                ("dir/values.yaml", false),
                ("run.sh", true)
            ]
        );
    }
}

#[test]
fn links_devices_and_pipes_are_refused_by_name() {
    for (kind, said) in [
        (EntryType::Symlink, "it is a symbolic link"),
        (EntryType::Link, "it is a hard link"),
        (EntryType::Char, "it is a device"),
        (EntryType::Block, "it is a device"),
        (EntryType::Fifo, "it is a pipe"),
        (EntryType::new(b'V'), "it is neither a file nor a directory"),
    ] {
        let error = refusal(&[("fine", EntryType::Regular, b"x"), ("bad", kind, b"")]);
        assert_eq!(error, format!("the entry \"bad\" is refused: {said}"));
    }
}

#[test]
fn names_that_lead_out_are_refused_by_name() {
    for name in ["../evil", "a/../../evil", "/etc/cron.d/evil", "a\\..\\evil"] {
        let error = refusal(&[(name, EntryType::Regular, b"x")]);
        assert!(error.contains(&format!("{name:?}")), "{error}");
    }
    refusal(&[("a/../../evil", EntryType::Directory, b"")]);
    let error = refusal(&[
        ("a", EntryType::Regular, b"x"),
        ("./a", EntryType::Regular, b"y"),
    ]);
    assert_eq!(error, "the entry \"a\" is refused: it is there twice");
}

#[test]
fn a_name_in_an_extended_header_is_checked_too() {
    let record = b"20 path=../../evil1\n";
    let tar = archive(&[
        ("pax", EntryType::XHeader, record),
        ("innocent", EntryType::Regular, b"x"),
    ]);
    let error = unpacked(&tar, Packing::Tar, &Limits::default()).expect_err("refused");
    assert!(error.to_string().contains("../../evil1"), "{error}");
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let limits = Limits {
        inflated_bytes: 1 << 20,
        ..Limits::default()
    };
    let zeros = vec![0; 8 << 20];
    let bomb = gzip(&archive(&[("zeros", EntryType::Regular, &zeros)]));
    assert!(bomb.len() < 1 << 16, "it is small as it is sent");
    let error = unpacked(&bomb, Packing::TarGzip, &limits).expect_err("too large");
    let said = "the archive, inflated, is larger than the limit of 1048576 bytes";
    assert_eq!(error.to_string(), said);
}

#[test]
fn entries_are_counted_also_where_they_are_no_files() {
    let limits = Limits {
        files: 3,
        ..Limits::default()
    };
    let entries = [("d", EntryType::Directory, &b""[..]); 4];
    let error = unpacked(&archive(&entries), Packing::Tar, &limits).expect_err("too many");
    assert_eq!(error.reason(), "TooLarge");
}

#[test]
fn what_is_no_archive_is_said_to_be_none() {
    let whole = archive(&[("a", EntryType::Regular, &[7; 2000])]);
    for (bytes, packing) in [
        (b"<html>not found</html>".to_vec(), Packing::TarGzip),
        (gzip(b"no tar at all"), Packing::TarGzip),
        (whole[..1024].to_vec(), Packing::Tar),
    ] {
        let error = unpacked(&bytes, packing, &Limits::default()).expect_err("no archive");
        assert_eq!(error.reason(), "Malformed", "{error}");
    }
}

proptest::proptest! {
    #[test]
    fn whatever_comes_is_an_archive_or_none(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2048),
        at in 0_usize..1024,
    ) {
        let limits = Limits::default();
        let _ = unpacked(&bytes, Packing::Tar, &limits);
        let _ = unpacked(&bytes, Packing::TarGzip, &limits);
        // And one byte of a good one changed.
        let mut good = archive(&[("dir/a", EntryType::Regular, b"contents")]);
        good[at] ^= bytes.first().copied().unwrap_or(1);
        if let Ok(artifact) = unpacked(&good, Packing::Tar, &limits) {
            for file in artifact.files {
                proptest::prop_assert!(!file.path.starts_with('/') && !file.path.contains(".."));
            }
        }
    }
}
