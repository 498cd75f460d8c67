//! Routes that the control plane adds: each protected endpoint has another one beside it, by which clients learn who issues
//! tokens for it (RFC 9728 section 3.1).

use std::collections::BTreeMap;
use std::sync::Arc;

use toolward_policy::config::{ProtectedResource, RoutePolicy, Transport};
use toolward_policy::protected_resource::WELL_KNOWN;

use crate::model::{Forward, HeaderChanges, INVALID_BACKEND, PathMatch, PathRewrite, Route, RouteAction, RouteMatch};

use super::expression;
use super::in_place::{IssuerAtGateway, REGISTRATION};
use super::table::Table;

/// Where clients look for an issuer's metadata that take the gateway for the issuer.
pub(super) const ISSUER: &str = "/.well-known/oauth-authorization-server";

/// Who says what clients are told that are to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The policy.
    Own {
        /// What it says.
        resource: ProtectedResource,
        /// An issuer, for clients that take the gateway for it.
        issuer: Option<IssuerAtGateway>,
    },
    /// The server.
    Remote {
        /// How clients reach the gateway.
        public_url: Option<String>,
    },
}

/// The routes that tell of an endpoint.
pub(super) struct Described {
    /// The first is that of its own metadata, if it has any.
    pub(super) routes: Vec<Arc<Route>>,
    endpoint: PathMatch,
    policy: String,
    /// None: the endpoint has none of its own, for its clients take the gateway for the issuer.
    metadata: Option<RoutePolicy>,
}

impl Described {
    /// Whether clients take the gateway for the issuer.
    pub(super) fn is_in_place(&self) -> bool {
        self.metadata.is_none()
    }

    /// The metadata of what a route leads to; none where they would be metadata of metadata, where Envoy would not take the
    /// expression, or where it is not clear which server to ask for them.
    pub(super) fn new(route: &Route, told: &Told, is_over_tls: bool, table: &mut Table) -> Option<Self> {
        if let Told::Own { issuer: Some(IssuerAtGateway { metadata, registration: Some(registration) }), .. } = told {
            return Some(Self::in_place(route, metadata, registration, table));
        }
        let endpoint = route.matches.path.clone();
        let path = match &endpoint {
            PathMatch::Exact(path) | PathMatch::Prefix(path) if path.starts_with(WELL_KNOWN) => return None,
            path => below(WELL_KNOWN, path)?,
        };
        let (metadata, action) = match told {
            // The filter answers before.
            Told::Own { resource, .. } => {
                (RoutePolicy::Metadata { resource: resource.clone(), path: None }, RouteAction::Respond { status: 404 })
            }
            Told::Remote { public_url } => {
                let (server, action) = asked(route, is_over_tls)?;
                (RoutePolicy::RemoteMetadata { public_url: public_url.clone(), path: None, server }, action)
            }
        };
        let policy = route.policy.clone();
        let key = table.add_metadata(&policy, metadata.clone(), None);
        let mut routes = vec![Arc::new(metadata_route(format!("{}/metadata", route.name), path, action, key, table))];
        if let (Told::Own { issuer: Some(issuer), .. }, Some(path)) = (told, below(ISSUER, &endpoint)) {
            let key = table.add_issuer_metadata(&policy, &issuer.metadata);
            let respond = RouteAction::Respond { status: 404 };
            routes.push(Arc::new(metadata_route(format!("{}/issuer", route.name), path, respond, key, table)));
        }
        Some(Self { routes, endpoint, policy, metadata: Some(metadata) })
    }

    /// Clients look for an issuer at the root of a host, so there can be one for each.
    fn in_place(route: &Route, metadata: &str, registration: &str, table: &mut Table) -> Self {
        let policy = route.policy.clone();
        let told = [
            ("issuer", ISSUER, table.add_issuer_metadata(&policy, metadata)),
            ("registration", REGISTRATION, table.add_registration(&policy, registration)),
        ];
        let routes = told.map(|(what, path, key)| {
            let path = PathMatch::Exact(path.to_owned());
            let name = format!("{}/{what}", route.name);
            Arc::new(metadata_route(name, path, RouteAction::Respond { status: 404 }, key, table))
        });
        Self { routes: routes.to_vec(), endpoint: route.matches.path.clone(), policy, metadata: None }
    }
}

