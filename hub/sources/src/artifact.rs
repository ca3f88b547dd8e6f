//! What a source hands out: plain files with a digest.

use std::collections::BTreeMap;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{SourceError, settings::Limits};

/// A source pinned to what was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// What was fetched, as people read it: a commit for a Git branch or commit, `v1.2.3@COMMIT` for a
    /// Git tag, `1.2.3@sha256:…` for a chart, `TAG@sha256:…` for an OCI tag, `sha256:…` for an OCI
    /// digest. Equal revisions are equal content.
    pub revision: String,
    /// `sha256:` and the digest of the files, whichever way they came: see [`Artifact::digest_of`].
    pub digest: String,
    /// Every file, sorted by path.
    pub files: Vec<ArtifactFile>,
}

/// One file of an [`Artifact`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactFile {
    /// Where it is: relative to the root of the artifact, separated by `/`, without `.` and `..`.
    pub path: String,
    /// What is in it.
    pub contents: Bytes,
    /// Whether its owner may execute it.
    pub executable: bool,
}

impl Artifact {
    /// Makes an artifact of files, which are sorted here.
    pub fn new(revision: String, mut files: Vec<ArtifactFile>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self {
            revision,
            digest: Self::digest_of(&files),
            files,
        }
    }

    /// Returns the digest of files that are sorted by path.
    ///
    /// It is SHA-256 over `bellwether.tree.v1` and a zero byte, and then, for each file in the order of
    /// the bytes of its path: the length of the path, the path, `x` if it is executable and `-` if not,
    /// the length of the contents, the contents. Lengths are 64-bit and big-endian. Times, owners and
    /// other modes are no part of it.
    pub fn digest_of(files: &[ArtifactFile]) -> String {
        let mut hash = Sha256::new();
        hash.update(b"bellwether.tree.v1\0");
        for file in files {
            hash.update((file.path.len() as u64).to_be_bytes());
            hash.update(file.path.as_bytes());
            hash.update(if file.executable { b"x" } else { b"-" });
            hash.update((file.contents.len() as u64).to_be_bytes());
            hash.update(&file.contents);
        }
        format!("sha256:{}", hex::encode(hash.finalize()))
    }
}

/// Collects files, and refuses what no artifact may hold.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    limits: &'a Limits,
    files: BTreeMap<String, ArtifactFile>,
    /// Names as a file system that ignores case sees them, with how they are written.
    folded: BTreeMap<String, String>,
    bytes: u64,
}

impl<'a> Tree<'a> {
    pub fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            files: BTreeMap::new(),
            folded: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Adds a file under a name that [`clean_path`] has accepted.
    pub fn add(
        &mut self,
        path: String,
        contents: Bytes,
        executable: bool,
    ) -> Result<(), SourceError> {
        if self.files.len() >= self.limits.files {
            return Err(SourceError::TooLarge {
                what: "the number of files".to_owned(),
                limit: format!("{} files", self.limits.files),
            });
        }
        self.bytes = self.bytes.saturating_add(contents.len() as u64);
        if self.bytes > self.limits.content_bytes {
            return Err(SourceError::TooLarge {
                what: "the content".to_owned(),
                limit: format!("{} bytes", self.limits.content_bytes),
            });
        }
        match self.folded.insert(path.to_lowercase(), path.clone()) {
            None => {}
            Some(same) if same == path => return Err(refused(&path, "it is there twice")),
            Some(other) => {
                return Err(refused(
                    &path,
                    format!("it differs from {other:?} in case only"),
                ));
            }
        }
        let file = ArtifactFile {
            path: path.clone(),
            contents,
            executable,
        };
        self.files.insert(path, file);
        Ok(())
    }

    /// Returns the directory that holds everything, if one does.
    pub fn only_directory(&self) -> Option<String> {
        let first = |path: &String| path.split_once('/').map(|(first, _)| first.to_owned());
        let directory = first(self.files.keys().next()?)?;
        self.files
            .keys()
            .all(|path| first(path).as_ref() == Some(&directory))
            .then_some(directory)
    }

