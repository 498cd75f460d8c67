//! Gateways and their listeners.

use std::collections::BTreeSet;
use std::sync::Arc;

use gateway_api::gateways::{Gateway, GatewayListeners};
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::class;
use super::conditions::{Condition, World, conditions, is_at, messages, object};
use super::{Desired, ObjectFault, Refusal};
use crate::model::GatewayName;
use crate::problem::Problem;
use crate::provision::{names, ownership};
use crate::resources::{Asks, Malformed, Name, ObjectRef};
use crate::translate::ListenerOutcome;

const GROUP: &str = "gateway.networking.k8s.io";

/// Reasons for which a Gateway is not served at all.
const REFUSALS: [&str; 2] = ["UnsupportedAddress", "InvalidParameters"];

/// Reasons for which a listener stands in another one's way.
const CONFLICTS: [&str; 2] = ["HostnameConflict", "ProtocolConflict"];

/// Reasons of what a listener refers to: kinds of routes, and certificates.
const LISTENER_REFERENCES: [&str; 5] = [
    "InvalidRouteKinds",
    "InvalidCertificateRef",
    "RefNotPermitted",
    "InvalidCACertificateRef",
    "InvalidCACertificateKind",
];

/// Most refusals of Envoys that a condition shows.
const REFUSALS_SHOWN: usize = 4;

pub(super) fn gateways(world: &World<'_>) -> Vec<Desired> {
    let classes = class::accepted(world);
    let mut all = Vec::new();
    for (name, gateway) in &world.resources.gateways {
        if let Some(listeners) = world.translation.gateways.get(name) {
            all.push(status(name, gateway, listeners, world));
        } else if classes.get(&gateway.spec.gateway_class_name) == Some(&false) {
            let class = &gateway.spec.gateway_class_name;
            let message = format!("its GatewayClass {class} is not accepted; see what that says of itself");
            let accepted = Condition::new("Accepted", false, "InvalidParameters", message);
            all.push(refused(&object(GROUP, "Gateway", name), accepted, gateway.metadata.generation));
        }
    }
    let asks_us = |(_, malformed): &(&ObjectRef, &Malformed)| match &malformed.asks {
        Asks::Class(class) => classes.contains_key(class),
        _ => false,
    };
    for (object, malformed) in world.malformed(GROUP, "Gateway").filter(asks_us) {
        let accepted = Condition::new("Accepted", false, "Invalid", messages(world.problems(object)));
        all.push(refused(object, accepted, malformed.generation));
    }
    all
}

/// The status of a Gateway that is not served at all.
fn refused(object: &ObjectRef, accepted: Condition, generation: Option<i64>) -> Desired {
    let programmed = Condition::new("Programmed", false, "Invalid", "the Gateway is not accepted");
    let status = json!({ "conditions": conditions(&[accepted, programmed], generation) });
    Desired { object: object.clone(), status }
}

fn status(name: &Name, gateway: &Gateway, outcomes: &[ListenerOutcome], world: &World<'_>) -> Desired {
    let object = object(GROUP, "Gateway", name);
    let problems = world.problems(&object);
    let generation = gateway.metadata.generation;
    let own: Vec<&Problem> = problems.iter().copied().filter(|problem| !is_at(problem, "spec.listeners")).collect();
    // Listeners are told apart by name, and an API server takes no two of one name.
    let mut names = BTreeSet::new();
    let listeners: Vec<Listener<'_>> = gateway
        .spec
        .listeners
        .iter()
        .zip(outcomes)
        .enumerate()
        .filter(|(_, (listener, _))| names.insert(&listener.name))
        .map(|(index, (listener, outcome))| {
            let refused = listener_refused(listener.port, refusals(name, world));
            Listener::new(index, listener, outcome, problems, refused)
        })
        .collect();
    let uid = gateway.metadata.uid.as_deref();
    let addresses = addresses(name, uid, world);
    let accepted = accepted(&own, &listeners);
    let unwritten = uid.and_then(|uid| world.facts.unwritten.get(uid));
    let programmed = programmed(name, &accepted, unwritten, addresses.is_empty(), world);
    let listeners: Vec<Value> = listeners.iter().map(|listener| listener.status(name, generation, world)).collect();
    let mut status = json!({ "conditions": conditions(&[accepted, programmed], generation), "listeners": listeners });
    if let (false, Some(members)) = (addresses.is_empty(), status.as_object_mut()) {
        members.insert("addresses".to_owned(), Value::Array(addresses));
    }
    Desired { object, status }
}

fn accepted(own: &[&Problem], listeners: &[Listener<'_>]) -> Condition {
    let refusal = own.iter().find(|problem| REFUSALS.contains(&problem.reason.as_str()));
    if let Some(refusal) = refusal {
        return Condition::new("Accepted", false, &refusal.reason, messages(own));
    }
    let bad: Vec<&str> =
        listeners.iter().filter(|listener| !listener.outcome.served).map(|listener| listener.name).collect();
    if bad.is_empty() {
        return Condition::new("Accepted", true, "Accepted", messages(own));
    }
    let message = format!("not served: {}; see the conditions of the listeners", bad.join(", "));
    Condition::new("Accepted", bad.len() < listeners.len(), "ListenersNotValid", message)
}

fn programmed(
    name: &Name,
    accepted: &Condition,
    unwritten: Option<&ObjectFault>,
    no_address: bool,
    world: &World<'_>,
) -> Condition {
    if !accepted.holds() {
        return Condition::new("Programmed", false, "Invalid", "the Gateway is not accepted");
    }
    if let Some(ObjectFault { reason, message }) = unwritten {
        return Condition::new("Programmed", false, reason, message.as_str());
    }
    refused_by_envoy(refusals(name, world)).unwrap_or_else(|| match no_address && world.facts.provisioned {
        true => Condition::new("Programmed", false, "AddressNotAssigned", "its Service has no address yet"),
        false => Condition::yes("Programmed", "Programmed"),
    })
}

/// What the Envoys of a Gateway refuse.
fn refusals<'w>(name: &Name, world: &World<'w>) -> impl Iterator<Item = &'w Refusal> {
    let gateway = GatewayName(name.to_string());
    world.facts.refusals.iter().filter(move |refusal| refusal.gateway == gateway)
}

