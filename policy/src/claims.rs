//! Who calls, and whether a rule's conditions fit.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::config::{ClaimMatch, ClaimTest, Scalar};
use crate::glob::Glob;

/// A caller, as the verified token describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Caller {
    /// `iss`; empty for anonymous callers.
    pub issuer: String,
    /// `sub`, where the token has one.
    pub subject: Option<String>,
    claims: Map<String, Value>,
    scopes: BTreeSet<String>,
}

impl Caller {
    /// The caller with these claims.
    #[must_use]
    pub fn new(claims: Map<String, Value>) -> Self {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        Self { issuer: text("iss").unwrap_or_default(), subject: text("sub"), scopes: scopes(&claims), claims }
    }

    /// Somebody of whom nothing is known: no claims, no scopes.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Whether the token has this scope.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.contains(scope)
    }
}

/// `scope` is one string with spaces (RFC 8693 section 4.2), `scp` is what Entra ID and Okta send: a string or an array.
/// A claim of another type gives nothing.
fn scopes(claims: &Map<String, Value>) -> BTreeSet<String> {
    let mut scopes = BTreeSet::new();
    for claim in [claims.get("scope"), claims.get("scp")].into_iter().flatten() {
        match claim {
            Value::String(text) => scopes.extend(text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned)),
            Value::Array(items) => scopes.extend(items.iter().filter_map(Value::as_str).map(str::to_owned)),
            _ => {}
        }
    }
    scopes
}

/// A condition, ready for use.
#[derive(Clone, Debug)]
pub struct ClaimCondition {
    path: Vec<String>,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    In(Vec<Value>),
    Contains(Value),
    Matches(Glob),
}

impl ClaimCondition {
    /// Prepares a condition.
    #[must_use]
    pub fn new(claim: &ClaimMatch) -> Self {
        let test = match &claim.test {
            ClaimTest::In(values) => Test::In(values.iter().map(json).collect()),
            ClaimTest::Contains(value) => Test::Contains(json(value)),
            ClaimTest::Matches(pattern) => Test::Matches(Glob::new(pattern)),
        };
        Self { path: claim.path.split('.').map(str::to_owned).collect(), test }
    }

    /// Whether the caller's claim is there and fits.
    #[must_use]
    pub fn fits(&self, caller: &Caller) -> bool {
        find(&caller.claims, &self.path).is_some_and(|claim| self.test.fits(claim))
    }
}

impl Test {
    fn fits(&self, claim: &Value) -> bool {
        match claim {
            Value::Array(items) => items.iter().any(|item| self.fits_scalar(item)),
            other => self.fits_scalar(other),
        }
    }

    fn fits_scalar(&self, claim: &Value) -> bool {
        match self {
            Self::In(values) => values.contains(claim),
            Self::Contains(value) => value == claim,
            Self::Matches(glob) => claim.as_str().is_some_and(|text| glob.matches(text)),
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

/// Follows a path of member names. Names may have dots themselves (`https://example.com/roles`), so as many parts as
/// possible are taken for one name; a wrong turn is not taken back, so that one path means one claim.
fn find<'c>(claims: &'c Map<String, Value>, path: &[String]) -> Option<&'c Value> {
    for taken in (1..=path.len()).rev() {
        let (name, rest) = path.split_at(taken);
        if let Some(value) = claims.get(&name.join(".")) {
            return match (rest, value) {
                ([], value) => Some(value),
                (rest, Value::Object(members)) => find(members, rest),
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

    fn caller(claims: Value) -> Caller {
        match claims {
            Value::Object(claims) => Caller::new(claims),
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
            let condition: ClaimMatch = serde_json::from_value(condition).expect("a condition");
            assert_eq!(ClaimCondition::new(&condition).fits(&caller(claims.clone())), fits, "{name}");
        }
    }

    #[test]
    fn exactly_one_test_per_condition() {
        for wrong in [json!({ "path": "a" }), json!({ "path": "a", "in": ["x"], "matches": "x" })] {
            assert!(serde_json::from_value::<ClaimMatch>(wrong).is_err());
        }
    }

    #[test]
    fn scopes_of_all_shapes() {
        let rows = [
            ("string", json!({ "scope": "math.use mail.read" }), "mail.read", true),
            ("no prefix match", json!({ "scope": "math.users" }), "math.use", false),
            ("double spaces", json!({ "scope": "a  b" }), "b", true),
            ("a tab is no separator", json!({ "scope": "a\tb" }), "b", false),
            ("the empty scope is none", json!({ "scope": " " }), "", false),
            ("scp string", json!({ "scp": "a b" }), "b", true),
            ("scp array", json!({ "scp": ["a", "b"] }), "b", true),
            ("scp array with others", json!({ "scp": [1, "b"] }), "b", true),
            ("object", json!({ "scope": { "a": true } }), "a", false),
        ];
        for (name, claims, scope, has) in rows {
            assert_eq!(caller(claims).has_scope(scope), has, "{name}");
        }
    }
}