/// Where one endpoint is alone, its metadata are at the root as well.
pub(super) fn at_root(routes: &[Arc<Route>], described: &[&Described], table: &mut Table) -> Vec<Route> {
    alone(routes, described, table).unwrap_or_default()
}

fn alone(routes: &[Arc<Route>], described: &[&Described], table: &mut Table) -> Option<Vec<Route>> {
    let endpoints: BTreeMap<&str, &&Described> = described
        .iter()
        .map(|described| match &described.endpoint {
            PathMatch::Exact(path) | PathMatch::Prefix(path) => Some((path.as_str(), described)),
            PathMatch::Regex(_) => None,
        })
        .collect::<Option<_>>()?;
    let (path, described) = endpoints.iter().next().filter(|(path, _)| endpoints.len() == 1 && **path != "/")?;
    let taken = |root: &PathMatch| routes.iter().any(|route| route.matches.path == *root);
    let mut metadata = described.metadata.clone()?;
    if let RoutePolicy::Metadata { path: told, .. } | RoutePolicy::RemoteMetadata { path: told, .. } = &mut metadata {
        *told = Some((*path).to_owned());
    }
    let policy = table.add_metadata(&described.policy, metadata, Some(path));
    let keys = [(WELL_KNOWN, Some(policy)), (ISSUER, None)];
    let roots = described.routes.iter().zip(keys).filter_map(|(route, (well_known, key))| {
        let root = PathMatch::Exact(well_known.to_owned());
        let key = key.unwrap_or_else(|| route.policy.clone());
        (!taken(&root)).then(|| metadata_route(format!("{}/root", route.name), root, route.action.clone(), key, table))
    });
    Some(roots.collect())
}

/// A path below a well-known one.
pub(super) fn below(well_known: &str, path: &PathMatch) -> Option<PathMatch> {
    Some(match path {
        PathMatch::Exact(path) => PathMatch::Exact(format!("{well_known}{path}")),
        PathMatch::Prefix(prefix) if prefix == "/" => PathMatch::Prefix(well_known.to_owned()),
        PathMatch::Prefix(prefix) => PathMatch::Prefix(format!("{well_known}{prefix}")),
        PathMatch::Regex(pattern) => {
            let well_known = well_known.replace('.', r"\.");
            PathMatch::Regex(expression::check(&format!("{well_known}(?:{pattern})")).ok()?)
        }
    })
}

/// The question to a server for its metadata, with the URL of the server as far as it is known.
fn asked(route: &Route, is_over_tls: bool) -> Option<(Option<String>, RouteAction)> {
    let RouteAction::Forward(forward) = &route.action else { return None };
    let [share] = &*forward.clusters else { return None };
    if share.cluster == INVALID_BACKEND {
        return None;
    }
    let path = match (&forward.path, &share.path, &route.matches.path) {
        (Some(PathRewrite::Full(path)), ..) | (None, Some(path), _) | (None, None, PathMatch::Exact(path)) => {
            path.as_str()
        }
        (None, None, PathMatch::Prefix(prefix)) => prefix,
        (Some(PathRewrite::Prefix(_)), ..) | (None, None, PathMatch::Regex(_)) => return None,
    };
    let path = if path == "/" { "" } else { path };
    let action = RouteAction::Forward(Forward {
        path: Some(PathRewrite::Full(format!("{WELL_KNOWN}{path}"))),
        ..forward.clone()
    });
    let scheme = if is_over_tls { "https" } else { "http" };
    let host = forward.host.as_ref().or(share.host.as_ref());
    Some((host.map(|host| format!("{scheme}://{host}")), action))
}

pub(super) fn metadata_route(
    name: String,
    path: PathMatch,
    action: RouteAction,
    policy: String,
    table: &Table,
) -> Route {
    Route {
        name,
        id: String::new(),
        matches: RouteMatch { path, method: None, headers: Vec::new(), query: Vec::new() },
        action,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        names_host: table.names_endpoint(&policy),
        policy,
        transport: Transport::default(),
    }
}
