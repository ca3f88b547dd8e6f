//! Events as lines.

use bellwether_api::{call::EventView, status::Severity};

use super::{
    span::clock,
    style::{Mood, Style},
};

/// Writes one event.
#[must_use]
pub fn event(event: &EventView, style: Style) -> String {
    let (mood, word) = match event.severity {
        Severity::Info => (Mood::Idle, "Info "),
        Severity::Warn => (Mood::Warn, "Warn "),
        Severity::Error => (Mood::Bad, "Error"),
    };
    let place = event.cluster.as_deref().unwrap_or("hub");
    let object = event
        .object
        .as_deref()
        .map(|object| format!("  {object}"))
        .unwrap_or_default();
    format!(
        "{} {} {place}  {}/{}  {}{object}  {}",
        clock(&event.at),
        style.paint(mood, word),
        event.namespace,
        event.application,
        event.reason,
        event.message
    )
}
