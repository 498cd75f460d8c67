//! Hosts on which routes of several namespaces are served: what one of them takes may have been meant for another, by a longer
//! path, a header or its age. So no caller's token goes through a rule whose host is a protected one of another namespace, unless
//! that lets it share its hostnames by a ReferenceGrant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toolward_policy::config::{Authentication, RoutePolicy};

use crate::model::RouteAction;
use crate::resources::Name;

use super::candidates::{Candidate, Standing};
use super::ownership::Ownership;
use super::problems::Fault;
use super::table::Table;

/// A rule would be given tokens that are for another namespace's servers.
const SHARED_HOSTNAME: &str = "SharedHostname";

/// What becomes of the tokens of callers.
enum Tokens {
    /// They go to the server, which asks for them.
    Asked,
    /// They go to a server of which nothing is known.
    Unasked,
    /// They end here.
    Kept,
}

fn tokens(candidate: &Candidate<'_>, table: &Table) -> Tokens {
    if !matches!(candidate.route.action, RouteAction::Forward(_)) || candidate.described.is_some() {
        return Tokens::Kept;
    }
    match table.policy(&candidate.route.policy) {
        Some(RoutePolicy::Protected { authentication: Authentication::Passthrough { .. }, .. }) => Tokens::Asked,
        Some(RoutePolicy::Remote {}) => Tokens::Asked,
        Some(RoutePolicy::Open {}) => Tokens::Unasked,
        _ => Tokens::Kept,
    }
}

/// A rule that gets no token on a host.
pub(super) struct Withheld {
    pub(super) route: Arc<Name>,
    pub(super) rule: usize,
    /// Why it is closed; none: it is served without.
    pub(super) closed: Option<Fault>,
}

/// Keeps tokens from the routes of a host that may not have them: what lives on them is closed, and what is open is asked without.
/// The Gateway's own namespace may have them.
pub(super) fn withhold(
    candidates: &mut Vec<Candidate<'_>>,
    hosts: &[String],
    gateway: &Name,
    ownership: &Ownership<'_>,
    table: &mut Table,
) -> Vec<Withheld> {
    let mut protected: BTreeMap<&str, BTreeSet<&Arc<Name>>> = BTreeMap::new();
    for candidate in candidates.iter().filter(|candidate| candidate.standing.is_protected) {
        protected.entry(candidate.namespace()).or_default().insert(candidate.name);
    }
    // For each namespace a route of another one that is protected and not shared with it.
    let mut others: BTreeMap<&str, Option<&Arc<Name>>> = BTreeMap::new();
    let mut other_than = |namespace| {
        *others.entry(namespace).or_insert_with(|| {
            let others = protected.iter().filter(|(other, _)| **other != namespace);
            let mut others = others.flat_map(|(_, names)| names.iter().copied());
            others.find(|other| !ownership.may_share(namespace, other))
        })
    };
    let mut withheld = Vec::new();
    for candidate in candidates.iter_mut().filter(|candidate| candidate.namespace() != gateway.namespace) {
        let tokens = tokens(candidate, table);
        if matches!(tokens, Tokens::Kept) {
            continue;
        }
        let Some(other) = other_than(candidate.namespace()) else { continue };
        let route = Arc::make_mut(&mut candidate.route);
        let mut closed = None;
        if matches!(tokens, Tokens::Asked) {
            let message = format!(
                "callers' tokens would go through this rule, but HTTPRoute {other} of another namespace, which a \
                 policy protects, is for {} as well: they could be for that one; use a hostname of your own, or let that \
                 namespace share its own by a ReferenceGrant for its HTTPRoutes",
                hosts.join(", ")
            );
            let fault = Fault::new(SHARED_HOSTNAME, message);
            route.policy = table.add_closed(&format!("{}; shared hostname", route.policy), &fault);
            closed = Some(fault);
            candidate.standing = Standing::default();
        } else {
            route.request_headers.remove.push("authorization".to_owned());
        }
        withheld.push(Withheld { route: Arc::clone(candidate.name), rule: candidate.rule, closed });
    }
    // Where nobody is let in, no client is told where to log in.
    let closed = withheld.iter().filter(|other| other.closed.is_some());
    let closed: BTreeSet<(&Arc<Name>, usize)> = closed.map(|other| (&other.route, other.rule)).collect();
    candidates.retain(|candidate| candidate.described.is_none() || !closed.contains(&(candidate.name, candidate.rule)));
    withheld
}
