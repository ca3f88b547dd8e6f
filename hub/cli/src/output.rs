//! Where text goes: data to stdout, progress to stderr.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use bellwether_api::call::Item;
use serde::Serialize;

use crate::{
    args::{Format, Global},
    render::{Style, run::Viewport},
};

/// Terminals and what they can show.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// How text may look on stdout.
    pub style: Style,
    /// Whether stdout may be redrawn.
    pub redraws: bool,
}

impl Screen {
    /// Looks at stdout and the environment.
    #[must_use]
    pub fn new(global: &Global) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let rich = terminal && !dumb && !global.plain;
        Self {
            style: Style {
                colour: rich && !no_colour,
                glyphs: !global.plain && !dumb,
            },
            redraws: rich,
        }
    }

    /// Returns how much stdout shows at once.
    #[must_use]
    pub fn viewport(&self) -> Viewport {
        match terminal_size::terminal_size() {
            Some((width, height)) if self.redraws => Viewport {
                width: usize::from(width.0).max(40),
                height: Some(usize::from(height.0).saturating_sub(1).max(8)),
            },
            _ => Viewport {
                width: 200,
                height: None,
            },
        }
    }
}

/// Writes text to stdout; a closed pipe ends the program quietly.
///
/// # Errors
/// When stdout cannot be written for another reason.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Writes a line to stderr.
pub fn note(text: &str) {
    anstream::eprintln!("{text}");
}

/// Asks on a terminal; without one, or with `yes`, the answer is yes.
///
/// # Errors
/// When the answer cannot be read.
pub fn confirmed(question: &str, yes: bool) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if yes || !stdin.is_terminal() {
        return Ok(true);
    }
    note(&format!("{question} [y/N]"));
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Prints a document as JSON or YAML.
///
/// # Errors
/// When it cannot be written.
pub fn document<T: Serialize>(value: &T, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Yaml => print(&yaml(&serde_json::to_value(value)?)?),
        _ => print(&format!("{}\n", serde_json::to_string_pretty(value)?)),
    }
}

/// Writes a value as YAML.
///
/// # Errors
/// When it cannot be written.
pub fn yaml(value: &serde_json::Value) -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(value)?)
}

/// Returns `application.bellwether.dev/web`, the name that `kubectl` prints.
#[must_use]
pub fn full_name(item: &Item) -> String {
    format!(
        "{}.{}/{}",
        item.kind.to_lowercase(),
        bellwether_api::GROUP,
        item.metadata.name
    )
}
