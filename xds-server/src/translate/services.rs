//! Services and the addresses behind them, from EndpointSlices.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};

use crate::model::Endpoint;
use crate::networks::BackendNetworks;
use crate::problem::Problem;
use crate::resources::Name;

use super::changing::Changing;
use super::holders::{Hold, Holders};
use super::outside;
use super::parts::Parts;
use super::problems::{Fault, Problems, Reporter, object};
use super::syntax;
use super::view::{Source, Sources, View};

/// The label that says whose endpoints a slice holds.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Values of `appProtocol` that need another protocol towards the endpoints than HTTP/1.1.
const UNSUPPORTED_PROTOCOLS: [&str; 3] = ["kubernetes.io/h2c", "kubernetes.io/ws", "kubernetes.io/wss"];

/// The EndpointSlices of all Services.
#[derive(Debug, Default)]
pub(super) struct Services {
    slices: Parts<Name, Option<Slice>>,
    by_service: BTreeMap<Name, BTreeMap<Arc<Name>, Arc<Option<Slice>>>>,
    /// Kept where it matters whose an address is.
    holders: Holders,
}

/// What counts of one EndpointSlice.
#[derive(Debug)]
struct Slice {
    service: Name,
    /// Name of the Service's port, and number.
    ports: Vec<(String, u16)>,
    ready: Vec<IpAddr>,
    /// No longer ready, still serving.
    draining: Vec<IpAddr>,
    /// Those of all its addresses that are a pod's, ready or not.
    pods: BTreeSet<IpAddr>,
    /// And those that are not: somebody has written them.
    written: BTreeSet<IpAddr>,
}

impl Services {
    /// Takes over what changed of the slices, and of whose addresses are.
    pub(super) fn update(&mut self, world: &Changing<'_>, changed: &mut Sources) {
        let is_restricted = matches!(world.options.backend_networks, BackendNetworks::Only(_));
        if is_restricted {
            let (last, next) = (&world.last.services, &world.next.services);
            for name in next.differing(last) {
                self.holders.update(
                    name,
                    last.get(name).map(|last| &**last),
                    next.get(name).map(|next| &**next),
                    changed,
                );
            }
        }
        let differing = world.next.endpoint_slices.differing(&world.last.endpoint_slices);
        let updates = self.slices.update(differing, changed, |name| {
            world
                .next
                .endpoint_slices
                .contains_key(name)
                .then(|| world.part(|view, problems| Slice::of(name, view, problems)))
        });
        for (name, last) in updates {
            if let Some(slice) = last.as_deref().and_then(Option::as_ref) {
                changed.note(&Source::Endpoints(&slice.service));
                if let Some(slices) = self.by_service.get_mut(&slice.service) {
                    slices.remove(&name);
                }
                if is_restricted {
                    slice.hold(&name, false, &mut self.holders, changed);
                }
            }
            if let Some((next, slice)) = self.slices.get(&name).and_then(|next| Some((next, next.as_ref().as_ref()?))) {
                changed.note(&Source::Endpoints(&slice.service));
                if is_restricted {
                    slice.hold(&name, true, &mut self.holders, changed);
                }
                self.by_service.entry(slice.service.clone()).or_default().insert(name, Arc::clone(next));
            }
        }
        self.by_service.retain(|_, slices| !slices.is_empty());
    }

    /// The Services that hold an address, which is known where networks are restricted.
    pub(super) fn holders(&self, address: IpAddr, view: &View<'_>) -> impl Iterator<Item = (&Name, &Hold)> {
        view.note(&Source::Address(address.to_canonical()));
        self.holders.of(address)
    }

    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.slices.problems()
    }

    /// Whether there is such a Service with endpoints of its own.
    pub(super) fn has(name: &Name, view: &View<'_>) -> bool {
        view.service(name).is_some_and(|service| !is_external(service))
    }

    /// Whether there is such a Service, with a port of this name where one is given.
    pub(super) fn has_port_named(name: &Name, port: Option<&str>, view: &View<'_>) -> bool {
        let Some(service) = view.service(name) else { return false };
        port.is_none_or(|port| ports(service).any(|candidate| candidate.name.as_deref() == Some(port)))
    }

    /// A port of a Service.
    pub(super) fn port<'r>(name: &Name, port: u16, view: &View<'r>) -> Result<&'r ServicePort, Fault> {
        let missing = |what: String| Fault::new("BackendNotFound", what);
        let service = view.service(name).ok_or_else(|| missing(format!("there is no Service {name}")))?;
        if view.malformed(&object("", "Service", name)).is_some() {
            return Err(missing(format!("the Service {name} can't be read")));
        }
        if is_external(service) {
            return Err(Fault::unsupported(format!("the Service {name} is an ExternalName, which is not supported")));
        }
        ports(service)
            .find(|candidate| candidate.port == i32::from(port) && is_tcp(candidate.protocol.as_deref()))
            .ok_or_else(|| missing(format!("the Service {name} has no TCP port {port}")))
    }

    /// The addresses behind a port of a Service, sorted. None may be there: then the Service is down. What somebody has written
    /// there must not be another namespace's: that would be a reference which nobody has granted.
    pub(super) fn endpoints(&self, name: &Name, port: &ServicePort, view: &View<'_>) -> Result<Vec<Endpoint>, Fault> {
        view.note(&Source::Endpoints(name));
        let slices = self.by_service.get(name).into_iter().flat_map(BTreeMap::values);
        let slices: Vec<&Slice> = slices.filter_map(|slice| slice.as_ref().as_ref()).collect();
        let slices = slices.as_slice();
        for slice in slices {
            let is_of_others = |address: &&IpAddr| {
                let is_on = |hold: &Hold| slice.ports.iter().any(|(_, port)| hold.is_on(*port));
                let mut holders = self.holders(**address, view);
                holders.any(|(service, hold)| service.namespace != name.namespace && is_on(hold))
            };
            if let Some(address) = slice.written.iter().find(is_of_others) {
                let message = format!(
                    "an EndpointSlice of the Service {name} names {address}, which is of a Service of another namespace; \
                     refer to that Service, which needs a ReferenceGrant"
                );
                return Err(Fault::new("RefNotPermitted", message));
            }
        }
        let port_name = port.name.as_deref().unwrap_or_default();
        let ready = collect(slices, port_name, |slice| &slice.ready);
        // While all endpoints are going away, those that still serve are better than none.
        Ok(if ready.is_empty() { collect(slices, port_name, |slice| &slice.draining) } else { ready })
    }
}

