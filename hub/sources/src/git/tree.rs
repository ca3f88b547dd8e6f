//! Reads the files of a commit from Git's own store.

use std::{ffi::OsStr, path::Path};

use bytes::Bytes;

use super::command::{Git, git_dir};
use crate::{
    Artifact, SourceError,
    artifact::{Tree, clean_path, refused},
    settings::Limits,
};

/// Largest listing of a tree, in bytes an entry.
const ENTRY_BYTES: u64 = 1300;
/// How a file begins whose content is elsewhere.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Which part of which commit.
#[derive(Clone, Copy)]
pub(super) struct Within<'a> {
    pub commit: &'a str,
    /// Empty for all of it.
    pub path: &'a str,
}

/// One entry of a listing.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    path: String,
    object: String,
    bytes: u64,
    executable: bool,
}

/// Tells whether a repository has a commit.
pub(super) async fn has_commit(
    git: &Git<'_>,
    repository: &Path,
    commit: &str,
) -> Result<bool, SourceError> {
    let directory = git_dir(repository);
    // An answer for every question: that it is missing is no failure.
    let question = format!("{commit}\n").into_bytes();
    let check: [&OsStr; 3] = [&directory, "cat-file".as_ref(), "--batch-check".as_ref()];
    let answer = git.run_with(&check, question, 4096).await?;
    Ok(answer.starts_with(format!("{commit} commit ").as_bytes()))
}

/// Reads the files of a commit, or of a directory in it.
pub(super) async fn read(
    git: &Git<'_>,
    repository: &Path,
    within: Within<'_>,
    revision: String,
    limits: &Limits,
) -> Result<Artifact, SourceError> {
    let directory = git_dir(repository);
    if !within.path.is_empty() && !is_directory(git, &directory, within).await? {
        return Err(SourceError::NotFound {
            what: format!(
                "the directory {:?} in the commit {}",
                within.path, within.commit
            ),
        });
    }
    let root = format!("{}:{}", within.commit, within.path);
    let list: [&OsStr; 6] = [
        &directory,
        "ls-tree".as_ref(),
        "-r".as_ref(),
        "-z".as_ref(),
        "--long".as_ref(),
        root.as_ref(),
    ];
    let list_bytes = ENTRY_BYTES * limits.files as u64;
    let listing = git.run_with(&list, Vec::new(), list_bytes).await?;
    let entries = entries(&listing, limits)?;
    let content_bytes = total(&entries, limits)?;
    let questions: String = entries
        .iter()
        .map(|entry| format!("{}\n", entry.object))
        .collect();
    let batch: [&OsStr; 3] = [&directory, "cat-file".as_ref(), "--batch".as_ref()];
    // Each answer has a line before and a line break after it.
    let limit = content_bytes + 200 * entries.len() as u64;
    let answers = Bytes::from(git.run_with(&batch, questions.into_bytes(), limit).await?);
    let mut rest = answers;
    let mut tree = Tree::new(limits);
    for entry in entries {
        let contents = next_answer(&mut rest, &entry)?;
        if contents.starts_with(LFS) {
            return Err(SourceError::Unsupported {
                what: format!("{:?}, which is stored in Git LFS,", entry.path),
                why: "its content is not in the repository".to_owned(),
            });
        }
        tree.add(entry.path, contents, entry.executable)?;
    }
    tree.into_artifact(revision, "")
}

async fn is_directory(
    git: &Git<'_>,
    directory: &OsStr,
    within: Within<'_>,
) -> Result<bool, SourceError> {
    let question = format!("{}:{}\n", within.commit, within.path).into_bytes();
    let check: [&OsStr; 3] = [directory, "cat-file".as_ref(), "--batch-check".as_ref()];
    let answer = git.run_with(&check, question, 16 << 10).await?;
    let answer = String::from_utf8_lossy(&answer);
    let words: Vec<&str> = answer.split_whitespace().collect();
    Ok(matches!(words.as_slice(), [_, "tree", _]))
}

