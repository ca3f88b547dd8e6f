//! Limits against what the old version shows over the same window.

use bellwether_api::analysis::{Better, Metric, Relative};

use super::verdict::printed;

/// Tells whether `value` is at most `relative.max` percent worse than `stable`; both are finite.
pub(super) fn allows(metric: &Metric, relative: &Relative, value: f64, stable: f64) -> bool {
    let worse_by = match better(metric, relative) {
        Better::Lower => value - stable,
        Better::Higher => stable - value,
    };
    worse_by <= margin(relative, stable)
}

/// Says the limit, with the number that it comes to where the old version's value is known.
pub(super) fn limit(metric: &Metric, relative: &Relative, stable: Option<f64>) -> String {
    let (sign, way) = match better(metric, relative) {
        Better::Lower => ("≤", "above"),
        Better::Higher => ("≥", "below"),
    };
    let Some(stable) = stable else {
        return format!("at most {} % {way} the old version", relative.max);
    };
    let bound = match better(metric, relative) {
        Better::Lower => stable + margin(relative, stable),
        Better::Higher => stable - margin(relative, stable),
    };
    format!(
        "{sign} {} (at most {} % {way} the old version's {})",
        printed(bound),
        relative.max,
        printed(stable)
    )
}

/// How much worse than `stable` a value may be, in the metric's own unit.
fn margin(relative: &Relative, stable: f64) -> f64 {
    stable.abs() * relative.max.value() / 100.0
}

fn better(metric: &Metric, relative: &Relative) -> Better {
    relative
        .better_when
        .unwrap_or_else(|| Better::of(&metric.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relative(max: &str, better_when: Better) -> Relative {
        Relative {
            max: max.parse().expect("a number"),
            better_when: Some(better_when),
        }
    }

    #[test]
    fn the_margin_is_inclusive_and_counts_one_way_only() {
        use Better::{Higher, Lower};
        // (better, max %, stable, new, passes)
        let cases = [
            (Lower, "10", 200.0, 220.0, true),
            (Lower, "10", 200.0, 220.1, false),
            (Lower, "10", 200.0, 5.0, true),
            (Lower, "0", 200.0, 200.0, true),
            (Lower, "0", 200.0, 200.01, false),
            (Higher, "5", 100.0, 95.0, true),
            (Higher, "5", 100.0, 94.9, false),
            (Higher, "5", 90.0, 100.0, true),
            // Nothing is any percentage worse than no errors at all.
            (Lower, "50", 0.0, 0.0, true),
            (Lower, "50", 0.0, 0.01, false),
            (Higher, "5", 0.0, 0.0, true),
            // Of what is below zero, worse still means further down or up.
            (Lower, "10", -10.0, -9.0, true),
            (Lower, "10", -10.0, -8.9, false),
            (Higher, "10", -10.0, -11.0, true),
            (Higher, "10", -10.0, -11.1, false),
        ];
        for (better, max, stable, value, expected) in cases {
            assert_eq!(
                allows(&Metric::default(), &relative(max, better), value, stable),
                expected,
                "{better:?} {max} %: {value} against {stable}"
            );
        }
    }

    #[test]
    fn the_limit_is_said_with_what_it_comes_to() {
        let lower = relative("10", Better::Lower);
        assert_eq!(
            limit(&Metric::default(), &lower, Some(200.0)),
            "≤ 220 (at most 10 % above the old version's 200)"
        );
        assert_eq!(
            limit(
                &Metric::default(),
                &relative("2.5", Better::Higher),
                Some(99.0)
            ),
            "≥ 96.53 (at most 2.5 % below the old version's 99)"
        );
        assert_eq!(
            limit(&Metric::default(), &lower, None),
            "at most 10 % above the old version"
        );
    }

    #[test]
    fn built_in_metrics_know_which_way_is_better() {
        let metric = Metric {
            name: "request-success-rate".into(),
            ..Metric::default()
        };
        let unsaid = Relative {
            better_when: None,
            ..relative("1", Better::Lower)
        };
        assert!(allows(&metric, &unsaid, 100.0, 90.0));
        assert!(!allows(&metric, &unsaid, 80.0, 90.0));
    }
}
