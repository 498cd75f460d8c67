//! HTTPRoutes: one entry for each parentRef that names a Gateway of ours.

use std::collections::BTreeSet;

use gateway_api::httproutes::{HttpRoute, HttpRouteParentRefs};
use serde_json::{Value, json};

use super::Desired;
use super::conditions::{Condition, MAX_MESSAGE, World, conditions, is_at, messages, object};
use crate::problem::Problem;
use crate::resources::{Malformed, Name, ObjectRef};
use crate::translate::{
    CONTROLLER_NAME, HostnameOutcome, ParentOutcome, QUOTA_EXCEEDED, RouteOutcome, RouteProtection,
};

const GROUP: &str = "gateway.networking.k8s.io";

/// The condition that says whether policies stand before the backends of a route.
const PROTECTED: &str = "toolward.dev/Protected";

/// The condition that says whether the hostnames of a route are for its namespace alone, where another one has them as well.
const OWNS_HOSTNAMES: &str = "toolward.dev/OwnsHostnames";

/// The condition that says whether a route gets all the paths that it matches, where some are for clients of an endpoint.
const PROTOCOL_PATHS: &str = "toolward.dev/ProtocolPaths";

/// Most namespaces that a message names for each hostname.
const MAX_NAMED: usize = 3;

pub(super) fn routes(world: &World<'_>) -> Vec<Desired> {
    let readable = world.resources.http_routes.iter().filter_map(|(name, route)| status(name, route, world));
    let malformed = world.malformed(GROUP, "HTTPRoute");
    let malformed = malformed.filter_map(|(object, malformed)| status_of_malformed(object, malformed, world));
    readable.chain(malformed).collect()
}

/// The status of a route; none where it has nothing to do with us, and never had.
fn status(name: &Name, route: &HttpRoute, world: &World<'_>) -> Option<Desired> {
    let object = object(GROUP, "HTTPRoute", name);
    if world.is_malformed(&object) {
        return None;
    }
    let Some(outcome) = world.translation.routes.get(name) else {
        let mut parents = route.status.iter().flat_map(|status| &status.parents);
        let was_ours = parents.any(|parent| parent.controller_name == CONTROLLER_NAME);
        return was_ours.then(|| Desired { object, status: json!({ "parents": [] }) });
    };
    let problems = world.problems(&object);
    let written = route.spec.parent_refs.iter().flatten().enumerate();
    let parents = written.filter_map(|(index, written)| {
        let list = conditions_of(index, outcome.parent(index)?, outcome, problems);
        Some(entry(written, &list, route.metadata.generation))
    });
    Some(Desired { status: json!({ "parents": parents.collect::<Vec<_>>() }), object })
}

fn entry(written: &HttpRouteParentRefs, list: &[Condition], generation: Option<i64>) -> Value {
    json!({ "parentRef": written, "controllerName": CONTROLLER_NAME, "conditions": conditions(list, generation) })
}

fn conditions_of(
    index: usize,
    parent: &ParentOutcome,
    outcome: &RouteOutcome,
    problems: &[&Problem],
) -> Vec<Condition> {
    let accepted = accepted(index, parent, outcome, problems);
    let references = problems.iter().copied().filter(|problem| is_reference(problem));
    let partially = accepted.holds().then(|| partially_invalid(outcome, problems)).flatten();
    let protection = outcome.protection_on(&parent.gateway).filter(|_| !parent.listeners.is_empty());
    let protected = protection.and_then(protected);
    let mut list = vec![accepted, Condition::unless("ResolvedRefs", references)];
    list.extend(partially.into_iter().chain(protected));
    let hostnames = protection.map(|protection| &protection.hostnames);
    let told =
        [hostnames.and_then(holds_hostnames), hostnames.and_then(owns_hostnames), hostnames.and_then(protocol_paths)];
    list.extend(told.into_iter().flatten());
    list
}

