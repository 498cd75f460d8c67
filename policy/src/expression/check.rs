//! What every expression must be, whoever wrote it: each variable stands for one thing, for whoever reads it.

use super::{Expression, MAX_LEVELS, ROOTS};

/// Names that mean something in CEL: reserved words (language definition, "Identifiers"), macros, functions and types. A
/// variable of that name would mean one thing to one reader and another to the next.
const RESERVED: [&str; 45] = [
    "all",
    "as",
    "bool",
    "break",
    "bytes",
    "const",
    "contains",
    "continue",
    "double",
    "duration",
    "dyn",
    "else",
    "endsWith",
    "exists",
    "exists_one",
    "false",
    "filter",
    "for",
    "function",
    "has",
    "if",
    "import",
    "in",
    "int",
    "let",
    "list",
    "loop",
    "map",
    "matches",
    "namespace",
    "null",
    "null_type",
    "optional",
    "package",
    "return",
    "size",
    "startsWith",
    "string",
    "timestamp",
    "true",
    "type",
    "uint",
    "var",
    "void",
    "while",
];

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum ExpressionFault {
    #[error("there is no variable `{0}`; there are jwt, mcp and request")]
    Unknown(String),
    #[error("`{root}` has no member `{name}`; its members are: {}", members(.root).join(", "))]
    NoMember { root: String, name: String },
    #[error("`{root}` is no value; its members are: {}", members(.root).join(", "))]
    NoValue { root: String },
    #[error("the variable of a macro can't be named `{0}`, which means something else; take another name")]
    Reserved(String),
    #[error("the expression is nested deeper than {MAX_LEVELS} levels")]
    Depth,
}

/// Whether a macro's variable may have this name: one that means nothing else.
#[must_use]
pub fn may_be_variable(name: &str) -> bool {
    let is_identifier = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic());
    is_identifier && !RESERVED.contains(&name) && !ROOTS.iter().any(|(root, _)| *root == name)
}

/// The members of a root.
fn members(root: &str) -> &'static [&'static str] {
    ROOTS.iter().find(|(known, _)| *known == root).map_or(&[], |(_, members)| members)
}

impl Expression {
    /// Checks that all names stand for something, and for one thing only.
    ///
    /// # Errors
    /// When one does not.
    pub fn check(&self) -> Result<(), ExpressionFault> {
        self.check_within(&mut Vec::new(), 0)
    }

    fn check_within<'e>(&'e self, variables: &mut Vec<&'e str>, depth: usize) -> Result<(), ExpressionFault> {
        if depth >= MAX_LEVELS {
            return Err(ExpressionFault::Depth);
        }
        let inner = |expression: &'e Self, variables: &mut _| expression.check_within(variables, depth + 1);
        match self {
            Self::Literal(_) => Ok(()),
            Self::Variable(name) if variables.contains(&name.as_str()) => Ok(()),
            Self::Variable(name) => match ROOTS.iter().find(|(root, _)| root == name) {
                Some((_, [])) => Ok(()),
                Some(_) => Err(ExpressionFault::NoValue { root: name.clone() }),
                None => Err(ExpressionFault::Unknown(name.clone())),
            },
            Self::List(elements) => elements.iter().try_for_each(|element| inner(element, variables)),
            Self::Member(of, name) | Self::Has(of, name) => match of.as_ref() {
                Self::Variable(root) if !members(root).is_empty() => {
                    let is_known = members(root).contains(&name.as_str());
                    let fault = || ExpressionFault::NoMember { root: root.clone(), name: name.clone() };
                    if is_known { Ok(()) } else { Err(fault()) }
                }
                of => inner(of, variables),
            },
            Self::Not(one) | Self::Size(one) => inner(one, variables),
            Self::Index(left, right)
            | Self::And(left, right)
            | Self::Or(left, right)
            | Self::Compare(_, left, right)
            | Self::In(left, right)
            | Self::Text(_, left, right) => [left, right].into_iter().try_for_each(|each| inner(each, variables)),
            Self::If(condition, yes, no) => {
                [condition, yes, no].into_iter().try_for_each(|each| inner(each, variables))
            }
            Self::Exists(of, name, condition) | Self::All(of, name, condition) => {
                inner(of, variables)?;
                if !may_be_variable(name) {
                    return Err(ExpressionFault::Reserved(name.clone()));
                }
                variables.push(name);
                let checked = inner(condition, variables);
                variables.pop();
                checked
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::Literal;

    #[test]
    fn every_name_stands_for_one_thing() {
        let variable = |name: &str| Box::new(Expression::Variable(name.to_owned()));
        let member = |of: &str, name: &str| Expression::Member(variable(of), name.to_owned());
        let exists = |name: &str, inner: Expression| Expression::Exists(variable("jwt"), name.to_owned(), inner.into());
        let deep = (0..MAX_LEVELS).fold(Expression::Literal(Literal::Bool(true)), |all, _| Expression::Not(all.into()));
        let rows = [
            ("a claim", member("jwt", "team"), Ok(())),
            ("all claims", *variable("jwt"), Ok(())),
            ("a member", member("mcp", "tool"), Ok(())),
            ("a macro's variable", exists("x", *variable("x")), Ok(())),
            ("outside of its macro", *variable("x"), Err(ExpressionFault::Unknown("x".into()))),
            ("a root alone", *variable("mcp"), Err(ExpressionFault::NoValue { root: "mcp".into() })),
            (
                "no member",
                member("request", "body"),
                Err(ExpressionFault::NoMember { root: "request".into(), name: "body".into() }),
            ),
            ("a root as variable", exists("mcp", member("mcp", "tool")), Err(ExpressionFault::Reserved("mcp".into()))),
            ("a function", exists("size", *variable("size")), Err(ExpressionFault::Reserved("size".into()))),
            ("what the parser calls so", exists("__r", *variable("__r")), Err(ExpressionFault::Reserved("__r".into()))),
            ("no name", exists("", *variable("jwt")), Err(ExpressionFault::Reserved(String::new()))),
            ("too deep", deep, Err(ExpressionFault::Depth)),
        ];
        for (row, expression, expected) in rows {
            assert_eq!(expression.check(), expected, "{row}");
        }
    }
}
