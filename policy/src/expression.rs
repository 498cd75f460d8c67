//! Expressions of rules, as the filter gets them: a subset of CEL (Common Expression Language), parsed and type-checked by
//! the control plane. What they can ask stands in [`ROOTS`].
//!
//! ```text
//! text ─ parse, check (control plane) ─> Expression ─ JSON ─> evaluate (filter) ─> Yes | No | Unknown
//! ```

use serde::{Deserialize, Serialize};

mod check;
mod evaluate;

pub use check::{ExpressionFault, may_be_variable};
pub use evaluate::{Fit, Scope};

/// The variables, with their members; those of `jwt` are the token's claims.
pub const ROOTS: [(&str, &[&str]); 3] =
    [("jwt", &[]), ("mcp", &["method", "tool", "prompt", "resource", "arguments"]), ("request", &["path", "host"])];

/// Deepest nesting: it must still be readable as JSON with serde_json's limit of 128 levels, of which each of these takes two.
pub const MAX_LEVELS: usize = 48;

/// An expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are those of CEL")]
pub enum Expression {
    Literal(Literal),
    /// One of [`ROOTS`], or the variable of a macro.
    Variable(String),
    List(Vec<Expression>),
    Member(Box<Expression>, String),
    Has(Box<Expression>, String),
    Index(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    If(Box<Expression>, Box<Expression>, Box<Expression>),
    Compare(Comparison, Box<Expression>, Box<Expression>),
    In(Box<Expression>, Box<Expression>),
    Text(TextTest, Box<Expression>, Box<Expression>),
    Size(Box<Expression>),
    /// `exists`: of what, the variable, the condition.
    Exists(Box<Expression>, String, Box<Expression>),
    /// `all`: the same.
    All(Box<Expression>, String, Box<Expression>),
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the variants are CEL's own types")]
pub enum Literal {
    Null(()),
    Bool(bool),
    Int(i64),
    Double(f64),
    String(String),
}

/// An operator that compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A test of a text for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of CEL")]
pub enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

impl Expression {
    /// Whether it asks anything of this one of [`ROOTS`].
    #[must_use]
    pub fn names(&self, root: &str) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Variable(name) => name == root,
            Self::List(elements) => elements.iter().any(|element| element.names(root)),
            Self::Member(of, _) | Self::Has(of, _) | Self::Not(of) | Self::Size(of) => of.names(root),
            Self::Index(left, right)
            | Self::And(left, right)
            | Self::Or(left, right)
            | Self::Compare(_, left, right)
            | Self::In(left, right)
            | Self::Text(_, left, right)
            | Self::Exists(left, _, right)
            | Self::All(left, _, right) => left.names(root) || right.names(root),
            Self::If(condition, yes, no) => [condition, yes, no].iter().any(|each| each.names(root)),
        }
    }
}

// Numbers that are not finite can't be written in CEL, so equality holds for all.
impl Eq for Expression {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_found_wherever_it_stands() {
        let claims = || Box::new(Expression::Variable("jwt".to_owned()));
        let other = || Box::new(Expression::Literal(Literal::String("jwt".to_owned())));
        let name = || "jwt".to_owned();
        let (equal, contains) = (Comparison::Equal, TextTest::Contains);
        let named = [
            *claims(),
            Expression::List(vec![*other(), *claims()]),
            Expression::Member(claims(), "team".to_owned()),
            Expression::Has(claims(), "team".to_owned()),
            Expression::Index(claims(), other()),
            Expression::Index(other(), claims()),
            Expression::Not(claims()),
            Expression::And(claims(), other()),
            Expression::Or(other(), claims()),
            Expression::If(claims(), other(), other()),
            Expression::If(other(), claims(), other()),
            Expression::If(other(), other(), claims()),
            Expression::Compare(equal, other(), claims()),
            Expression::In(claims(), other()),
            Expression::Text(contains, other(), claims()),
            Expression::Size(claims()),
            Expression::Exists(claims(), "x".to_owned(), other()),
            Expression::All(other(), "x".to_owned(), Expression::Not(claims()).into()),
        ];
        for expression in named {
            assert!(expression.names("jwt"), "{expression:?}");
            assert!(!expression.names("mcp"), "{expression:?}");
        }
        let unnamed = [
            *other(),
            Expression::List(Vec::new()),
            Expression::Member(Expression::Variable("request".to_owned()).into(), name()),
            Expression::Has(other(), name()),
            Expression::In(other(), Expression::List(vec![*other()]).into()),
        ];
        for expression in unnamed {
            assert!(!expression.names("jwt"), "{expression:?}");
        }
    }
}
