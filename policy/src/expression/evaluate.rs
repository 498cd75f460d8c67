//! What an expression comes to for one call. It always ends: each node that is looked at, and each piece of a text that is
//! searched, costs a step, and there are [`MAX_STEPS`]; all expressions together have some more for one call's arguments.
//!
//! **What a caller wrote** ([`Said`]) is compared with what it is compared with and with no other type: a server may turn
//! `"1"`, `true` and `1.0` into 1, so that a comparison with 1 comes to an error, whichever sign it has. So does whatever
//! else servers differ in: [`Number`], members that look alike ([`Arguments::member`]), texts that lead elsewhere
//! ([`Detours`]) or are another one once they are decoded or folded ([`Readings`]). An error holds neither by itself nor behind `!`; `&&`, `||`, `?:`, `exists`
//! and `all` come to something beside it only where the other side decides alone, whatever stood in its place. So an
//! expression that holds does so in every reading.
//!
//! | of a caller's value | comes to something |
//! |---|---|
//! | `==`, `!=`, `in` a list | with a value of the same type; of objects, with the same names of members |
//! | `<`, `<=`, `>`, `>=` | between numbers, or between texts |
//! | `has` and members | of an object, where no other member could be taken for it |
//! | `in` | a list; `'x' in mcp.arguments`, but in no object within: some servers take `{"0": "x"}` for a list |
//! | `size` | of a list; of an object without members that look alike; of a text, its characters and as well 1, since servers make lists of texts |
//! | `exists`, `all`, indexes | of a list |
//! | `startsWith`, `endsWith`, `contains` | of a text that has no more dot segments than what it is tested for, and comes to the same decoded and folded |
//! | alone, behind `!`, before `?`, beside `&&` | a bool |
//! | `== null` | null |

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::{Comparison, Expression, Literal, TextTest};
use crate::arguments::{self, Argument, Arguments, Given, Number, Operand, Unclear};
use crate::detours::Detours;
use crate::spelling::{self, Readings};

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
    pub call: Option<(&'s str, &'s Given)>,
}

