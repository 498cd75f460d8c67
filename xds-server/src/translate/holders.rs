//! Whose an address is: the Services that it leads to, by themselves or by their pods. An address is a second spelling of a
//! reference to its Service.
//!
//! What counts is what controllers write: the addresses of a Service that its cluster gave it, and of slices the endpoints that
//! name a pod. `spec.externalIPs`, and endpoints that are written by hand, are anybody's word.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;

use crate::resources::Name;

use super::view::{Source, Sources};

/// How a Service holds an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hold {
    /// It is the Service's own: what is sent there goes to its endpoints, port by port.
    Own,
    /// It is that of a pod, by this EndpointSlice.
    Pod(Arc<Name>),
    /// It has this port of a host, where others may have other ports, by this EndpointSlice.
    Port(u16, Arc<Name>),
}

impl Hold {
    /// Whether this port of the address is held.
    pub(super) fn is_on(&self, port: u16) -> bool {
        match self {
            Self::Own | Self::Pod(_) => true,
            Self::Port(held, _) => *held == port,
        }
    }
}

/// The Services by their addresses.
#[derive(Debug, Default)]
pub(super) struct Holders(BTreeSet<(IpAddr, Name, Hold)>);

impl Holders {
    /// Takes over the addresses of a Service itself.
    pub(super) fn update(
        &mut self,
        name: &Name,
        last: Option<&Service>,
        next: Option<&Service>,
        changed: &mut Sources,
    ) {
        let (last, next) = (own(last), own(next));
        last.difference(&next).for_each(|gone| self.put(*gone, name, Hold::Own, false, changed));
        next.difference(&last).for_each(|new| self.put(*new, name, Hold::Own, true, changed));
    }

    /// An address is a Service's now, or no more.
    pub(super) fn put(&mut self, address: IpAddr, service: &Name, hold: Hold, holds: bool, changed: &mut Sources) {
        let address = address.to_canonical();
        changed.note(&Source::Address(address));
        let entry = (address, service.clone(), hold);
        if holds {
            self.0.insert(entry)
        } else {
            self.0.remove(&entry)
        };
    }

    /// Who holds an address.
    pub(super) fn of(&self, address: IpAddr) -> impl Iterator<Item = (&Name, &Hold)> {
        let address = address.to_canonical();
        let from = self.0.range((address, Name::default(), Hold::Own)..);
        from.take_while(move |(other, ..)| *other == address).map(|(_, service, hold)| (service, hold))
    }
}

/// The addresses that a cluster gives a Service: inside, and by a load balancer.
fn own(service: Option<&Service>) -> BTreeSet<IpAddr> {
    let spec = service.and_then(|service| service.spec.as_ref());
    let cluster = spec.into_iter().flat_map(|spec| spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten()));
    let balances = spec.is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"));
    let status = service.filter(|_| balances).and_then(|service| service.status.as_ref()?.load_balancer.as_ref());
    let balanced =
        status.into_iter().flat_map(|status| status.ingress.iter().flatten().filter_map(|entry| entry.ip.as_ref()));
    // `None` stands for a Service without one.
    cluster.chain(balanced).filter_map(|text| Some(text.parse::<IpAddr>().ok()?.to_canonical())).collect()
}
