//! Expressions that say when objects of a custom kind are healthy.
//!
//! They are written in CEL. What one may cost is bounded twice: by its length and by how deep its loops
//! stand when it is read, and by the size of the object when it is evaluated.

use std::collections::BTreeSet;

use cel::{
    Program,
    common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest expression, in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 4096;
/// How deep loops (`all`, `exists`, `exists_one`, `map`, `filter`) may stand in each other.
pub const MAX_LOOP_DEPTH: u32 = 2;
/// The only variable.
const OBJECT: &str = "object";
/// Functions beside operators.
const FUNCTIONS: [&str; 13] = [
    "bool",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "max",
    "min",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];
/// Names of types, which are values in CEL.
const TYPES: [&str; 9] = [
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "uint",
];

/// When objects of a kind are healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthRule {
    /// The API group of the kind, such as `example.com`.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// A CEL expression over `object`, the live object. `true` or `'Healthy'` = healthy; `false` or
    /// `'Progressing'` = on its way; `'Degraded'` = broken. Anything else, and an expression that
    /// fails, is Unknown, which is never healthy.
    pub cel: String,
}

/// Why an expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HealthRuleError {
    /// It is empty.
    #[error("write an expression, such as object.status.phase == 'Ready'")]
    Empty,
    /// It is too long.
    #[error("the expression has {bytes} bytes, at most {MAX_EXPRESSION_BYTES} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It cannot be read.
    #[error("line {line}, column {column}: {why}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong.
        why: String,
    },
    /// It names what there is not.
    #[error("line {line}, column {column}: there is no {what} {name:?} here; {instead}")]
    Undeclared {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// `variable` or `function`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What there is.
        instead: String,
    },
    /// It would take too long.
    #[error(
        "line {line}, column {column}: loops stand at most {MAX_LOOP_DEPTH} deep in each other"
    )]
    LoopsTooDeep {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
}

/// An expression that was read and checked.
#[derive(Debug)]
pub struct HealthExpression {
    program: Program,
    nodes: usize,
    sums: usize,
    loop_depth: u32,
}

impl HealthExpression {
    /// Reads an expression.
    ///
    /// # Errors
    /// It is no CEL, names what there is not, or may take too long.
    pub fn read(text: &str) -> Result<Self, HealthRuleError> {
        if text.trim().is_empty() {
            return Err(HealthRuleError::Empty);
        }
        if text.len() > MAX_EXPRESSION_BYTES {
            return Err(HealthRuleError::TooLong { bytes: text.len() });
        }
        let program = Program::compile(text).map_err(|errors| {
            let first = errors.errors.first();
            let position = first.map_or((1, 1), |error| error.pos);
            HealthRuleError::Syntax {
                line: usize::try_from(position.0).unwrap_or(1).max(1),
                column: usize::try_from(position.1).unwrap_or(0) + 1,
                why: first.map_or_else(|| errors.to_string(), |error| error.msg.clone()),
            }
        })?;
        let mut walk = Walk {
            program: &program,
            bound: Vec::new(),
            nodes: 0,
            sums: 0,
            loop_depth: 0,
        };
        walk.expression(program.expression(), 0)?;
        let (nodes, sums, loop_depth) = (walk.nodes, walk.sums, walk.loop_depth);
        Ok(Self {
            program,
            nodes,
            sums,
            loop_depth,
        })
    }

    /// The program.
    #[must_use]
    pub const fn program(&self) -> &Program {
        &self.program
    }

    /// At most how many steps it takes over an object whose longest list, map or text has `longest`
    /// parts.
    #[must_use]
    pub fn most_steps(&self, longest: usize) -> usize {
        // What is added up is longer than what the object has, and so is what is written down.
        let longest = longest.max(self.nodes).saturating_mul(self.sums + 1);
        (0..self.loop_depth).fold(self.nodes, |steps, _| steps.saturating_mul(longest))
    }
}

struct Walk<'p> {
    program: &'p Program,
    /// Names that loops around give, innermost last.
    bound: Vec<&'p str>,
    nodes: usize,
    sums: usize,
    loop_depth: u32,
}

