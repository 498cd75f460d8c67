//! Whether a claim or an argument is what a rule asks for.
//!
//! Claims are taken at their word; an argument must be what is asked for in every reading of it ([`Argument`]).

use serde_json::{Map, Value};

use crate::arguments::{Argument, Arguments, BYTES_PER_STEP, Number, Operand};
use crate::config::{Scalar, ValueMatch, ValueTest};
use crate::expression::Comparison;
use crate::glob::Glob;
use crate::path::{ArgumentPath, ClaimPath, PathFault};

/// A condition on a claim, ready for use.
#[derive(Clone, Debug)]
pub struct ClaimCondition {
    path: ClaimPath,
    test: Test,
}

/// A condition on an argument, ready for use.
#[derive(Clone, Debug)]
pub struct ArgumentCondition {
    path: ArgumentPath,
    test: Test,
}

/// How many values are compared in one step.
const VALUES_PER_STEP: usize = 16;

#[derive(Clone, Debug)]
enum Test {
    In(Vec<Scalar>),
    Contains(Scalar),
    Matches(Glob),
    AtMost(i64),
    AtLeast(i64),
}

impl ClaimCondition {
    /// Prepares a condition.
    ///
    /// # Errors
    /// When its path is none.
    pub fn new(written: &ValueMatch) -> Result<Self, PathFault> {
        Ok(Self { path: ClaimPath::parse(&written.path)?, test: Test::new(&written.test) })
    }

    /// Whether the claim is there and fits; of an array, one element.
    #[must_use]
    pub fn fits(&self, claims: &Map<String, Value>) -> bool {
        self.path.find(claims).is_some_and(|claim| match claim {
            Value::Array(items) => items.iter().any(|item| self.test.fits_claim(item)),
            other => self.test.fits_claim(other),
        })
    }
}

impl ArgumentCondition {
    /// Prepares a condition.
    ///
    /// # Errors
    /// When its path is none.
    pub fn new(written: &ValueMatch) -> Result<Self, PathFault> {
        Ok(Self { path: ArgumentPath::parse(&written.path)?, test: Test::new(&written.test) })
    }

    /// Whether the argument is there and fits; of an array, every element, since the server acts on all of them. Nothing fits
    /// once rules have taken too many steps.
    #[must_use]
    pub fn fits(&self, arguments: &Arguments) -> bool {
        let fits = |value: &Argument| arguments.spend(self.test.steps(value)).is_ok() && self.test.fits_argument(value);
        self.path.find(arguments).is_some_and(|argument| match (argument, &self.test) {
            (Argument::List(items), Test::Contains(_)) => items.iter().any(fits),
            (Argument::List(items), _) => !items.is_empty() && items.iter().all(fits),
            (other, _) => fits(other),
        })
    }
}

impl Test {
    fn new(written: &ValueTest) -> Self {
        match written {
            ValueTest::In(values) => Self::In(values.clone()),
            ValueTest::Contains(value) => Self::Contains(value.clone()),
            ValueTest::Matches(pattern) => Self::Matches(Glob::new(pattern)),
            ValueTest::AtMost(number) => Self::AtMost(*number),
            ValueTest::AtLeast(number) => Self::AtLeast(*number),
        }
    }