/// Reads `MODE SP TYPE SP OBJECT SP* SIZE TAB PATH NUL`.
fn entries(listing: &[u8], limits: &Limits) -> Result<Vec<Entry>, SourceError> {
    let malformed = || SourceError::Malformed {
        what: "the listing of a tree".to_owned(),
        why: "it has another form".to_owned(),
    };
    let mut entries = Vec::new();
    for line in listing
        .split(|byte| *byte == 0)
        .filter(|line| !line.is_empty())
    {
        let tab = line
            .iter()
            .position(|byte| *byte == b'\t')
            .ok_or_else(malformed)?;
        let (head, path) = (&line[..tab], &line[tab + 1..]);
        let path = clean_path(path, limits)?;
        let head = String::from_utf8_lossy(head);
        let words: Vec<&str> = head.split_whitespace().collect();
        let [mode, _, object, size] = words.as_slice() else {
            return Err(malformed());
        };
        let executable = match *mode {
            "100644" | "100664" => false,
            "100755" => true,
            "120000" => return Err(refused(&path, "it is a symbolic link")),
            "160000" => {
                let why =
                    "it is a submodule, and submodules are not fetched; give a path without it";
                return Err(refused(&path, why));
            }
            _ => return Err(refused(&path, "it is neither a file nor a directory")),
        };
        entries.push(Entry {
            path,
            object: (*object).to_owned(),
            bytes: size.parse().map_err(|_| malformed())?,
            executable,
        });
    }
    Ok(entries)
}

/// Returns the size of everything, if it is within the limits: nothing is read before.
fn total(entries: &[Entry], limits: &Limits) -> Result<u64, SourceError> {
    let bytes = entries
        .iter()
        .fold(0_u64, |sum, entry| sum.saturating_add(entry.bytes));
    if bytes > limits.content_bytes {
        return Err(SourceError::TooLarge {
            what: "the content".to_owned(),
            limit: format!(
                "{} bytes; give a path within the repository",
                limits.content_bytes
            ),
        });
    }
    if entries.len() > limits.files {
        return Err(SourceError::TooLarge {
            what: "the number of files".to_owned(),
            limit: format!("{} files; give a path within the repository", limits.files),
        });
    }
    Ok(bytes)
}

/// Takes `OBJECT SP blob SP SIZE LF CONTENTS LF` off the front.
fn next_answer(rest: &mut Bytes, entry: &Entry) -> Result<Bytes, SourceError> {
    let head = format!("{} blob {}\n", entry.object, entry.bytes);
    let size = usize::try_from(entry.bytes).unwrap_or(usize::MAX);
    let end = head.len().saturating_add(size);
    if !rest.starts_with(head.as_bytes()) || rest.len() <= end {
        return Err(SourceError::Malformed {
            what: format!("the object {} of {:?}", entry.object, entry.path),
            why: "git does not have it whole".to_owned(),
        });
    }
    let contents = rest.slice(head.len()..end);
    *rest = rest.slice(end + 1..);
    // A slice would keep everything else alive.
    Ok(Bytes::copy_from_slice(&contents))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: &str = "0123456789012345678901234567890123456789";

    fn listed(lines: &[&str]) -> Result<Vec<Entry>, SourceError> {
        let listing: String = lines.iter().map(|line| format!("{line}\0")).collect();
        entries(listing.as_bytes(), &Limits::default())
    }

    #[test]
    fn listings_are_read() {
        let file = format!("100644 blob {OBJECT}      12\ta/b c.yaml");
        let script = format!("100755 blob {OBJECT} 1234567\trun");
        let read = listed(&[&file, &script]).expect("a listing");
        let seen: Vec<(&str, u64, bool)> = read
            .iter()
            .map(|entry| (entry.path.as_str(), entry.bytes, entry.executable))
            .collect();
        assert_eq!(seen, [("a/b c.yaml", 12, false), ("run", 1_234_567, true)]);
    }

    #[test]
    fn links_and_submodules_are_refused_by_name() {
        for (line, said) in [
            (
                format!("120000 blob {OBJECT} 3\tlink"),
                "\"link\" is refused: it is a symbolic link",
            ),
            (
                format!("160000 commit {OBJECT} -\tvendor/lib"),
                "\"vendor/lib\" is refused: it is a submodule",
            ),
            (
                format!("100644 blob {OBJECT} 3\t../evil"),
                "\"../evil\" is refused",
            ),
        ] {
            let error = listed(&[&line]).expect_err("refused").to_string();
            assert!(error.contains(said), "{error}");
        }
        assert_eq!(listed(&["odd"]).expect_err("odd").reason(), "Malformed");
    }

    #[test]
    fn answers_are_taken_one_by_one() {
        let entry = |bytes| Entry {
            path: "a".to_owned(),
            object: OBJECT.to_owned(),
            bytes,
            executable: false,
        };
        let text = format!("{OBJECT} blob 3\na\nb\n{OBJECT} blob 0\n\n");
        let mut rest = Bytes::from(text);
        assert_eq!(next_answer(&mut rest, &entry(3)).expect("three"), "a\nb");
        assert_eq!(next_answer(&mut rest, &entry(0)).expect("none"), "");
        assert!(rest.is_empty());
        let mut missing = Bytes::from(format!("{OBJECT} missing\n"));
        next_answer(&mut missing, &entry(3)).expect_err("missing");
    }
}
