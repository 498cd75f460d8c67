//! Our Gateways and their listeners: which are served, and why others are not.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_api::gateways::{
    Gateway, GatewayAllowedListenersNamespacesFrom, GatewayListeners, GatewayListenersAllowedRoutes,
    GatewayListenersTls, GatewayListenersTlsMode,
};
use k8s_openapi::api::core::v1::ConfigMap;

use crate::model::Certificate;
use crate::problem::Problem;
use crate::provision::parameters::ParameterFault;
use crate::provision::{ClassParameters, Parameters, STATUS_PORT};
use crate::resources::{Name, ObjectRef};

use super::certificates;
use super::changing::Changing;
use super::hostname::Hostname;
use super::outcome::ListenerOutcome;
use super::parts::{Part, Parts};
use super::problems::{Fault, GATEWAY_API, Problems, Reporter, gateway_ref, object};
use super::selector::NamespaceSelector;
use super::syntax;
use super::view::{Source, Sources, View};

/// The controller that a GatewayClass names to have its Gateways served by us.
pub const CONTROLLER_NAME: &str = "toolward.dev/gateway-controller";

/// One of our Gateways.
#[derive(Clone, Debug)]
pub(super) struct OwnGateway {
    pub(super) name: Name,
    /// How its Envoys are to be run; `None` where what it names can't be used, and no listener is served.
    pub(super) parameters: Option<Parameters>,
    /// In the order of the resource.
    pub(super) listeners: Vec<OwnListener>,
}

/// A listener of one of our Gateways.
#[derive(Clone, Debug)]
pub(super) struct OwnListener {
    pub(super) name: String,
    pub(super) port: i32,
    /// Whether HTTPRoutes may attach at all.
    pub(super) takes_http_routes: bool,
    /// The hosts that are its own, served or not; `None` where that can't be read.
    pub(super) hostname: Option<Hostname>,
    /// Which namespaces' routes it admits, served or not; `None` where that can't be read.
    pub(super) namespaces: Option<NamespaceSelector>,
    pub(super) state: ListenerState,
}

/// Whether a listener is served.
#[derive(Clone, Debug)]
pub(super) enum ListenerState {
    Served(ServedListener),
    /// A problem says why.
    Refused,
}

/// Where a listener is served.
#[derive(Clone, Debug)]
pub(super) struct ServedListener {
    pub(super) port: u16,
    pub(super) hostname: Hostname,
    pub(super) transport: Transport,
}

/// What a listener speaks below HTTP.
#[derive(Clone, Debug)]
pub(super) enum Transport {
    Clear,
    /// TLS with these certificates, by the names of their Secrets; never empty.
    Tls(BTreeMap<String, Certificate>),
}

impl OwnGateway {
    /// What became of its listeners.
    pub(super) fn outcome(&self) -> Vec<ListenerOutcome> {
        let outcome = |listener: &OwnListener| ListenerOutcome {
            served: matches!(listener.state, ListenerState::Served(_)),
            takes_http_routes: listener.takes_http_routes,
        };
        self.listeners.iter().map(outcome).collect()
    }

    /// The hosts of a port whose listeners are not served.
    pub(super) fn refused_hostnames(&self, port: u16) -> Vec<&Hostname> {
        let refused = self
            .listeners
            .iter()
            .filter(|listener| listener.port == i32::from(port) && matches!(listener.state, ListenerState::Refused));
        refused.filter_map(|listener| listener.hostname.as_ref()).collect()
    }
}

/// All Gateways, of which some are ours.
#[derive(Debug, Default)]
pub(super) struct Gateways {
    classes: Option<Part<BTreeMap<String, ClassParameters>>>,
    gateways: Parts<Name, Option<OwnGateway>>,
}

