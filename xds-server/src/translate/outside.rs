//! Where a host leads that a target names, seen from the gateway: to a Service, which must be granted like by any other
//! reference, or outside, to addresses at which backends may be. Where these are not restricted one operator writes everything:
//! then hosts lead where they lead, and nothing has to be granted to himself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::model::{Endpoint, Endpoints};
use crate::names::{Resolved, Wanted};
use crate::networks::{BackendNetworks, Networks};
use crate::resources::mcp::{MCPBackend, StaticTarget};
use crate::resources::{Name, ObjectRef, Resources};

use super::grants;
use super::holders::Hold;
use super::host::{self, Host};
use super::problems::{Fault, object};
use super::services::Services;
use super::view::View;

/// A name that is being looked up for the first time.
pub const NAME_PENDING: &str = "NamePending";

/// Where a host leads.
#[derive(Debug)]
pub(super) enum Place {
    /// To a Service of this cluster, which may be referred to.
    Service(Name),
    /// Elsewhere.
    Outside {
        /// The host in its one spelling.
        host: String,
        /// Its addresses; `None`: Envoy is told the host.
        addresses: Option<Vec<IpAddr>>,
    },
}

impl Place {
    /// Reads the host of a target of this object.
    pub(super) fn of(
        from: &ObjectRef,
        target: &StaticTarget,
        services: &Services,
        view: &View<'_>,
    ) -> Result<Self, Fault> {
        let (host, read) = host::parse(&target.host)?;
        let BackendNetworks::Only(networks) = view.networks() else {
            return match read {
                Host::Service(service) if Services::has(&service, view) => Ok(Self::Service(service)),
                _ => Ok(Self::Outside { host, addresses: None }),
            };
        };
        let outside = Outside { from, port: target.port, networks, services, view };
        match read {
            Host::Service(service) => of_service(from, service, view),
            Host::Address(address) => outside.address(host, address),
            Host::Local if networks.permit(Ipv4Addr::LOCALHOST.into()) => {
                Ok(Self::Outside { host, addresses: Some(vec![Ipv4Addr::LOCALHOST.into()]) })
            }
            Host::Local => Err(not_allowed(&format!("{host} is"))),
            Host::Name => outside.name(host),
        }
    }

    /// Where Envoy finds it.
    pub(super) fn endpoints(host: &str, addresses: Option<Vec<IpAddr>>, port: u16) -> Endpoints {
        let endpoint = |address: IpAddr| Endpoint { address: address.to_string(), port };
        match addresses {
            Some(addresses) => Endpoints::Addresses(addresses.into_iter().map(endpoint).collect()),
            None => Endpoints::Dns { host: host.to_owned(), port },
        }
    }
}

fn of_service(from: &ObjectRef, service: Name, view: &View<'_>) -> Result<Place, Fault> {
    // Before anything is said about the Service, as with every reference.
    grants::check(view, from, &object("", "Service", &service))?;
    Ok(Place::Service(service))
}

/// What a target of this object may reach.
struct Outside<'a, 'r> {
    from: &'a ObjectRef,
    port: u16,
    networks: &'a Networks,
    services: &'a Services,
    view: &'a View<'r>,
}

impl Outside<'_, '_> {
    fn address(&self, host: String, address: IpAddr) -> Result<Place, Fault> {
        let mut own = self.services.holders(address, self.view).filter(|(_, hold)| **hold == Hold::Own);
        if let Some((service, _)) = own.find(|(service, _)| self.may_refer(service)) {
            return Ok(Place::Service(service.clone()));
        }
        if !self.networks.permit(address) {
            return Err(not_allowed(&format!("{host} is")));
        }
        if self.is_of_others(address) {
            return Err(self.of_others(&host));
        }
        Ok(Place::Outside { host, addresses: None })
    }

    fn name(&self, host: String) -> Result<Place, Fault> {
        host::check_outside(&host)?;
        let addresses = match self.view.resolved(&host) {
            Resolved::At(addresses) => addresses,
            Resolved::Pending => return Err(Fault::new(NAME_PENDING, format!("the name {host} is being resolved"))),
            Resolved::LeftOut => {
                let message = format!(
                    "{host} is not resolved: its namespace names more hosts than are resolved for one \
                     (--backend-names-per-namespace); the oldest backends come first"
                );
                return Err(Fault::new("TooManyNames", message));
            }
            Resolved::Failed(error) => {
                return Err(Fault::new("NameNotResolved", format!("the name {host} can't be resolved: {error}")));
            }
        };
        let permitted: Vec<IpAddr> =
            addresses.iter().copied().filter(|address| self.networks.permit(*address)).collect();
        if permitted.is_empty() {
            // What a name stands for inside is not told.
            return Err(not_allowed(&format!("{host} leads to")));
        }
        let ours: Vec<IpAddr> = permitted.into_iter().filter(|address| !self.is_of_others(*address)).collect();
        if ours.is_empty() {
            return Err(self.of_others(&host));
        }
        // Hosts with an IPv6 address that leads nowhere are common.
        let v4: Vec<IpAddr> = ours.iter().copied().filter(IpAddr::is_ipv4).collect();
        Ok(Place::Outside { host, addresses: Some(if v4.is_empty() { ours } else { v4 }) })
    }

    /// Whether an address is that of a Service, or of a pod of one, that may not be referred to.
    fn is_of_others(&self, address: IpAddr) -> bool {
        let mut holders = self.services.holders(address, self.view).filter(|(_, hold)| hold.is_on(self.port));
        holders.any(|(service, _)| !self.may_refer(service))
    }

    fn may_refer(&self, service: &Name) -> bool {
        grants::check(self.view, self.from, &object("", "Service", service)).is_ok()
    }

    /// Without the Service's name, which who asks need not know.
    fn of_others(&self, host: &str) -> Fault {
        let message = format!(
            "{host} leads to a Service of another namespace, and no ReferenceGrant there lets {} of {} refer to it",
            self.from.kind, self.from.name.namespace
        );
        Fault::new("RefNotPermitted", message)
    }
}

pub(super) fn not_allowed(what: &str) -> Fault {
    let message = format!(
        "{what} no public address, and the gateway reaches others only where --backend-networks of `toolward serve` allows \
         their network"
    );
    Fault::new("AddressNotAllowed", message)
}

/// The names that are to be looked up, of each namespace at most so many: none where Envoy looks them up itself.
#[must_use]
pub fn host_names(resources: &Resources, networks: &BackendNetworks, most: usize) -> Wanted {
    let mut wanted = Wanted::default();
    if *networks == BackendNetworks::Any {
        return wanted;
    }
    let mut backends: Vec<(&ObjectRef, &MCPBackend)> =
        resources.backends.iter().map(|(object, backend)| (object, &**backend)).collect();
    backends.sort_by_key(|(object, backend)| (backend.metadata.creation_timestamp.clone(), *object));
    let mut by_namespace: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (object, backend) in backends {
        let namespace = object.name.namespace.as_str();
        for target in backend.spec.targets.iter().filter_map(|target| target.host.as_ref()) {
            let Ok((name, Host::Name)) = host::parse(&target.host) else { continue };
            if host::check_outside(&name).is_err() {
                continue;
            }
            let names = by_namespace.entry(namespace).or_default();
            if names.len() < most || names.contains(&name) {
                names.insert(name.clone());
                wanted.names.entry(name).or_default().insert(namespace.to_owned());
            } else {
                wanted.left_out.insert(name);
            }
        }
    }
    let Wanted { names, left_out } = &mut wanted;
    left_out.retain(|name| !names.contains_key(name));
    wanted
}
