//! Routes that have another policy than a while ago. There may be many, and each table of the listener has them: so they are
//! read as the lines of a text, in which a route is looked for when somebody asks.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Ends each line.
const END: u8 = b'\n';

/// Stands between a route and the place of its key. No route has either.
const THEN: char = '\t';

/// Which key each of them has now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Moved {
    /// The keys that they have now; null: they are gone.
    keys: Vec<Option<String>>,
    /// Each as [`RouteKey::route`](crate::config::RouteKey::route), a tab, the place of its key and a line feed, in the order of
    /// the routes' bytes.
    routes: String,
}

impl Moved {
    /// These routes with the keys that they have now; none: it is gone.
    #[must_use]
    pub fn new<'a>(routes: &BTreeMap<String, Option<&'a str>>) -> Self {
        let mut places: BTreeMap<Option<&'a str>, usize> = routes.values().map(|key| (*key, 0)).collect();
        places.values_mut().enumerate().for_each(|(place, of_key)| *of_key = place);
        let mut lines = String::new();
        for (route, key) in routes.iter().filter(|(route, _)| !route.contains([THEN, char::from(END)])) {
            let place = places.get(key).copied().unwrap_or_default();
            // A text takes whatever is written to it.
            let _ = writeln!(lines, "{route}{THEN}{place}");
        }
        Self { keys: places.into_keys().map(|key| key.map(str::to_owned)).collect(), routes: lines }
    }

    /// Whether no route moved.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// How many routes moved.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.lines().count()
    }

    /// The key that a route has now; none: it did not move, `Some(None)`: it is gone.
    #[must_use]
    pub fn get(&self, route: &str) -> Option<Option<&str>> {
        let place = place_of(&self.routes, route)?;
        self.keys.get(place).map(Option::as_deref)
    }
}

/// What stands behind a route, in lines that are in order.
fn place_of(lines: &str, wanted: &str) -> Option<usize> {
    let mut rest = lines;
    loop {
        let bytes = rest.as_bytes();
        let (before, after) = bytes.split_at(bytes.len() / 2);
        let start = before.iter().rposition(|byte| *byte == END).map_or(0, |end| end + 1);
        let end = before.len() + after.iter().position(|byte| *byte == END)?;
        let (route, place) = rest.get(start..end)?.split_once(THEN)?;
        match route.cmp(wanted) {
            Ordering::Equal => return place.parse().ok(),
            Ordering::Less => rest = rest.get(end + 1..)?,
            Ordering::Greater => rest = rest.get(..start)?,
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
        assert_eq!(json, r#"{"keys":[null,"new"],"routes":"a@h\t1\nb@h\t0\nc@h\t1\n"}"#);
        assert_eq!(serde_json::from_str::<Moved>(&json).unwrap(), moved);
        assert_eq!(moved.len(), 3);
    }

    proptest! {
        #[test]
        fn each_is_found_and_no_other(
            routes in proptest::collection::btree_map("[ab@é !]{0,4}", proptest::option::of("[kl]{1,2}"), 0..40),
            others in proptest::collection::vec("[ab@é !\t\n]{0,5}", 0..40),
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

    fn lines_of(routes: &str) -> impl Iterator<Item = (&str, &str)> {
        routes.lines().filter_map(|line| line.split_once(THEN))
    }

    /// No configuration makes it look for ever, reach outside, or find what is not there.
    #[test]
    fn lines_as_nobody_writes_them() {
        for routes in ["", "\n", "\n\n", "a", "a\nb", "a\t0", "b\t0\na\t0\n", "a\tx\n", "a\t7\n", "é\t0\n", "\t0\n"] {
            let moved = Moved { keys: vec![None], routes: routes.to_owned() };
            for wanted in ["", "a", "b", "é", "\n", "\t"] {
                let is_known = lines_of(routes).any(|(route, place)| route == wanted && place == "0");
                assert!(is_known || moved.get(wanted).is_none(), "{routes:?} {wanted:?}");
            }
        }
    }
}