impl Expression {
    /// What this comes to.
    #[must_use]
    pub fn fit(&self, scope: &Scope<'_>) -> Fit {
        let run = Run { scope, steps: Cell::new(MAX_STEPS) };
        match boolean(run.value(self, &Variables::None)) {
            Ok(true) => Fit::Yes,
            Err(Stop::Unknown) => Fit::Unknown,
            Ok(false) | Err(Stop::Error) => Fit::No,
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

impl From<Unclear> for Stop {
    fn from(Unclear: Unclear) -> Self {
        Self::Error
    }
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
    /// A claim.
    Array(&'v [Value]),
    /// A claim, or all of them.
    Map(&'v Map<String, Value>),
    /// Not ours, nor an issuer's.
    Said(Said<'v>),
}

/// What a caller wrote.
#[derive(Clone, Copy, Debug)]
enum Said<'v> {
    /// A value in the arguments.
    Argument(&'v Argument),
    /// The arguments, which are an object for all servers.
    Arguments(&'v Arguments),
    /// Something that is a text for all servers.
    Name(&'v str),
    /// The size of a text.
    Size(Number),
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
    /// Nothing is left where there are too few.
    fn spend(&self, steps: usize) -> Result<(), Stop> {
        let left = self.steps.get().checked_sub(steps);
        self.steps.set(left.unwrap_or_default());
        if let Some((_, Given::Arguments(arguments))) = self.scope.call {
            arguments.spend(steps)?;
        }
        left.map(drop).ok_or(Stop::Error)
    }

    /// Texts in all their readings.
    fn spend_on_readings(&self, one: &str, other: &str) -> Result<(), Stop> {
        self.spend((spelling::cost(one) + spelling::cost(other)) / arguments::BYTES_PER_STEP)
    }

    /// The names of all members.
    fn look_through(&self, members: &Arguments) -> Result<(), Stop> {
        self.spend(members.name_bytes() / BYTES_PER_STEP + members.members().len() / MEMBERS_PER_STEP)
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
                of => self.member(&value(of)?, name)?,
            },
            Expression::Has(of, name) => match of.as_ref() {
                Expression::Variable(root) if root == "mcp" || root == "request" => Val::Bool(self.has(root, name)?),
                of => Val::Bool(self.find(&value(of)?, name)?.is_some()),
            },
            Expression::Index(of, at) => {
                let (of, at) = (value(of)?, value(at)?);
                match (at.text(), at.operand()) {
                    (Some(name), _) => self.member(&of, name)?,
                    (None, Some(Operand::Integer(at) | Operand::Callers(Number::Integer(at)))) => {
                        usize::try_from(at).ok().and_then(|at| of.at(at)).ok_or(Stop::Error)?
                    }
                    _ => return Err(Stop::Error),
                }
            }
            Expression::Not(inner) => Val::Bool(!boolean(value(inner))?),
            Expression::And(left, right) => Val::Bool(decided(boolean(value(left)), || boolean(value(right)), false)?),
            Expression::Or(left, right) => Val::Bool(decided(boolean(value(left)), || boolean(value(right)), true)?),
            Expression::If(condition, yes, no) => value(if boolean(value(condition))? { yes } else { no })?,
            Expression::Compare(comparison, left, right) => {
                Val::Bool(self.compare(*comparison, &value(left)?, &value(right)?)?)
            }
            Expression::In(element, of) => {
                let (element, of) = (value(element)?, value(of)?);
                Val::Bool(match (element.text(), &of) {
                    (Some(name), Val::Map(members)) if element.is_said() => self.is_name_of(name, members)?,
                    (Some(name), Val::Map(_) | Val::Said(Said::Arguments(_))) => self.find(&of, name)?.is_some(),
                    _ => self.is_in(&element, &of)?,
                })
            }
            Expression::Text(test, of, part) => Val::Bool(self.test(*test, &value(of)?, &value(part)?)?),
            Expression::Size(of) => self.size(&value(of)?)?,
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
            Variables::None if name == "jwt" => Ok(Val::Map(self.scope.jwt)),
            Variables::None => Err(Stop::Error),
        }
    }

    fn root(&self, root: &str, name: &str) -> Result<Val<'s>, Stop> {
        let text = |text: Option<&'s str>| text.map(|text| Val::Said(Said::Name(text))).ok_or(Stop::Error);
        match (root, name) {
            ("request", "path") => text(Some(self.scope.path)),
            ("request", "host") => text(Some(self.scope.host)),
            ("mcp", "tool") => text(self.scope.tool),
            ("mcp", "prompt") => text(self.scope.prompt),
            ("mcp", "resource") => text(self.scope.resource),
            ("mcp", "method") => text(Some(self.scope.call.ok_or(Stop::Unknown)?.0)),
            ("mcp", "arguments") => match self.scope.call.ok_or(Stop::Unknown)?.1 {
                Given::Arguments(arguments) => Ok(Val::Said(Said::Arguments(arguments))),
                Given::None | Given::Unclear => Err(Stop::Error),
            },
            _ => Err(Stop::Error),
        }
    }

    /// Whether a root has a member for this call; nobody knows that of arguments that are none.
    fn has(&self, root: &str, name: &str) -> Result<bool, Stop> {
        match self.root(root, name) {
            Err(Stop::Unknown) => Err(Stop::Unknown),
            Err(Stop::Error) if matches!(self.scope.call, Some((_, Given::Unclear))) && name == "arguments" => {
                Err(Stop::Error)
            }
            there => Ok(there.is_ok()),
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

    fn member<'v>(&self, of: &Val<'v>, name: &str) -> Result<Val<'v>, Stop> {
        self.find(of, name)?.ok_or(Stop::Error)
    }

    /// A member; it is neither there nor missing where a server could take another one for it.
    fn find<'v>(&self, of: &Val<'v>, name: &str) -> Result<Option<Val<'v>>, Stop> {
        match (of, of.object()) {
            (Val::Map(members), _) => Ok(members.get(name).map(Val::claim)),
            (_, Some(members)) => {
                self.look_through(members)?;
                Ok(members.member(name)?.map(Val::argument))
            }
            _ => Err(Stop::Error),
        }
    }

    fn is_in(&self, element: &Val<'_>, of: &Val<'_>) -> Result<bool, Stop> {
        let mut is_in = Ok(false);
        for at in 0..of.length()? {
            let other = of.at(at).ok_or(Stop::Error)?;
            is_in = decided(is_in, || self.equal(element, &other), true);
            if is_in == Ok(true) {
                break;
            }
        }
        is_in
    }

    /// Whether claims have a member of the name that a caller wrote.
    fn is_name_of(&self, name: &str, members: &Map<String, Value>) -> Result<bool, Stop> {
        let mut is_in = Ok(false);
        for key in members.keys() {
            is_in = decided(is_in, || self.equal_texts((name, true), (key, false)), true);
        }
        is_in
    }

    fn test(&self, test: TextTest, of: &Val<'_>, part: &Val<'_>) -> Result<bool, Stop> {
        let (Some(text), Some(searched)) = (of.text(), part.text()) else { return Err(Stop::Error) };
        let holds = |text: &str, searched: &str| match test {
            TextTest::StartsWith => text.starts_with(searched),
            TextTest::EndsWith => text.ends_with(searched),
            TextTest::Contains => text.contains(searched),
        };
        let holds_as_written = holds(text, searched);
        if !of.is_said() && !part.is_said() {
            self.spend((text.len() + searched.len()) / BYTES_PER_STEP)?;
            return Ok(holds_as_written);
        }
        self.spend_on_readings(text, searched)?;
        if leads((text, of.is_said()), (searched, part.is_said())) {
            return Err(Stop::Error);
        }
        let is_certain = |text: &str, searched: &str| {
            holds(text, searched) == holds_as_written
                && holds(text.trim(), searched) == holds_as_written
                && (!part.is_said() || holds(text.trim(), searched.trim()) == holds_as_written)
        };
        // Of a line feed that is searched for nothing would be left, and nothing is in all texts.
        let folds = part.is_said() || searched.is_empty() || !spelling::folded(searched).is_empty();
        let certain = self.in_all_readings(text, searched, folds, is_certain)?;
        if certain { Ok(holds_as_written) } else { Err(Stop::Error) }
    }

    /// Whether something holds of two texts, however they are read.
    fn in_all_readings(
        &self,
        one: &str,
        other: &str,
        folds: bool,
        holds: impl Fn(&str, &str) -> bool,
    ) -> Result<bool, Stop> {
        let readings = |text| Readings::of(text, folds).ok_or(Stop::Error);
        let (one, other) = (readings(one)?, readings(other)?);
        Ok(one.pairs(&other).all(|(one, other)| holds(one, other)))
    }

    fn size<'v>(&self, of: &Val<'_>) -> Result<Val<'v>, Stop> {
        let size = |size: usize| i64::try_from(size).map_err(|_| Stop::Error);
        if let Some(text) = of.text() {
            self.spend(text.len() / BYTES_PER_STEP)?;
            let characters = size(text.chars().count())?;
            return Ok(match of {
                Val::Said(Said::Argument(_)) => {
                    // The text of a list, or its elements with something between them, or its one element.
                    let may_be_empty = !text.trim_start().starts_with(|first: char| first.is_alphanumeric());
                    let least = if may_be_empty { 0 } else { 1 };
                    let pieces = size(text.chars().filter(|character| !character.is_alphanumeric()).count() + 1)?;
                    Val::Said(Said::Size(Number::Between(least, characters.max(pieces))))
                }
                _ => Val::Int(characters),
            });
        }
        Ok(Val::Int(size(match of {
            Val::Map(members) => members.len(),
            of => match of.object() {
                Some(members) => {
                    self.look_through(members)?;
                    members.count()?
                }
                None => of.length()?,
            },
        })?))
    }

    fn compare(&self, comparison: Comparison, left: &Val<'_>, right: &Val<'_>) -> Result<bool, Stop> {
        match comparison {
            Comparison::Equal => return self.equal(left, right),
            Comparison::NotEqual => return self.equal(left, right).map(|equal| !equal),
            _ => {}
        }
        if let (Some(one), Some(other)) = (left.text(), right.text()) {
            let holds = is(comparison, one.cmp(other));
            let is_certain = if left.is_said() || right.is_said() {
                self.spend_on_readings(one, other)?;
                let is_alike = |one: &str, other: &str| is(comparison, one.trim().cmp(other.trim())) == holds;
                self.in_all_readings(one, other, true, is_alike)?
            } else {
                self.spend((one.len() + other.len()) / BYTES_PER_STEP)?;
                true
            };
            return if is_certain { Ok(holds) } else { Err(Stop::Error) };
        }
        match (left.operand(), right.operand()) {
            (Some(Operand::Callers(left)), Some(right)) => left.holds(comparison, right),
            (Some(left), Some(Operand::Callers(right))) => right.holds(turned(comparison), left),
            (Some(left), Some(right)) => order(left, right).map(|order| is(comparison, order)),
            _ => None,
        }
        .ok_or(Stop::Error)
    }

    /// Values of different types are not equal, but for numbers. Of what a caller wrote that is not known.
    fn equal(&self, left: &Val<'_>, right: &Val<'_>) -> Result<bool, Stop> {
        self.spend(1)?;
        let is_said = left.is_said() || right.is_said();
        if let (Some(left), Some(right)) = (left.operand(), right.operand()) {
            return match (left, right) {
                (Operand::Callers(own), other) | (other, Operand::Callers(own)) => {
                    own.holds(Comparison::Equal, other).ok_or(Stop::Error)
                }
                _ => Ok(order(left, right) == Some(Ordering::Equal)),
            };
        }
        if let (Some(one), Some(other)) = (left.text(), right.text()) {
            return self.equal_texts((one, left.is_said()), (other, right.is_said()));
        }
        if let (Some(left), Some(right)) = (left.boolean(), right.boolean()) {
            return Ok(left == right);
        }
        match (left.names(), right.names()) {
            (Some(own), Some(others)) => {
                self.spend((own.len() + others.len()) / MEMBERS_PER_STEP)?;
                if own != others {
                    return if is_said { Err(Stop::Error) } else { Ok(false) };
                }
                return self
                    .all_equal(own.into_iter().map(|name| Ok((self.member(left, name)?, self.member(right, name)?))));
            }
            (None, None) => {}
            _ => return if is_said { Err(Stop::Error) } else { Ok(false) },
        }
        match (left.length(), right.length()) {
            (Ok(own), Ok(others)) if own == others => self.all_equal((0..own).map(|at| {
                let (Some(left), Some(right)) = (left.at(at), right.at(at)) else { return Err(Stop::Error) };
                Ok((left, right))
            })),
            (Ok(_), Ok(_)) => Ok(false),
            _ if left.is_null() && right.is_null() => Ok(true),
            _ if is_said => Err(Stop::Error),
            _ => Ok(false),
        }
    }

    /// Whether texts are the same, each with whether a caller wrote it. Those that differ are certain to be others for a server
    /// where they differ in more than case, blanks and other spellings ([`Readings`]), and a caller's does not lead elsewhere.
    fn equal_texts(&self, left: (&str, bool), right: (&str, bool)) -> Result<bool, Stop> {
        let ((one, one_is_said), (other, other_is_said)) = (left, right);
        self.spend(one.len().min(other.len()) / BYTES_PER_STEP)?;
        if one == other {
            return Ok(true);
        }
        if !one_is_said && !other_is_said {
            return Ok(false);
        }
        self.spend_on_readings(one, other)?;
        let differ = |one: &str, other: &str| one.trim() != other.trim();
        let differ = !leads(left, right) && self.in_all_readings(one, other, true, differ)?;
        if differ { Ok(false) } else { Err(Stop::Error) }
    }

    /// Whether all are pairs of equals; a pair that is certain not to be decides alone.
    fn all_equal<'l, 'r>(&self, pairs: impl Iterator<Item = Result<(Val<'l>, Val<'r>), Stop>>) -> Result<bool, Stop> {
        let mut all = Ok(true);
        for pair in pairs {
            all = decided(all, || pair.and_then(|(left, right)| self.equal(&left, &right)), false);
            if all == Ok(false) {
                break;
            }
        }
        all
    }
}

impl<'v> Val<'v> {
    fn claim(value: &'v Value) -> Self {
        match value {
            Value::Null => Val::Null,
            Value::Bool(value) => Val::Bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => Val::Int(number),
                (None, Some(number)) => Val::Double(number),
                (None, None) => Val::Null,
            },
            Value::String(text) => Val::Text(Cow::Borrowed(text)),
            Value::Array(elements) => Val::Array(elements),
            Value::Object(members) => Val::Map(members),
        }
    }

