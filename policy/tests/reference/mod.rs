//! A reading of expressions that knows values, levels and types and nothing else: what it can't say is none. And what servers
//! make of arguments.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};
use toolward_policy::expression::{Comparison, Expression, Literal, TextTest};

pub(crate) struct Reference<'a> {
    pub(crate) arguments: &'a Value,
}

type Variables<'v> = [(&'v str, Value)];

impl Reference<'_> {
    pub(crate) fn bool(&self, expression: &Expression, variables: &Variables<'_>) -> Option<bool> {
        self.value(expression, variables)?.as_bool()
    }

    fn value(&self, expression: &Expression, variables: &Variables<'_>) -> Option<Value> {
        let value = |expression: &Expression| self.value(expression, variables);
        let bool = |expression: &Expression| self.bool(expression, variables);
        Some(match expression {
            Expression::Literal(literal) => match literal {
                Literal::Null(()) => Value::Null,
                Literal::Bool(value) => json!(value),
                Literal::Int(value) => json!(value),
                Literal::Double(value) => json!(value),
                Literal::String(text) => json!(text),
            },
            Expression::Variable(name) => variables.iter().rev().find(|(own, _)| own == name)?.1.clone(),
            Expression::List(elements) => elements.iter().map(value).collect::<Option<Vec<_>>>()?.into(),
            Expression::Member(of, _) if matches!(of.as_ref(), Expression::Variable(root) if root == "mcp") => {
                self.arguments.clone()
            }
            Expression::Member(of, name) => value(of)?.as_object()?.get(name)?.clone(),
            Expression::Has(of, name) => json!(value(of)?.as_object()?.contains_key(name)),
            Expression::Index(of, at) => match (value(of)?, value(at)?) {
                (Value::Object(of), Value::String(at)) => of.get(&at)?.clone(),
                (Value::Array(of), at) => of.get(usize::try_from(at.as_i64()?).ok()?)?.clone(),
                _ => return None,
            },
            Expression::Not(inner) => json!(!bool(inner)?),
            Expression::And(left, right) => json!(!any([bool(left).map(|it| !it), bool(right).map(|it| !it)])?),
            Expression::Or(left, right) => json!(any([bool(left), bool(right)])?),
            Expression::If(condition, yes, no) => value(if bool(condition)? { yes } else { no })?,
            Expression::Compare(comparison, left, right) => json!(compare(*comparison, &value(left)?, &value(right)?)?),
            Expression::In(element, of) => match (value(element)?, value(of)?) {
                (element, Value::Array(of)) => json!(any(of.iter().map(|other| equal(&element, other)))?),
                // Members are asked for by `has`.
                _ => return None,
            },
            Expression::Text(test, of, part) => {
                let (of, part) = (value(of)?, value(part)?);
                let (of, part) = (of.as_str()?, part.as_str()?);
                json!(match test {
                    TextTest::StartsWith => of.starts_with(part),
                    TextTest::EndsWith => of.ends_with(part),
                    TextTest::Contains => of.contains(part),
                })
            }
            Expression::Size(of) => match value(of)? {
                Value::String(text) => json!(text.chars().count()),
                Value::Array(items) => json!(items.len()),
                Value::Object(members) => json!(members.len()),
                _ => return None,
            },
            Expression::Exists(of, name, each) => json!(any(self.each(of, name, each, variables)?)?),
            Expression::All(of, name, each) => {
                json!(!any(self.each(of, name, each, variables)?.into_iter().map(|it| it.map(|it| !it)))?)
            }
        })
    }

    fn each(
        &self,
        of: &Expression,
        name: &str,
        each: &Expression,
        around: &Variables<'_>,
    ) -> Option<Vec<Option<bool>>> {
        let of = self.value(of, around)?;
        let with = |item: &Value| [around, &[(name, item.clone())]].concat();
        Some(of.as_array()?.iter().map(|item| self.bool(each, &with(item))).collect())
    }
}

/// Whether one of several is true; one that is nothing could be.
fn any(all: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let all: Vec<_> = all.into_iter().collect();
    if all.contains(&Some(true)) {
        return Some(true);
    }
    (!all.contains(&None)).then_some(false)
}

fn compare(comparison: Comparison, left: &Value, right: &Value) -> Option<bool> {
    let order = || match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        _ => None,
    };
    Some(match comparison {
        Comparison::Equal => equal(left, right)?,
        Comparison::NotEqual => !equal(left, right)?,
        Comparison::Less => order()?.is_lt(),
        Comparison::LessOrEqual => order()?.is_le(),
        Comparison::Greater => order()?.is_gt(),
        Comparison::GreaterOrEqual => order()?.is_ge(),
    })
}

