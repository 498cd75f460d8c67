//! By what the routes of a host are told apart, for the filter, which refuses what could be read as another route's.

use std::collections::BTreeSet;

use toolward_policy::route_choice::RouteChoice;

use std::sync::Arc;

use crate::model::{PathMatch, Route, StringMatch};

/// Delimiters that may stand in a path as they are (RFC 3986 section 3.3) and mean the same as octets to many servers.
const RESERVED: &str = "!$&'()*+,:=@";

/// None: all routes are protected alike, so that it does not matter which one is taken.
pub(super) fn of(routes: &[Arc<Route>]) -> Option<RouteChoice> {
    let policies: BTreeSet<&str> = routes.iter().map(|route| route.policy.as_str()).collect();
    if policies.len() < 2 {
        return None;
    }
    let matches = || routes.iter().map(|route| &route.matches);
    let headers = || matches().flat_map(|matches| &matches.headers);
    let names: BTreeSet<String> = headers().map(|(name, _)| name.clone()).collect();
    let is_single = |name: &&String| {
        let mut values = headers().filter(|(other, _)| other == *name).map(|(_, value)| value);
        values.all(|value| matches!(value, StringMatch::Exact(value) if !value.contains(',')))
    };
    Some(RouteChoice {
        single_headers: names.iter().filter(is_single).cloned().collect(),
        parameters: matches().flat_map(|matches| &matches.query).map(|(name, _)| name.clone()).collect(),
        methods: matches().filter_map(|matches| matches.method.clone()).collect(),
        path_characters: matches().flat_map(|matches| reserved(&matches.path)).collect(),
        headers: names,
    })
}

fn reserved(path: &PathMatch) -> Vec<char> {
    match path {
        PathMatch::Exact(path) | PathMatch::Prefix(path) => {
            path.chars().filter(|character| RESERVED.contains(*character)).collect()
        }
        // An expression may stand for any of them.
        PathMatch::Regex(_) => RESERVED.chars().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{HeaderChanges, RouteAction, RouteMatch};

    fn route(policy: &str, path: PathMatch, headers: &[(&str, StringMatch)]) -> Arc<Route> {
        Arc::new(Route {
            name: String::new(),
            id: String::new(),
            matches: RouteMatch {
                path,
                method: Some("GET".to_owned()),
                headers: headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
                query: vec![("tenant".to_owned(), StringMatch::Exact("prod".to_owned()))],
            },
            action: RouteAction::Respond { status: 404 },
            transport: Default::default(),
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
            policy: policy.to_owned(),
            names_host: false,
        })
    }

    #[test]
    fn routes_that_are_protected_alike_need_not_be_told_apart() {
        let path = || PathMatch::Prefix("/".to_owned());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[route("a", path(), &[]), route("a", path(), &[])]), None);
        assert!(of(&[route("a", path(), &[]), route("b", path(), &[])]).is_some());
    }

    #[test]
    fn what_matches_look_at_is_told() {
        let exact = |value: &str| StringMatch::Exact(value.to_owned());
        let headers = [("x-tenant", exact("prod")), ("accept", exact("a, b"))];
        let expression = [("x-tenant", exact("dev")), ("x-any", StringMatch::Regex(".*".to_owned()))];
        let routes = [
            route("a", PathMatch::Exact("/a:b".to_owned()), &headers),
            route("b", PathMatch::Prefix("/c".to_owned()), &expression),
        ];
        let told = of(&routes).expect("a choice").to_string();
        assert_eq!(
            told,
            "routes\nheader accept\nheader x-any\nheader x-tenant\nsingle x-tenant\nparameter tenant\nmethod GET\npath :"
        );
        let any = route("c", PathMatch::Regex("/[^/]+".to_owned()), &[]);
        let [first, _] = routes;
        assert_eq!(of(&[first, any]).expect("a choice").path_characters.len(), RESERVED.len());
    }
}
