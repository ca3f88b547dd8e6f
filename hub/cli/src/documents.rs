//! Documents from files, directories and stdin as one request, so that all of them are applied or
//! none; errors are told with each file's own line.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use bellwether_api::call::MAX_BODY_BYTES;
use serde_json::Value;

/// Several files as one body.
#[derive(Debug, Default)]
pub struct Documents {
    /// The body: YAML documents.
    pub body: String,
    /// First line of each file in the body, and its name.
    starts: Vec<(u32, String)>,
}

impl Documents {
    /// Reads files, directories (their .yaml, .yml and .json, sorted) and `-` for stdin.
    ///
    /// # Errors
    /// When something cannot be read, is empty, or is larger than the hub takes.
    pub fn read(paths: &[String]) -> anyhow::Result<Self> {
        let mut documents = Self::default();
        for path in paths {
            if path == "-" {
                documents.add("stdin", &limited(std::io::stdin(), "stdin")?);
                continue;
            }
            for file in files(Path::new(path))? {
                let name = file.display().to_string();
                let open =
                    std::fs::File::open(&file).with_context(|| format!("failed to read {name}"))?;
                documents.add(&name, &limited(open, &name)?);
            }
        }
        if documents.body.len() > MAX_BODY_BYTES {
            bail!(
                "all files together have {} bytes; the hub takes at most {MAX_BODY_BYTES} at once",
                documents.body.len()
            );
        }
        Ok(documents)
    }

    fn add(&mut self, name: &str, text: &str) {
        if !self.body.is_empty() {
            self.body.push_str("\n---\n");
        }
        let line = u32::try_from(self.body.matches('\n').count()).unwrap_or(u32::MAX) + 1;
        self.starts.push((line, name.to_owned()));
        // Some JSON is no YAML (tabs); compact JSON always is.
        match (name.ends_with(".json"), serde_json::from_str::<Value>(text)) {
            (true, Ok(value)) => self.body.push_str(&value.to_string()),
            _ => self.body.push_str(text),
        }
    }

    /// Finds the file and the line in it of a line of the body.
    #[must_use]
    pub fn place(&self, line: u32) -> (String, u32) {
        match self.starts.iter().rev().find(|(start, _)| *start <= line) {
            Some((start, name)) => (name.clone(), line - start + 1),
            None => (String::new(), line),
        }
    }

    /// Reads every document as a value; empty documents are left out.
    ///
    /// # Errors
    /// When the body is no YAML.
    pub fn values(&self) -> anyhow::Result<Vec<Value>> {
        bellwether_api::document::values("", self.body.as_bytes()).map_err(|errors| {
            let lines: Vec<String> = errors
                .into_iter()
                .map(|mut error| {
                    (error.file, error.line) = self.place(error.line);
                    error.to_string()
                })
                .collect();
            anyhow!(lines.join("\nerror: "))
        })
    }

    /// Fills the manifests of components from directories, `(component, directory)`.
    ///
    /// # Errors
    /// When a directory cannot be read or no document has that component.
    pub fn fill_manifests(&mut self, fills: &[(String, String)]) -> anyhow::Result<()> {
        if fills.is_empty() {
            return Ok(());
        }
        let mut values = self.values()?;
        for (component, directory) in fills {
            let objects = Self::read(std::slice::from_ref(directory))?.values()?;
            let mut filled = false;
            for value in &mut values {
                let Some(components) = value
                    .pointer_mut("/spec/components")
                    .and_then(Value::as_array_mut)
                else {
                    continue;
                };
                for entry in components {
                    if entry["name"] == component.as_str() {
                        entry["manifests"] = Value::Array(objects.clone());
                        filled = true;
                    }
                }
            }
            if !filled {
                bail!(
                    "--manifests {component}={directory}: no application here has a component {component:?}"
                );
            }
        }
        let texts: Vec<String> = values.iter().map(Value::to_string).collect();
        self.body = texts.join("\n---\n");
        // The text is another one now: its lines are nobody's.
        self.starts = vec![(1, String::new())];
        Ok(())
    }
}

