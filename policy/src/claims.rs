//! Who calls.

use std::collections::{BTreeMap, BTreeSet};

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
    /// The caller with these claims, where some scopes hold others.
    #[must_use]
    pub fn new(claims: Map<String, Value>, implies: &BTreeMap<String, Vec<String>>) -> Self {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        let scopes = with_implied(scopes(&claims), implies);
        Self { issuer: text("iss").unwrap_or_default(), subject: text("sub"), scopes, claims }
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

/// Scopes with all that they hold, over any number of steps.
fn with_implied(scopes: BTreeSet<String>, implies: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut new: Vec<String> = scopes.into_iter().collect();
    while let Some(scope) = new.pop() {
        new.extend(implies.get(&scope).into_iter().flatten().filter(|implied| !all.contains(*implied)).cloned());
        all.insert(scope);
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn caller(claims: Value) -> Caller {
        match claims {
            Value::Object(claims) => Caller::new(claims, &BTreeMap::new()),
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

    #[test]
    fn scopes_that_hold_others() {
        let implies = |from: &str, to: &[&str]| (from.to_owned(), to.iter().map(|it| (*it).to_owned()).collect());
        let implies = BTreeMap::from([implies("admin", &["write"]), implies("write", &["read", "admin"])]);
        let has = |scope: &str, other: &str| {
            let claims = Map::from_iter([("scope".to_owned(), json!(scope))]);
            Caller::new(claims, &implies).has_scope(other)
        };
        assert!(has("admin", "admin") && has("admin", "write") && has("admin", "read"));
        assert!(has("write", "admin"), "rings end");
        assert!(!has("read", "write") && !has("other", "read"));
    }
}