impl Gateways {
    /// Takes over what changed. Gives the names of the Gateways that may be others now.
    pub(super) fn update(&mut self, world: &Changing<'_>, changed: &mut Sources) -> Vec<Arc<Name>> {
        if self.classes.as_ref().is_none_or(|classes| classes.is_stale(changed)) {
            self.classes = Some(world.part(own_classes));
            changed.note(&Source::Classes);
        }
        let Some(classes) = &self.classes else { return Vec::new() };
        let classes = &classes.value;
        let differing = world.next.gateways.differing(&world.last.gateways);
        let updates = self.gateways.update(differing, changed, |name| {
            world
                .next
                .gateways
                .contains_key(name)
                .then(|| world.part(|view, problems| own(name, classes, view, problems)))
        });
        let names: Vec<Arc<Name>> = updates.into_iter().map(|(name, _)| name).collect();
        names.iter().for_each(|name| changed.note(&Source::Gateway(name)));
        names
    }

    /// One of ours.
    pub(super) fn get(&self, name: &Name, view: &View<'_>) -> Option<&OwnGateway> {
        view.note(&Source::Gateway(name));
        self.own(name)
    }

    /// The same for what is not part of the world but all of it.
    pub(super) fn own(&self, name: &Name) -> Option<&OwnGateway> {
        self.gateways.get(name).and_then(|gateway| gateway.as_ref().as_ref())
    }

    /// All of ours.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, &OwnGateway)> {
        self.gateways.iter().filter_map(|(name, gateway)| Some((name, gateway.as_ref().as_ref()?)))
    }

    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.classes.iter().flat_map(|classes| &classes.problems).chain(self.gateways.problems())
    }
}

/// One Gateway; `None` where it is not ours.
fn own(
    name: &Name,
    classes: &BTreeMap<String, ClassParameters>,
    view: &View<'_>,
    problems: &mut Problems<'_>,
) -> Option<OwnGateway> {
    let gateway = view.gateway(name)?;
    let class = &gateway.spec.gateway_class_name;
    let mut reporter = problems.of(gateway_ref(name));
    if !view.classes().any(|(known, _)| known.name == *class) {
        let message = format!("there is no GatewayClass {class}, or it can't be read; create it or name another");
        reporter.report("spec.gatewayClassName", Fault::new("GatewayClassNotFound", message));
    }
    let parameters = infrastructure(gateway, name, classes.get(class)?, view, &mut reporter);
    let listeners = listeners(gateway, name, parameters.is_some(), view, &mut reporter);
    Some(OwnGateway { name: name.clone(), parameters, listeners })
}

/// Our classes with the parameters that hold for all Gateways of each.
fn own_classes(view: &View<'_>, problems: &mut Problems<'_>) -> BTreeMap<String, ClassParameters> {
    let mut own = BTreeMap::new();
    for (name, class) in view.classes() {
        if class.spec.controller_name != CONTROLLER_NAME {
            continue;
        }
        let parameters = match &class.spec.parameters_ref {
            None => Some(ClassParameters::default()),
            Some(reference) => {
                let mut reporter = problems.of(object(GATEWAY_API, "GatewayClass", name));
                let reference = ParametersRef {
                    group: &reference.group,
                    kind: &reference.kind,
                    name: Name::new(reference.namespace.clone().unwrap_or_default(), &reference.name),
                };
                let read = |written: &ConfigMap| ClassParameters::default().with(written);
                parameters(&reference, read, view, "spec.parametersRef", &mut reporter)
            }
        };
        own.extend(parameters.map(|parameters| (name.name.clone(), parameters)));
    }
    own
}