    /// Returns the files, or those under a directory alone, as an artifact.
    ///
    /// # Errors
    ///
    /// If a name is a file and a directory, or the directory has no files.
    pub fn into_artifact(self, revision: String, below: &str) -> Result<Artifact, SourceError> {
        for path in self.folded.keys() {
            let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
            for parent in parents {
                if let Some(file) = self.folded.get(parent) {
                    return Err(refused(file, "it is a file and a directory"));
                }
            }
        }
        let prefix = match below {
            "" => String::new(),
            below => format!("{below}/"),
        };
        let files: Vec<ArtifactFile> = self
            .files
            .into_values()
            .filter_map(|mut file| {
                file.path = file.path.strip_prefix(&prefix)?.to_owned();
                Some(file)
            })
            .collect();
        if files.is_empty() {
            let what = match below {
                "" => "any file in it".to_owned(),
                below => format!("the directory {below:?} in it"),
            };
            return Err(SourceError::NotFound { what });
        }
        Ok(Artifact::new(revision, files))
    }
}

/// Returns a name as artifacts have it, without `.` and empty parts; empty for the root itself.
pub(crate) fn clean_path(name: &[u8], limits: &Limits) -> Result<String, SourceError> {
    let shown = String::from_utf8_lossy(name).into_owned();
    let Ok(text) = std::str::from_utf8(name) else {
        return Err(refused(&shown, "its name is not UTF-8"));
    };
    if text.len() > limits.path_bytes {
        let shown: String = text.chars().take(80).collect();
        let why = format!("its name is longer than {} bytes", limits.path_bytes);
        return Err(refused(&format!("{shown}…"), why));
    }
    if text.starts_with('/') {
        return Err(refused(&shown, "its name is absolute"));
    }
    if text.contains('\\') || text.chars().any(char::is_control) {
        let why = "its name has a backslash or a control character";
        return Err(refused(&shown, why));
    }
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if parts.contains(&"..") {
        return Err(refused(&shown, "it leads out of its root by `..`"));
    }
    // A colon in the first part is a drive on some systems.
    if parts
        .first()
        .is_some_and(|first| first.as_bytes().get(1) == Some(&b':'))
    {
        return Err(refused(&shown, "its name is absolute"));
    }
    Ok(parts.join("/"))
}

