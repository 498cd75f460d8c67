//! What was served when all kinds could be read last. While one can't be, a way that is in there goes on with the policies that
//! are known; one that is not may have a policy that is not known, and is closed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::resources::{Name, Resources};

use super::gateways::{OwnGateway, ServedListener, Transport};
use super::hostname::Hostname;
use super::routes::ParsedRule;
use super::translator::{Route, Translator, served_listeners};

/// The ways of the last world of which all was known.
#[derive(Debug)]
pub(super) struct Vouched {
    pub(super) world: Arc<Resources>,
    /// The listeners that were served, by Gateway, name, port and whether they spoke TLS, with their indexes.
    listeners: BTreeMap<(Name, String, u16, bool), usize>,
    /// The routes of each Gateway.
    routes: BTreeMap<Name, BTreeMap<Arc<Name>, Arc<Option<Route>>>>,
}

impl Vouched {
    /// `translator` has translated `world`.
    pub(super) fn new(world: &Arc<Resources>, translator: &Translator) -> Self {
        let mut listeners = BTreeMap::new();
        for (name, gateway) in translator.gateways.iter() {
            for (index, listener, served) in served_listeners(gateway) {
                listeners.insert(key(name, listener, served), index);
            }
        }
        Self { world: Arc::clone(world), listeners, routes: translator.attached.clone() }
    }

    /// The rules that a route had at a listener; none where it led elsewhere, or was for other hosts.
    pub(super) fn rules(
        &self,
        gateway: &OwnGateway,
        listener: &str,
        served: &ServedListener,
        route: &Route,
        hostnames: &[Hostname],
    ) -> &[ParsedRule] {
        self.found(gateway, listener, served, route, hostnames).map_or(&[], |last| &last.parsed.rules)
    }

    fn found(
        &self,
        gateway: &OwnGateway,
        listener: &str,
        served: &ServedListener,
        route: &Route,
        hostnames: &[Hostname],
    ) -> Option<&Route> {
        let index = self.listeners.get(&key(&gateway.name, listener, served))?;
        let last = self.routes.get(&gateway.name)?.get(&route.parsed.name)?;
        let last = (**last).as_ref()?;
        let had: BTreeSet<&Hostname> = last.attachments.hostnames(&gateway.name, *index)?.iter().collect();
        let has_no_more = hostnames.iter().all(|hostname| had.contains(hostname));
        (has_no_more && last.parsed.services == route.parsed.services).then_some(last)
    }
}

fn key(gateway: &Name, listener: &str, served: &ServedListener) -> (Name, String, u16, bool) {
    let is_tls = matches!(served.transport, Transport::Tls(_));
    (gateway.clone(), listener.to_owned(), served.port, is_tls)
}
