//! Words, glyphs and colours for states. A state is never told by colour alone.

use anstyle::{AnsiColor, Color, Style as Ansi};
use bellwether_api::{
    status::Health,
    view::{ClusterPhase, RunPhase, WavePhase},
};

/// How text may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// ANSI colours may be used.
    pub colour: bool,
    /// Glyphs beyond ASCII may be used.
    pub glyphs: bool,
}

/// The mood of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// Not begun, or nothing to say.
    Idle,
    /// A human should look.
    Warn,
    /// Failed.
    Bad,
}

impl Style {
    /// Neither colours nor glyphs.
    #[cfg(test)]
    pub const PLAIN: Self = Self {
        colour: false,
        glyphs: false,
    };
    /// Glyphs without colours.
    #[cfg(test)]
    pub const GLYPHS: Self = Self {
        colour: false,
        glyphs: true,
    };

    /// Chooses one of two texts.
    #[must_use]
    pub const fn pick(self, glyph: &'static str, plain: &'static str) -> &'static str {
        if self.glyphs { glyph } else { plain }
    }

    /// Returns the glyph of a mood.
    #[must_use]
    pub const fn mark(self, mood: Mood) -> &'static str {
        match mood {
            Mood::Good => self.pick("✔", "+"),
            Mood::Busy => self.pick("●", "*"),
            Mood::Idle => self.pick("○", "-"),
            Mood::Warn => self.pick("‖", "="),
            Mood::Bad => self.pick("✘", "!"),
        }
    }

    /// Paints a text in the colour of a mood.
    #[must_use]
    pub fn paint(self, mood: Mood, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let colour = match mood {
            Mood::Good => AnsiColor::Green,
            Mood::Busy => AnsiColor::Cyan,
            Mood::Idle => AnsiColor::BrightBlack,
            Mood::Warn => AnsiColor::Yellow,
            Mood::Bad => AnsiColor::Red,
        };
        let ansi = Ansi::new().fg_color(Some(Color::Ansi(colour)));
        format!("{ansi}{text}{ansi:#}")
    }

    /// Paints a heading.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let ansi = Ansi::new().bold();
        format!("{ansi}{text}{ansi:#}")
    }

    /// Glyph and word of a state.
    #[must_use]
    pub fn state(self, (mood, word): (Mood, &str)) -> String {
        format!("{} {word}", self.mark(mood))
    }
}

/// Mood and word of a run's state.
#[must_use]
pub const fn run_word(phase: RunPhase) -> (Mood, &'static str) {
    match phase {
        RunPhase::Pending => (Mood::Idle, "Pending"),
        RunPhase::Progressing => (Mood::Busy, "Progressing"),
        RunPhase::Soaking => (Mood::Busy, "Soaking"),
        RunPhase::WaitingApproval => (Mood::Warn, "WaitingApproval"),
        RunPhase::Suspended => (Mood::Warn, "Suspended"),
        RunPhase::Halted => (Mood::Bad, "Halted"),
        RunPhase::RollingBack => (Mood::Bad, "RollingBack"),
        RunPhase::Succeeded => (Mood::Good, "Succeeded"),
        RunPhase::Failed => (Mood::Bad, "Failed"),
        RunPhase::Aborted => (Mood::Bad, "Aborted"),
        RunPhase::Superseded => (Mood::Idle, "Superseded"),
    }
}

/// Mood and word of a wave's state.
#[must_use]
pub const fn wave_word(phase: WavePhase) -> (Mood, &'static str) {
    match phase {
        WavePhase::Waiting => (Mood::Idle, "Waiting"),
        WavePhase::Running => (Mood::Busy, "Running"),
        WavePhase::Soaking => (Mood::Busy, "Soaking"),
        WavePhase::WaitingApproval => (Mood::Warn, "WaitingApproval"),
        WavePhase::Passed => (Mood::Good, "Done"),
        WavePhase::Failed => (Mood::Bad, "Failed"),
        WavePhase::RollingBack => (Mood::Bad, "RollingBack"),
        WavePhase::Skipped => (Mood::Idle, "Skipped"),
    }
}

/// Mood and word of a cluster's state.
#[must_use]
pub const fn cluster_word(phase: ClusterPhase) -> (Mood, &'static str) {
    match phase {
        ClusterPhase::Queued => (Mood::Idle, "Queued"),
        ClusterPhase::Granted => (Mood::Busy, "Granted"),
        ClusterPhase::Progressing => (Mood::Busy, "Progressing"),
        ClusterPhase::Suspended => (Mood::Warn, "Suspended"),
        ClusterPhase::WaitingApproval => (Mood::Warn, "WaitingApproval"),
        ClusterPhase::RollingBack => (Mood::Bad, "RollingBack"),
        ClusterPhase::Succeeded => (Mood::Good, "Done"),
        ClusterPhase::Failed => (Mood::Bad, "Failed"),
        ClusterPhase::Unreachable => (Mood::Warn, "Unreachable"),
        ClusterPhase::Skipped => (Mood::Idle, "Skipped"),
    }
}

/// Mood and word of a health.
#[must_use]
pub const fn health_word(health: Health) -> (Mood, &'static str) {
    match health {
        Health::Healthy => (Mood::Good, "Healthy"),
        Health::Progressing => (Mood::Busy, "Progressing"),
        Health::Degraded => (Mood::Bad, "Degraded"),
        Health::Missing => (Mood::Bad, "Missing"),
        Health::Unknown => (Mood::Warn, "Unknown"),
    }
}

/// Mood of a word that came over the API.
#[must_use]
pub fn mood_of(word: &str) -> Mood {
    match word {
        "Ready" | "Healthy" | "Succeeded" | "Done" | "True" => Mood::Good,
        "Progressing" | "Soaking" | "Running" | "Granted" => Mood::Busy,
        "Degraded" | "ClockSkew" | "Missing" | "Failed" | "Aborted" | "Halted" | "Revoked"
        | "Cloned" | "RollingBack" | "Error" => Mood::Bad,
        "Unknown" | "Suspended" | "WaitingApproval" | "Unreachable" | "Warn" | "NoClusters" => {
            Mood::Warn
        }
        _ => Mood::Idle,
    }
}
