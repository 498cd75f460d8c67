//! Whether a claim or an argument is what a rule asks for.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::config::{Scalar, ValueMatch, ValueTest};
use crate::glob::Glob;

/// A condition, ready for use.
#[derive(Clone, Debug)]
pub struct Condition {
    path: Vec<String>,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    In(Vec<Value>),
    Contains(Value),
    Matches(Glob),
    AtMost(i64),
    AtLeast(i64),
}

impl Condition {
    /// Prepares a condition.
    #[must_use]
    pub fn new(written: &ValueMatch) -> Self {
        let test = match &written.test {
            ValueTest::In(values) => Test::In(values.iter().map(json).collect()),
            ValueTest::Contains(value) => Test::Contains(json(value)),
            ValueTest::Matches(pattern) => Test::Matches(Glob::new(pattern)),
            ValueTest::AtMost(number) => Test::AtMost(*number),
            ValueTest::AtLeast(number) => Test::AtLeast(*number),
        };
        Self { path: written.path.split('.').map(str::to_owned).collect(), test }
    }

    /// Whether the claim is there and fits; of an array, one element.
    #[must_use]
    pub fn fits_claims(&self, claims: &Map<String, Value>) -> bool {
        find(claims, &self.path, &mut |_, _| true).is_some_and(|claim| match claim {
            Value::Array(items) => items.iter().any(|item| self.test.fits(item)),
            other => self.test.fits(other),
        })
    }

    /// Whether the argument is there and fits; of an array, every element, since the server acts on all of them. An
    /// argument beside which another one stands that a server could take for it does not fit.
    #[must_use]
    pub fn fits_arguments(&self, arguments: &Map<String, Value>) -> bool {
        find(arguments, &self.path, &mut stands_alone).is_some_and(|argument| match (argument, &self.test) {
            (Value::Array(items), Test::Contains(value)) => items.contains(value),
            (Value::Array(items), test) => !items.is_empty() && items.iter().all(|item| test.fits(item)),
            (other, test) => test.fits(other),
        })
    }
}

impl Test {
    fn fits(&self, value: &Value) -> bool {
        match self {
            Self::In(values) => values.contains(value),
            Self::Contains(wanted) => wanted == value,
            Self::Matches(glob) => value.as_str().is_some_and(|text| glob.matches(text)),
            Self::AtMost(most) => match (value.as_i64(), value.as_u64(), value.as_f64()) {
                (Some(number), ..) => number <= *most,
                (None, None, Some(number)) => number <= *most as f64,
                _ => false,
            },
            Self::AtLeast(least) => match (value.as_i64(), value.as_u64(), value.as_f64()) {
                (Some(number), ..) => number >= *least,
                // Past the largest signed integer.
                (None, Some(_), _) => true,
                (None, None, Some(number)) => number >= *least as f64,
                (None, None, None) => false,
            },
        }
    }
}

fn json(scalar: &Scalar) -> Value {
    match scalar {
        Scalar::Bool(value) => Value::Bool(*value),
        Scalar::Integer(value) => Value::from(*value),
        Scalar::String(value) => Value::String(value.clone()),
    }
}

/// Whether no other member of an object could be taken for this one, by folding case or dropping characters.
pub(crate) fn stands_alone(members: &Map<String, Value>, name: &str) -> bool {
    members.keys().filter(|key| *key != name).all(|key| {
        let plain = key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        plain && !key.trim().eq_ignore_ascii_case(name)
    })
}

