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
        key_sets: key_sets.iter().map(|name| ((*name).to_owned(), KeySet { keys: Vec::new(), place: None })).collect(),
        policies: policies.iter().map(|(key, policy)| ((*key).to_owned(), Arc::new(policy.clone()))).collect(),
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
    assert_eq!(*table.policies["a"], closed("2"), "a key that is named has its new meaning at once");
    assert_eq!(*table.policies["b"], by_token("keys"));
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
        names_host: false,
        transport: Default::default(),
    };
    let host = |domain: &&str| VirtualHost {
        name: format!("h/{domain}"),
        domains: vec![(*domain).to_owned()],
        origin: None,
        routes: routes.iter().enumerate().map(route).map(Arc::new).collect(),
    };
    let virtual_hosts = domains.iter().map(host).collect();
    let listener = Listener { virtual_hosts, ..Listener::clone(gateway.listeners.get(&80).unwrap()) };
    Gateway { listeners: [(80, Arc::new(listener))].into_iter().collect(), ..Gateway::default() }
}

/// Which routes are moved after a turn, and which keys retired.
fn told(retired: &mut Retired, gateway: &Gateway) -> (Moved, Vec<String>) {
    let table = turn(retired, gateway, Instant::now());
    (table.moved, table.retired.into_iter().collect())
}

fn moved(all: &[(&str, Option<&str>)]) -> Moved {
    Moved::new(&all.iter().map(|(id, key)| ((*id).to_owned(), *key)).collect())
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
    assert_eq!(told(&mut retired, &on_hosts(&keys(&["a", "b"]), &["p", "q"], &routes)).0, moved(&[]), "of equal ones");
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
    let turns: Vec<u32> =
        [&strict, &strict, &loose, &strict, &strict, &loose].map(|world| turn(&mut retired, world, now).turn).into();
    assert_eq!(turns, [0, 0, 0, 1, 1, 1]);
}

#[test]
fn a_key_that_comes_back_is_no_longer_retired() {
    let (mut retired, now) = (Retired::default(), Instant::now());
    turn(&mut retired, &world(&[("a", closed("1"))], &[]), now);
    turn(&mut retired, &world(&[], &[]), now);
    let table = turn(&mut retired, &world(&[("a", closed("2"))], &[]), now);
    assert_eq!(*table.policies["a"], closed("2"));
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
        let route = Arc::make_mut(route);
        route.name = route.name.replacen("ns", namespace, 1);
    }
    Gateway { listeners: [(80, Arc::new(listener))].into_iter().collect(), ..Gateway::default() }
}

const MIB: usize = 1024 * 1024;

#[test]
fn a_large_policy_that_is_renamed_again_and_again_takes_bounded_room() {
    let (mut retired, start) = (Retired::default(), Instant::now());
    turn(&mut retired, &of_namespaces(&[("a", "a", MIB), ("b", "b0", MIB - 1000)]), start);
    for name in 1..12 {
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
            let route = Arc::make_mut(route);
            route.id = format!("{round}{}", route.id);
        }
        gateway.listeners.insert(80, listener);
        let table = turn(&mut retired, &gateway, now + Duration::from_secs(round));
        assert_eq!(table.moved.get("/0@h"), Some(None), "round {round}");
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

/// Whoever waits for what is due would wait for nothing, again and again.
#[test]
fn nothing_is_due_that_does_not_go() {
    let (mut retired, start) = (Retired::default(), Instant::now());
    let after = |seconds| start + Duration::from_secs(seconds);
    let half = ACKNOWLEDGED_BYTES.each * 2 / 3;
    let (one, other, empty) =
        (of_namespaces(&[("a", "one", half)]), of_namespaces(&[("a", "other", half)]), of_namespaces(&[]));
    turn(&mut retired, &one, start);
    turn(&mut retired, &other, after(1));
    retired.acknowledge(&name(), after(2));
    turn(&mut retired, &empty, after(10));
    retired.acknowledge(&name(), after(11));
    assert_eq!(retired.next_expiry(), Some(after(11) + TAKEN_OVER_WITHIN));
    for now in [12, 16] {
        while retired.is_due(&name(), after(now)) {
            let kept = turn(&mut retired, &empty, after(now)).retired;
            assert!(now == 16 && kept.contains("other") && !kept.contains("one"), "{now}: {kept:?}");
        }
    }
}
