//! What an agent says of itself, in the Prometheus text format.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

const PREFIX: &str = "bellwether_agent_";

/// Values by name, labels included.
#[derive(Clone, Debug)]
pub struct AgentFigures(BTreeMap<String, f64>);

impl AgentFigures {
    /// Reads the text format; lines that are none of the agent's are left out.
    pub fn parse(text: &str) -> Self {
        let values = text.lines().filter_map(|line| {
            let (name, value) = line.strip_prefix(PREFIX)?.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(values.collect())
    }

    /// One value.
    ///
    /// # Errors
    /// When the agent does not say it.
    pub fn value(&self, name: &str) -> Result<f64> {
        self.0
            .get(name)
            .copied()
            .with_context(|| format!("the agent tells no {PREFIX}{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::AgentFigures;

    #[test]
    fn values_are_found_by_name_and_labels() {
        let figures = AgentFigures::parse(
            "# TYPE bellwether_agent_runs gauge\nbellwether_agent_runs 3\n\
             bellwether_agent_late_bucket{le=\"0.1\"} 7\nother 1\n",
        );
        assert_eq!(figures.value("runs").ok(), Some(3.0));
        assert_eq!(figures.value("late_bucket{le=\"0.1\"}").ok(), Some(7.0));
        assert!(figures.value("other").is_err());
    }
}
