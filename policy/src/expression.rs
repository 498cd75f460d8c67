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

// Numbers that are not finite can't be written in CEL, so equality holds for all.
impl Eq for Expression {}
