//! Policies that routes no longer name but that requests may still ask for.
//!
//! A policy's key leaves the table of its listener when no route names it any more. But Envoy takes over the table and
//! the routes one after the other, and perhaps refuses the routes: for a while requests still come with the old key,
//! and would be answered 503. So keys stay in the table for a while after they were dropped from it, with the last
//! meaning they had; requests see the old policy or the new one, never a gap. They are kept within bounds of bytes, by namespace
//! and in all, and once all Envoys of the Gateway have acknowledged the routes that no longer name them, a small part of them is
//! kept: for what was asked for on a route that is gone and is not answered yet.
//!
//! Streams that are open already could keep an old policy alive for as long as its key stays. So the table says which keys are
//! there for requests alone, and for routes whose key is another one now, which: streams follow their route. A route is known by
//! its host, its HTTPRoute and what it matches. What changed while no control plane was there is not known.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use toolward_policy::config::{Authentication, FilterConfig, KeySet, RoutePolicy};
use toolward_policy::moved::Moved;

use crate::model::{Gateway, GatewayName, Listener, Route, VirtualHost};

/// How long a key stays after no route names it any more.
pub const KEPT_FOR: Duration = Duration::from_secs(600);

/// How many such keys one listener keeps; past it the oldest of the namespace that has most go first, and what still names
/// them is closed.
pub const KEPT_AT_MOST: usize = 256;

/// Bytes of such policies that one listener keeps, as the filter reads them: of one namespace's routes, and of all.
pub const KEPT_BYTES: Bytes = Bytes { each: 1536 * 1024, all: 8 * 1024 * 1024 };

/// The same of those that no Envoy's routes name any more.
pub const ACKNOWLEDGED_BYTES: Bytes = Bytes { each: 64 * 1024, all: 1024 * 1024 };

/// How long after an acknowledgement all workers of an Envoy have the routes for sure.
pub const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(5);

/// For how many routes one listener tells that their key changed, or for twice as many as it ever had; past it the oldest of
/// the namespace that has most go first.
pub const MOVED_AT_MOST: usize = 1024;

/// How many tables one listener remembers that were served before.
const SERVED_AT_MOST: usize = 256;

/// A bound of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    /// Of one namespace; what routes of several name counts as another one's.
    pub each: usize,
    /// Of all.
    pub all: usize,
}

/// The tables that were served last, and what was dropped from them.
#[derive(Debug, Default)]
pub struct Retired {
    gateways: BTreeMap<GatewayName, BTreeMap<u16, Tables>>,
}

#[derive(Debug, Default)]
struct Tables {
    last: Option<Arc<Listener>>,
    retired: BTreeMap<String, RetiredPolicy>,
    /// Routes whose key is another one than a while ago.
    moved: BTreeMap<String, MovedRoute>,
    /// The same, as the filter reads it.
    told: Moved,
    /// How many routes there were at most.
    most_routes: usize,
    /// When it was last looked at what is to go.
    looked: Option<Instant>,
    served: Served,
}

#[derive(Debug)]
struct MovedRoute {
    /// None: the route is gone.
    key: Option<String>,
    namespace: String,
    since: Instant,
}

/// Which tables were served.
#[derive(Debug, Default)]
struct Served {
    /// Hashes of those before the last, the oldest first, with how often each was served.
    before: VecDeque<([u8; 32], u32)>,
    last: Option<([u8; 32], u32)>,
}

#[derive(Debug)]
struct RetiredPolicy {
    policy: Arc<RoutePolicy>,
    /// Those that the policy refers to.
    key_sets: BTreeMap<String, KeySet>,
    /// Of the routes that named it; empty: of several.
    namespace: String,
    bytes: usize,
    since: Instant,
    /// When all Envoys had routes that no longer name it.
    acknowledged: Option<Instant>,
}

impl Retired {
    /// Adds to each table of a Gateway what was dropped from it of late.
    pub fn extend(&mut self, name: &GatewayName, gateway: &mut Gateway, now: Instant) {
        let mut last = self.gateways.remove(name).unwrap_or_default();
        let mut next = BTreeMap::new();
        let listeners = gateway.listeners.clone();
        for (port, listener) in &listeners {
            let mut tables = last.remove(port).unwrap_or_default();
            tables.advance(listener, now);
            let mut filter = listener.filter.clone();
            tables.add_retired(&mut filter);
            filter.turn = tables.served.turn(&filter);
            if filter != listener.filter {
                gateway.listeners.insert(*port, Listener { filter, ..Listener::clone(listener) });
            }
            next.insert(*port, tables);
        }
        self.gateways.insert(name.clone(), next);
    }

    /// Forgets a Gateway that is gone.
    pub fn forget(&mut self, name: &GatewayName) {
        self.gateways.remove(name);
    }

    /// Gateways of which something is kept until their Envoys have acknowledged their routes.
    pub fn waiting(&self) -> impl Iterator<Item = &GatewayName> {
        let waits = |tables: &Tables| tables.retired.values().any(|policy| policy.acknowledged.is_none());
        self.gateways.iter().filter(move |(_, tables)| tables.values().any(waits)).map(|(name, _)| name)
    }

