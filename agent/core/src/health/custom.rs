//! Objects of custom kinds, judged by an expression of their application.

use bellwether_api::{
    health_rule::{HealthExpression, HealthRule},
    status::Health,
    sync_policy::group_of,
};
use cel::Context;
use serde_json::Value;

use super::{HealthOf, behind, health_of};

/// Most steps of one evaluation: some tens of milliseconds.
const MAX_STEPS: usize = 500_000;

/// The rules of one component, read.
#[derive(Debug, Default)]
pub struct CustomHealth(Vec<(HealthRule, Option<HealthExpression>)>);

impl CustomHealth {
    /// Reads the rules. One that cannot be read makes its kind Unknown.
    #[must_use]
    pub fn read(rules: &[HealthRule]) -> Self {
        let rules = rules
            .iter()
            .map(|rule| (rule.clone(), HealthExpression::read(&rule.cel).ok()));
        Self(rules.collect())
    }

    /// Judges a live object; `None` = it does not exist. Objects for which there is no rule are judged
    /// as [`health_of`] does, and so are those that are being deleted.
    #[must_use]
    pub fn health_of(&self, live: Option<&Value>) -> HealthOf {
        let Some(object) = live.filter(|object| !super::is_terminating(object)) else {
            return health_of(live);
        };
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or("");
        let (group, kind) = (group_of(text("apiVersion")), text("kind"));
        let mut rules = self.0.iter();
        let Some((rule, expression)) =
            rules.find(|(rule, _)| rule.group == group && rule.kind == kind)
        else {
            return health_of(live);
        };
        // What its controller has not seen yet is no answer to what was written.
        behind(object).unwrap_or_else(|| match expression {
            Some(expression) => evaluated(&rule.kind, expression, object),
            None => unknown(
                "HealthRuleUnreadable",
                format!("the rule of {kind} cannot be read"),
            ),
        })
    }
}

fn unknown(reason: &str, message: impl Into<String>) -> HealthOf {
    HealthOf::new(Health::Unknown, reason, message)
}

fn evaluated(kind: &str, expression: &HealthExpression, object: &Value) -> HealthOf {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    if expression.most_steps(longest(&object)) > MAX_STEPS {
        return unknown(
            "HealthRuleTooCostly",
            format!("the rule of {kind} may take too long over an object of this size"),
        );
    }
    let mut context = Context::default();
    if context.add_variable("object", &object).is_err() {
        return unknown("HealthRuleFailed", "the object cannot be read by a rule");
    }
    match expression.program().execute(&context) {
        Ok(cel::Value::Bool(true)) => HealthOf::healthy(),
        Ok(cel::Value::Bool(false)) => HealthOf::progressing("HealthRule", says(kind, "no")),
        Ok(cel::Value::String(word)) => match word.as_str() {
            "Healthy" => HealthOf::healthy(),
            "Progressing" => HealthOf::progressing("HealthRule", says(kind, "Progressing")),
            "Degraded" => HealthOf::degraded("HealthRule", says(kind, "Degraded")),
            _ => unknown(
                "HealthRuleFailed",
                format!(
                    "the rule of {kind} gives a text other than Healthy, Progressing, Degraded"
                ),
            ),
        },
        Ok(other) => unknown(
            "HealthRuleFailed",
            format!(
                "the rule of {kind} gives a {:?}, neither true or false nor a text",
                other.type_of()
            ),
        ),
        Err(error) => unknown(
            "HealthRuleFailed",
            format!("the rule of {kind} cannot be evaluated: {}", why(&error)),
        ),
    }
}

fn says(kind: &str, what: &str) -> String {
    format!("the health rule of {kind} says {what}")
}

/// Why an evaluation failed, without values of the object: they may be secret.
fn why(error: &cel::ExecutionError) -> String {
    match error {
        cel::ExecutionError::NoSuchKey(key) => format!("there is no field {key:?}; ask with has()"),
        cel::ExecutionError::NoSuchOverload(error) => error.to_string(),
        cel::ExecutionError::UndeclaredReference(name) => format!("there is no {name:?}"),
        _ => "values do not fit what is asked of them".to_owned(),
    }
}