    fn fits_claim(&self, value: &Value) -> bool {
        match self {
            Self::In(values) => values.iter().any(|wanted| is_claim(wanted, value)),
            Self::Contains(wanted) => is_claim(wanted, value),
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

    /// What it costs to test this.
    fn steps(&self, value: &Argument) -> usize {
        let bytes = match value {
            Argument::Text(text) => text.len(),
            _ => 0,
        };
        match self {
            Self::In(values) => 1 + values.len() / VALUES_PER_STEP,
            Self::Matches(_) => 1 + bytes / BYTES_PER_STEP,
            Self::Contains(_) | Self::AtMost(_) | Self::AtLeast(_) => 1,
        }
    }

    fn fits_argument(&self, value: &Argument) -> bool {
        let is_number = |comparison: Comparison, limit: i64| match value {
            Argument::Number(number) => number.holds(comparison, Operand::Integer(limit)) == Some(true),
            _ => false,
        };
        match self {
            Self::In(values) => values.iter().any(|wanted| is_argument(wanted, value)),
            Self::Contains(wanted) => is_argument(wanted, value),
            Self::Matches(glob) => matches!(value, Argument::Text(text) if glob.matches_callers(text)),
            Self::AtMost(most) => is_number(Comparison::LessOrEqual, *most),
            Self::AtLeast(least) => is_number(Comparison::GreaterOrEqual, *least),
        }
    }
}

/// Of the same type and equal.
fn is_claim(wanted: &Scalar, value: &Value) -> bool {
    match wanted {
        Scalar::Bool(wanted) => value.as_bool() == Some(*wanted),
        Scalar::Integer(wanted) => value.as_i64() == Some(*wanted),
        Scalar::String(wanted) => value.as_str() == Some(wanted),
    }
}

/// Of the same type and equal; `1.0` is not 1.
fn is_argument(wanted: &Scalar, value: &Argument) -> bool {
    match (wanted, value) {
        (Scalar::Bool(wanted), Argument::Bool(value)) => wanted == value,
        (Scalar::Integer(wanted), Argument::Number(Number::Integer(value))) => wanted == value,
        (Scalar::String(wanted), Argument::Text(value)) => wanted == value,
        _ => false,
    }
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
            let condition = ClaimCondition::new(&condition).expect("a path");
            assert_eq!(condition.fits(&object(claims.clone())), fits, "{name}");
        }
    }

    #[test]
    fn exactly_one_test_per_condition() {
        for wrong in [json!({ "path": "a" }), json!({ "path": "a", "in": ["x"], "matches": "x" })] {
            assert!(serde_json::from_value::<ValueMatch>(wrong).is_err());
        }
    }

    #[test]
    fn nothing_fits_once_rules_took_too_long() {
        let condition = |condition: Value| {
            let condition: ValueMatch = serde_json::from_value(condition).expect("a condition");
            ArgumentCondition::new(&condition).expect("a path")
        };
        let (text, list) = (format!("a/{}", "x".repeat(1_000_000)), vec![1; 20_000]);
        let arguments = json!({ "text": text, "list": list, "n": 1 }).to_string();
        let costly = [
            condition(json!({ "path": "text", "matches": "a/*" })),
            condition(json!({ "path": "list", "in": [1] })),
            condition(json!({ "path": "list", "atMost": 1 })),
        ];
        for one in costly {
            let arguments = Arguments::parse(arguments.as_bytes()).expect("an object");
            let cheap = condition(json!({ "path": "n", "in": [1] }));
            assert!(one.fits(&arguments) && cheap.fits(&arguments), "{one:?}");
            let fits = (0..100).filter(|_| one.fits(&arguments)).count();
            assert!(fits < 10, "{fits}: {one:?}");
            assert!(!cheap.fits(&arguments), "nor anything after it");
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
            ("a huge number at least", json!({ "n": u64::MAX }), json!({ "path": "n", "atLeast": 1000 }), false),
            ("a fraction", json!({ "n": 500.5 }), json!({ "path": "n", "atMost": 1000 }), true),
            ("a fraction that is rounded", json!({ "n": 999.5 }), json!({ "path": "n", "atMost": 999 }), false),
            ("a fraction for an integer", json!({ "n": 1.0 }), json!({ "path": "n", "in": [1] }), false),
            ("another type", json!({ "n": "1" }), json!({ "path": "n", "in": [1] }), false),
            ("a bool for a number", json!({ "n": true }), json!({ "path": "n", "in": [1] }), false),
            ("a list in a list", json!({ "r": [["a"]] }), json!({ "path": "r", "in": ["a"] }), false),
            ("a list as text", json!({ "r": "[\"a\"]" }), json!({ "path": "r", "contains": "a" }), false),
            ("a dot segment", json!({ "r": "acme/../x" }), json!({ "path": "r", "matches": "acme/*" }), false),
            (
                "one in a list",
                json!({ "r": ["acme/a", "acme/..%2fx"] }),
                json!({ "path": "r", "matches": "acme/*" }),
                false,
            ),
            ("a dot is a level", json!({ "a.b": 1, "a": { "b": 2 } }), json!({ "path": "a.b", "in": [1] }), false),
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
            let condition = ArgumentCondition::new(&condition).expect("a path");
            let arguments = Arguments::parse(arguments.to_string().as_bytes()).expect("an object");
            assert_eq!(condition.fits(&arguments), fits, "{name}");
        }
    }
}