fn ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    service.spec.iter().flat_map(|spec| spec.ports.iter().flatten())
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

fn collect<'s>(slices: &[&'s Slice], port_name: &str, addresses: fn(&'s Slice) -> &'s Vec<IpAddr>) -> Vec<Endpoint> {
    let mut endpoints = BTreeSet::new();
    for slice in slices {
        for (_, port) in slice.ports.iter().filter(|(name, _)| name == port_name) {
            endpoints.extend(addresses(slice).iter().map(|address| (*address, *port)));
        }
    }
    endpoints.into_iter().map(|(address, port)| Endpoint { address: address.to_string(), port }).collect()
}

impl Slice {
    /// Its pods' addresses are its Service's now, or no more.
    fn hold(&self, name: &Arc<Name>, holds: bool, holders: &mut Holders, changed: &mut Sources) {
        for address in &self.pods {
            holders.put(*address, &self.service, Hold::Pod(Arc::clone(name)), holds, changed);
        }
        // The API server writes where it is itself, and is no pod. There may be more on its hosts.
        if (self.service.namespace.as_str(), self.service.name.as_str()) == ("default", "kubernetes") {
            for (address, (_, port)) in
                self.written.iter().flat_map(|address| self.ports.iter().map(move |port| (address, port)))
            {
                holders.put(*address, &self.service, Hold::Port(*port, Arc::clone(name)), holds, changed);
            }
        }
    }

    /// `None` where it is nobody's.
    fn of(name: &Name, view: &View<'_>, problems: &mut Problems<'_>) -> Option<Self> {
        let slice = view.endpoint_slice(name)?;
        let service = slice.metadata.labels.as_ref()?.get(SERVICE_LABEL)?;
        let object = object("discovery.k8s.io", "EndpointSlice", name);
        let is_closed = view.malformed(&object).is_some();
        let read = Self::read(Name::new(&name.namespace, service), slice, view, &mut problems.of(object));
        Some(if is_closed { Self { ready: Vec::new(), draining: Vec::new(), ..read } } else { read })
    }

    fn read(service: Name, slice: &EndpointSlice, view: &View<'_>, reporter: &mut Reporter<'_, '_>) -> Self {
        let (ports, ready, draining) = (Vec::new(), Vec::new(), Vec::new());
        let mut read = Self { service, ports, ready, draining, pods: BTreeSet::new(), written: BTreeSet::new() };
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
            let Some(address) = reporter.accept(field, address(endpoint, view)) else { continue };
            let of_pod = endpoint.target_ref.as_ref().is_some_and(|target| target.kind.as_deref() == Some("Pod"));
            let all = if of_pod { &mut read.pods } else { &mut read.written };
            all.extend(endpoint.addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok()));
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
fn address(endpoint: &SliceEndpoint, view: &View<'_>) -> Result<IpAddr, Fault> {
    let first = endpoint.addresses.first().map(String::as_str).unwrap_or_default();
    let address: IpAddr = first.parse().map_err(|_| Fault::unsupported(format!("{first:?} is no IP address")))?;
    match view.networks() {
        BackendNetworks::Only(networks) if is_of_this_host(address) && !networks.permit(address) => {
            Err(outside::not_allowed(&format!("{first} is")))
        }
        _ => Ok(address),
    }
}

/// Whether an address means another host on each host, or more than one. An API server takes none of these either.
fn is_of_this_host(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
        }
        IpAddr::V6(address) => {
            // The forms of IPv4 in IPv6 of old, `::127.0.0.1`, as well.
            let is_low = address.segments().iter().take(6).all(|segment| *segment == 0);
            is_low || address.is_unicast_link_local() || address.is_multicast()
        }
    }
}