fn limited(reader: impl std::io::Read, name: &str) -> anyhow::Result<String> {
    let limit = u64::try_from(MAX_BODY_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    reader
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("failed to read {name}"))?;
    if bytes.len() > MAX_BODY_BYTES {
        bail!("{name} is larger than {MAX_BODY_BYTES} bytes, the most that the hub takes at once");
    }
    String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8"))
}

fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let meta =
        std::fs::metadata(path).with_context(|| format!("failed to read {}", path.display()))?;
    if !meta.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let entries =
        std::fs::read_dir(path).with_context(|| format!("failed to read {}", path.display()))?;
    for entry in entries {
        let file = entry?.path();
        let extension = file
            .extension()
            .and_then(std::ffi::OsStr::to_str)
            .unwrap_or_default();
        if file.is_file() && ["yaml", "yml", "json"].contains(&extension) {
            found.push(file);
        }
    }
    found.sort();
    if found.is_empty() {
        bail!("{} holds no .yaml, .yml or .json file", path.display());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::Documents;

    #[test]
    fn lines_are_found_in_their_files() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("a.yaml"), "kind: Fleet\nspec: {}\n").expect("written");
        fs::write(dir.path().join("b.yml"), "kind: Fleet\nspec: {bad: 1}").expect("written");
        fs::write(dir.path().join("c.json"), "{\n\t\"kind\": \"Fleet\"\n}").expect("written");
        fs::write(dir.path().join("notes.txt"), "not mine").expect("written");
        let path = dir.path().display().to_string();
        let documents = Documents::read(std::slice::from_ref(&path)).expect("read");
        let line = documents
            .body
            .lines()
            .position(|line| line.contains("bad"))
            .expect("there");
        let (file, line) = documents.place(u32::try_from(line).expect("short") + 1);
        assert_eq!((file, line), (format!("{path}/b.yml"), 2));
        assert_eq!(documents.values().expect("YAML").len(), 3);
    }

    #[test]
    fn wrong_yaml_names_its_file_and_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let (good, bad) = (dir.path().join("a.yaml"), dir.path().join("b.yaml"));
        fs::write(&good, "kind: Fleet\n").expect("written");
        fs::write(&bad, "mode: 0644\nkind: [Fleet\n").expect("written");
        let paths = [&good, &bad].map(|path| path.display().to_string());
        let error = Documents::read(&paths)
            .expect("read")
            .values()
            .expect_err("no YAML");
        assert!(
            error
                .to_string()
                .starts_with(&format!("{}:", bad.display())),
            "{error}"
        );
        fs::write(&bad, "mode: 0644\n").expect("written");
        let values = Documents::read(&paths)
            .expect("read")
            .values()
            .expect("YAML");
        assert_eq!(values[1], json!({"mode": 420}), "as kubectl reads it");
    }

    #[test]
    fn manifests_come_from_a_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let objects = dir.path().join("web");
        fs::create_dir(&objects).expect("made");
        fs::write(
            objects.join("s.yaml"),
            "kind: Service\n---\nkind: Deployment\n",
        )
        .expect("written");
        let app = dir.path().join("app.yaml");
        fs::write(
            &app,
            "kind: Application\nspec: {components: [{name: web}]}\n",
        )
        .expect("written");
        let mut documents = Documents::read(&[app.display().to_string()]).expect("read");
        documents
            .fill_manifests(&[("web".into(), objects.display().to_string())])
            .expect("filled");
        let values = documents.values().expect("YAML");
        assert_eq!(
            values[0]["spec"]["components"][0]["manifests"],
            json!([{"kind": "Service"}, {"kind": "Deployment"}])
        );
        let error = documents
            .fill_manifests(&[("db".into(), objects.display().to_string())])
            .expect_err("no such component");
        assert!(
            error
                .to_string()
                .contains("no application here has a component \"db\"")
        );
    }

    #[test]
    fn too_large_input_is_refused_with_the_limit() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("big.yaml");
        fs::write(&file, "a".repeat(5 << 20)).expect("written");
        let error = Documents::read(&[file.display().to_string()]).expect_err("too large");
        assert!(error.to_string().contains("4194304 bytes"), "{error}");
    }
}
