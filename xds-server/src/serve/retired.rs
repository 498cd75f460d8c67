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

use crate::model::{Gateway, GatewayName, Listener, Route, VirtualHost};

/// How long a key stays after no route names it any more.
pub const KEPT_FOR: Duration = Duration::from_secs(600);

/// How many such keys one listener keeps; past it the oldest of the namespace that has most go first, and what still names
/// them is closed.
pub const KEPT_AT_MOST: usize = 256;

/// Bytes of such policies that one listener keeps, as the filter reads them: of one namespace's routes, and of all.
pub const KEPT_BYTES: Bytes = Bytes { each: 2 * 1024 * 1024, all: 8 * 1024 * 1024 };

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
    /// How many routes there were at most.
    most_routes: usize,
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
    policy: RoutePolicy,
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
    fn new(policy: &RoutePolicy, key_sets: BTreeMap<String, KeySet>, namespace: &str, now: Instant) -> Self {
        // No value of the types can't be written; one that could not would not be served either.
        let bytes = serde_json::to_vec(&(policy, &key_sets)).map_or(0, |written| written.len());
        let (policy, namespace) = (policy.clone(), namespace.to_owned());
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
        let too_much = too_much.iter().filter_map(|key| self.retired.get(key)?.taken_over());
        old.chain(too_much).min()
    }

    fn advance(&mut self, next: &Arc<Listener>, now: Instant) {
        let last = self.last.replace(Arc::clone(next));
        if let Some(last) = last.as_ref().filter(|last| !Arc::ptr_eq(last, next)) {
            self.move_routes(last, next, now);
        }
        self.moved.retain(|_, route| now < route.since + KEPT_FOR);
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
        table.moved = self.moved.iter().map(|(id, route)| (id.clone(), route.key.clone())).collect();
        table.retired = self.retired.keys().cloned().collect();
        for (key, retired) in &self.retired {
            table.policies.insert(key.clone(), retired.policy.clone());
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

/// Those that are to go lest all exceed a bound, of name, namespace, age and size: the oldest of the namespace that has most.
fn greediest<'a>(all: impl Iterator<Item = (&'a String, &'a str, Instant, usize)>, bound: Bytes) -> Vec<String> {
    let mut namespaces: BTreeMap<&str, (usize, Vec<(Instant, &String, usize)>)> = BTreeMap::new();
    let mut total = 0;
    for (name, namespace, since, size) in all {
        let (sum, own) = namespaces.entry(namespace).or_default();
        *sum += size;
        total += size;
        own.push((since, name, size));
    }
    // The oldest is the last.
    namespaces.values_mut().for_each(|(_, own)| own.sort_unstable_by(|one, other| other.cmp(one)));
    let mut gone = Vec::new();
    while let Some((sum, own)) = namespaces.values_mut().max_by_key(|(sum, _)| *sum) {
        if *sum <= bound.each && total <= bound.all {
            break;
        }
        let Some((_, name, size)) = own.pop() else { break };
        *sum -= size;
        total -= size;
        gone.push(name.clone());
    }
    gone
}

fn routes_of(listener: &Listener) -> impl Iterator<Item = (&VirtualHost, &Route)> {
    let hosts = listener.routes().flat_map(|(_, hosts)| hosts);
    hosts.flat_map(|host| host.routes.iter().map(move |route| (host, route)))
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
        if let Some(id) = host.route_id(route) {
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
mod tests {
    use toolward_policy::config::{Audience, Issuer, Protocol, TokenType};

    use super::*;
    use crate::model::{HeaderChanges, PathMatch, RouteAction, RouteMatch};

    fn closed(message: &str) -> RoutePolicy {
        RoutePolicy::Closed { reason: "Test".into(), message: message.into() }
    }

    fn by_token(key_set: &str) -> RoutePolicy {
        let issuer = Issuer {
            issuer: "https://issuer".into(),
            audience: Audience::Any {},
            algorithms: Vec::new(),
            key_set: key_set.into(),
            key_source: None,
            clock_skew_seconds: 30,
            token_type: TokenType::Jwt,
        };
        let (issuers, scope_implies) = (vec![issuer], BTreeMap::new());
        let authentication = Authentication::Jwt { policy: "ns/p".into(), issuers, resource: None, scope_implies };
        RoutePolicy::Protected { authentication, gates: Vec::new(), protocol: Protocol::default() }
    }

    fn world(policies: &[(&str, RoutePolicy)], key_sets: &[&str]) -> Gateway {
        let filter = FilterConfig {
            key_sets: key_sets
                .iter()
                .map(|name| ((*name).to_owned(), KeySet { keys: Vec::new(), place: None }))
                .collect(),
            policies: policies.iter().map(|(key, policy)| ((*key).to_owned(), policy.clone())).collect(),
            ..FilterConfig::default()
        };
        let listener = Listener { name: "ns/gw/80".into(), virtual_hosts: Vec::new(), tls: Vec::new(), filter };
        Gateway { listeners: [(80, Arc::new(listener))].into_iter().collect(), ..Gateway::default() }
    }

    fn served(gateway: &Gateway) -> &FilterConfig {
        &gateway.listeners.get(&80).unwrap().filter
    }

    fn name() -> GatewayName {
        GatewayName("ns/gw".into())
    }

    fn turn(retired: &mut Retired, gateway: &Gateway, now: Instant) -> FilterConfig {
        let mut gateway = gateway.clone();
        retired.extend(&name(), &mut gateway, now);
        served(&gateway).clone()
    }

    #[test]
    fn a_dropped_key_stays_for_a_while_with_its_last_meaning() {
        let (mut retired, start) = (Retired::default(), Instant::now());
        let first = world(&[("a", closed("1")), ("b", by_token("keys"))], &["keys"]);
        let second = world(&[("a", closed("2"))], &[]);
        assert_eq!(turn(&mut retired, &first, start), *served(&first));
        assert_eq!(retired.next_expiry(), None);
        let table = turn(&mut retired, &second, start);
        assert_eq!(table.policies["a"], closed("2"), "a key that is named has its new meaning at once");
        assert_eq!(table.policies["b"], by_token("keys"));
        assert!(table.key_sets.contains_key("keys"), "with what it refers to");
        assert_eq!(retired.next_expiry(), Some(start + KEPT_FOR));
        let almost = start + KEPT_FOR - Duration::from_millis(1);
        assert_eq!([almost, start + KEPT_FOR].map(|now| retired.is_due(&name(), now)), [false, true]);
        assert!(turn(&mut retired, &second, almost).policies.contains_key("b"), "counted from when it was dropped");
        assert_eq!(turn(&mut retired, &second, start + KEPT_FOR), *served(&second));
        assert_eq!(retired.next_expiry(), None);
    }

    /// Routes of these hosts in their order, each with a path and a key.
    fn on_hosts(gateway: &Gateway, domains: &[&str], routes: &[(&str, &str)]) -> Gateway {
        let matches = |path: &str| {
            let path = PathMatch::Exact(path.to_owned());
            RouteMatch { path, method: None, headers: Vec::new(), query: Vec::new() }
        };
        let route = |(index, (path, key)): (usize, &(&str, &str))| Route {
            name: format!("ns/r/{index}/0"),
            id: (*path).to_owned(),
            matches: matches(path),
            action: RouteAction::Respond { status: 404 },
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
            policy: (*key).to_owned(),
            origin: None,
            transport: Default::default(),
        };
        let host = |domain: &&str| VirtualHost {
            name: format!("h/{domain}"),
            domain: (*domain).to_owned(),
            routes: routes.iter().enumerate().map(route).collect(),
        };
        let virtual_hosts = domains.iter().map(host).collect();
        let listener = Listener { virtual_hosts, ..Listener::clone(gateway.listeners.get(&80).unwrap()) };
        Gateway { listeners: [(80, Arc::new(listener))].into_iter().collect(), ..Gateway::default() }
    }

    /// Which routes are moved after a turn, and which keys retired.
    fn told(retired: &mut Retired, gateway: &Gateway) -> (BTreeMap<String, Option<String>>, Vec<String>) {
        let table = turn(retired, gateway, Instant::now());
        (table.moved, table.retired.into_iter().collect())
    }

    fn moved(all: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
        all.iter().map(|(id, key)| ((*id).to_owned(), key.map(str::to_owned))).collect()
    }

    fn keys(keys: &[&str]) -> Gateway {
        world(&keys.iter().map(|key| (*key, closed(key))).collect::<Vec<_>>(), &[])
    }

    #[test]
    fn streams_follow_their_routes() {
        let mut retired = Retired::default();
        let mut next =
            |keys_of: &[&str], routes: &[(&str, &str)]| told(&mut retired, &on_hosts(&keys(keys_of), &["h"], routes));
        let words = |all: &[&str]| -> Vec<String> { all.iter().map(|key| (*key).to_owned()).collect() };
        let nothing = (moved(&[]), words(&[]));
        assert_eq!(next(&["a", "b"], &[("/x", "a"), ("/y", "a"), ("/z", "b")]), nothing);
        assert_eq!(next(&["a", "b"], &[("/n", "a"), ("/x", "a"), ("/y", "a"), ("/z", "b")]), nothing, "another place");
        let gone = ("/y@h", None);
        assert_eq!(
            next(&["a", "b"], &[("/n", "a"), ("/x", "a"), ("/w", "a"), ("/z", "b")]),
            (moved(&[gone]), words(&[])),
            "another path is another route, also in its place and under its key"
        );
        assert_eq!(
            next(&["a", "c"], &[("/n", "a"), ("/x", "a"), ("/w", "a"), ("/z", "c")]),
            (moved(&[gone, ("/z@h", Some("c"))]), words(&["b"])),
            "another key"
        );
        assert_eq!(
            next(&["a", "c", "s"], &[("/s", "s"), ("/n", "a"), ("/x", "c"), ("/w", "a"), ("/z", "c")]),
            (moved(&[("/x@h", Some("c")), gone, ("/z@h", Some("c"))]), words(&["b"])),
            "a rule in front of others, and a policy for one of them"
        );
        assert_eq!(
            next(&["a", "d"], &[("/n", "a"), ("/x", "d"), ("/w", "a"), ("/y", "a"), ("/z", "a")]),
            (
                moved(&[("/s@h", None), ("/x@h", Some("d")), ("/y@h", Some("a")), ("/z@h", Some("a"))]),
                words(&["b", "c", "s"])
            ),
            "what is told is what stands now, also of a route that came back"
        );
    }

    #[test]
    fn a_route_that_loses_a_host_is_gone_there() {
        let (mut retired, routes) = (Retired::default(), [("/x", "a"), ("/x", "b")]);
        assert_eq!(
            told(&mut retired, &on_hosts(&keys(&["a", "b"]), &["p", "q"], &routes)).0,
            moved(&[]),
            "of equal ones"
        );
        assert_eq!(told(&mut retired, &on_hosts(&keys(&["a", "b"]), &["q"], &routes)).0, moved(&[("/x@p", None)]));
    }

    /// Whoever sees the last of these worlds alone must know that the route is another one.
    #[test]
    fn a_route_that_is_gone_is_told_although_its_key_comes_back() {
        let mut retired = Retired::default();
        for (keys_of, routes) in [(vec!["p"], vec![("/y", "p")]), (vec![], vec![]), (vec!["p"], vec![("/z", "p")])] {
            turn(&mut retired, &on_hosts(&keys(&keys_of), &["h"], &routes), Instant::now());
        }
        let (routes, _) = told(&mut retired, &on_hosts(&keys(&["p"]), &["h"], &[("/z", "p")]));
        assert_eq!(routes, moved(&[("/y@h", None)]));
    }

    #[test]
    fn of_a_large_change_all_is_told_until_its_time_is_over() {
        let mut retired = Retired::default();
        let paths: Vec<String> = (0..2 * MOVED_AT_MOST).map(|index| format!("/{index}")).collect();
        let routes: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "a")).collect();
        told(&mut retired, &on_hosts(&keys(&["a"]), &["h"], &routes));
        assert_eq!(told(&mut retired, &on_hosts(&keys(&["a"]), &["h"], &routes[..1])).0.len(), paths.len() - 1);
        assert_eq!(told(&mut retired, &on_hosts(&keys(&["a"]), &["h"], &routes[..2])).0.len(), paths.len() - 1);
    }

    #[test]
    fn a_table_that_is_served_again_is_another_one() {
        let (mut retired, now) = (Retired::default(), Instant::now());
        let (strict, loose) = (world(&[("a", closed("1"))], &[]), world(&[("a", closed("2"))], &[]));
        let turns: Vec<u32> = [&strict, &strict, &loose, &strict, &strict, &loose]
            .map(|world| turn(&mut retired, world, now).turn)
            .into();
        assert_eq!(turns, [0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn a_key_that_comes_back_is_no_longer_retired() {
        let (mut retired, now) = (Retired::default(), Instant::now());
        turn(&mut retired, &world(&[("a", closed("1"))], &[]), now);
        turn(&mut retired, &world(&[], &[]), now);
        let table = turn(&mut retired, &world(&[("a", closed("2"))], &[]), now);
        assert_eq!(table.policies["a"], closed("2"));
        assert_eq!(retired.next_expiry(), None);
    }

    #[test]
    fn the_oldest_go_first_past_the_limit() {
        let (mut retired, start) = (Retired::default(), Instant::now());
        for index in 0..=KEPT_AT_MOST as u64 + 1 {
            let key = format!("{index:04}");
            turn(&mut retired, &world(&[(&key, closed(""))], &[]), start + Duration::from_millis(index));
        }
        let table = turn(&mut retired, &world(&[], &[]), start + Duration::from_secs(1));
        assert_eq!(table.policies.len(), KEPT_AT_MOST);
        assert!(!table.policies.contains_key("0000") && table.policies.contains_key("0002"));
    }

    /// A world with one route for each of these: namespace, key, and bytes of its policy.
    fn of_namespaces(routes: &[(&str, &str, usize)]) -> Gateway {
        let policies: Vec<_> = routes.iter().map(|(_, key, bytes)| (*key, closed(&"x".repeat(*bytes)))).collect();
        let paths: Vec<String> = (0..routes.len()).map(|index| format!("/{index}")).collect();
        let keys: Vec<_> = paths.iter().zip(routes).map(|(path, (_, key, _))| (path.as_str(), *key)).collect();
        let gateway = on_hosts(&world(&policies, &[]), &["h"], &keys);
        let mut listener = Listener::clone(gateway.listeners.get(&80).unwrap());
        for (route, (namespace, ..)) in listener.virtual_hosts[0].routes.iter_mut().zip(routes) {
            route.name = route.name.replacen("ns", namespace, 1);
        }
        Gateway { listeners: [(80, Arc::new(listener))].into_iter().collect(), ..Gateway::default() }
    }

    const MIB: usize = 1024 * 1024;

    #[test]
    fn a_large_policy_that_is_renamed_again_and_again_takes_bounded_room() {
        let (mut retired, start) = (Retired::default(), Instant::now());
        turn(&mut retired, &of_namespaces(&[("a", "a", MIB), ("b", "b0", MIB - 1000)]), start);
        for name in 1..100 {
            let now = start + Duration::from_millis(name);
            let table = turn(&mut retired, &of_namespaces(&[("b", &format!("b{name}"), MIB - 1000)]), now);
            let kept = serde_json::to_vec(&table).unwrap().len();
            assert!(kept < MIB + 4 * MIB, "{kept} bytes after {name}");
            assert!(table.retired.contains("a"), "another namespace's policy is kept");
            assert!(table.retired.contains(&format!("b{}", name - 1)), "the last one is kept");
        }
    }

    #[test]
    fn many_namespaces_share_a_bound() {
        let (mut retired, start) = (Retired::default(), Instant::now());
        let names: Vec<String> = (0..20).map(|name| format!("n{name:02}")).collect();
        let routes: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str(), MIB)).collect();
        turn(&mut retired, &of_namespaces(&[&[("small", "small", 10)], &routes[..]].concat()), start);
        let table = turn(&mut retired, &of_namespaces(&[]), start);
        assert_eq!((table.retired.len(), table.retired.contains("small")), (8, true));
    }

    #[test]
    fn what_no_envoy_names_any_more_goes_soon_where_it_is_large() {
        let (mut retired, start) = (Retired::default(), Instant::now());
        turn(&mut retired, &of_namespaces(&[("a", "small", 10), ("a", "large", MIB)]), start);
        let empty = of_namespaces(&[]);
        turn(&mut retired, &empty, start);
        assert_eq!(retired.waiting().collect::<Vec<_>>(), [&name()]);
        assert_eq!(retired.next_expiry(), Some(start + KEPT_FOR));
        let acknowledged = start + Duration::from_secs(1);
        retired.acknowledge(&name(), acknowledged);
        assert_eq!(retired.waiting().next(), None);
        let due = acknowledged + TAKEN_OVER_WITHIN;
        assert_eq!(retired.next_expiry(), Some(due));
        assert!(!retired.is_due(&name(), due - Duration::from_millis(1)) && retired.is_due(&name(), due));
        let keys: Vec<String> = turn(&mut retired, &empty, due).retired.into_iter().collect();
        assert_eq!(keys, ["small"], "for what was asked for and is not answered yet");
        assert_eq!(retired.next_expiry(), Some(start + KEPT_FOR));
    }

    #[test]
    fn routes_of_one_namespace_push_out_no_other_ones() {
        let mut retired = Retired::default();
        let now = Instant::now();
        turn(&mut retired, &of_namespaces(&[("a", "one", 1)]), now);
        for round in 0..8 {
            let keys: Vec<String> = (0..300).map(|key| format!("k{round}-{key}")).collect();
            let routes: Vec<_> = keys.iter().map(|key| ("b", key.as_str(), 1)).collect();
            let mut gateway = of_namespaces(&routes);
            let mut listener = Listener::clone(gateway.listeners.get(&80).unwrap());
            for route in &mut listener.virtual_hosts[0].routes {
                route.id = format!("{round}{}", route.id);
            }
            gateway.listeners.insert(80, listener);
            let table = turn(&mut retired, &gateway, now + Duration::from_secs(round));
            assert_eq!(table.moved.get("/0@h"), Some(&None), "round {round}");
            assert!(table.retired.contains("one"), "round {round}");
            assert!(table.moved.len() <= MOVED_AT_MOST && table.retired.len() <= KEPT_AT_MOST);
        }
    }

    #[test]
    fn a_listener_that_is_gone_is_forgotten() {
        let (mut retired, now) = (Retired::default(), Instant::now());
        turn(&mut retired, &world(&[("a", closed("1"))], &[]), now);
        retired.extend(&name(), &mut Gateway::default(), now);
        assert_eq!(turn(&mut retired, &world(&[], &[]), now), *served(&world(&[], &[])));
    }
}
