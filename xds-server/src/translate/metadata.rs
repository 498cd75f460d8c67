//! Routes that the control plane adds: each protected endpoint has another one beside it, by which clients learn who issues
//! tokens for it (RFC 9728 section 3.1).

use std::collections::BTreeMap;

use toolward_policy::config::ProtectedResource;
use toolward_policy::protected_resource::WELL_KNOWN;

use crate::model::{HeaderChanges, PathMatch, Route, RouteAction, RouteMatch};

use super::expression;
use super::table::Table;

/// The route that tells of an endpoint.
pub(super) struct Described {
    pub(super) route: Route,
    endpoint: PathMatch,
    policy: String,
    resource: ProtectedResource,
}

impl Described {
    /// The metadata of what a route leads to; none where they would be metadata of metadata, or where Envoy would not take
    /// the expression.
    pub(super) fn new(route: &Route, resource: &ProtectedResource, table: &mut Table) -> Option<Self> {
        let endpoint = route.matches.path.clone();
        let path = match &endpoint {
            PathMatch::Exact(path) | PathMatch::Prefix(path) if path.starts_with(WELL_KNOWN) => return None,
            PathMatch::Exact(path) => PathMatch::Exact(format!("{WELL_KNOWN}{path}")),
            PathMatch::Prefix(prefix) if prefix == "/" => PathMatch::Prefix(WELL_KNOWN.to_owned()),
            PathMatch::Prefix(prefix) => PathMatch::Prefix(format!("{WELL_KNOWN}{prefix}")),
            PathMatch::Regex(pattern) => {
                let well_known = WELL_KNOWN.replace('.', r"\.");
                PathMatch::Regex(expression::check(&format!("{well_known}(?:{pattern})")).ok()?)
            }
        };
        let policy = route.policy.clone();
        let key = table.add_metadata(&policy, resource, None);
        let route = metadata_route(format!("{}/metadata", route.name), path, key);
        Some(Self { route, endpoint, policy, resource: resource.clone() })
    }
}

/// Where one endpoint is alone, its metadata are at the root as well.
pub(super) fn at_root(routes: &[Route], described: &[&Described], table: &mut Table) -> Option<Route> {
    let endpoints: BTreeMap<&str, &&Described> = described
        .iter()
        .map(|described| match &described.endpoint {
            PathMatch::Exact(path) | PathMatch::Prefix(path) => Some((path.as_str(), described)),
            PathMatch::Regex(_) => None,
        })
        .collect::<Option<_>>()?;
    let (path, described) = endpoints.iter().next().filter(|(path, _)| endpoints.len() == 1 && **path != "/")?;
    let root = PathMatch::Exact(WELL_KNOWN.to_owned());
    if routes.iter().any(|route| route.matches.path == root) {
        return None;
    }
    let policy = table.add_metadata(&described.policy, &described.resource, Some(path));
    Some(metadata_route(format!("{}/root", described.route.name), root, policy))
}

fn metadata_route(name: String, path: PathMatch, policy: String) -> Route {
    Route {
        name,
        matches: RouteMatch { path, method: None, headers: Vec::new(), query: Vec::new() },
        // The filter answers before.
        action: RouteAction::Respond { status: 404 },
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        policy,
    }
}
