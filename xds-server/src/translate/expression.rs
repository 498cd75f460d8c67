//! Regular expressions that RE2 in Envoy is sure to take, and to read as they are meant.
//!
//! The `regex` syntax is close to RE2's. Where they differ (operations on classes, some escapes and flags) an expression
//! is refused here, since Envoy would refuse all routes of a port together, or read it as something else.

use regex_syntax::ast::{
    AssertionKind, Ast, ClassSet, ClassSetItem, ClassUnicode, ClassUnicodeKind, Flag, Flags, FlagsItemKind, GroupKind,
    HexLiteralKind, Literal, LiteralKind, RepetitionKind, RepetitionRange, parse::Parser,
};

use super::problems::Fault;

/// RE2 refuses repetition counts whose product is above this.
const MAX_REPETITION: u32 = 1000;

/// Longest expression, in bytes.
const MAX_BYTES: usize = 1024;

/// Checks an expression and gives it back.
pub(super) fn check(expression: &str) -> Result<String, Fault> {
    let fault = |what: &str| Err(Fault::unsupported(format!("the regular expression {expression:?} {what}")));
    if expression.is_empty() || expression.len() > MAX_BYTES {
        return fault("must have 1 to 1024 bytes");
    }
    if expression.contains("{,") {
        return fault("has a repetition without lower bound; write {0,");
    }
    match Parser::new().parse(expression) {
        Err(error) => fault(&format!("can't be read: {}", error.kind())),
        Ok(ast) => match unfit(&ast, 1) {
            Some(what) => fault(&format!("has {what}, which RE2 does not know")),
            None => Ok(expression.to_owned()),
        },
    }
}

/// What RE2 would stumble over. `repeated`: the product of the repetition counts around this part.
fn unfit(ast: &Ast, repeated: u32) -> Option<&'static str> {
    match ast {
        Ast::Empty(_) | Ast::Dot(_) | Ast::ClassPerl(_) => None,
        Ast::Flags(set) => unfit_flags(&set.flags),
        Ast::Literal(literal) => unfit_literal(literal),
        Ast::Assertion(assertion) => match assertion.kind {
            AssertionKind::StartLine
            | AssertionKind::EndLine
            | AssertionKind::StartText
            | AssertionKind::EndText
            | AssertionKind::WordBoundary
            | AssertionKind::NotWordBoundary => None,
            _ => Some("a word boundary other than \\b and \\B"),
        },
        Ast::ClassUnicode(class) => unfit_unicode(class),
        Ast::ClassBracketed(class) => unfit_set(&class.kind),
        Ast::Repetition(repetition) => {
            if matches!(*repetition.ast, Ast::Repetition(_)) {
                return Some("a repetition of a repetition without a group around it");
            }
            let count = match &repetition.op.kind {
                RepetitionKind::Range(
                    RepetitionRange::Exactly(count)
                    | RepetitionRange::AtLeast(count)
                    | RepetitionRange::Bounded(_, count),
                ) => (*count).max(1),
                _ => 1,
            };
            let product = repeated.saturating_mul(count);
            if product > MAX_REPETITION {
                return Some("a repetition above 1000");
            }
            unfit(&repetition.ast, product)
        }
        Ast::Group(group) => {
            let head = match &group.kind {
                GroupKind::CaptureIndex(_) => None,
                GroupKind::CaptureName { name, .. } => {
                    let plain = name.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                    (!plain).then_some("a group name that is not of ASCII letters, digits and _")
                }
                GroupKind::NonCapturing(flags) => unfit_flags(flags),
            };
            head.or_else(|| unfit(&group.ast, repeated))
        }
        Ast::Alternation(alternation) => alternation.asts.iter().find_map(|part| unfit(part, repeated)),
        Ast::Concat(concat) => concat.asts.iter().find_map(|part| unfit(part, repeated)),
    }
}

fn unfit_flags(flags: &Flags) -> Option<&'static str> {
    let known = |item: &FlagsItemKind| {
        matches!(
            item,
            FlagsItemKind::Negation
                | FlagsItemKind::Flag(
                    Flag::CaseInsensitive | Flag::MultiLine | Flag::DotMatchesNewLine | Flag::SwapGreed
                )
        )
    };
    (!flags.items.iter().all(|item| known(&item.kind))).then_some("a flag other than i, m, s and U")
}

fn unfit_literal(literal: &Literal) -> Option<&'static str> {
    match literal.kind {
        LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
        | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
            Some("an escape \\u or \\U; write \\x{...}")
        }
        _ => None,
    }
}

fn unfit_unicode(class: &ClassUnicode) -> Option<&'static str> {
    const CATEGORIES: &str = "CLMNPSZ";
    match class.kind {
        ClassUnicodeKind::OneLetter(letter) if CATEGORIES.contains(letter) => None,
        _ => Some("a Unicode class other than the one-letter categories"),
    }
}

fn unfit_set(set: &ClassSet) -> Option<&'static str> {
    match set {
        ClassSet::Item(item) => unfit_item(item),
        ClassSet::BinaryOp(_) => Some("an operation on character classes (&&, -- or ~~); escape the characters"),
    }
}

fn unfit_item(item: &ClassSetItem) -> Option<&'static str> {
    match item {
        ClassSetItem::Empty(_) | ClassSetItem::Ascii(_) | ClassSetItem::Perl(_) => None,
        ClassSetItem::Literal(literal) => unfit_literal(literal),
        ClassSetItem::Range(range) => unfit_literal(&range.start).or_else(|| unfit_literal(&range.end)),
        ClassSetItem::Unicode(class) => unfit_unicode(class),
        ClassSetItem::Bracketed(_) => Some("a character class inside a character class; escape the ["),
        ClassSetItem::Union(union) => union.items.iter().find_map(unfit_item),
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
            ("ASCII classes", r"[[:alpha:]\d_-]{2,8}", true),
            ("a category", r"\pL+", true),
            ("not greedy", "a+?", true),
            ("nothing", "", false),
            ("an open group", "(", false),
            ("lookahead", "(?=a)", false),
            ("a back reference", r"(a)\1", false),
            ("class intersection", "[a-z&&b]", false),
            ("a nested class", "[a[bc]]", false),
            ("extended mode", "(?x)a b", false),
            ("a short Unicode escape", r"\u0041", false),
            ("a named property", r"\p{Alphabetic}", false),
            ("too many repetitions", "a{1001}", false),
            ("too many nested repetitions", "(a{100}){11}", false),
            ("a doubled repetition", "a**", false),
            ("half a word boundary", r"\b{start}a", false),
            ("no lower bound", "a{,3}", false),
        ];
        for (row, expression, fits) in rows {
            assert_eq!(check(expression).is_ok(), fits, "{row}: {expression}");
        }
    }
}
