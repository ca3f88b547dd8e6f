//! Programs that the hub's operator registered to render components.

use std::{
    collections::BTreeMap,
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use bellwether_api::source::PluginSource;
use bellwether_hub_core::recipe::PluginCall;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Largest schema, in bytes.
const MAX_SCHEMA_BYTES: u64 = 256 << 10;
/// A program is read piece by piece.
const CHUNK_BYTES: usize = 64 << 10;
/// What follows a program's name in that of its schema.
const SCHEMA_SUFFIX: &str = ".schema.json";

/// The registered programs, by name. They are read once: one that changes afterwards is not run.
#[derive(Clone, Debug, Default)]
pub struct Plugins(BTreeMap<String, Plugin>);

#[derive(Clone, Debug)]
struct Plugin {
    program: PathBuf,
    /// Absent = it takes any parameters.
    schema: Option<Value>,
    /// `sha256:…` of the program and its schema.
    digest: String,
    seen: Seen,
}

/// What tells a file from the one that stood there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// Why a program cannot be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Applications could not name it.
    #[error("{name:?} is no name of a renderer; use a-z, 0-9 and -")]
    Name {
        /// The name.
        name: String,
    },
    /// Two programs of one name.
    #[error("two renderers are named {name:?}")]
    Twice {
        /// The name.
        name: String,
    },
    /// The program or its schema cannot be read.
    #[error("failed to read {path:?} of renderer {name:?}")]
    Unreadable {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is no program.
    #[error("{path:?} of renderer {name:?} is no file that may be executed")]
    NoProgram {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// The schema is no JSON, or too large.
    #[error("{path:?} of renderer {name:?} is no JSON of at most {MAX_SCHEMA_BYTES} bytes")]
    Schema {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
    },
}

/// Why a program is not run. Whoever mends it need not change the application.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// No program has that name.
    #[error("no renderer {name:?} is registered at this hub; {known}")]
    NotFound {
        /// The name.
        name: String,
        /// Those that there are, as people read them.
        known: String,
    },
    /// The file is another one than when the hub started.
    #[error(
        "the program of renderer {name:?} was changed since this hub started; restart the hub to use \
         the new one"
    )]
    Changed {
        /// The name.
        name: String,
    },
    /// The release was made with another program.
    #[error("renderer {name:?} of this hub is not the program that the release was made with")]
    Another {
        /// The name.
        name: String,
    },
    /// The program would have the hub's network.
    #[error(
        "renderer {name:?} is not run, for its network cannot be taken away: neither seccomp nor `unshare \
         --net` is possible here"
    )]
    NotIsolated {
        /// The name.
        name: String,
    },
}

impl PluginError {
    /// One word that stays what it is.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "PluginNotFound",
            Self::Changed { .. } | Self::Another { .. } => "PluginChanged",
            Self::NotIsolated { .. } => "PluginNotIsolated",
        }
    }

    /// The error with its reason and the field that it is about.
    #[must_use]
    pub fn said(&self) -> String {
        format!("{}: plugin.name: {self}", self.reason())
    }
}

/// What a component's program is, for its release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginPin {
    /// `sha256:…` of the program and its schema.
    pub digest: String,
    /// The same, as people read it.
    pub revision: String,
}

/// A program as the renderer is asked to run it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Running<'a> {
    name: &'a str,
    program: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a Value>,
    application: &'a str,
    component: &'a str,
}

impl Plugins {
    /// Registers programs by name. The schema of a program's parameters is the file beside it whose
    /// name has `.schema.json` after the program's; none = any parameters.
    ///
    /// # Errors
    /// A name that no application can write, or a file that is no program.
    pub fn register(programs: &[(String, PathBuf)]) -> Result<Self, RegisterError> {
        let mut found = BTreeMap::new();
        for (name, program) in programs {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty()
                || name.len() > 63
                || !name.chars().all(plain)
                || name.starts_with('-')
                || name.ends_with('-')
            {
                return Err(RegisterError::Name { name: name.clone() });
            }
            if found.insert(name.clone(), read(name, program)?).is_some() {
                return Err(RegisterError::Twice { name: name.clone() });
            }
        }
        Ok(Self(found))
    }

    /// The names of the registered programs, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Pins the program that a component names.
    ///
    /// # Errors
    /// There is none.
    pub fn pin(&self, source: &PluginSource) -> Result<PluginPin, PluginError> {
        let plugin = self.get(&source.name)?;
        Ok(PluginPin {
            digest: plugin.digest.clone(),
            revision: format!("{}@{}", source.name, plugin.digest),
        })
    }

    /// Returns what is run for a recipe of that digest.
    ///
    /// # Errors
    /// It is not there, or not the one that is meant.
    pub(super) fn running<'a>(
        &'a self,
        call: &'a PluginCall,
        digest: &str,
    ) -> Result<Running<'a>, PluginError> {
        let plugin = self.get(&call.name)?;
        let name = || call.name.clone();
        if plugin.digest != digest {
            return Err(PluginError::Another { name: name() });
        }
        let now = std::fs::metadata(&plugin.program).ok();
        if now.as_ref().map(Seen::of) != Some(plugin.seen) {
            return Err(PluginError::Changed { name: name() });
        }
        Ok(Running {
            name: &call.name,
            program: &plugin.program,
            schema: plugin.schema.as_ref(),
            application: &call.application,
            component: &call.component,
        })
    }

    fn get(&self, name: &str) -> Result<&Plugin, PluginError> {
        self.0.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.names().collect();
            PluginError::NotFound {
                name: name.to_owned(),
                known: if names.is_empty() {
                    "none is (--plugin NAME=PROGRAM)".to_owned()
                } else {
                    format!("registered: {}", names.join(", "))
                },
            }
        })
    }
}

