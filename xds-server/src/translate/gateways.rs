//! Our Gateways and their listeners: which are served, and why others are not.

use std::collections::{BTreeMap, BTreeSet};

use gateway_api::gateways::{
    Gateway, GatewayAllowedListenersNamespacesFrom, GatewayListeners, GatewayListenersAllowedRoutes,
};

use crate::resources::{Name, Resources};

use super::hostname::Hostname;
use super::problems::{Fault, GATEWAY_API, Problems, Reporter, gateway_ref, object};
use super::selector::NamespaceSelector;
use super::syntax;

/// The controller that a GatewayClass names to have its Gateways served by us.
pub const CONTROLLER_NAME: &str = "toolward.dev/gateway-controller";

/// One of our Gateways.
#[derive(Clone, Debug)]
pub(super) struct OwnGateway {
    pub(super) name: Name,
    /// In the order of the resource.
    pub(super) listeners: Vec<OwnListener>,
}

/// A listener of one of our Gateways.
#[derive(Clone, Debug)]
pub(super) struct OwnListener {
    pub(super) name: String,
    pub(super) port: i32,
    pub(super) state: ListenerState,
}

/// Whether a listener is served.
#[derive(Clone, Debug)]
pub(super) enum ListenerState {
    Served(ServedListener),
    /// A problem says why.
    Refused,
}

/// What a listener that is served takes.
#[derive(Clone, Debug)]
pub(super) struct ServedListener {
    pub(super) port: u16,
    pub(super) hostname: Hostname,
    pub(super) routes: AllowedRoutes,
}

/// Which routes may attach.
#[derive(Clone, Debug)]
pub(super) enum AllowedRoutes {
    HttpRoutesFrom(NamespaceSelector),
    /// The listener names kinds of routes, none of which is HTTPRoute.
    None,
}

/// Finds our Gateways.
pub(super) fn own(resources: &Resources, problems: &mut Problems<'_>) -> BTreeMap<Name, OwnGateway> {
    let classes = own_classes(resources, problems);
    let mut gateways = BTreeMap::new();
    for (name, gateway) in &resources.gateways {
        let class = &gateway.spec.gateway_class_name;
        let mut reporter = problems.of(gateway_ref(name));
        if !resources.gateway_classes.keys().any(|known| known.name == *class) {
            let message = format!("there is no GatewayClass {class}; create it or name another");
            reporter.report("spec.gatewayClassName", Fault::new("GatewayClassNotFound", message));
        } else if classes.contains(class) {
            let own = OwnGateway { name: name.clone(), listeners: listeners(gateway, name, &mut reporter) };
            gateways.insert(name.clone(), own);
        }
    }
    gateways
}

fn own_classes(resources: &Resources, problems: &mut Problems<'_>) -> BTreeSet<String> {
    let mut own = BTreeSet::new();
    for (name, class) in &resources.gateway_classes {
        if class.spec.controller_name != CONTROLLER_NAME {
            continue;
        }
        if class.spec.parameters_ref.is_some() {
            let fault = Fault::new("InvalidParameters", "parameters are not supported; its Gateways are not served");
            problems.of(object(GATEWAY_API, "GatewayClass", name)).report("spec.parametersRef", fault);
        } else {
            own.insert(name.name.clone());
        }
    }
    own
}

fn listeners(gateway: &Gateway, name: &Name, reporter: &mut Reporter<'_, '_>) -> Vec<OwnListener> {
    let gateway_serves = check_gateway(gateway, reporter);
    let conflicts = conflicts(&gateway.spec.listeners);
    let mut listeners = Vec::new();
    for (index, listener) in gateway.spec.listeners.iter().enumerate() {
        let field = format!("spec.listeners[{index}]");
        let mut served = parse(listener, &field, &name.namespace, reporter);
        if let Some(fault) = conflicts.get(&index) {
            reporter.report(&field, fault.clone());
            served = None;
        }
        let state = match served {
            Some(served) if gateway_serves => ListenerState::Served(served),
            _ => ListenerState::Refused,
        };
        listeners.push(OwnListener { name: listener.name.clone(), port: listener.port, state });
    }
    listeners
}

