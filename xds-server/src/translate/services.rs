//! Services and the addresses behind them, from EndpointSlices.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};

use crate::model::Endpoint;
use crate::resources::{Name, Resources};

use super::problems::{Fault, Problems, Reporter, object};
use super::syntax;

/// The label that says whose endpoints a slice holds.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Values of `appProtocol` that need another protocol towards the endpoints than HTTP/1.1.
const UNSUPPORTED_PROTOCOLS: [&str; 3] = ["kubernetes.io/h2c", "kubernetes.io/ws", "kubernetes.io/wss"];

/// All Services with their slices.
pub(super) struct Services<'r> {
    services: &'r BTreeMap<Name, Service>,
    slices: BTreeMap<Name, Vec<Slice>>,
}

/// What counts of one EndpointSlice.
struct Slice {
    /// Name of the Service's port, and number.
    ports: Vec<(String, u16)>,
    ready: Vec<IpAddr>,
    /// No longer ready, still serving.
    draining: Vec<IpAddr>,
}

impl<'r> Services<'r> {
    pub(super) fn new(resources: &'r Resources, problems: &mut Problems<'_>) -> Self {
        let mut slices: BTreeMap<Name, Vec<Slice>> = BTreeMap::new();
        for (name, slice) in &resources.endpoint_slices {
            let labels = slice.metadata.labels.as_ref();
            if let Some(service) = labels.and_then(|labels| labels.get(SERVICE_LABEL)) {
                let mut reporter = problems.of(object("discovery.k8s.io", "EndpointSlice", name));
                let service = Name::new(&name.namespace, service);
                slices.entry(service).or_default().push(Slice::read(slice, &mut reporter));
            }
        }
        Self { services: &resources.services, slices }
    }

    /// This Service with its slices alone.
    fn only(name: &Name, resources: &'r Resources) -> Self {
        let mut slices = Vec::new();
        let mut problems = Problems::new(&resources.origins);
        let of_namespace = resources.endpoint_slices.range(Name::new(&name.namespace, "")..);
        for (slice_name, slice) in of_namespace.take_while(|(slice, _)| slice.namespace == name.namespace) {
            let labels = slice.metadata.labels.as_ref();
            if labels.and_then(|labels| labels.get(SERVICE_LABEL)) == Some(&name.name) {
                let mut reporter = problems.of(object("discovery.k8s.io", "EndpointSlice", slice_name));
                slices.push(Slice::read(slice, &mut reporter));
            }
        }
        Self { services: &resources.services, slices: BTreeMap::from([(name.clone(), slices)]) }
    }

    /// Whether there is such a Service with endpoints of its own.
    pub(super) fn has(&self, name: &Name) -> bool {
        self.services.get(name).is_some_and(|service| !is_external(service))
    }

    /// Whether there is such a Service, with a port of this name where one is given.
    pub(super) fn has_port_named(&self, name: &Name, port: Option<&str>) -> bool {
        let Some(service) = self.services.get(name) else { return false };
        port.is_none_or(|port| ports(service).any(|candidate| candidate.name.as_deref() == Some(port)))
    }

    /// A port of a Service.
    pub(super) fn port(&self, name: &Name, port: u16) -> Result<&'r ServicePort, Fault> {
        let missing = |what: String| Fault::new("BackendNotFound", what);
        let service = self.services.get(name).ok_or_else(|| missing(format!("there is no Service {name}")))?;
        if is_external(service) {
            return Err(Fault::unsupported(format!("the Service {name} is an ExternalName, which is not supported")));
        }
        ports(service)
            .find(|candidate| candidate.port == i32::from(port) && is_tcp(candidate.protocol.as_deref()))
            .ok_or_else(|| missing(format!("the Service {name} has no TCP port {port}")))
    }

    /// The addresses behind a port of a Service, sorted. None may be there: then the Service is down.
    pub(super) fn endpoints(&self, name: &Name, port: &ServicePort) -> Vec<Endpoint> {
        let slices = self.slices.get(name).map(Vec::as_slice).unwrap_or_default();
        let port_name = port.name.as_deref().unwrap_or_default();
        let ready = collect(slices, port_name, |slice| &slice.ready);
        // While all endpoints are going away, those that still serve are better than none.
        if ready.is_empty() { collect(slices, port_name, |slice| &slice.draining) } else { ready }
    }
}