    fn argument(value: &'v Argument) -> Self {
        Self::Said(Said::Argument(value))
    }

    fn is_said(&self) -> bool {
        matches!(self, Self::Said(_))
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Null | Self::Said(Said::Argument(Argument::Null)))
    }

    fn boolean(&self) -> Option<bool> {
        match self {
            Self::Bool(value) | Self::Said(Said::Argument(Argument::Bool(value))) => Some(*value),
            _ => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Said(Said::Name(text)) => Some(text),
            Self::Said(Said::Argument(Argument::Text(text))) => Some(text),
            _ => None,
        }
    }

    fn operand(&self) -> Option<Operand> {
        match self {
            Self::Int(number) => Some(Operand::Integer(*number)),
            Self::Double(number) => Some(Operand::Double(*number)),
            Self::Said(Said::Argument(Argument::Number(number)) | Said::Size(number)) => {
                Some(Operand::Callers(*number))
            }
            _ => None,
        }
    }

    fn object(&self) -> Option<&'v Arguments> {
        match self {
            Self::Said(Said::Arguments(members)) => Some(members),
            Self::Said(Said::Argument(Argument::Object(members))) => Some(members),
            _ => None,
        }
    }

    /// The names of a map's members, in order.
    fn names(&self) -> Option<Vec<&str>> {
        match self {
            Self::Map(members) => Some(members.keys().map(String::as_str).collect()),
            of => of.object().map(|members| members.members().map(|(name, _)| name).collect()),
        }
    }

    /// How many elements a list has.
    fn length(&self) -> Result<usize, Stop> {
        match self {
            Self::List(elements) => Ok(elements.len()),
            Self::Array(elements) => Ok(elements.len()),
            Self::Said(Said::Argument(Argument::List(elements))) if is_flat(elements) => Ok(elements.len()),
            _ => Err(Stop::Error),
        }
    }

    /// An element of a list.
    fn at(&self, at: usize) -> Option<Self> {
        match self {
            Self::List(elements) => elements.get(at).cloned(),
            Self::Array(elements) => elements.get(at).map(Val::claim),
            Self::Said(Said::Argument(Argument::List(elements))) if is_flat(elements) => {
                elements.get(at).map(Val::argument)
            }
            _ => None,
        }
    }
}