fn accepted(index: usize, parent: &ParentOutcome, outcome: &RouteOutcome, problems: &[&Problem]) -> Condition {
    let field = format!("spec.parentRefs[{index}]");
    let here: Vec<&Problem> = problems.iter().copied().filter(|problem| is_at(problem, &field)).collect();
    if parent.listeners.is_empty() {
        return Condition::unless("Accepted", here);
    }
    let hostnames = outcome.protection_on(&parent.gateway).map(|protection| &protection.hostnames);
    if let Some(hostnames) = hostnames.filter(|hostnames| hostnames.is_refused()) {
        let reason = hostnames.refused.values().map(|(reason, _)| *reason).next().unwrap_or_default();
        return Condition::new("Accepted", false, reason, refusals(hostnames));
    }
    if !outcome.is_valid() {
        return Condition::unless("Accepted", problems.iter().copied().filter(|problem| is_of_rule(problem)));
    }
    let hostnames: Vec<&Problem> =
        problems.iter().copied().filter(|problem| is_at(problem, "spec.hostnames")).collect();
    Condition::new("Accepted", true, "Accepted", messages(&hostnames))
}

/// The standard asks for this where some rules are dropped, and that the message begins so.
fn partially_invalid(outcome: &RouteOutcome, problems: &[&Problem]) -> Option<Condition> {
    if outcome.invalid.is_empty() {
        return None;
    }
    let faults: Vec<&Problem> = problems.iter().copied().filter(|problem| is_of_rule(problem)).collect();
    let message = format!(
        "Dropped Rule {}, wholly or in part: requests that would take it are answered 500\n{}",
        list(&outcome.invalid),
        messages(&faults)
    );
    Some(Condition::new("PartiallyInvalid", true, "UnsupportedValue", message))
}

/// Whether a problem is that of a backendRef: what it names can't be had.
fn is_reference(problem: &Problem) -> bool {
    let last = problem.field.rsplit('.').next().unwrap_or_default();
    problem.field.starts_with("spec.rules[") && last.starts_with("backendRefs[")
}

/// Whether a rule can't be honoured for this, wherever its backends are.
fn is_of_rule(problem: &Problem) -> bool {
    // Where policies contradict each other the rule itself is right.
    is_at(problem, "spec.rules") && !is_reference(problem) && problem.reason != "Conflicted"
}

/// Nothing where there is nothing to protect.
fn protected(protection: &RouteProtection) -> Option<Condition> {
    let RouteProtection { policies, unprotected, opened, closed, applying, ways: _, hostnames: _ } = protection;
    let mut lines = Vec::new();
    let open: BTreeSet<usize> = unprotected.iter().filter(|rule| !closed.contains_key(rule)).copied().collect();
    if !open.is_empty() {
        lines.push(format!("no MCPAccessPolicy protects rule {}: everybody may call everything there", list(&open)));
    } else if unprotected.is_empty() && opened.is_empty() && !policies.is_empty() {
        lines.push(format!("by {}", list(policies)));
    }
    lines.extend(applying.iter().map(|(rule, text)| format!("rule {rule}: {text}")));
    if !opened.is_empty() {
        lines.push(format!("rule {} is opened on purpose, by authentication.anonymous of a policy", list(opened)));
    }
    lines.extend(closed.iter().map(|(rule, message)| format!("rule {rule} answers 503: {message}")));
    let (holds, reason) = match (unprotected.is_empty(), opened.is_empty(), policies.is_empty()) {
        (false, ..) => (false, "Unprotected"),
        (true, false, _) => (false, "OpenedOnPurpose"),
        (true, true, false) => (true, "Protected"),
        (true, true, true) => return None,
    };
    Some(Condition::new(PROTECTED, holds, reason, lines.join("\n")))
}

/// Which hostnames are the route's own, for ourselves to read again: whole names, as many as there is room for.
fn holds_hostnames(hostnames: &HostnameOutcome) -> Option<Condition> {
    let mut message = String::new();
    for name in &hostnames.held {
        if message.len() + name.len() >= MAX_MESSAGE {
            break;
        }
        if !message.is_empty() {
            message.push(' ');
        }
        message.push_str(name);
    }
    (!message.is_empty()).then(|| Condition::new(HostnameOutcome::HELD, true, "Held", message))
}