fn equal(left: &Value, right: &Value) -> Option<bool> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            Some(left.as_f64()?.partial_cmp(&right.as_f64()?) == Some(Ordering::Equal))
        }
        (Value::Array(left), Value::Array(right)) if left.len() != right.len() => Some(false),
        (Value::Array(left), Value::Array(right)) => {
            any(left.iter().zip(right).map(|(left, right)| equal(left, right).map(|equal| !equal)))
                .map(|differ| !differ)
        }
        (Value::Object(left), Value::Object(right)) => {
            if !left.keys().eq(right.keys()) {
                return Some(false);
            }
            any(left.values().zip(right.values()).map(|(left, right)| equal(left, right).map(|equal| !equal)))
                .map(|differ| !differ)
        }
        (Value::String(left), Value::String(right)) => Some(left == right),
        (Value::Bool(left), Value::Bool(right)) => Some(left == right),
        (Value::Null, Value::Null) => Some(true),
        _ => None,
    }
}

/// Whether the size of something is asked for, which says nothing of its type.
pub(crate) fn asks_for_size(expression: &Expression) -> bool {
    serde_json::to_string(expression).is_ok_and(|text| text.contains("\"size\""))
}

/// What a server makes of arguments: `turns` says of each value, in order, into what it is turned. A list is taken for its
/// element only where nobody asks for a size.
pub(crate) fn read_otherwise(arguments: &Value, turns: &[u8], keeps_lists: bool) -> Value {
    let mut turns = turns.iter().copied();
    let Value::Object(members) = arguments else { return arguments.clone() };
    Value::Object(turned_members(members, &mut turns, keeps_lists))
}

fn turned_members(
    members: &Map<String, Value>,
    turns: &mut impl Iterator<Item = u8>,
    keeps_lists: bool,
) -> Map<String, Value> {
    let mut read = Map::new();
    let fold = turns.next().unwrap_or_default() % 4;
    for (name, value) in members {
        let value = turned(value, turns, keeps_lists);
        match fold {
            1 => {
                let letters = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
                read.insert(letters.to_lowercase(), value);
            }
            2 if name.contains(['.', '[', '/']) => {
                let levels: Vec<&str> = name.split(['.', '[', ']', '/']).filter(|level| !level.is_empty()).collect();
                let inner = levels.iter().skip(1).rev().fold(value, |value, level| json!({ *level: value }));
                read.insert(levels.first().map_or_else(String::new, |level| (*level).to_owned()), inner);
            }
            3 if name == "__proto__" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    read.entry(name).or_insert(value.clone());
                }
            }
            _ => drop(read.insert(name.clone(), value)),
        }
    }
    read
}

fn turned(value: &Value, turns: &mut impl Iterator<Item = u8>, keeps_lists: bool) -> Value {
    let turn = turns.next().unwrap_or_default() % 10;
    match value {
        Value::String(text) => match turn {
            1 => text
                .trim()
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite())
                .map_or_else(|| value.clone(), number),
            2 => json!(matches!(text.trim().to_lowercase().as_str(), "true" | "1" | "yes")),
            3 => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
            4 => json!([text]),
            5 => text.split(',').map(Value::from).collect(),
            6 => json!(text.trim().to_lowercase()),
            7 => json!(resolved(text)),
            8 => json!(decoded(text)),
            9 => json!(plain(text)),
            _ => value.clone(),
        },
        Value::Number(own) => {
            let own = own.as_f64().unwrap_or_default();
            match turn {
                1 => number(own.floor()),
                2 => number(own.ceil()),
                3 => json!(own != 0.0),
                4 => json!([value]),
                5 => json!(value.to_string()),
                _ => value.clone(),
            }
        }
        Value::Bool(own) => match turn {
            1 => json!(i32::from(*own)),
            2 => json!(own.to_string()),
            3 => json!([own]),
            _ => value.clone(),
        },
        Value::Null => match turn {
            1 => json!(0),
            2 => json!(""),
            3 => json!(false),
            4 => json!([]),
            _ => value.clone(),
        },
        Value::Array(items) => match turn {
            1 if !keeps_lists => items.first().cloned().unwrap_or(Value::Null),
            2 if !keeps_lists => items.last().cloned().unwrap_or(Value::Null),
            3 => {
                items.iter().enumerate().map(|(at, item)| (at.to_string(), item.clone())).collect::<Map<_, _>>().into()
            }
            _ => items.iter().map(|item| turned(item, turns, keeps_lists)).collect(),
        },
        Value::Object(members) => match turn {
            1 => members.values().cloned().collect(),
            _ => turned_members(members, turns, keeps_lists).into(),
        },
    }
}

#[expect(clippy::cast_possible_truncation, reason = "small")]
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e9 { json!(value as i64) } else { json!(value) }
}

/// A path without its dot segments.
fn resolved(text: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let decoded = text.replace("%2e", ".");
    for segment in decoded.split('/') {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    segments.join("/")
}

/// A text without percent-encoding.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let escaped = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped.filter(|_| !part.starts_with('+')) {
            Some(byte) => decoded.extend([&[byte], part.get(2..).unwrap_or_default().as_bytes()].concat()),
            None => decoded.extend([b"%", part.as_bytes()].concat()),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// A text in half-width forms, without what is not seen.
fn plain(text: &str) -> String {
    let seen = text.chars().filter(|character| !matches!(character, '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{ad}'));
    let narrow = |character: char| match character {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character),
        _ => character,
    };
    seen.map(narrow).collect()
}
