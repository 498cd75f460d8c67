//! Regular expressions that RE2 in Envoy is sure to take, and to read as they are meant.
//!
//! The `regex` syntax is close to RE2's. Where they differ an expression is refused here, since Envoy would refuse all
//! routes of a port together, or read it as something else. Envoy's RE2 works on single bytes and, unless it is told
//! otherwise at its start, takes programs of at most 100 steps.

use regex_syntax::ast::{
    AssertionKind, Ast, ClassBracketed, ClassSet, ClassSetItem, Flag, Flags, FlagsItemKind, GroupKind, Literal,
    RepetitionKind, RepetitionRange, parse::Parser,
};

use super::problems::Fault;

/// Longest expression, in bytes.
const MAX_BYTES: usize = 1024;

/// Largest program, in steps as [`steps`] counts them: never fewer than RE2 needs, less those that every program has.
const MAX_STEPS: u32 = 95;

/// Checks an expression and gives it back.
pub(super) fn check(expression: &str) -> Result<String, Fault> {
    let fault = |what: &str| Err(Fault::unsupported(format!("the regular expression {expression:?} {what}")));
    if expression.is_empty() || expression.len() > MAX_BYTES {
        return fault("must have 1 to 1024 bytes");
    }
    if !expression.is_ascii() {
        return fault("has characters other than ASCII");
    }
    if expression.contains("{,") {
        return fault("has a repetition without lower bound; write {0,");
    }
    let ast = match Parser::new().parse(expression) {
        Ok(ast) => ast,
        Err(error) => return fault(&format!("can't be read: {}", error.kind())),
    };
    // In doubt letters have both cases.
    let cases = if expression.contains("(?") && expression.contains('i') { 2 } else { 1 };
    match steps(&ast, cases) {
        Err(what) => fault(&format!("has {what}, which RE2 does not read alike")),
        Ok(steps) if steps > MAX_STEPS => fault("is too complex for Envoy; write shorter repetitions"),
        Ok(_) => Ok(expression.to_owned()),
    }
}

/// The steps of a part's program, or what RE2 would stumble over. `cases`: of each range of letters.
fn steps(ast: &Ast, cases: u32) -> Result<u32, &'static str> {
    match ast {
        Ast::Empty(_) => Ok(1),
        Ast::Dot(_) => Ok(2),
        Ast::ClassPerl(_) => Ok(5),
        Ast::Flags(set) => check_flags(&set.flags).map(|()| 1),
        Ast::Literal(literal) => check_literal(literal).map(|()| 1),
        Ast::Assertion(assertion) => match assertion.kind {
            AssertionKind::StartLine
            | AssertionKind::EndLine
            | AssertionKind::StartText
            | AssertionKind::EndText
            | AssertionKind::WordBoundary
            | AssertionKind::NotWordBoundary => Ok(1),
            _ => Err("a word boundary other than \\b and \\B"),
        },
        Ast::ClassUnicode(_) => Err("a Unicode class"),
        Ast::ClassBracketed(class) => class_steps(class, cases),
        Ast::Repetition(repetition) => {
            if matches!(*repetition.ast, Ast::Repetition(_)) {
                return Err("a repetition of a repetition without a group around it");
            }
            let body = steps(&repetition.ast, cases)?;
            Ok(match repetition.op.kind {
                RepetitionKind::ZeroOrOne => body.saturating_add(1),
                RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => body.saturating_add(2),
                RepetitionKind::Range(RepetitionRange::Exactly(count)) => body.saturating_mul(count.max(1)),
                RepetitionKind::Range(RepetitionRange::AtLeast(count)) => {
                    body.saturating_mul(count.max(1)).saturating_add(2)
                }
                RepetitionKind::Range(RepetitionRange::Bounded(least, most)) => {
                    body.saturating_mul(most.max(1)).saturating_add(most.saturating_sub(least))
                }
            })
        }
        Ast::Group(group) => {
            match &group.kind {
                GroupKind::CaptureIndex(_) => {}
                GroupKind::CaptureName { name, .. } => {
                    if !name.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                        return Err("a group name that is not of letters, digits and _");
                    }
                }
                GroupKind::NonCapturing(flags) => check_flags(flags)?,
            }
            Ok(steps(&group.ast, cases)?.saturating_add(2))
        }
        Ast::Alternation(alternation) => sum(&alternation.asts, |part| Ok(steps(part, cases)?.saturating_add(1))),
        Ast::Concat(concat) => sum(&concat.asts, |part| steps(part, cases)),
    }
}

