//! Paths that mean something to the protocol: where clients are told who issues tokens for an endpoint. They belong to the
//! endpoint that they describe. Where routes of several namespaces share a host, no other namespace's route gets them, whatever
//! it matches; what the endpoint's own namespace does not serve there is answered 404.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toolward_policy::protected_resource::WELL_KNOWN;

use crate::model::{PathMatch, PathRewrite, Route, RouteAction, RouteMatch};
use crate::resources::Name;

use super::candidates::{Candidate, takes_plain_calls};
use super::in_place::REGISTRATION;
use super::metadata::{self, ISSUER};
use super::problems::Fault;
use super::table::Table;

/// Where clients look for an issuer's metadata that know OpenID Connect.
const OPENID: &str = "/.well-known/openid-configuration";

/// Most copies of routes for one path of the protocol: each path would have one of each route above it, and quotas count none of
/// them. Requests that only later ones take are answered 404.
const MOST_NARROWED: usize = 4;

/// What clients ask for, before or behind the path of an endpoint.
const DOCUMENTS: [&str; 3] = [WELL_KNOWN, ISSUER, OPENID];

/// Two routes of which one would get the other one's paths, or be told of in its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Conflict {
    /// The route that does not get them.
    pub(super) route: Arc<Name>,
    /// The path, as it is matched.
    pub(super) path: String,
    /// Whose endpoint it is for; none: it is for the host, on which several namespaces have endpoints.
    pub(super) owner: Option<Arc<Name>>,
}

impl Conflict {
    pub(super) fn fault(&self, host: &str) -> Fault {
        let whose = match &self.owner {
            Some(owner) => format!("clients of the endpoint of HTTPRoute {owner} are told there where to log in"),
            None => {
                "routes of several namespaces have endpoints on this host, so what is told of it is nobody's".to_owned()
            }
        };
        let message = format!(
            "{host}{} is not for this route: {whose}; use a hostname of your own, or a path below your own endpoint",
            self.path
        );
        Fault::new("Conflicted", message)
    }
}

/// What became of the routes of a host.
#[derive(Default)]
pub(super) struct Settled {
    /// Routes that come before all others.
    pub(super) first: Vec<Arc<Route>>,
    pub(super) conflicts: BTreeSet<Conflict>,
    /// Whether endpoints of several namespaces are on the host: what is told of the host itself is nobody's.
    pub(super) has_several_owners: bool,
}

/// The endpoints of a host.
struct Endpoints<'a> {
    /// By their paths, which are exact or not, each with the route that clients are told of.
    told: BTreeMap<(bool, &'a str), &'a Arc<Name>>,
    /// Those whose paths are expressions: they may be of any.
    unclear: BTreeMap<&'a str, &'a Arc<Name>>,
}

impl<'a> Endpoints<'a> {
    fn new(candidates: &[Candidate<'a>]) -> Self {
        let mut told: BTreeMap<(bool, &'a str), (bool, &'a Arc<Name>)> = BTreeMap::new();
        let mut unclear = BTreeMap::new();
        for candidate in candidates.iter().filter(|candidate| candidate.is_endpoint()) {
            let key = match &candidate.matches.path {
                PathMatch::Exact(path) => (true, path.as_str()),
                PathMatch::Prefix(path) => (false, path.as_str()),
                PathMatch::Regex(_) => {
                    unclear.entry(candidate.namespace()).or_insert(candidate.name);
                    continue;
                }
            };
            let is_plain = takes_plain_calls(candidate.matches);
            let first = told.entry(key).or_insert((is_plain, candidate.name));
            if is_plain && !first.0 {
                *first = (true, candidate.name);
            }
        }
        Self { told: told.into_iter().map(|(key, (_, name))| (key, name)).collect(), unclear }
    }

    /// The route of the endpoint that a path is of.
    fn of(&self, path: &str) -> Option<&'a Arc<Name>> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let exact = self.told.get(&(true, if path.is_empty() { "/" } else { path }));
        // From the longest prefix to the shortest.
        let ends = [path.len()].into_iter().chain(path.rmatch_indices('/').map(|(at, _)| at));
        let mut prefixes = ends.filter_map(|end| path.get(..end)).map(|path| if path.is_empty() { "/" } else { path });
        exact.or_else(|| prefixes.find_map(|prefix| self.told.get(&(false, prefix)))).copied()
    }