/// What a Gateway chooses of what its class leaves to it.
fn infrastructure(
    gateway: &Gateway,
    name: &Name,
    class: &ClassParameters,
    view: &View<'_>,
    reporter: &mut Reporter<'_, '_>,
) -> Option<Parameters> {
    let Some(infrastructure) = gateway.spec.infrastructure.as_ref() else { return Some(class.defaults.clone()) };
    let faults = class.metadata_faults(infrastructure);
    for (field, message) in &faults {
        reporter.report(format!("spec.infrastructure.{field}"), Fault::new("InvalidParameters", message.clone()));
    }
    let chosen = match &infrastructure.parameters_ref {
        None => Some(class.defaults.clone()),
        Some(reference) => {
            let reference = ParametersRef {
                group: &reference.group,
                kind: &reference.kind,
                name: Name::new(&name.namespace, &reference.name),
            };
            let read = |written: &ConfigMap| class.of_gateway(written);
            parameters(&reference, read, view, "spec.infrastructure.parametersRef", reporter)
        }
    };
    chosen.filter(|_| faults.is_empty())
}

/// What a parametersRef names.
struct ParametersRef<'a> {
    group: &'a str,
    kind: &'a str,
    name: Name,
}

/// `None` after reporting all that is wrong.
fn parameters<T>(
    reference: &ParametersRef<'_>,
    read: impl FnOnce(&ConfigMap) -> Result<T, Vec<ParameterFault>>,
    view: &View<'_>,
    field: &str,
    reporter: &mut Reporter<'_, '_>,
) -> Option<T> {
    let ParametersRef { group, kind, name } = reference;
    let mut fault = |message: String| reporter.report(field, Fault::new("InvalidParameters", message));
    if (*group, *kind) != ("", "ConfigMap") {
        fault(format!("parameters of kind {kind} are not supported; name a ConfigMap, or leave them out"));
        return None;
    }
    let Some(config_map) = view.config_map(name) else {
        let missing = format!("there is no ConfigMap {name}; create it, or leave the parameters out");
        fault(view.lack("ConfigMap", name, missing));
        return None;
    };
    match read(config_map) {
        Ok(parameters) => Some(parameters),
        Err(faults) => {
            faults.iter().for_each(|found| fault(format!("ConfigMap {name}: {found}")));
            None
        }
    }
}