/// Follows a path of member names. Names may have dots themselves (`https://example.com/roles`), so as many parts as
/// possible are taken for one name; a wrong turn is not taken back, so that one path means one value.
fn find<'v>(
    members: &'v Map<String, Value>,
    path: &[String],
    is_acceptable: &mut dyn FnMut(&Map<String, Value>, &str) -> bool,
) -> Option<&'v Value> {
    for taken in (1..=path.len()).rev() {
        let (name, rest) = path.split_at(taken);
        let name = match name {
            [only] => Cow::Borrowed(only.as_str()),
            several => Cow::Owned(several.join(".")),
        };
        if let Some(value) = members.get(name.as_ref()) {
            if !is_acceptable(members, &name) {
                return None;
            }
            return match (rest, value) {
                ([], value) => Some(value),
                (rest, Value::Object(members)) => find(members, rest, is_acceptable),
                _ => None,
            };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(members) => members,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn conditions() {
        let claims = json!({
            "team": "ops", "level": 3, "half": 0.5, "admin": true, "empty": [], "none": null,
            "groups": ["dev", "ops"], "realm_access": { "roles": ["admin", "user"] },
            "https://example.com/roles": ["writer"], "a.b": { "c": 1 }, "a": { "b": { "c": 2, "d": 3 } },
        });
        let rows = [
            ("in", json!({ "path": "team", "in": ["sre", "ops"] }), true),
            ("in, another", json!({ "path": "team", "in": ["sales"] }), false),
            ("in, array claim", json!({ "path": "groups", "in": ["ops"] }), true),
            ("in, integer", json!({ "path": "level", "in": [3] }), true),
            ("in, integer as string", json!({ "path": "level", "in": ["3"] }), false),
            ("in, bool", json!({ "path": "admin", "in": [true] }), true),
            ("in, bool as string", json!({ "path": "admin", "in": ["true"] }), false),
            ("contains", json!({ "path": "realm_access.roles", "contains": "admin" }), true),
            ("contains is no substring test", json!({ "path": "team", "contains": "op" }), false),
            ("contains on a scalar", json!({ "path": "team", "contains": "ops" }), true),
            ("contains, empty array", json!({ "path": "empty", "contains": "x" }), false),
            ("matches", json!({ "path": "team", "matches": "o*" }), true),
            ("matches, array claim", json!({ "path": "groups", "matches": "de*" }), true),
            ("matches, number", json!({ "path": "level", "matches": "*" }), false),
            ("name with dots", json!({ "path": "https://example.com/roles", "contains": "writer" }), true),
            ("the longest name wins", json!({ "path": "a.b.c", "in": [1] }), true),
            ("and is not taken back", json!({ "path": "a.b.d", "in": [3] }), false),
            ("missing", json!({ "path": "nope", "matches": "*" }), false),
            ("missing inside", json!({ "path": "realm_access.nope", "matches": "*" }), false),
            ("through a scalar", json!({ "path": "team.x", "matches": "*" }), false),
            ("null", json!({ "path": "none", "matches": "*" }), false),
        ];
        for (name, condition, fits) in rows {
            let condition: ValueMatch = serde_json::from_value(condition).expect("a condition");
            assert_eq!(Condition::new(&condition).fits_claims(&object(claims.clone())), fits, "{name}");
        }
    }

    #[test]
    fn exactly_one_test_per_condition() {
        for wrong in [json!({ "path": "a" }), json!({ "path": "a", "in": ["x"], "matches": "x" })] {
            assert!(serde_json::from_value::<ValueMatch>(wrong).is_err());
        }
    }

    #[test]
    fn conditions_on_arguments() {
        let rows = [
            ("matches", json!({ "repo": "acme/x" }), json!({ "path": "repo", "matches": "acme/*" }), true),
            ("another", json!({ "repo": "evil/x" }), json!({ "path": "repo", "matches": "acme/*" }), false),
            ("missing", json!({}), json!({ "path": "repo", "matches": "*" }), false),
            ("all of an array", json!({ "r": ["a/1", "a/2"] }), json!({ "path": "r", "matches": "a/*" }), true),
            ("not all of it", json!({ "r": ["a/1", "b/2"] }), json!({ "path": "r", "matches": "a/*" }), false),
            ("an empty array", json!({ "r": [] }), json!({ "path": "r", "matches": "*" }), false),
            ("contains", json!({ "r": ["a", "b"] }), json!({ "path": "r", "contains": "a" }), true),
            ("at most", json!({ "n": 1000 }), json!({ "path": "n", "atMost": 1000 }), true),
            ("more", json!({ "n": 1001 }), json!({ "path": "n", "atMost": 1000 }), false),
            ("a fraction more", json!({ "n": 1000.5 }), json!({ "path": "n", "atMost": 1000 }), false),
            ("a huge number", json!({ "n": u64::MAX }), json!({ "path": "n", "atMost": 1000 }), false),
            ("a huge number at least", json!({ "n": u64::MAX }), json!({ "path": "n", "atLeast": 1000 }), true),
            ("a number as string", json!({ "n": "5" }), json!({ "path": "n", "atMost": 1000 }), false),
            ("less", json!({ "n": 1 }), json!({ "path": "n", "atLeast": 2 }), false),
            ("inside", json!({ "a": { "b": 1 } }), json!({ "path": "a.b", "in": [1] }), true),
            ("another case beside", json!({ "n": 1, "N": 2 }), json!({ "path": "n", "in": [1] }), false),
            ("a look-alike beside", json!({ "as": 1, "a\u{17f}": 2 }), json!({ "path": "as", "in": [1] }), false),
            ("beside inside", json!({ "a": { "b": 1, "B": 2 } }), json!({ "path": "a.b", "in": [1] }), false),
            ("an unrelated one beside", json!({ "n": 1, "M": 2 }), json!({ "path": "n", "in": [1] }), true),
        ];
        for (name, arguments, condition, fits) in rows {
            let condition: ValueMatch = serde_json::from_value(condition).expect("a condition");
            assert_eq!(Condition::new(&condition).fits_arguments(&object(arguments)), fits, "{name}");
        }
    }
}
