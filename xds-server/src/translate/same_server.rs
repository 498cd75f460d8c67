//! Ways to one server that are not protected alike. A caller chooses its way by host, path, query and headers, which servers
//! read in more ways than one, so that the loosest way may be that of all.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use toolward_policy::config::{Authentication, Batches, Protocol, RoutePolicy, SessionBinding};

use crate::objects::Objects;
use crate::problem::Problem;
use crate::resources::Name;

use super::outcome::RouteOutcome;
use super::problems::route_ref;

/// A way to servers through one rule of a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerWay {
    /// Index of the rule.
    pub(super) rule: usize,
    /// Where it leads, by [`super::backends::Upstream::server`].
    pub(super) servers: Arc<[String]>,
    /// How it is protected; none: it is not.
    pub(super) strictness: Option<Strictness>,
    /// Whether each of its backends has a policy of its own, which is in force on every way to it.
    pub(super) guarded: bool,
}

/// How a way is protected, as far as two ways can differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Strictness {
    /// Of callers and gates.
    gates: Arc<str>,
    binds_sessions: bool,
    takes_batches: bool,
}

impl Strictness {
    /// None: the way is closed.
    pub(super) fn of(policy: &RoutePolicy) -> Option<Self> {
        let RoutePolicy::Protected { protocol, .. } = policy else { return None };
        let mut compared = policy.clone();
        if let RoutePolicy::Protected { authentication, protocol, .. } = &mut compared {
            *protocol = Protocol::default();
            match authentication {
                // What clients are told lets nobody in.
                Authentication::Jwt { resource, policy, .. } => {
                    *resource = None;
                    policy.clear();
                }
                Authentication::Passthrough { public_url } => *public_url = None,
                Authentication::Anonymous {} => {}
            }
        }
        // No value of this type can't be written.
        let text = serde_json::to_vec(&compared).unwrap_or_default();
        let digest: String = Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Some(Self {
            gates: digest.into(),
            binds_sessions: protocol.session_binding == SessionBinding::Subject,
            takes_batches: protocol.batches == Batches::Allow,
        })
    }
}

/// A way with where it is.
#[derive(Clone, Copy)]
struct Placed<'o> {
    route: &'o Name,
    gateway: &'o Name,
    way: &'o ServerWay,
}

/// What is to be said of these routes, sorted and without their files: of each way to a server at most one note.
pub(super) fn notes(routes: &Objects<Name, RouteOutcome>) -> Vec<Problem> {
    let mut by_server: BTreeMap<&str, Vec<Placed<'_>>> = BTreeMap::new();
    for (route, outcome) in routes {
        for (gateway, protection) in &outcome.protection {
            for way in &protection.ways {
                for server in way.servers.iter() {
                    by_server.entry(server).or_default().push(Placed { route, gateway, way });
                }
            }
        }
    }
    let mut notes = Vec::new();
    for (server, ways) in by_server.into_iter().filter(|(_, ways)| ways.len() > 1) {
        // On each Gateway what callers must show; on all of them to whom sessions belong, which the server does not know.
        let mut first_of: BTreeMap<&Name, Placed<'_>> = BTreeMap::new();
        for placed in ways.iter().filter(|placed| placed.way.strictness.is_some()) {
            first_of.entry(placed.gateway).or_insert(*placed);
        }
        let binding = ways.iter().find(|placed| placed.binds_sessions());
        for placed in &ways {
            let first = first_of.get(placed.gateway).filter(|first| first.is_protected_otherwise(placed));
            let note = match (first, binding) {
                (Some(first), _) => Some((*first, "NotProtectedAlike", "are not protected alike")),
                (None, Some(first)) if !placed.binds_sessions() => {
                    Some((*first, "SessionsNotBoundAlike", "do not bind sessions alike"))
                }
                _ => None,
            };
            if let Some((first, reason, how)) = note {
                notes.push(Problem {
                    file: None,
                    resource: Some(route_ref(placed.route)),
                    field: format!("spec.rules[{}].backendRefs", placed.way.rule),
                    reason: reason.to_owned(),
                    message: format!(
                        "this way on Gateway {} and rule {} of HTTPRoute {} on Gateway {} lead to one server, {server}, and \
                         {how}: callers choose the way by host, path, query, headers and method, in which servers see less \
                         difference (in case, for instance). A policy attached to the MCPBackend is in force on all ways",
                        placed.gateway, first.way.rule, first.route, first.gateway
                    ),
                });
            }
        }
    }
    notes.sort();
    notes.dedup();
    notes
}

impl Placed<'_> {
    fn binds_sessions(&self) -> bool {
        self.way.strictness.as_ref().is_some_and(|strictness| strictness.binds_sessions)
    }

    fn is_protected_otherwise(&self, other: &Self) -> bool {
        let compared = |way: &ServerWay| way.strictness.as_ref().map(|one| (Arc::clone(&one.gates), one.takes_batches));
        !(self.way.guarded && other.way.guarded) && compared(self.way) != compared(other.way)
    }
}