/// Reports what a Gateway asks for and can't have. `false`: it can't be served at all without that.
fn check_gateway(gateway: &Gateway, reporter: &mut Reporter<'_, '_>) -> bool {
    let spec = &gateway.spec;
    let mut serves = true;
    if spec.addresses.as_ref().is_some_and(|addresses| !addresses.is_empty()) {
        let message = "addresses can't be chosen; leave them out. The Gateway is not served";
        reporter.report("spec.addresses", Fault::new("UnsupportedAddress", message));
        serves = false;
    }
    if spec.infrastructure.as_ref().is_some_and(|infrastructure| infrastructure.parameters_ref.is_some()) {
        let message = "parameters are not supported; leave them out. The Gateway is not served";
        reporter.report("spec.infrastructure.parametersRef", Fault::new("InvalidParameters", message));
        serves = false;
    }
    let namespaces = spec.allowed_listeners.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
    let from = namespaces.and_then(|namespaces| namespaces.from.as_ref());
    if from.is_some_and(|from| *from != GatewayAllowedListenersNamespacesFrom::None) {
        let message = "ListenerSets are not supported; only the Gateway's own listeners are served";
        reporter.report("spec.allowedListeners", Fault::unsupported(message));
    }
    if spec.tls.is_some() {
        reporter.report("spec.tls", Fault::unsupported("TLS is not supported yet; no listener and no backend uses it"));
    }
    serves
}

/// Listeners that can't be told apart, by index. All of them are refused: none has a better right than another.
fn conflicts(listeners: &[GatewayListeners]) -> BTreeMap<usize, Fault> {
    let mut conflicts = BTreeMap::new();
    for (index, listener) in listeners.iter().enumerate() {
        let others = || listeners.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, other)| other);
        let same_port = || others().filter(|other| other.port == listener.port);
        let hostname = |listener: &GatewayListeners| listener.hostname.clone().unwrap_or_default();
        if let Some(other) = others().find(|other| other.name == listener.name) {
            let message = format!("two listeners have the name {}; rename one", other.name);
            conflicts.insert(index, Fault::unsupported(message));
        } else if let Some(other) = same_port().find(|other| other.protocol != listener.protocol) {
            let message = format!("the listener {} has the same port and another protocol", other.name);
            conflicts.insert(index, Fault::new("ProtocolConflict", message));
        } else if let Some(other) = same_port().find(|other| hostname(other) == hostname(listener)) {
            let message = format!("the listener {} has the same port and hostname", other.name);
            conflicts.insert(index, Fault::new("HostnameConflict", message));
        }
    }
    conflicts
}

/// Reads one listener; `None` after reporting why it can't be served.
fn parse(
    listener: &GatewayListeners,
    field: &str,
    namespace: &str,
    reporter: &mut Reporter<'_, '_>,
) -> Option<ServedListener> {
    let protocol = match listener.protocol.as_str() {
        "HTTP" => Ok(()),
        other => {
            let message = format!("the protocol {other} is not supported yet; only HTTP listeners are served");
            Err(Fault::new("UnsupportedProtocol", message))
        }
    };
    let protocol = reporter.accept(format!("{field}.protocol"), protocol);
    let tls = match (&listener.tls, protocol) {
        (Some(_), Some(())) => Err(Fault::unsupported("an HTTP listener can't have tls")),
        _ => Ok(()),
    };
    let tls = reporter.accept(format!("{field}.tls"), tls);
    let port = reporter.accept(format!("{field}.port"), syntax::port(listener.port));
    let hostname = match listener.hostname.as_deref() {
        None | Some("") => Ok(Hostname::Any),
        Some(text) => Hostname::parse(text),
    };
    let hostname = reporter.accept(format!("{field}.hostname"), hostname);
    let routes = allowed_routes(listener.allowed_routes.as_ref(), field, namespace, reporter);
    let (Some(()), Some(()), Some(port), Some(hostname), Some(routes)) = (protocol, tls, port, hostname, routes) else {
        return None;
    };
    Some(ServedListener { port, hostname, routes })
}

fn allowed_routes(
    allowed: Option<&GatewayListenersAllowedRoutes>,
    field: &str,
    namespace: &str,
    reporter: &mut Reporter<'_, '_>,
) -> Option<AllowedRoutes> {
    let namespaces = allowed.and_then(|allowed| allowed.namespaces.as_ref());
    let selector = NamespaceSelector::parse(namespaces, namespace);
    let selector = reporter.accept(format!("{field}.allowedRoutes.namespaces"), selector);
    let kinds = allowed.and_then(|allowed| allowed.kinds.as_deref()).unwrap_or_default();
    let mut http_routes = kinds.is_empty();
    for (index, kind) in kinds.iter().enumerate() {
        if kind.kind == "HTTPRoute" && kind.group.as_deref().is_none_or(|group| group == GATEWAY_API) {
            http_routes = true;
        } else {
            let message = format!("routes of kind {} are not supported; only HTTPRoute is", kind.kind);
            reporter.report(format!("{field}.allowedRoutes.kinds[{index}]"), Fault::new("InvalidRouteKinds", message));
        }
    }
    Some(if http_routes { AllowedRoutes::HttpRoutesFrom(selector?) } else { AllowedRoutes::None })
}