/// Nothing where no other namespace has to do with the hostnames.
fn owns_hostnames(hostnames: &HostnameOutcome) -> Option<Condition> {
    let HostnameOutcome { refused, contested, shared, withheld, .. } = hostnames;
    let shares = shared.iter().map(|(name, others)| {
        format!(
            "routes of {} are served on hosts of {name} as well; which requests they take, their matches say",
            namespaces(others)
        )
    });
    let contests = contested.iter().map(|(name, others)| {
        format!("routes of {} name hosts of {name} as well; they are not served there", namespaces(others))
    });
    let (holds, reason) = match (refused.is_empty(), shared.is_empty(), contested.is_empty()) {
        (false, ..) => (false, refused.values().map(|(reason, _)| *reason).next().unwrap_or_default()),
        (true, false, _) => (false, "Shared"),
        (true, true, false) => (true, "Contested"),
        (true, true, true) => return None,
    };
    let refusals = (!refused.is_empty()).then(|| refusals(hostnames));
    let withholds = withheld.iter().map(|name| {
        format!("on {name} no token of a caller goes to this route's servers: it could be for those of another namespace, which are protected")
    });
    let lines: Vec<String> = refusals.into_iter().chain(shares).chain(withholds).chain(contests).collect();
    Some(Condition::new(OWNS_HOSTNAMES, holds, reason, lines.join("\n")))
}

/// Nothing where no other namespace has to do with them.
fn protocol_paths(hostnames: &HostnameOutcome) -> Option<Condition> {
    let HostnameOutcome { conflicts, defended, .. } = hostnames;
    let lost = conflicts.iter().map(|(path, owner)| match owner {
        Some(owner) => {
            format!("{path} is for clients of the endpoint of HTTPRoute {owner}; this route does not get it")
        }
        None => format!("{path} is for the host, on which several namespaces have endpoints; no route gets it"),
    });
    let kept = defended.iter().map(|(host, others)| {
        format!(
            "routes of {} match paths on {host} that are for clients of this route's endpoints; they do not get them",
            namespaces(others)
        )
    });
    let lines: Vec<String> = lost.chain(kept).collect();
    let holds = conflicts.is_empty();
    (!lines.is_empty()).then(|| Condition::new(PROTOCOL_PATHS, holds, "Conflicted", lines.join("\n")))
}

fn refusals(hostnames: &HostnameOutcome) -> String {
    let messages = hostnames.refused.values().map(|(_, message)| message.as_str());
    messages.collect::<Vec<_>>().join("\n")
}

fn namespaces(all: &BTreeSet<String>) -> String {
    let named: Vec<&str> = all.iter().take(MAX_NAMED).map(String::as_str).collect();
    let more = match all.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("namespace {}{more}", named.join(", "))
}

fn list<T: ToString>(entries: &BTreeSet<T>) -> String {
    entries.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The status of a route that can't be read: every request for it is answered 500.
fn status_of_malformed(object: &ObjectRef, malformed: &Malformed, world: &World<'_>) -> Option<Desired> {
    let parents = world.resources.http_routes.get(&object.name)?.spec.parent_refs.as_deref()?;
    let ours = |parent: &&HttpRouteParentRefs| {
        let (group, kind) = (parent.group.as_deref().unwrap_or(GROUP), parent.kind.as_deref().unwrap_or("Gateway"));
        let name = Name::new(parent.namespace.as_ref().unwrap_or(&object.name.namespace), &parent.name);
        (group, kind) == (GROUP, "Gateway") && world.translation.gateways.contains_key(&name)
    };
    let is_past_quota = malformed.problems().any(|problem| problem.reason == QUOTA_EXCEEDED);
    let reason = if is_past_quota { QUOTA_EXCEEDED } else { "UnsupportedValue" };
    let accepted = Condition::new("Accepted", false, reason, messages(world.problems(object)));
    let entries: Vec<Value> = parents
        .iter()
        .filter(ours)
        .map(|parent| entry(parent, std::slice::from_ref(&accepted), malformed.generation))
        .collect();
    (!entries.is_empty()).then(|| Desired { object: object.clone(), status: json!({ "parents": entries }) })
}
