//! GatewayClasses, Gateways and their listeners.

use gateway_api::gateways::{Gateway, GatewayListeners};
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::Desired;
use super::conditions::{Condition, World, conditions, generation, is_at, is_reference, messages, object};
use crate::model::GatewayName;
use crate::problem::Problem;
use crate::resources::Name;
use crate::translate::CONTROLLER_NAME;

const GROUP: &str = "gateway.networking.k8s.io";

/// Reasons for which a listener stands in another one's way.
const CONFLICTS: [&str; 2] = ["HostnameConflict", "ProtocolConflict"];

/// Reasons of a listener's references: routes' kinds and certificates.
const LISTENER_REFERENCES: [&str; 3] = ["InvalidRouteKinds", "InvalidCertificateRef", "RefNotPermitted"];

pub(super) fn classes(world: &World<'_>) -> Vec<Desired> {
    let ours =
        world.resources.gateway_classes.iter().filter(|(_, class)| class.spec.controller_name == CONTROLLER_NAME);
    ours.map(|(name, class)| {
        let object = object(GROUP, "GatewayClass", name);
        let accepted = Condition::unless("Accepted", world.problems(&object).iter().copied());
        let list = [accepted, Condition::yes("SupportedVersion", "SupportedVersion")];
        Desired { object, status: json!({ "conditions": conditions(&list, generation(&class.metadata)) }) }
    })
    .collect()
}

pub(super) fn gateways(world: &World<'_>) -> Vec<Desired> {
    let ours = world.translation.gateways.iter();
    ours.filter_map(|name| Some(status(name, world.resources.gateways.get(name)?, world))).collect()
}

fn status(name: &Name, gateway: &Gateway, world: &World<'_>) -> Desired {
    let object = object(GROUP, "Gateway", name);
    let problems = world.problems(&object);
    let generation = generation(&gateway.metadata);
    let own: Vec<&Problem> = problems.iter().copied().filter(|problem| !is_at(problem, "spec.listeners")).collect();
    let refused = own.iter().any(|problem| is_refusal(problem));
    let listeners: Vec<Listener<'_>> = gateway
        .spec
        .listeners
        .iter()
        .enumerate()
        .map(|(index, listener)| Listener::new(index, listener, problems, refused))
        .collect();
    let addresses = addresses(name, world);
    let accepted = accepted(&own, &listeners);
    let programmed = programmed(name, &accepted, addresses.is_empty(), world);
    let listeners: Vec<Value> = listeners.iter().map(|listener| listener.status(name, generation, world)).collect();
    let mut status = json!({ "conditions": conditions(&[accepted, programmed], generation), "listeners": listeners });
    if let (false, Some(members)) = (addresses.is_empty(), status.as_object_mut()) {
        members.insert("addresses".to_owned(), Value::Array(addresses));
    }
    Desired { object, status }
}

/// Whether a Gateway is not served at all for this.
fn is_refusal(problem: &Problem) -> bool {
    matches!(problem.reason.as_str(), "UnsupportedAddress" | "InvalidParameters")
}

fn accepted(own: &[&Problem], listeners: &[Listener<'_>]) -> Condition {
    if let Some(first) = own.iter().find(|problem| is_refusal(problem)) {
        return Condition::new("Accepted", false, &first.reason, messages(own));
    }
    let bad: Vec<&str> =
        listeners.iter().filter(|listener| !listener.is_programmed()).map(|listener| listener.name).collect();
    if bad.is_empty() {
        return Condition::new("Accepted", true, "Accepted", messages(own));
    }
    let message = format!("not served: {}; see the conditions of the listeners", bad.join(", "));
    Condition::new("Accepted", bad.len() < listeners.len(), "ListenersNotValid", message)
}

fn programmed(name: &Name, accepted: &Condition, no_address: bool, world: &World<'_>) -> Condition {
    let refusal = world.facts.refusals.get(&GatewayName(name.to_string()));
    match refusal {
        _ if !accepted.holds() => Condition::new("Programmed", false, "Invalid", "the Gateway is not accepted"),
        Some(refusal) => Condition::new("Programmed", false, "Invalid", format!("Envoy refuses it: {refusal}")),
        None if no_address && world.facts.provisioned => {
            Condition::new("Programmed", false, "AddressNotAssigned", "its Service has no address yet")
        }
        None => Condition::yes("Programmed", "Programmed"),
    }
}

/// The addresses of the Service that was made for a Gateway.
fn addresses(name: &Name, world: &World<'_>) -> Vec<Value> {
    if !world.facts.provisioned {
        return Vec::new();
    }
    let service = world.resources.services.get(&Name::new(&name.namespace, format!("{}-toolward", name.name)));
    service.map(service_addresses).unwrap_or_default()
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
    /// The kinds of routes that it takes.
    takes_routes: bool,
    conditions: Vec<Condition>,
}

impl<'w> Listener<'w> {
    fn new(index: usize, listener: &'w GatewayListeners, problems: &[&Problem], refused: bool) -> Self {
        let field = format!("spec.listeners[{index}]");
        let here: Vec<&Problem> = problems.iter().copied().filter(|problem| is_at(problem, &field)).collect();
        let having = |reasons: &[&str]| -> Vec<&Problem> {
            here.iter().copied().filter(|problem| reasons.contains(&problem.reason.as_str())).collect()
        };
        let (conflicts, references) = (having(&CONFLICTS), having(&LISTENER_REFERENCES));
        let others: Vec<&Problem> =
            here.iter().copied().filter(|problem| !LISTENER_REFERENCES.contains(&problem.reason.as_str())).collect();
        let accepted = Condition::unless("Accepted", others.iter().copied());
        let resolved = Condition::unless("ResolvedRefs", references.iter().copied());
        let conflicted = match conflicts.first() {
            Some(first) => Condition::new("Conflicted", true, &first.reason, messages(&conflicts)),
            None => Condition::new("Conflicted", false, "NoConflicts", ""),
        };
        // Routes of a wrong kind are not taken; certificates that are not there leave nothing to serve with.
        let without_certificate = references.iter().any(|problem| is_reference(problem));
        let programmed = if refused || !accepted.holds() || without_certificate {
            Condition::new("Programmed", false, "Invalid", "the listener is not served")
        } else {
            Condition::yes("Programmed", "Programmed")
        };
        let kinds = listener.allowed_routes.as_ref().and_then(|allowed| allowed.kinds.as_deref()).unwrap_or_default();
        let takes_routes = kinds.is_empty() || kinds.iter().any(|kind| kind.kind == "HTTPRoute");
        Self { index, name: &listener.name, takes_routes, conditions: vec![accepted, resolved, conflicted, programmed] }
    }

    fn is_programmed(&self) -> bool {
        self.conditions.last().is_some_and(Condition::holds)
    }

    fn status(&self, gateway: &Name, generation: Option<i64>, world: &World<'_>) -> Value {
        let attached = world
            .translation
            .attached
            .values()
            .filter(|gateways| gateways.get(gateway).is_some_and(|listeners| listeners.contains(&self.index)));
        let kinds = if self.takes_routes { json!([{ "group": GROUP, "kind": "HTTPRoute" }]) } else { json!([]) };
        json!({
            "name": self.name,
            "supportedKinds": kinds,
            "attachedRoutes": attached.count(),
            "conditions": conditions(&self.conditions, generation),
        })
    }
}