impl<'p> Walk<'p> {
    fn expression(&mut self, at: &'p IdedExpr, depth: u32) -> Result<(), HealthRuleError> {
        self.nodes += 1;
        match &at.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(at, name),
            Expr::Select(select) => self.expression(&select.operand, depth),
            Expr::Call(call) => {
                self.function(at, &call.func_name)?;
                self.sums += usize::from(call.func_name == "_+_");
                let target = call.target.iter().map(AsRef::as_ref);
                target
                    .chain(&call.args)
                    .try_for_each(|one| self.expression(one, depth))
            }
            Expr::List(list) => list
                .elements
                .iter()
                .try_for_each(|one| self.expression(one, depth)),
            Expr::Map(map) => map.entries.iter().try_for_each(|one| match &one.expr {
                EntryExpr::StructField(field) => self.expression(&field.value, depth),
                EntryExpr::MapEntry(entry) => {
                    self.expression(&entry.key, depth)?;
                    self.expression(&entry.value, depth)
                }
            }),
            Expr::Struct(structure) => Err(self.undeclared(at, "type", &structure.type_name)),
            Expr::Comprehension(one) => self.comprehension(at, one, depth + 1),
        }
    }

    fn comprehension(
        &mut self,
        at: &'p IdedExpr,
        one: &'p ComprehensionExpr,
        depth: u32,
    ) -> Result<(), HealthRuleError> {
        if depth > MAX_LOOP_DEPTH {
            let (line, column) = self.position(at);
            return Err(HealthRuleError::LoopsTooDeep { line, column });
        }
        self.loop_depth = self.loop_depth.max(depth);
        self.expression(&one.iter_range, depth - 1)?;
        let around = self.bound.len();
        self.bound.push(&one.iter_var);
        self.bound.extend(one.iter_var2.as_deref());
        self.bound.push(&one.accu_var);
        for part in [&one.accu_init, &one.loop_cond, &one.loop_step, &one.result] {
            self.expression(part, depth)?;
        }
        self.bound.truncate(around);
        Ok(())
    }

    fn variable(&self, at: &IdedExpr, name: &str) -> Result<(), HealthRuleError> {
        let known = name == OBJECT
            || name.starts_with('@')
            || TYPES.contains(&name)
            || self.bound.contains(&name);
        if known {
            return Ok(());
        }
        Err(self.undeclared(at, "variable", name))
    }

    fn function(&self, at: &IdedExpr, name: &str) -> Result<(), HealthRuleError> {
        let is_operator = !name.starts_with(|first: char| first.is_ascii_alphabetic());
        if is_operator || FUNCTIONS.contains(&name) {
            return Ok(());
        }
        Err(self.undeclared(at, "function", name))
    }

    fn undeclared(&self, at: &IdedExpr, what: &'static str, name: &str) -> HealthRuleError {
        let (line, column) = self.position(at);
        let functions: BTreeSet<&str> = FUNCTIONS.into_iter().collect();
        let instead = match what {
            "function" => format!(
                "use one of {}",
                functions.into_iter().collect::<Vec<_>>().join(", ")
            ),
            "variable" => format!("the live object is {OBJECT:?}"),
            _ => "use maps".to_owned(),
        };
        HealthRuleError::Undeclared {
            line,
            column,
            what,
            name: name.to_owned(),
            instead,
        }
    }

    /// Line and column of a part of the expression, from 1.
    fn position(&self, at: &IdedExpr) -> (usize, usize) {
        let info = self.program.source_info();
        let Some((start, _)) = info.offset_for(at.id) else {
            return (1, 1);
        };
        let start = usize::try_from(start).unwrap_or(0);
        let before: Vec<char> = info.source.chars().take(start).collect();
        let line = before.iter().filter(|one| **one == '\n').count() + 1;
        let column = before.iter().rev().take_while(|one| **one != '\n').count() + 1;
        (line, column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        HealthExpression::read(text).expect_err(text).to_string()
    }

    #[test]
    fn expressions_that_are_read() {
        for text in [
            "true",
            "object.status.phase == 'Ready'",
            "has(object.status) && object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')",
            "object.status.state == 'Error' ? 'Degraded' : 'Progressing'",
            "size(object.status.parts) == object.status.parts.filter(p, p.ready).size()",
            "object.metadata.name.startsWith('a') || int(object.spec.count) > 3",
            "object.spec.a.all(x, object.spec.b.exists(y, x == y))",
            "type(object.spec) == map",
        ] {
            if let Err(error) = HealthExpression::read(text) {
                panic!("{text}: {error}");
            }
        }
    }

    #[test]
    fn expressions_that_are_refused_say_where() {
        for (text, expected) in [
            ("", "write an expression"),
            ("object.status.", "line 1, column "),
            (
                "true &&\n  status.ready",
                "line 2, column 3: there is no variable \"status\" here; the live object is \"object\"",
            ),
            (
                "object.a.all(x, y)",
                "line 1, column 17: there is no variable \"y\"",
            ),
            ("object.a.all(x, true) && x", "there is no variable \"x\""),
            (
                "object.name.matches('a.*')",
                "there is no function \"matches\" here; use one of bool, contains",
            ),
            (
                "object.a.all(x, x.b.all(y, y.c.all(z, z)))",
                "loops stand at most 2 deep",
            ),
        ] {
            let said = refused(text);
            assert!(said.contains(expected), "{text}: {said}");
        }
        let long = format!("true{}", " && true".repeat(600));
        assert!(refused(&long).contains("at most 4096"), "{long}");
    }

    #[test]
    fn what_it_may_cost_grows_with_the_object_and_with_loops() {
        let steps = |text: &str, longest| {
            let read = HealthExpression::read(text).expect(text);
            read.most_steps(longest)
        };
        let flat = "object.status.phase == 'Ready'";
        assert_eq!(steps(flat, 10), steps(flat, 1_000_000));
        let one = "object.a.all(x, x)";
        assert_eq!(steps(one, 10_000), 100 * steps(one, 100));
        let two = "object.a.all(x, object.a.all(y, x == y))";
        assert_eq!(steps(two, 10_000), 10_000 * steps(two, 100));
        let added = "(object.a + object.a).all(x, x)";
        assert!(steps(added, 10_000) > 2 * steps(one, 10_000));
    }
}