fn listeners(
    gateway: &Gateway,
    name: &Name,
    has_parameters: bool,
    view: &View<'_>,
    reporter: &mut Reporter<'_, '_>,
) -> Vec<OwnListener> {
    let gateway_serves = check_gateway(gateway, reporter) && has_parameters;
    let conflicts = conflicts(&gateway.spec.listeners);
    let mut listeners = Vec::new();
    for (index, listener) in gateway.spec.listeners.iter().enumerate() {
        let field = format!("spec.listeners[{index}]");
        let mut parsed = parse(listener, &field, &gateway_ref(name), view, reporter);
        if let Some(fault) = conflicts.get(&index) {
            reporter.report(&field, fault.clone());
            parsed.state = ListenerState::Refused;
        }
        if !gateway_serves {
            parsed.state = ListenerState::Refused;
        }
        listeners.push(parsed);
    }
    // INVARIANT: the hosts of a listener never become those of a looser one beside it. Where they can't be read, they may
    // be any.
    let nameless = listeners.iter().filter(|listener| listener.hostname.is_none());
    let nameless: BTreeMap<i32, String> = nameless.map(|listener| (listener.port, listener.name.clone())).collect();
    for (index, listener) in listeners.iter_mut().enumerate() {
        if let (Some(other), Some(_)) = (nameless.get(&listener.port), &listener.hostname) {
            let message = format!("the hostname of the listener {other} on the same port can't be read");
            reporter.report(format!("spec.listeners[{index}]"), Fault::unsupported(message));
            listener.state = ListenerState::Refused;
        }
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

/// Reads one listener, and reports why it can't be served.
fn parse(
    listener: &GatewayListeners,
    field: &str,
    gateway: &ObjectRef,
    view: &View<'_>,
    reporter: &mut Reporter<'_, '_>,
) -> OwnListener {
    let transport = match listener.protocol.as_str() {
        "HTTP" => reporter.accept(format!("{field}.tls"), clear(listener.tls.as_ref())),
        "HTTPS" => reporter.accept(format!("{field}.tls"), tls(listener.tls.as_ref(), gateway, view)),
        other => {
            let message = format!("the protocol {other} is not supported; HTTP and HTTPS listeners are served");
            reporter.report(format!("{field}.protocol"), Fault::new("UnsupportedProtocol", message));
            None
        }
    };
    let port = reporter.accept(format!("{field}.port"), free_port(listener.port));
    let hostname = match listener.hostname.as_deref() {
        None | Some("") => Ok(Hostname::Any),
        Some(text) => Hostname::parse(text),
    };
    let hostname = reporter.accept(format!("{field}.hostname"), hostname);
    let allowed = listener.allowed_routes.as_ref();
    let namespaces = allowed.and_then(|allowed| allowed.namespaces.as_ref());
    let namespaces = NamespaceSelector::parse(namespaces, &gateway.name.namespace);
    let namespaces = reporter.accept(format!("{field}.allowedRoutes.namespaces"), namespaces);
    let kinds_fit = takes_http_routes(allowed, field, reporter);
    let state = match (transport, port, &hostname, &namespaces) {
        (Some(transport), Some(port), Some(hostname), Some(_)) => {
            ListenerState::Served(ServedListener { port, hostname: hostname.clone(), transport })
        }
        _ => ListenerState::Refused,
    };
    let takes_http_routes = kinds_fit && matches!(listener.protocol.as_str(), "HTTP" | "HTTPS");
    OwnListener { name: listener.name.clone(), port: listener.port, takes_http_routes, hostname, namespaces, state }
}

fn clear(tls: Option<&GatewayListenersTls>) -> Result<Transport, Fault> {
    match tls {
        None => Ok(Transport::Clear),
        Some(_) => Err(Fault::unsupported("an HTTP listener can't have tls")),
    }
}

fn tls(tls: Option<&GatewayListenersTls>, gateway: &ObjectRef, view: &View<'_>) -> Result<Transport, Fault> {
    let tls = tls.ok_or_else(|| Fault::unsupported("an HTTPS listener needs tls with certificateRefs"))?;
    if tls.mode == Some(GatewayListenersTlsMode::Passthrough) {
        return Err(Fault::unsupported("TLS that is passed through can't be looked into; only Terminate is supported"));
    }
    if tls.options.as_ref().is_some_and(|options| !options.is_empty()) {
        return Err(Fault::unsupported("options are not supported; leave them out"));
    }
    let references = tls.certificate_refs.as_deref().unwrap_or_default();
    certificates::resolve(references, gateway, view).map(Transport::Tls)
}

fn free_port(number: i32) -> Result<u16, Fault> {
    let port = syntax::port(number)?;
    if port == STATUS_PORT {
        let message = format!("Envoy itself uses port {port} for probes and metrics; take another");
        return Err(Fault::new("PortUnavailable", message));
    }
    Ok(port)
}

/// Whether the kinds of routes that a listener names, if any, have HTTPRoute among them.
fn takes_http_routes(
    allowed: Option<&GatewayListenersAllowedRoutes>,
    field: &str,
    reporter: &mut Reporter<'_, '_>,
) -> bool {
    let kinds = allowed.and_then(|allowed| allowed.kinds.as_deref()).unwrap_or_default();
    let mut http_routes = kinds.is_empty();
    for (index, kind) in kinds.iter().enumerate() {
        if kind.kind == "HTTPRoute" && kind.group.as_deref().is_none_or(|group| group == GATEWAY_API) {
            http_routes = true;
        } else {
            let group = kind.group.as_deref().unwrap_or(GATEWAY_API);
            let message = format!("routes of kind {} of {group} are not supported; only HTTPRoute is", kind.kind);
            reporter.report(format!("{field}.allowedRoutes.kinds[{index}]"), Fault::new("InvalidRouteKinds", message));
        }
    }
    http_routes
}
