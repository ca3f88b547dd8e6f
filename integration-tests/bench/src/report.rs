//! The figures: a table on the terminal, and a section of docs/BENCHMARKS.md.

use std::{fmt::Write as _, io::Write as _, path::Path};

use anyhow::{Context as _, Result};
use comfy_table::{ContentArrangement, Table, presets};

use crate::conditions::Conditions;

/// One figure with what it is to be compared with.
#[derive(Clone, Debug)]
struct Row {
    what: String,
    figure: String,
    target: String,
    conditions: String,
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Report {
    conditions: Conditions,
    rows: Vec<Row>,
}

/// Width of the table on the terminal; the figures fit, and conditions wrap.
const TABLE_COLUMNS: u16 = 160;

const INTRODUCTION: &str = "# Benchmarks\n\n\
    `make bench` measures and appends here, newest last. Every section says on what it was measured; \
    figures of different machines or loads do not compare. A run that missed its target stays.\n\n\
    Where several runs were made, a figure is the median of the runs, and the range in brackets is \
    the lowest and the highest run. Latencies come from HDR histograms and count from the moment at \
    which the request was *meant* to start, so that a slow answer delays no later request's clock.\n";

impl Report {
    /// Makes an empty report.
    pub fn new(conditions: Conditions) -> Self {
        Self {
            conditions,
            rows: Vec::new(),
        }
    }

    /// Adds a figure, and prints it at once. An empty target = there is none.
    pub fn add(&mut self, what: &str, figure: &str, target: &str, conditions: &str) {
        println!(
            "{what}: {figure}{}{target}",
            if target.is_empty() { "" } else { "; target " }
        );
        self.rows.push(Row {
            what: what.to_owned(),
            figure: figure.to_owned(),
            target: target.to_owned(),
            conditions: conditions.to_owned(),
        });
    }

    /// Tells whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table for a terminal.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(TABLE_COLUMNS);
        table.set_header(["what", "figure", "target", "conditions"]);
        for row in &self.rows {
            table.add_row([&row.what, &row.figure, &row.target, &row.conditions]);
        }
        format!("{}\n{table}", self.conditions.lines.join("\n"))
    }

    fn section(&self) -> String {
        let at = self.conditions.at.strftime("%Y-%m-%d %H:%M UTC");
        let mut text = format!("\n## {at}, commit {}\n\n", self.conditions.commit);
        for line in &self.conditions.lines {
            let _infallible = writeln!(text, "- {line}");
        }
        text.push_str("\n| what | figure | target | conditions |\n|---|---|---|---|\n");
        for row in &self.rows {
            let cells = [&row.what, &row.figure, &row.target, &row.conditions];
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            let _infallible = writeln!(text, "| {} |", cells.join(" | "));
        }
        text
    }

    /// Appends a section; the file is made when it does not exist.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append_to(&self, path: &Path) -> Result<()> {
        let fail = || format!("failed to write {}", path.display());
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .with_context(fail)?;
        let introduction = if file.metadata()?.len() == 0 {
            INTRODUCTION
        } else {
            ""
        };
        write!(file, "{introduction}{}", self.section()).with_context(fail)
    }
}
