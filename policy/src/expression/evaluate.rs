//! What an expression comes to for one call. It always ends: each node that is looked at, and each piece of a text that is
//! searched, costs a step, and there are [`MAX_STEPS`].

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::{Comparison, Expression, Literal, TextTest};
use crate::condition::stands_alone;

/// Most steps.
const MAX_STEPS: usize = 10_000;

/// How much of a text one step is.
const BYTES_PER_STEP: usize = 256;

/// How many members' names are compared in one step.
const MEMBERS_PER_STEP: usize = 16;

/// What an expression comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It holds.
    Yes,
    /// It does not, or there is nothing to judge it by.
    No,
    /// It depends on what is not known yet.
    Unknown,
}

/// What an expression can ask.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are those of the variables")]
pub struct Scope<'s> {
    pub jwt: &'s Map<String, Value>,
    pub path: &'s str,
    pub host: &'s str,
    pub tool: Option<&'s str>,
    pub prompt: Option<&'s str>,
    pub resource: Option<&'s str>,
    /// The rest of the call; none: it is not known yet.
    pub call: Option<(&'s str, Option<&'s Map<String, Value>>)>,
}

impl Expression {
    /// What this comes to.
    #[must_use]
    pub fn fit(&self, scope: &Scope<'_>) -> Fit {
        let run = Run { scope, steps: Cell::new(MAX_STEPS) };
        match run.value(self, &Variables::None) {
            Ok(Val::Bool(true)) => Fit::Yes,
            Err(Stop::Unknown) => Fit::Unknown,
            Ok(_) | Err(Stop::Error) => Fit::No,
        }
    }
}

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It is not known yet.
    Unknown,
    /// There is none, or not of the type that is needed; or there are no steps left.
    Error,
}

#[derive(Clone, Debug)]
enum Val<'v> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'v, str>),
    /// Written in the expression.
    List(Vec<Val<'v>>),
    Array(&'v [Value], Spelling),
    /// With whether a server could take one member for another.
    Map(&'v Map<String, Value>, Spelling),
}

/// Who reads the members' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// We do.
    Exact,
    /// A server does as well, perhaps less exactly.
    Guarded,
}

enum Variables<'v> {
    None,
    One { name: &'v str, value: &'v Val<'v>, outer: &'v Variables<'v> },
}

struct Run<'s> {
    scope: &'s Scope<'s>,
    steps: Cell<usize>,
}

impl<'s> Run<'s> {
    fn spend(&self, steps: usize) -> Result<(), Stop> {
        let left = self.steps.get().checked_sub(steps).ok_or(Stop::Error)?;
        self.steps.set(left);
        Ok(())
    }

    fn value<'v>(&self, expression: &'v Expression, variables: &Variables<'v>) -> Result<Val<'v>, Stop>
    where
        's: 'v,
    {
        self.spend(1)?;
        let value = |expression| self.value(expression, variables);
        Ok(match expression {
            Expression::Literal(literal) => match literal {
                Literal::Null(()) => Val::Null,
                Literal::Bool(value) => Val::Bool(*value),
                Literal::Int(value) => Val::Int(*value),
                Literal::Double(value) => Val::Double(*value),
                Literal::String(text) => Val::Text(Cow::Borrowed(text)),
            },
            Expression::Variable(name) => self.variable(name, variables)?,
            Expression::List(elements) => Val::List(elements.iter().map(value).collect::<Result<_, _>>()?),
            Expression::Member(of, name) => match of.as_ref() {
                Expression::Variable(root) if root == "mcp" || root == "request" => self.root(root, name)?,
                of => self.member(value(of)?, name)?,
            },
            Expression::Has(of, name) => match of.as_ref() {
                Expression::Variable(root) if root == "mcp" || root == "request" => match self.root(root, name) {
                    Err(Stop::Unknown) => return Err(Stop::Unknown),
                    there => Val::Bool(there.is_ok()),
                },
                of => Val::Bool(self.find(value(of)?, name)?.is_some()),
            },
            Expression::Index(of, at) => match (value(of)?, value(at)?) {
                (of, Val::Text(name)) => self.member(of, &name)?,
                (of, Val::Int(at)) => usize::try_from(at).ok().and_then(|at| of.at(at)).ok_or(Stop::Error)?,
                _ => return Err(Stop::Error),
            },
            Expression::Not(inner) => Val::Bool(!boolean(value(inner))?),
            Expression::And(left, right) => Val::Bool(decided(boolean(value(left)), || boolean(value(right)), false)?),
            Expression::Or(left, right) => Val::Bool(decided(boolean(value(left)), || boolean(value(right)), true)?),
            Expression::If(condition, yes, no) => value(if boolean(value(condition))? { yes } else { no })?,
            Expression::Compare(comparison, left, right) => {
                Val::Bool(self.compare(*comparison, &value(left)?, &value(right)?)?)
            }
            Expression::In(element, of) => match (value(element)?, value(of)?) {
                (Val::Text(name), of @ Val::Map(..)) => Val::Bool(self.find(of, &name)?.is_some()),
                (element, of) => Val::Bool(self.is_in(&element, &of)?),
            },
            Expression::Text(test, of, part) => match (value(of)?, value(part)?) {
                (Val::Text(text), Val::Text(part)) => {
                    self.spend((text.len() + part.len()) / BYTES_PER_STEP)?;
                    Val::Bool(match test {
                        TextTest::StartsWith => text.starts_with(part.as_ref()),
                        TextTest::EndsWith => text.ends_with(part.as_ref()),
                        TextTest::Contains => text.contains(part.as_ref()),
                    })
                }
                _ => return Err(Stop::Error),
            },
            Expression::Size(of) => {
                let size = match value(of)? {
                    Val::Text(text) => {
                        self.spend(text.len() / BYTES_PER_STEP)?;
                        text.chars().count()
                    }
                    Val::Map(members, _) => members.len(),
                    of => of.length()?,
                };
                Val::Int(i64::try_from(size).map_err(|_| Stop::Error)?)
            }
            Expression::Exists(of, name, condition) => self.each(value(of)?, name, condition, variables, true)?,
            Expression::All(of, name, condition) => self.each(value(of)?, name, condition, variables, false)?,
        })
    }

