//! Who calls.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

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

    /// What the token says.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
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