/// What Envoys refuse, in their words, as far as it is short: each write of a status has all of it.
fn refused_by_envoy<'w>(refusals: impl Iterator<Item = &'w Refusal>) -> Option<Condition> {
    // Several Envoys say the same, and of several listeners.
    let said: BTreeSet<&str> = refusals.map(|refusal| refusal.message.as_str()).collect();
    let more = said.len().saturating_sub(REFUSALS_SHOWN);
    let mut shown: Vec<String> = said.iter().take(REFUSALS_SHOWN).map(|said| (*said).to_owned()).collect();
    shown.extend((more > 0).then(|| format!("and {more} more")));
    let message = || format!("Envoy refuses it: {}", shown.join("\n"));
    (!said.is_empty()).then(|| Condition::new("Programmed", false, "Invalid", message()))
}

/// The same of one listener. What can't be told to be of one port is not said once more for each.
fn listener_refused<'w>(port: i32, refusals: impl Iterator<Item = &'w Refusal>) -> Option<Condition> {
    let (own, of_all): (Vec<_>, Vec<_>) = refusals
        .filter(|refusal| refusal.port.is_none_or(|of| i32::from(of) == port))
        .partition(|refusal| refusal.port.is_some());
    let see =
        || Condition::new("Programmed", false, "Invalid", "Envoy refuses a part of it; see the Gateway's condition");
    refused_by_envoy(own.into_iter()).or_else(|| (!of_all.is_empty()).then(see))
}

/// The addresses of the Service that was made for a Gateway. Another one of that name says nothing of it.
fn addresses(name: &Name, uid: Option<&str>, world: &World<'_>) -> Vec<Value> {
    if !world.facts.provisioned {
        return Vec::new();
    }
    let service = world.resources.services.get(&Name::new(&name.namespace, names::object(&name.name)));
    let is_its_own = |service: &&Arc<Service>| {
        let (labels, owners) = (&service.metadata.labels, &service.metadata.owner_references);
        let (labels, owners) = (labels.clone().unwrap_or_default(), owners.as_deref().unwrap_or_default());
        uid.is_some() && ownership::gateway_uid(&labels, owners) == uid
    };
    service.filter(is_its_own).map(|service| service_addresses(service)).unwrap_or_default()
}

fn service_addresses(service: &Service) -> Vec<Value> {
    let ip = |value: &String| json!({ "type": "IPAddress", "value": value });
    let host = |value: &String| json!({ "type": "Hostname", "value": value });
    let spec = service.spec.clone().unwrap_or_default();
    if spec.type_.as_deref() == Some("LoadBalancer") {
        let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = status.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
        return ingress
            .iter()
            .filter_map(|it| it.ip.as_ref().map(ip).or_else(|| it.hostname.as_ref().map(host)))
            .collect();
    }
    spec.cluster_ip.iter().filter(|address| !matches!(address.as_str(), "" | "None")).map(ip).collect()
}

/// One listener with its conditions.
struct Listener<'w> {
    index: usize,
    name: &'w str,
    outcome: &'w ListenerOutcome,
    conditions: [Condition; 4],
}

impl<'w> Listener<'w> {
    fn new(
        index: usize,
        listener: &'w GatewayListeners,
        outcome: &'w ListenerOutcome,
        problems: &[&Problem],
        refused: Option<Condition>,
    ) -> Self {
        let field = format!("spec.listeners[{index}]");
        let here = || problems.iter().copied().filter(|problem| is_at(problem, &field));
        let is_reference = |problem: &&Problem| LISTENER_REFERENCES.contains(&problem.reason.as_str());
        let is_conflict = |problem: &&Problem| CONFLICTS.contains(&problem.reason.as_str());
        let conflicts: Vec<&Problem> = here().filter(is_conflict).collect();
        let conflicted = match conflicts.first() {
            Some(first) => Condition::new("Conflicted", true, &first.reason, messages(&conflicts)),
            None => Condition::new("Conflicted", false, "NoConflicts", ""),
        };
        let programmed = if outcome.served {
            refused.unwrap_or_else(|| Condition::yes("Programmed", "Programmed"))
        } else {
            Condition::new("Programmed", false, "Invalid", "the listener is not served")
        };
        let conditions = [
            Condition::unless("Accepted", here().filter(|problem| !is_reference(problem))),
            Condition::unless("ResolvedRefs", here().filter(is_reference)),
            conflicted,
            programmed,
        ];
        Self { index, name: &listener.name, outcome, conditions }
    }

    fn status(&self, gateway: &Name, generation: Option<i64>, world: &World<'_>) -> Value {
        let routes = world.translation.routes.values();
        let attached = routes.filter(|route| route.is_attached(gateway, self.index)).count();
        let takes = self.outcome.takes_http_routes;
        let kinds = if takes { json!([{ "group": GROUP, "kind": "HTTPRoute" }]) } else { json!([]) };
        json!({
            "name": self.name,
            "supportedKinds": kinds,
            "attachedRoutes": attached,
            "conditions": conditions(&self.conditions, generation),
        })
    }
}
