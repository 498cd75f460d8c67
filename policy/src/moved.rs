//! Routes that have another policy than a while ago. There may be many, each listener's table has them, and few are asked for:
//! so they are read as the lines of a text, and looked for when they are asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Ends each line.
const END: char = '\n';

/// Which key each of them has now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moved(Vec<Routes>);

/// Those of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Routes {
    /// Null: they are gone.
    policy: Option<String>,
    /// Each as [`RouteKey::route`](crate::config::RouteKey::route) with a line feed behind it, in the order of their bytes.
    routes: String,
}

impl Moved {
    /// These routes with the keys that they have now; none: it is gone.
    #[must_use]
    pub fn new<'a>(routes: &BTreeMap<String, Option<&'a str>>) -> Self {
        let mut keys: BTreeMap<Option<&'a str>, String> = BTreeMap::new();
        // Nobody asks for one that would be two lines.
        for (route, key) in routes.iter().filter(|(route, _)| !route.contains(END)) {
            let lines = keys.entry(*key).or_default();
            lines.push_str(route);
            lines.push(END);
        }
        Self(keys.into_iter().map(|(key, routes)| Routes { policy: key.map(str::to_owned), routes }).collect())
    }

    /// Whether no route moved.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many routes moved.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|routes| routes.routes.lines().count()).sum()
    }

    /// The key that a route has now; none: it did not move, `Some(None)`: it is gone.
    #[must_use]
    pub fn get(&self, route: &str) -> Option<Option<&str>> {
        self.0.iter().find(|routes| has_line(&routes.routes, route)).map(|routes| routes.policy.as_deref())
    }
}

/// Whether a line is among lines that are in order.
fn has_line(lines: &str, wanted: &str) -> bool {
    let mut rest = lines.as_bytes();
    loop {
        let middle = rest.len() / 2;
        let (before, after) = rest.split_at(middle);
        let start = before.iter().rposition(|byte| *byte == END as u8).map_or(0, |end| end + 1);
        let Some(length) = after.iter().position(|byte| *byte == END as u8) else { return false };
        let end = middle + length;
        match rest.get(start..end).unwrap_or_default().cmp(wanted.as_bytes()) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => rest = rest.get(end + 1..).unwrap_or_default(),
            std::cmp::Ordering::Greater => rest = rest.get(..start).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_read_is_what_was_written() {
        let routes = [("a@h", Some("new")), ("b@h", None), ("c@h", Some("new"))];
        let moved = Moved::new(&routes.map(|(route, key)| (route.to_owned(), key)).into());
        let json = serde_json::to_string(&moved).unwrap();
        assert_eq!(json, r#"[{"policy":null,"routes":"b@h\n"},{"policy":"new","routes":"a@h\nc@h\n"}]"#);
        assert_eq!(serde_json::from_str::<Moved>(&json).unwrap(), moved);
        assert_eq!(moved.len(), 3);
    }

    proptest! {
        #[test]
        fn each_is_found_and_no_other(
            routes in proptest::collection::btree_map("[ab@é]{0,4}", proptest::option::of("[kl]"), 0..40),
            others in proptest::collection::vec("[ab@é\n]{0,5}", 0..40),
        ) {
            let routes: BTreeMap<String, Option<&str>> =
                routes.iter().map(|(route, key)| (route.clone(), key.as_deref())).collect();
            let moved = Moved::new(&routes);
            prop_assert_eq!(moved.len(), routes.len());
            for route in routes.keys().chain(&others) {
                prop_assert_eq!(moved.get(route), routes.get(route).copied(), "{:?}", route);
            }
        }
    }

    /// No configuration makes it look for ever, or reach outside.
    #[test]
    fn lines_as_nobody_writes_them() {
        for lines in ["", "\n", "\n\n", "a", "a\nb", "b\na\n", "é\n"] {
            for wanted in ["", "a", "b", "é", "\n"] {
                has_line(lines, wanted);
            }
        }
        assert!(has_line("\n", "") && !has_line("", ""));
    }
}