fn ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    service.spec.iter().flat_map(|spec| spec.ports.iter().flatten())
}

/// The addresses behind a port of a Service, without a look at anything else; `None` where there are none to be had.
pub(crate) fn endpoints(name: &Name, port: u16, resources: &Resources) -> Option<Vec<Endpoint>> {
    let services = Services::only(name, resources);
    Some(services.endpoints(name, services.port(name, port).ok()?))
}

fn is_external(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName")
}

fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP")
}

/// Whether the protocol that a port asks for is the one that is spoken to it.
pub(super) fn check_protocol(service: &Name, port: &ServicePort, over_tls: bool) -> Result<(), Fault> {
    let number = port.port;
    let message = match port.app_protocol.as_deref() {
        Some("https") if !over_tls => format!(
            "port {number} of the Service {service} has appProtocol https; say whose certificate is expected in a BackendTLSPolicy"
        ),
        Some(protocol) if UNSUPPORTED_PROTOCOLS.contains(&protocol) => {
            format!("port {number} of the Service {service} has appProtocol {protocol}; HTTP/1.1 is spoken")
        }
        _ => return Ok(()),
    };
    Err(Fault::new("UnsupportedProtocol", message))
}

fn collect<'s>(slices: &'s [Slice], port_name: &str, addresses: fn(&'s Slice) -> &'s Vec<IpAddr>) -> Vec<Endpoint> {
    let mut endpoints = BTreeSet::new();
    for slice in slices {
        for (_, port) in slice.ports.iter().filter(|(name, _)| name == port_name) {
            endpoints.extend(addresses(slice).iter().map(|address| (*address, *port)));
        }
    }
    endpoints.into_iter().map(|(address, port)| Endpoint { address: address.to_string(), port }).collect()
}

impl Slice {
    fn read(slice: &EndpointSlice, reporter: &mut Reporter<'_, '_>) -> Self {
        let mut read = Self { ports: Vec::new(), ready: Vec::new(), draining: Vec::new() };
        if !matches!(slice.address_type.as_str(), "IPv4" | "IPv6") {
            let message = format!("the address type {} is not supported; IPv4 and IPv6 are", slice.address_type);
            reporter.report("addressType", Fault::unsupported(message));
            return read;
        }
        for (index, port) in slice.ports.iter().flatten().enumerate() {
            let tcp = is_tcp(port.protocol.as_deref());
            if let Some(number) = port.port.filter(|_| tcp) {
                let number = reporter.accept(format!("ports[{index}].port"), syntax::port(number));
                read.ports.extend(number.map(|number| (port.name.clone().unwrap_or_default(), number)));
            }
        }
        for (index, endpoint) in slice.endpoints.iter().enumerate() {
            let field = format!("endpoints[{index}].addresses[0]");
            let Some(address) = reporter.accept(field, address(endpoint)) else { continue };
            let conditions = endpoint.conditions.as_ref();
            let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
            let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(ready);
            let terminating = conditions.and_then(|conditions| conditions.terminating).unwrap_or(false);
            if ready {
                read.ready.push(address);
            } else if serving && terminating {
                read.draining.push(address);
            }
        }
        read
    }
}

/// The addresses of one endpoint are interchangeable; the first stands for it.
fn address(endpoint: &SliceEndpoint) -> Result<IpAddr, Fault> {
    let first = endpoint.addresses.first().map(String::as_str).unwrap_or_default();
    first.parse().map_err(|_| Fault::unsupported(format!("{first:?} is no IP address")))
}