/// Whether a caller's list is one to all: some servers take the first or the last element for it, which may be a list as well.
fn is_flat(elements: &[Argument]) -> bool {
    let is_list = |element: Option<&Argument>| matches!(element, Some(Argument::List(_)));
    !is_list(elements.first()) && !is_list(elements.last())
}

fn boolean(value: Result<Val<'_>, Stop>) -> Result<bool, Stop> {
    value?.boolean().ok_or(Stop::Error)
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

/// Whether one of two texts leads elsewhere than the other and a caller wrote it.
fn leads((left, left_is_said): (&str, bool), (right, right_is_said): (&str, bool)) -> bool {
    let (one, other) = (Detours::of(left), Detours::of(right));
    (left_is_said && one.exceed(other)) || (right_is_said && other.exceed(one))
}

/// How two numbers compare that are ours or claims.
fn order(left: Operand, right: Operand) -> Option<Ordering> {
    match (left, right) {
        (Operand::Integer(left), Operand::Integer(right)) => Some(left.cmp(&right)),
        (Operand::Integer(left), Operand::Double(right)) => (left as f64).partial_cmp(&right),
        (Operand::Double(left), Operand::Integer(right)) => left.partial_cmp(&(right as f64)),
        (Operand::Double(left), Operand::Double(right)) => left.partial_cmp(&right),
        (Operand::Callers(_), _) | (_, Operand::Callers(_)) => None,
    }
}

fn is(comparison: Comparison, order: Ordering) -> bool {
    match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

/// The same comparison seen from the other side.
fn turned(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        same @ (Comparison::Equal | Comparison::NotEqual) => same,
    }
}