fn sum<T>(parts: &[T], steps: impl Fn(&T) -> Result<u32, &'static str>) -> Result<u32, &'static str> {
    parts.iter().try_fold(0_u32, |sum, part| Ok(sum.saturating_add(steps(part)?)))
}

fn check_flags(flags: &Flags) -> Result<(), &'static str> {
    let known = |kind: &FlagsItemKind| match kind {
        FlagsItemKind::Negation => true,
        FlagsItemKind::Flag(flag) => {
            matches!(flag, Flag::CaseInsensitive | Flag::MultiLine | Flag::DotMatchesNewLine | Flag::SwapGreed)
        }
    };
    let all_known = flags.items.iter().all(|item| known(&item.kind));
    if all_known { Ok(()) } else { Err("a flag other than i, m, s and U") }
}

fn check_literal(literal: &Literal) -> Result<(), &'static str> {
    use regex_syntax::ast::{HexLiteralKind::X, LiteralKind};
    match literal.kind {
        LiteralKind::HexFixed(X) | LiteralKind::HexBrace(X) if literal.c.is_ascii() => Ok(()),
        LiteralKind::HexFixed(_) | LiteralKind::HexBrace(_) => Err("an escape other than \\x00 to \\x7f"),
        _ => Ok(()),
    }
}

/// One step for each range that may come of it; where the class is negated these are the gaps.
fn class_steps(class: &ClassBracketed, cases: u32) -> Result<u32, &'static str> {
    match &class.kind {
        ClassSet::Item(item) => Ok(item_steps(item, cases)?.saturating_add(u32::from(class.negated))),
        ClassSet::BinaryOp(_) => Err("an operation on character classes (&&, -- or ~~; escape the characters)"),
    }
}

fn item_steps(item: &ClassSetItem, cases: u32) -> Result<u32, &'static str> {
    match item {
        ClassSetItem::Empty(_) => Ok(0),
        ClassSetItem::Ascii(_) | ClassSetItem::Perl(_) => Ok(5),
        ClassSetItem::Literal(literal) => check_literal(literal).map(|()| cases),
        ClassSetItem::Range(range) => {
            check_literal(&range.start)?;
            check_literal(&range.end)?;
            Ok(cases)
        }
        ClassSetItem::Unicode(_) => Err("a Unicode class"),
        ClassSetItem::Bracketed(_) => Err("a character class inside a character class (escape the [)"),
        ClassSetItem::Union(union) => sum(&union.items, |item| item_steps(item, cases)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_re2_reads_alike_is_accepted() {
        let rows = [
            ("a plain path", "/api/v[0-9]+/.*", true),
            ("groups and alternatives", "(?i:foo|bar)(?P<rest>.*)", true),
            ("ASCII classes", r"[[:alpha:]\d_-]{2,4}", true),
            ("an identifier", r"/users/[0-9a-f]{8}/[^/]+/files/\w+\.json", true),
            ("a UUID", "/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", true),
            ("not greedy", "a+?", true),
            ("nothing", "", false),
            ("an open group", "(", false),
            ("lookahead", "(?=a)", false),
            ("a back reference", r"(a)\1", false),
            ("class intersection", "[a-z&&b]", false),
            ("a nested class", "[a[bc]]", false),
            ("extended mode", "(?x)a b", false),
            ("a short Unicode escape", r"\u0041", false),
            ("an escape beyond ASCII", r"\x{e9}", false),
            ("beyond ASCII", "[é]", false),
            ("a category", r"\pL+", false),
            ("a doubled repetition", "a**", false),
            ("half a word boundary", r"\b{start}a", false),
            ("no lower bound", "a{,3}", false),
            ("a long repetition", "[a-z]{100}", false),
            ("nested repetitions", "(?:a{10}){10}", false),
            ("a repetition of nothing", "(?:){1000}", false),
            ("a huge repetition", "((a{4000000000}){4000000000}){4000000000}", false),
        ];
        for (row, expression, fits) in rows {
            assert_eq!(check(expression).is_ok(), fits, "{row}: {expression}: {:?}", check(expression));
        }
    }
}