impl Seen {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn read(name: &str, program: &Path) -> Result<Plugin, RegisterError> {
    let unreadable = |path: &Path, source| RegisterError::Unreadable {
        name: name.to_owned(),
        path: path.to_owned(),
        source,
    };
    // It is run from another folder.
    let program = std::path::absolute(program).map_err(|source| unreadable(program, source))?;
    let mut file = File::open(&program).map_err(|source| unreadable(&program, source))?;
    let metadata = file
        .metadata()
        .map_err(|source| unreadable(&program, source))?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(RegisterError::NoProgram {
            name: name.to_owned(),
            path: program,
        });
    }
    let mut hash = Sha256::new();
    hash.update(metadata.len().to_be_bytes());
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => hash.update(&chunk[..count]),
            Err(source) => return Err(unreadable(&program, source)),
        }
    }
    Ok(Plugin {
        schema: schema_beside(name, &program, &mut hash)?,
        digest: format!("sha256:{}", hex::encode(hash.finalize())),
        seen: Seen::of(&metadata),
        program,
    })
}

/// Reads the schema of a program's parameters, if it brings one, which its digest covers too.
fn schema_beside(
    name: &str,
    program: &Path,
    hash: &mut Sha256,
) -> Result<Option<Value>, RegisterError> {
    let mut beside = program.as_os_str().to_owned();
    beside.push(SCHEMA_SUFFIX);
    let path = PathBuf::from(beside);
    let unreadable = |source| RegisterError::Unreadable {
        name: name.to_owned(),
        path: path.clone(),
        source,
    };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(unreadable(source)),
    };
    let mut text = Vec::new();
    file.take(MAX_SCHEMA_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    hash.update(&text);
    let is_small = text.len() as u64 <= MAX_SCHEMA_BYTES;
    let schema = serde_json::from_slice(&text).ok().filter(|_| is_small);
    match schema {
        Some(schema) => Ok(Some(schema)),
        None => Err(RegisterError::Schema {
            name: name.to_owned(),
            path: path.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn program(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, executable).expect("it may be executed");
        path
    }

    fn call(name: &str) -> PluginCall {
        PluginCall {
            name: name.to_owned(),
            application: "shop".to_owned(),
            component: "web".to_owned(),
        }
    }

    fn source(name: &str) -> PluginSource {
        PluginSource {
            name: name.to_owned(),
            params: None,
        }
    }

    #[test]
    fn a_program_is_pinned_by_itself_and_its_schema() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = program(folder.path(), "web", "#!/bin/sh\n");
        let register = || Plugins::register(&[("web".to_owned(), path.clone())]);
        let pin = |plugins: &Plugins| plugins.pin(&source("web")).expect("a pin").digest;
        let plain = register().expect("registered");
        assert_eq!(pin(&plain), pin(&register().expect("registered")));
        let schema = folder.path().join("web.schema.json");
        std::fs::write(&schema, "{\"type\": \"object\"}").expect("a file");
        let with_schema = register().expect("registered");
        assert_ne!(pin(&plain), pin(&with_schema));
        let web = call("web");
        let running = with_schema.running(&web, &pin(&with_schema));
        assert!(running.expect("it may run").schema.is_some());
        assert_eq!(
            with_schema.running(&call("web"), &pin(&plain)).err(),
            Some(PluginError::Another {
                name: "web".to_owned()
            })
        );
        std::fs::write(&schema, "{").expect("a file");
        let error = register().expect_err("no JSON").to_string();
        assert!(error.contains("web.schema.json"), "{error}");
    }

    #[test]
    fn one_that_changes_while_the_hub_runs_is_not_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = program(folder.path(), "web", "#!/bin/sh\n");
        let plugins = Plugins::register(&[("web".to_owned(), path)]).expect("registered");
        let digest = plugins.pin(&source("web")).expect("a pin").digest;
        assert!(plugins.running(&call("web"), &digest).is_ok());
        program(folder.path(), "web", "#!/bin/sh\nexit 1\n");
        assert_eq!(
            plugins.running(&call("web"), &digest).err(),
            Some(PluginError::Changed {
                name: "web".to_owned()
            })
        );
    }

    #[test]
    fn what_is_no_program_or_has_no_name_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = program(folder.path(), "web", "#!/bin/sh\n");
        let register = |programs: &[(&str, &Path)]| {
            let programs: Vec<(String, PathBuf)> = programs
                .iter()
                .map(|(name, path)| ((*name).to_owned(), (*path).to_owned()))
                .collect();
            let refused = Plugins::register(&programs).expect_err("refused");
            refused.to_string()
        };
        assert!(register(&[("Web", &path)]).contains("is no name"));
        assert!(register(&[("web", &path), ("web", &path)]).contains("two renderers"));
        assert!(register(&[("web", folder.path())]).contains("no file that may be executed"));
        assert!(register(&[("web", &folder.path().join("gone"))]).contains("failed to read"));
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "text").expect("a file");
        assert!(register(&[("web", &plain)]).contains("no file that may be executed"));
    }

    #[test]
    fn a_name_that_is_not_registered_lists_those_that_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = program(folder.path(), "web", "#!/bin/sh\n");
        let two = [("web".to_owned(), path.clone()), ("job".to_owned(), path)];
        let plugins = Plugins::register(&two).expect("registered");
        let error = plugins.pin(&source("wbe")).expect_err("none").to_string();
        assert!(
            error.contains("\"wbe\"") && error.ends_with("registered: job, web"),
            "{error}"
        );
        let error = Plugins::default().pin(&source("web")).expect_err("none");
        assert!(error.to_string().contains("--plugin NAME=PROGRAM"));
    }
}