    fn variable<'v>(&self, name: &str, variables: &Variables<'v>) -> Result<Val<'v>, Stop>
    where
        's: 'v,
    {
        match variables {
            Variables::One { name: own, value, .. } if *own == name => Ok((*value).clone()),
            Variables::One { outer, .. } => self.variable(name, outer),
            Variables::None if name == "jwt" => Ok(Val::Map(self.scope.jwt, Spelling::Exact)),
            Variables::None => Err(Stop::Error),
        }
    }

    fn root(&self, root: &str, name: &str) -> Result<Val<'s>, Stop> {
        let text = |text: Option<&'s str>| text.map(|text| Val::Text(Cow::Borrowed(text))).ok_or(Stop::Error);
        match (root, name) {
            ("request", "path") => text(Some(self.scope.path)),
            ("request", "host") => text(Some(self.scope.host)),
            ("mcp", "tool") => text(self.scope.tool),
            ("mcp", "prompt") => text(self.scope.prompt),
            ("mcp", "resource") => text(self.scope.resource),
            ("mcp", "method") => text(Some(self.scope.call.ok_or(Stop::Unknown)?.0)),
            ("mcp", "arguments") => {
                let arguments = self.scope.call.ok_or(Stop::Unknown)?.1;
                Ok(Val::Map(arguments.ok_or(Stop::Error)?, Spelling::Guarded))
            }
            _ => Err(Stop::Error),
        }
    }

    /// `exists` or `all`, by the answer that decides alone.
    fn each<'v>(
        &self,
        of: Val<'v>,
        name: &'v str,
        condition: &'v Expression,
        outer: &Variables<'v>,
        decisive: bool,
    ) -> Result<Val<'v>, Stop>
    where
        's: 'v,
    {
        let mut result = Ok(!decisive);
        for at in 0..of.length()? {
            let element = of.at(at).ok_or(Stop::Error)?;
            let holds = self.with(name, &element, condition, outer);
            result = decided(result, || holds, decisive);
            if result == Ok(decisive) {
                break;
            }
        }
        Ok(Val::Bool(result?))
    }

    fn with(&self, name: &str, element: &Val<'_>, condition: &Expression, outer: &Variables<'_>) -> Result<bool, Stop> {
        boolean(self.value(condition, &Variables::One { name, value: element, outer }))
    }

    fn member<'v>(&self, of: Val<'v>, name: &str) -> Result<Val<'v>, Stop> {
        self.find(of, name)?.ok_or(Stop::Error)
    }

    /// A member; it is neither there nor missing where a server could take another one for it.
    fn find<'v>(&self, of: Val<'v>, name: &str) -> Result<Option<Val<'v>>, Stop> {
        let Val::Map(members, spelling) = of else { return Err(Stop::Error) };
        if spelling == Spelling::Guarded {
            self.spend(members.len() / MEMBERS_PER_STEP)?;
            if !stands_alone(members, name) {
                return Err(Stop::Error);
            }
        }
        Ok(members.get(name).map(|value| Val::of(value, spelling)))
    }

    fn is_in(&self, element: &Val<'_>, of: &Val<'_>) -> Result<bool, Stop> {
        for at in 0..of.length()? {
            if of.at(at).map(|other| self.equal(element, &other)).transpose()? == Some(true) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn compare(&self, comparison: Comparison, left: &Val<'_>, right: &Val<'_>) -> Result<bool, Stop> {
        let order = || match (left, right) {
            (Val::Text(left), Val::Text(right)) => {
                self.spend(left.len().min(right.len()) / BYTES_PER_STEP)?;
                Ok(left.cmp(right))
            }
            _ => numbers(left, right).ok_or(Stop::Error),
        };
        Ok(match comparison {
            Comparison::Equal => self.equal(left, right)?,
            Comparison::NotEqual => !self.equal(left, right)?,
            Comparison::Less => order()?.is_lt(),
            Comparison::LessOrEqual => order()?.is_le(),
            Comparison::Greater => order()?.is_gt(),
            Comparison::GreaterOrEqual => order()?.is_ge(),
        })
    }

    /// Values of different types are not equal, but for numbers.
    fn equal(&self, left: &Val<'_>, right: &Val<'_>) -> Result<bool, Stop> {
        self.spend(1)?;
        Ok(match (left, right) {
            (Val::Null, Val::Null) => true,
            (Val::Bool(left), Val::Bool(right)) => left == right,
            (Val::Text(left), Val::Text(right)) => {
                self.spend(left.len().min(right.len()) / BYTES_PER_STEP)?;
                left == right
            }
            (Val::Map(left, spelling), Val::Map(right, other)) => {
                for (name, value) in *left {
                    let Some(value_there) = right.get(name) else { return Ok(false) };
                    if !self.equal(&Val::of(value, *spelling), &Val::of(value_there, *other))? {
                        return Ok(false);
                    }
                }
                left.len() == right.len()
            }
            (Val::List(_) | Val::Array(..), Val::List(_) | Val::Array(..)) => {
                let mut at = 0;
                while let (Some(left), Some(right)) = (left.at(at), right.at(at)) {
                    if !self.equal(&left, &right)? {
                        return Ok(false);
                    }
                    at += 1;
                }
                left.length()? == right.length()?
            }
            _ => numbers(left, right) == Some(Ordering::Equal),
        })
    }
}

impl<'v> Val<'v> {
    fn of(value: &'v Value, spelling: Spelling) -> Self {
        match value {
            Value::Null => Val::Null,
            Value::Bool(value) => Val::Bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => Val::Int(number),
                (None, Some(number)) => Val::Double(number),
                (None, None) => Val::Null,
            },
            Value::String(text) => Val::Text(Cow::Borrowed(text)),
            Value::Array(elements) => Val::Array(elements, spelling),
            Value::Object(members) => Val::Map(members, spelling),
        }
    }

    /// How many elements a list has.
    fn length(&self) -> Result<usize, Stop> {
        match self {
            Self::List(elements) => Ok(elements.len()),
            Self::Array(elements, _) => Ok(elements.len()),
            _ => Err(Stop::Error),
        }
    }

    /// An element of a list.
    fn at(&self, at: usize) -> Option<Self> {
        match self {
            Self::List(elements) => elements.get(at).cloned(),
            Self::Array(elements, spelling) => elements.get(at).map(|element| Val::of(element, *spelling)),
            _ => None,
        }
    }
}