pub(crate) fn refused(entry: &str, why: impl Into<String>) -> SourceError {
    SourceError::UnsafeArchive {
        entry: entry.to_owned(),
        why: why.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, contents: &'static str, executable: bool) -> ArtifactFile {
        ArtifactFile {
            path: path.to_owned(),
            contents: Bytes::from_static(contents.as_bytes()),
            executable,
        }
    }

    #[test]
    fn the_digest_is_the_documented_formula() {
        let mut bytes = b"bellwether.tree.v1\0".to_vec();
        bytes.extend(b"\0\0\0\0\0\0\0\x01a-\0\0\0\0\0\0\0\x02hi");
        bytes.extend(b"\0\0\0\0\0\0\0\x03b/cx\0\0\0\0\0\0\0\0");
        let expected = format!("sha256:{}", hex::encode(Sha256::digest(&bytes)));
        let artifact = Artifact::new(
            "1".to_owned(),
            vec![file("b/c", "", true), file("a", "hi", false)],
        );
        assert_eq!(artifact.digest, expected);
        assert_eq!(artifact.files[0].path, "a");
    }

    #[test]
    fn content_names_and_modes_count_and_cannot_be_moved_into_each_other() {
        let variants = [
            vec![file("a", "bc", false)],
            vec![file("ab", "c", false)],
            vec![file("a", "bc", true)],
            vec![file("a", "b", false), file("c", "", false)],
            vec![file("a", "", false), file("b", "c", false)],
        ];
        let digests: std::collections::BTreeSet<String> = variants
            .iter()
            .map(|files| Artifact::digest_of(files))
            .collect();
        assert_eq!(digests.len(), variants.len());
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused_and_others_are_cleaned() {
        let limits = Limits::default();
        for name in [
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a\\..\\x",
            "C:/x",
            "a\nb",
            "a\0b",
        ] {
            let error = clean_path(name.as_bytes(), &limits).expect_err(name);
            assert_eq!(error.reason(), "UnsafeArchive", "{name}");
        }
        assert!(clean_path(b"a\xff", &limits).is_err());
        assert!(clean_path("x".repeat(5000).as_bytes(), &limits).is_err());
        for (name, clean) in [("./a//b/.", "a/b"), (".", ""), ("a/..b", "a/..b")] {
            assert_eq!(clean_path(name.as_bytes(), &limits).expect(name), clean);
        }
    }

    proptest::proptest! {
        #[test]
        fn a_name_that_is_accepted_stays_within_its_root(name in "[./\\\\a:]{0,12}") {
            if let Ok(clean) = clean_path(name.as_bytes(), &Limits::default()) {
                let root = std::path::Path::new("/root");
                let joined = root.join(&clean);
                let is_plain = |part| matches!(part, std::path::Component::Normal(_));
                let plain = joined.components().skip(1).all(is_plain);
                proptest::prop_assert!(joined.starts_with(root) && plain, "{} of {}", clean, name);
            }
        }
    }

    #[test]
    fn twins_and_files_that_are_directories_are_refused_by_name() {
        let limits = Limits::default();
        let add = |names: &[&str]| {
            let mut tree = Tree::new(&limits);
            for name in names {
                tree.add((*name).to_owned(), Bytes::new(), false)?;
            }
            tree.into_artifact("1".to_owned(), "")
        };
        for (names, said) in [
            (
                vec!["a", "a"],
                r#"the entry "a" is refused: it is there twice"#,
            ),
            (vec!["Values.yaml", "values.yaml"], "in case only"),
            (
                vec!["a", "a/b"],
                r#"the entry "a" is refused: it is a file and a directory"#,
            ),
            (vec!["A", "a/b"], "it is a file and a directory"),
        ] {
            let error = add(&names).expect_err("refused").to_string();
            assert!(error.contains(said), "{names:?}: {error}");
        }
        add(&["a/b", "a/c", "b"]).expect("different names");
    }

    #[test]
    fn a_directory_of_it_is_taken_alone() {
        let limits = Limits::default();
        let tree = || {
            let mut tree = Tree::new(&limits);
            for name in ["deploy/a.yaml", "deployment/b.yaml", "c.yaml"] {
                tree.add(name.to_owned(), Bytes::new(), false).expect(name);
            }
            tree
        };
        let artifact = tree()
            .into_artifact("1".to_owned(), "deploy")
            .expect("deploy");
        assert_eq!(artifact.files.len(), 1);
        assert_eq!(artifact.files[0].path, "a.yaml");
        let error = tree()
            .into_artifact("1".to_owned(), "nowhere")
            .expect_err("none");
        assert_eq!(error.reason(), "NotFound");
        assert!(error.to_string().contains("nowhere"), "{error}");
    }

    #[test]
    fn files_and_bytes_are_bounded() {
        let limits = Limits {
            files: 2,
            content_bytes: 5,
            ..Limits::default()
        };
        let mut tree = Tree::new(&limits);
        tree.add("a".to_owned(), Bytes::from_static(b"123"), false)
            .expect("a");
        let error = tree
            .add("b".to_owned(), Bytes::from_static(b"456"), false)
            .expect_err("too many bytes");
        assert_eq!(
            error.to_string(),
            "the content is larger than the limit of 5 bytes"
        );
        let mut tree = Tree::new(&limits);
        for name in ["a", "b"] {
            tree.add(name.to_owned(), Bytes::new(), false).expect(name);
        }
        let error = tree
            .add("c".to_owned(), Bytes::new(), false)
            .expect_err("too many");
        assert_eq!(error.reason(), "TooLarge");
    }
}
