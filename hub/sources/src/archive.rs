//! Reads archives that nobody vouches for.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use tar::EntryType;

use crate::{
    SourceError,
    artifact::{Tree, clean_path, refused},
    settings::Limits,
};

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Tar,
    TarGzip,
}

/// Adds the files of an archive to a tree.
pub(crate) fn unpack(
    what: &str,
    archive: &[u8],
    packing: Packing,
    limits: &Limits,
    tree: &mut Tree<'_>,
) -> Result<(), SourceError> {
    match packing {
        Packing::Tar => read(what, archive, limits, tree),
        Packing::TarGzip => read(what, MultiGzDecoder::new(archive), limits, tree),
    }
}

fn read(
    what: &str,
    archive: impl Read,
    limits: &Limits,
    tree: &mut Tree<'_>,
) -> Result<(), SourceError> {
    let spent = Rc::new(Cell::new(false));
    let bounded = Bounded {
        inner: archive,
        left: limits.inflated_bytes,
        spent: Rc::clone(&spent),
    };
    // The archive's own words may be of any kind: only that it is too large is told apart.
    let failed = |error: io::Error| {
        if spent.get() {
            return SourceError::TooLarge {
                what: format!("{what}, inflated,"),
                limit: format!("{} bytes", limits.inflated_bytes),
            };
        }
        SourceError::Malformed {
            what: what.to_owned(),
            why: error.to_string().chars().take(200).collect(),
        }
    };
    let mut tar = tar::Archive::new(bounded);
    let mut entries = 0;
    for entry in tar.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        entries += 1;
        if entries > limits.files {
            return Err(SourceError::TooLarge {
                what: format!("the number of entries of {what}"),
                limit: format!("{} entries", limits.files),
            });
        }
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue;
        }
        let path = clean_path(&entry.path_bytes(), limits)?;
        match kind {
            EntryType::Directory => continue,
            EntryType::Regular | EntryType::Continuous => {}
            other => return Err(refused(&path, kind_of(other))),
        }
        if path.is_empty() {
            return Err(refused(&path, "it is a file without a name"));
        }
        let executable = entry.header().mode().map_err(failed)? & 0o100 != 0;
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).map_err(failed)?;
        if contents.len() as u64 != entry.size() {
            return Err(failed(io::Error::other("it ends within a file")));
        }
        tree.add(path, Bytes::from(contents), executable)?;
    }
    Ok(())
}

fn kind_of(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "it is a hard link",
        EntryType::Symlink => "it is a symbolic link",
        EntryType::Char | EntryType::Block => "it is a device",
        EntryType::Fifo => "it is a pipe",
        EntryType::GNUSparse => "it is a sparse file",
        _ => "it is neither a file nor a directory",
    }
}

/// Fails once more is read than there may be, and remembers that this was why.
struct Bounded<R> {
    inner: R,
    left: u64,
    spent: Rc<Cell<bool>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => {
                self.spent.set(true);
                return Err(io::Error::other("it is too large"));
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