    /// All Envoys of this Gateway have the routes that were served last.
    pub fn acknowledge(&mut self, name: &GatewayName, now: Instant) {
        let tables = self.gateways.get_mut(name).into_iter().flat_map(BTreeMap::values_mut);
        for policy in tables.flat_map(|tables| tables.retired.values_mut()) {
            policy.acknowledged.get_or_insert(now);
        }
    }

    /// Whether a key of this Gateway is to go.
    #[must_use]
    pub fn is_due(&self, name: &GatewayName, now: Instant) -> bool {
        let mut tables = self.gateways.get(name).into_iter().flat_map(BTreeMap::values);
        tables.any(|tables| tables.next_expiry().is_some_and(|due| due <= now))
    }

    /// When the next key is to go.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.gateways.values().flat_map(BTreeMap::values).filter_map(Tables::next_expiry).min()
    }
}

impl RetiredPolicy {
    fn new(policy: &Arc<RoutePolicy>, key_sets: BTreeMap<String, KeySet>, namespace: &str, now: Instant) -> Self {
        // No value of the types can't be written; one that could not would not be served either.
        let bytes = serde_json::to_vec(&(&**policy, &key_sets)).map_or(0, |written| written.len());
        let (policy, namespace) = (Arc::clone(policy), namespace.to_owned());
        Self { policy, key_sets, namespace, bytes, since: now, acknowledged: None }
    }

    /// From when on no Envoy needs it for requests.
    fn taken_over(&self) -> Option<Instant> {
        self.acknowledged.map(|acknowledged| acknowledged + TAKEN_OVER_WITHIN)
    }
}

impl Tables {
    fn next_expiry(&self) -> Option<Instant> {
        let old = self.retired.values().map(|policy| policy.since).chain(self.moved.values().map(|route| route.since));
        let old = old.map(|since| since + KEPT_FOR);
        let acknowledged = self.retired.iter().filter(|(_, policy)| policy.acknowledged.is_some());
        let too_much = past(acknowledged, ACKNOWLEDGED_BYTES);
        // What went with those that were taken over before is gone.
        let is_new = |taken_over: &Instant| self.looked.is_none_or(|looked| *taken_over > looked);
        let acknowledged = self.retired.values().filter_map(RetiredPolicy::taken_over).filter(is_new);
        old.chain(acknowledged.filter(|_| !too_much.is_empty())).min()
    }

    fn advance(&mut self, next: &Arc<Listener>, now: Instant) {
        self.looked = Some(now);
        let last = self.last.replace(Arc::clone(next));
        let others = last.as_ref().filter(|last| !Arc::ptr_eq(last, next) && !last.routes().eq(next.routes()));
        if let Some(last) = others {
            self.move_routes(last, next, now);
        }
        let known = self.moved.len();
        self.moved.retain(|_, route| now < route.since + KEPT_FOR);
        if others.is_some() || self.moved.len() < known {
            let keys = self.moved.iter().map(|(id, route)| (id.clone(), route.key.as_deref()));
            self.told = Moved::new(&keys.collect());
        }
        let next = &next.filter;
        let namespaces = last.as_deref().map(namespaces_of_keys).unwrap_or_default();
        for last in last.iter().map(|last| &last.filter) {
            for (key, policy) in last.policies.iter().filter(|(key, _)| !next.policies.contains_key(*key)) {
                let key_sets = key_sets_of(policy, &last.key_sets);
                let namespace = namespaces.get(key.as_str()).copied().flatten().unwrap_or_default();
                self.retired.insert(key.clone(), RetiredPolicy::new(policy, key_sets, namespace, now));
            }
        }
        self.retired.retain(|key, retired| !next.policies.contains_key(key) && now < retired.since + KEPT_FOR);
        let taken_over = |policy: &RetiredPolicy| policy.taken_over().is_some_and(|since| since <= now);
        let acknowledged = self.retired.iter().filter(|(_, policy)| taken_over(policy));
        let too_much = past(acknowledged, ACKNOWLEDGED_BYTES);
        too_much.iter().for_each(|key| drop(self.retired.remove(key)));
        let too_much = past(self.retired.iter(), KEPT_BYTES);
        too_much.iter().for_each(|key| drop(self.retired.remove(key)));
        let retired = self.retired.iter().map(|(key, policy)| (key, policy.namespace.as_str(), policy.since, 1));
        let too_many = greediest(retired, Bytes { each: KEPT_AT_MOST, all: KEPT_AT_MOST });
        too_many.iter().for_each(|key| drop(self.retired.remove(key)));
    }

    /// Finds out which key each route has that had another one, or is gone.
    fn move_routes(&mut self, last: &Listener, next: &Listener, now: Instant) {
        let (old, new) = (keys_of_routes(last), keys_of_routes(next));
        let key_of = |id: &str| new.get(id).map(|route| route.policy.as_str());
        for (id, route) in old.iter().filter(|(id, route)| key_of(id) != Some(route.policy.as_str())) {
            let namespace = namespace_of(route).to_owned();
            self.moved.insert(id.clone(), MovedRoute { key: None, namespace, since: now });
        }
        for (id, moved) in &mut self.moved {
            moved.key = key_of(id).map(str::to_owned);
        }
        self.most_routes = self.most_routes.max(old.len());
        let most = MOVED_AT_MOST.max(2 * self.most_routes);
        let moved = self.moved.iter().map(|(id, route)| (id, route.namespace.as_str(), route.since, 1));
        let too_many = greediest(moved, Bytes { each: most, all: most });
        too_many.iter().for_each(|id| drop(self.moved.remove(id)));
    }