/// The length of the longest list, map or text within a value.
fn longest(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(longest).fold(items.len(), usize::max),
        Value::Object(fields) => fields.values().map(longest).fold(fields.len(), usize::max),
        // Texts are not looped over; comparing one costs by the word.
        Value::String(text) => text.len() / 64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(cel: &str, object: &Value) -> (Health, String, String) {
        let rule = HealthRule {
            group: "example.com".to_owned(),
            kind: "Widget".to_owned(),
            cel: cel.to_owned(),
        };
        let health = CustomHealth::read(&[rule]).health_of(Some(object));
        (health.health, health.reason, health.message)
    }

    fn widget(status: &Value) -> Value {
        json!({"apiVersion": "example.com/v1", "kind": "Widget",
            "metadata": {"generation": 2, "name": "a"}, "status": status})
    }

    #[test]
    fn an_answer_becomes_a_health() {
        use Health::{Degraded, Healthy, Progressing, Unknown};
        let ready = widget(&json!({"phase": "Ready", "parts": [{"ok": true}, {"ok": false}]}));
        for (cel, health, reason) in [
            ("object.status.phase == 'Ready'", Healthy, ""),
            ("object.status.phase == 'Broken'", Progressing, "HealthRule"),
            (
                "object.status.phase == 'Ready' ? 'Healthy' : 'Degraded'",
                Healthy,
                "",
            ),
            ("'Degraded'", Degraded, "HealthRule"),
            ("'Progressing'", Progressing, "HealthRule"),
            ("object.status.parts.exists(p, p.ok)", Healthy, ""),
            (
                "object.status.parts.all(p, p.ok)",
                Progressing,
                "HealthRule",
            ),
            ("size(object.status.parts) == 2", Healthy, ""),
            ("object.metadata.generation == 2", Healthy, ""),
            // Whatever is no answer is Unknown, never healthy.
            ("'healthy'", Unknown, "HealthRuleFailed"),
            ("1", Unknown, "HealthRuleFailed"),
            ("object.status", Unknown, "HealthRuleFailed"),
            ("object.status.missing == 'x'", Unknown, "HealthRuleFailed"),
            ("object.status.phase > 1", Unknown, "HealthRuleFailed"),
            ("object.status.phase / 0 == 1", Unknown, "HealthRuleFailed"),
            ("this is no rule", Unknown, "HealthRuleUnreadable"),
        ] {
            let found = judged(cel, &ready);
            assert_eq!(
                (found.0, found.1.as_str()),
                (health, reason),
                "{cel}: {}",
                found.2
            );
        }
    }

    #[test]
    fn what_is_no_matter_of_the_rule() {
        let behind = widget(&json!({"observedGeneration": 1}));
        assert_eq!(judged("true", &behind).0, Health::Progressing);
        let mut going = widget(&json!({}));
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(judged("true", &going).1, "Terminating");
        let mut other = widget(&json!({"conditions": [{"type": "Ready", "status": "False"}]}));
        other["kind"] = json!("Gadget");
        assert_eq!(judged("true", &other).1, "NotReady");
        assert_eq!(
            CustomHealth::default().health_of(None).health,
            Health::Missing
        );
    }

    #[test]
    fn an_object_that_is_too_large_is_not_evaluated() {
        let many: Vec<u32> = (0..20_000).collect();
        let large = widget(&json!({ "parts": many }));
        let found = judged(
            "object.status.parts.all(x, object.status.parts.all(y, x != y + 1))",
            &large,
        );
        assert_eq!(
            (found.0, found.1.as_str()),
            (Health::Unknown, "HealthRuleTooCostly")
        );
        let found = judged("object.status.parts.all(x, x >= 0)", &large);
        assert_eq!(found.0, Health::Healthy, "{}", found.2);
    }

    #[test]
    fn a_failure_does_not_quote_the_object() {
        let secret = widget(&json!({"token": "hunter2"}));
        let found = judged("object.status.token + 1 == 2", &secret);
        assert_eq!(found.0, Health::Unknown);
        assert!(!found.2.contains("hunter2"), "{}", found.2);
    }
}