fn boolean(value: Result<Val<'_>, Stop>) -> Result<bool, Stop> {
    match value? {
        Val::Bool(value) => Ok(value),
        _ => Err(Stop::Error),
    }
}

/// `&&` and `||`: one answer decides, whatever the other side comes to; else what is not known is more than an error.
fn decided(left: Result<bool, Stop>, right: impl FnOnce() -> Result<bool, Stop>, decisive: bool) -> Result<bool, Stop> {
    if left == Ok(decisive) {
        return left;
    }
    match (left, right()) {
        (_, Ok(right)) if right == decisive => Ok(right),
        (Ok(_), right) => right,
        (Err(Stop::Unknown), _) | (_, Err(Stop::Unknown)) => Err(Stop::Unknown),
        (left, _) => left,
    }
}

fn numbers(left: &Val<'_>, right: &Val<'_>) -> Option<Ordering> {
    match (left, right) {
        (Val::Int(left), Val::Int(right)) => Some(left.cmp(right)),
        (Val::Int(left), Val::Double(right)) => (*left as f64).partial_cmp(right),
        (Val::Double(left), Val::Int(right)) => left.partial_cmp(&(*right as f64)),
        (Val::Double(left), Val::Double(right)) => left.partial_cmp(right),
        _ => None,
    }
}