    fn add_retired(&self, table: &mut FilterConfig) {
        table.moved = self.told.clone();
        table.retired = self.retired.keys().cloned().collect();
        for (key, retired) in &self.retired {
            table.policies.insert(key.clone(), Arc::clone(&retired.policy));
            for (name, key_set) in &retired.key_sets {
                // A key set of that name that is still served counts: keys that were revoked stay revoked.
                table.key_sets.entry(name.clone()).or_insert_with(|| key_set.clone());
            }
        }
    }
}

impl Served {
    /// How often this table was served before, and then replaced.
    fn turn(&mut self, table: &FilterConfig) -> u32 {
        // No value of the type can't be written; one that could not would have no turns.
        let hash: [u8; 32] = Sha256::digest(serde_json::to_vec(table).unwrap_or_default()).into();
        match self.last {
            Some((last, turn)) if last == hash => turn,
            last => {
                self.before.extend(last);
                let served = self.before.iter().position(|(other, _)| *other == hash);
                let turn = served.and_then(|index| self.before.remove(index)).map_or(0, |(_, turn)| turn + 1);
                while self.before.len() > SERVED_AT_MOST {
                    self.before.pop_front();
                }
                self.last = Some((hash, turn));
                turn
            }
        }
    }
}

/// Those that are to go lest policies exceed a bound.
fn past<'a>(retired: impl Iterator<Item = (&'a String, &'a RetiredPolicy)>, bound: Bytes) -> Vec<String> {
    greediest(retired.map(|(key, policy)| (key, policy.namespace.as_str(), policy.since, policy.bytes)), bound)
}

/// What one namespace has: age, name and size of each.
#[derive(Default)]
struct Holder<'a> {
    sum: usize,
    own: Vec<(Instant, &'a String, usize)>,
}

/// Those that are to go lest all exceed a bound, of name, namespace, age and size: the oldest of the namespace that has most.
fn greediest<'a>(all: impl Iterator<Item = (&'a String, &'a str, Instant, usize)>, bound: Bytes) -> Vec<String> {
    let mut namespaces: BTreeMap<&str, Holder<'a>> = BTreeMap::new();
    let mut total = 0;
    for (name, namespace, since, size) in all {
        let holder = namespaces.entry(namespace).or_default();
        holder.sum += size;
        total += size;
        holder.own.push((since, name, size));
    }
    // The oldest is the last.
    namespaces.values_mut().for_each(|holder| holder.own.sort_unstable_by(|one, other| other.cmp(one)));
    let mut gone = Vec::new();
    while let Some(holder) = namespaces.values_mut().max_by_key(|holder| holder.sum) {
        if holder.sum <= bound.each && total <= bound.all {
            break;
        }
        let Some((_, name, size)) = holder.own.pop() else { break };
        holder.sum -= size;
        total -= size;
        gone.push(name.clone());
    }
    gone
}

fn routes_of(listener: &Listener) -> impl Iterator<Item = (&VirtualHost, &Route)> {
    let hosts = listener.routes().flat_map(|(_, hosts)| hosts);
    hosts.flat_map(|host| host.routes.iter().map(move |route| (host, &**route)))
}

fn namespace_of(route: &Route) -> &str {
    route.name.split_once('/').map_or("", |(namespace, _)| namespace)
}

/// The namespace whose routes name a key; none: those of several do.
fn namespaces_of_keys(listener: &Listener) -> BTreeMap<&str, Option<&str>> {
    let mut namespaces = BTreeMap::new();
    for (_, route) in routes_of(listener) {
        let namespace = Some(namespace_of(route));
        let known = namespaces.entry(route.policy.as_str()).or_insert(namespace);
        if *known != namespace {
            *known = None;
        }
    }
    namespaces
}

/// All routes of a listener that streams follow.
fn keys_of_routes(listener: &Listener) -> BTreeMap<String, &Route> {
    let mut keys = BTreeMap::new();
    for (host, route) in routes_of(listener) {
        for id in host.route_ids(route) {
            // Of equal matches Envoy takes the first.
            keys.entry(id).or_insert(route);
        }
    }
    keys
}

fn key_sets_of(policy: &RoutePolicy, key_sets: &BTreeMap<String, KeySet>) -> BTreeMap<String, KeySet> {
    match policy {
        RoutePolicy::Protected { authentication: Authentication::Jwt { issuers, .. }, .. } => issuers
            .iter()
            .filter_map(|issuer| key_sets.get_key_value(&issuer.key_set))
            .map(|(name, key_set)| (name.clone(), key_set.clone()))
            .collect(),
        _ => BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests;