    fn namespaces(&self) -> BTreeSet<&'a str> {
        let told = self.told.values().map(|name| name.namespace.as_str());
        told.chain(self.unclear.keys().copied()).collect()
    }
}

/// The path of which a path of the protocol tells; `/` stands for the host.
fn subject(path: &str) -> Option<&str> {
    let (at, _) = path.match_indices("/.well-known/").next()?;
    let (before, document) = path.split_at_checked(at)?;
    let known = DOCUMENTS.iter().chain([&REGISTRATION]);
    let rest =
        known.filter_map(|known| document.strip_prefix(known)).find(|rest| rest.is_empty() || rest.starts_with('/'))?;
    Some(match (before, rest) {
        ("", "") => "/",
        ("", rest) => rest,
        (before, _) => before,
    })
}

/// Takes away from routes what is not theirs.
/// Those of the Gateway's own namespace get what they match.
pub(super) fn settle(candidates: &mut Vec<Candidate<'_>>, gateway: &Name, table: &mut Table) -> Settled {
    let namespaces: BTreeSet<&str> = candidates.iter().map(|candidate| candidate.namespace()).collect();
    let endpoints = Endpoints::new(candidates);
    let owners = endpoints.namespaces();
    if namespaces.len() < 2 || owners.is_empty() {
        return Settled::default();
    }
    let mut settled = Settled { has_several_owners: owners.len() > 1, ..Settled::default() };
    let mut all = endpoints.told.values().chain(endpoints.unclear.values());
    // Whose the host is, as far as clients are told of it: a route for everything does not make it anybody's.
    let host = if settled.has_several_owners { None } else { endpoints.of("/").or_else(|| all.next().copied()) };
    candidates.retain(|candidate| {
        let namespace = candidate.namespace();
        let unclear = || endpoints.unclear.iter().find(|(other, _)| **other != namespace).map(|(_, name)| *name);
        let owner = match (&candidate.matches.path, candidate.described, &candidate.route.matches.path) {
            // Of several routes with one path clients are told of one.
            (PathMatch::Exact(path), Some(_), _) => endpoints.told.get(&(true, path)).copied(),
            (PathMatch::Prefix(path), Some(_), _) => endpoints.told.get(&(false, path)).copied(),
            (_, None, PathMatch::Exact(path) | PathMatch::Prefix(path)) => match subject(path) {
                Some("/") => host,
                Some(subject) => match endpoints.of(subject).or_else(unclear) {
                    Some(owner) => Some(owner),
                    None => return true,
                },
                None => return true,
            },
            _ => return true,
        };
        let is_own = owner.is_some_and(|owner| owner.namespace == namespace) || namespace == gateway.namespace;
        if !is_own {
            let path = text(&candidate.route.matches.path).to_owned();
            settled.conflicts.insert(Conflict { route: Arc::clone(candidate.name), path, owner: owner.cloned() });
        }
        is_own
    });
    let mut paths: BTreeMap<_, Option<&str>> = BTreeMap::new();
    // What a route for everything serves below, it tells of itself by the precedence of the standard.
    let is_nobodys = |path: &str| path == "/" && settled.has_several_owners;
    for ((is_exact, path), owner) in endpoints.told.iter().filter(|((_, path), _)| !is_nobodys(path)) {
        let endpoint = if *is_exact { PathMatch::Exact } else { PathMatch::Prefix }((*path).to_owned());
        for path in DOCUMENTS.iter().filter_map(|document| metadata::below(document, &endpoint)) {
            paths.insert(by_length(&path), Some(owner.namespace.as_str()));
        }
    }
    for document in DOCUMENTS.iter().chain([&REGISTRATION]) {
        let root = PathMatch::Exact((*document).to_owned());
        let prefix = PathMatch::Prefix((*document).to_owned());
        if !paths.contains_key(&by_length(&prefix)) {
            paths.entry(by_length(&root)).or_insert(host.map(|owner| owner.namespace.as_str()));
        }
    }
    for ((_, is_prefix, path), owner) in paths {
        let path = if is_prefix { PathMatch::Prefix(path) } else { PathMatch::Exact(path) };
        let is_own = |candidate: &Candidate<'_>| {
            Some(candidate.namespace()) == owner || candidate.namespace() == gateway.namespace
        };
        let takes_all = |route: &Route| {
            let RouteMatch { path: own, method, headers, query } = &route.matches;
            let covers = matches!(own, PathMatch::Prefix(prefix) if covers(prefix, text(&path))) || *own == path;
            covers && method.is_none() && headers.is_empty() && query.is_empty()
        };
        let other = candidates.iter().position(|candidate| !is_own(candidate) && may_take(candidate, &path));
        let first = candidates.iter().position(|candidate| is_own(candidate) && takes_all(&candidate.route));
        if other.is_none_or(|other| first.is_some_and(|first| first < other)) {
            continue;
        }
        let own = candidates.iter().filter(|candidate| is_own(candidate));
        let (mut is_answered, mut narrowed) = (false, 0);
        for candidate in own {
            let Some(route) = within(&candidate.route, &path) else { continue };
            narrowed += usize::from(!Arc::ptr_eq(&route, &candidate.route));
            if narrowed > MOST_NARROWED {
                break;
            }
            is_answered = takes_all(&route);
            settled.first.push(route);
            if is_answered {
                break;
            }
        }
        if !is_answered {
            let name = format!("{}/not-found", text(&path));
            let respond = RouteAction::Respond { status: 404 };
            let policy = table.add_harmless();
            settled.first.push(Arc::new(metadata::metadata_route(name, path, respond, policy, table)));
        }
    }
    settled
}

