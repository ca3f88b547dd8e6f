//! Regular expressions of matches, in what the data planes read alike.
//!
//! Most of them read RE2's syntax (Envoy, Go), some PCRE's, which has more. What is read here is what
//! both have; the rest is told apart, so that it can be refused where nobody reads it.

use regex_syntax::{
    ast::{
        self, AssertionKind, Ast, ClassSetItem, ErrorKind, Flag, HexLiteralKind, LiteralKind,
        RepetitionKind, RepetitionRange, Span, Visitor,
    },
    hir::translate::Translator,
};

/// More repetitions than RE2 and Go take.
const MAX_REPETITIONS: u32 = 1_000;

/// Why a regular expression is not read everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegexFault {
    /// The character at which it shows, from 1.
    pub at: usize,
    /// What is wrong.
    pub what: String,
    /// Whether PCRE reads it nevertheless.
    pub is_pcre: bool,
}

impl std::fmt::Display for RegexFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at character {}", self.what, self.at)
    }
}

/// Finds what is wrong with a regular expression; `None` = every data plane reads it.
#[must_use]
pub fn fault(pattern: &str) -> Option<RegexFault> {
    let found = |span: &Span, what: String, is_pcre: bool| {
        let before = pattern.get(..span.start.offset).unwrap_or(pattern);
        Some(RegexFault {
            at: before.chars().count() + 1,
            what,
            is_pcre,
        })
    };
    let ast = match ast::parse::Parser::new().parse(pattern) {
        Ok(ast) => ast,
        Err(error) => {
            return match error.kind() {
                ErrorKind::UnsupportedLookAround => {
                    found(error.span(), "it looks around".to_owned(), true)
                }
                ErrorKind::UnsupportedBackreference => {
                    found(error.span(), "it refers back".to_owned(), true)
                }
                kind => found(error.span(), kind.to_string(), false),
            };
        }
    };
    if let Err((span, what)) = ast::visit(&ast, Foreign) {
        return found(&span, what.to_owned(), false);
    }
    let error = Translator::new().translate(pattern, &ast).err()?;
    found(error.span(), error.kind().to_string(), false)
}

/// Finds what only the parser here reads.
struct Foreign;

type Finding = (Span, &'static str);

impl Visitor for Foreign {
    type Output = ();
    type Err = Finding;

    fn finish(self) -> Result<(), Finding> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Finding> {
        match ast {
            Ast::Flags(set) => flags(&set.flags),
            Ast::Group(group) => group.flags().map_or(Ok(()), flags),
            Ast::Literal(one) => literal(one),
            Ast::Assertion(one) => match one.kind {
                AssertionKind::StartLine
                | AssertionKind::EndLine
                | AssertionKind::StartText
                | AssertionKind::EndText
                | AssertionKind::WordBoundary
                | AssertionKind::NotWordBoundary => Ok(()),
                _ => Err((one.span, "a boundary that data planes do not know")),
            },
            Ast::Repetition(one) => match &one.op.kind {
                RepetitionKind::Range(
                    RepetitionRange::Exactly(most)
                    | RepetitionRange::AtLeast(most)
                    | RepetitionRange::Bounded(_, most),
                ) if *most > MAX_REPETITIONS => Err((one.op.span, "more than 1000 repetitions")),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Finding> {
        match item {
            ClassSetItem::Bracketed(class) => Err((
                class.span,
                "a class within a class; write \\[ for the character",
            )),
            ClassSetItem::Literal(one) => literal(one),
            ClassSetItem::Range(range) => {
                literal(&range.start)?;
                literal(&range.end)
            }
            _ => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, op: &ast::ClassSetBinaryOp) -> Result<(), Finding> {
        Err((op.span, "classes that are added or subtracted"))
    }
}

fn flags(flags: &ast::Flags) -> Result<(), Finding> {
    let known = |flag| {
        matches!(
            flag,
            Flag::CaseInsensitive | Flag::MultiLine | Flag::DotMatchesNewLine | Flag::SwapGreed
        )
    };
    let strange = flags
        .items
        .iter()
        .find(|item| matches!(item.kind, ast::FlagsItemKind::Flag(flag) if !known(flag)));
    strange.map_or(Ok(()), |item| {
        Err((item.span, "a flag other than i, m, s and U"))
    })
}

fn literal(one: &ast::Literal) -> Result<(), Finding> {
    match one.kind {
        LiteralKind::HexFixed(HexLiteralKind::X) | LiteralKind::HexBrace(HexLiteralKind::X) => {
            Ok(())
        }
        LiteralKind::HexFixed(_) | LiteralKind::HexBrace(_) => Err((
            one.span,
            "an escape that data planes do not know; write \\x{…}",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn what_every_data_plane_reads_is_taken() {
        for pattern in [
            ".*Firefox.*",
            "^(?:a|b)+?$",
            "(?i)in[^;a-z]{2,10}",
            r"v[0-9]+\.\d\x{41}\pL",
            "(?P<name>x)",
            "[[:alpha:]]",
            "x{1000}",
        ] {
            assert_eq!(fault(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (pattern, at, is_pcre) in [
            ("a(b", 2, false),
            ("é[a", 2, false),
            ("*a", 1, false),
            (r"a\", 2, false),
            ("a{3,2}", 2, false),
            ("a{1001}", 2, false),
            (r"\p{Nobody}", 1, false),
            ("(?x)a", 3, false),
            ("[a&&b]", 2, false),
            ("[[a]b]", 2, false),
            (r"\u0041", 1, false),
            (r"\b{start}a", 1, false),
            ("a(?=b)", 2, true),
            (r"(a)\1", 4, true),
        ] {
            let found = fault(pattern).unwrap_or_else(|| panic!("{pattern} is read"));
            assert_eq!(
                (found.at, found.is_pcre),
                (at, is_pcre),
                "{pattern}: {found}"
            );
        }
    }
}