/// The most specific first: exact paths, then the longest.
fn by_length(path: &PathMatch) -> (std::cmp::Reverse<usize>, bool, String) {
    (std::cmp::Reverse(text(path).len()), matches!(path, PathMatch::Prefix(_)), text(path).to_owned())
}

fn text(path: &PathMatch) -> &str {
    let (PathMatch::Exact(text) | PathMatch::Prefix(text) | PathMatch::Regex(text)) = path;
    text
}

/// Whether a route may take requests for a path of the protocol. One that is wholly within was settled before.
fn may_take(candidate: &Candidate<'_>, path: &PathMatch) -> bool {
    match &candidate.route.matches.path {
        PathMatch::Prefix(prefix) => covers(prefix, text(path)),
        PathMatch::Regex(_) => true,
        PathMatch::Exact(_) => false,
    }
}

fn covers(prefix: &str, path: &str) -> bool {
    let rest = path.strip_prefix(prefix.strip_suffix('/').unwrap_or(prefix));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A route as far as its requests are for a path of the protocol; none where they are not, or that can't be told.
fn within(route: &Arc<Route>, path: &PathMatch) -> Option<Arc<Route>> {
    let (PathMatch::Exact(own) | PathMatch::Prefix(own)) = &route.matches.path else { return None };
    let is_within = match path {
        PathMatch::Prefix(prefix) => covers(prefix, own),
        _ => own == text(path) && matches!(route.matches.path, PathMatch::Exact(_)),
    };
    if is_within {
        return Some(Arc::clone(route));
    }
    if matches!(route.matches.path, PathMatch::Exact(_)) || !covers(own, text(path)) {
        return None;
    }
    let rest = text(path).strip_prefix(own.strip_suffix('/').unwrap_or(own)).unwrap_or_default();
    let mut narrowed = Route::clone(route);
    narrowed.name = format!("{}{}", route.name, text(path));
    narrowed.matches = RouteMatch { path: path.clone(), ..route.matches.clone() };
    let rewrite = match &mut narrowed.action {
        RouteAction::Forward(forward) => forward.path.as_mut(),
        RouteAction::Redirect(redirect) => redirect.path.as_mut(),
        RouteAction::Respond { .. } => None,
    };
    if let Some(PathRewrite::Prefix(new)) = rewrite {
        *new = format!("{}{rest}", new.strip_suffix('/').unwrap_or(new));
    }
    Some(Arc::new(narrowed))
}
