//! What is past a quota is closed, said, and takes nothing from others.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::model::{RouteAction, VirtualHost};
use crate::test_world::{self, GATEWAY};
use crate::translate::{QUOTA_EXCEEDED, Quotas, TOO_LARGE, TranslateOptions, Translation, translate};

/// A route with these hostnames, matches and backends.
struct Asked<'a> {
    name: &'a str,
    /// Of its creation.
    day: u32,
    hosts: &'a [&'a str],
    paths: &'a [&'a str],
    backends: usize,
}

fn route(asked: &Asked<'_>) -> String {
    let (namespace, name) = asked.name.split_once('/').unwrap();
    let matches: Vec<String> =
        asked.paths.iter().map(|path| format!("{{ path: {{ type: PathPrefix, value: {path} }} }}")).collect();
    let mut text = String::new();
    let mut references = Vec::new();
    for backend in 0..asked.backends {
        write!(
            text,
            "---
apiVersion: v1
kind: Service
metadata: {{ name: s{backend}, namespace: {namespace} }}
spec: {{ ports: [{{ port: 80 }}] }}
"
        )
        .unwrap();
        references.push(format!("{{ name: s{backend}, port: 80 }}"));
    }
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name}, namespace: {namespace}, creationTimestamp: 2026-01-{:02}T00:00:00Z }}
spec:
  parentRefs: [{{ name: gw, namespace: infra }}]
  hostnames: [{}]
  rules:
  - matches: [{}]
    backendRefs: [{}]
{}",
        asked.day,
        asked.hosts.join(", "),
        matches.join(", "),
        references.join(", "),
        if asked.name.ends_with("/first") { text } else { String::new() }
    )
}

fn world(routes: &[Asked<'_>], quotas: Quotas) -> Translation {
    world_with(routes, "", TranslateOptions { quotas, ..TranslateOptions::default() })
}

fn owned(routes: &[Asked<'_>], more: &str, quotas: Quotas) -> Translation {
    world_with(routes, more, TranslateOptions { quotas, hostnames_belong_to_namespaces: true, ..Default::default() })
}

fn world_with(routes: &[Asked<'_>], more: &str, options: TranslateOptions) -> Translation {
    let documents = [GATEWAY.to_owned()].into_iter().chain(routes.iter().map(route)).chain([more.to_owned()]);
    let resources = test_world::world(&documents.collect::<Vec<_>>().concat());
    translate(&resources, &options)
}

fn hosts(translation: &Translation) -> Vec<&VirtualHost> {
    super::listeners(translation).flat_map(|listener| &listener.virtual_hosts).collect()
}

/// What is done with requests that take a route, by route and domain.
fn served(translation: &Translation) -> BTreeMap<String, &'static str> {
    let mut served = BTreeMap::new();
    for host in hosts(translation) {
        for (domain, route) in host.domains.iter().flat_map(|domain| host.routes.iter().map(move |it| (domain, it))) {
            let done = match route.action {
                RouteAction::Forward(_) => "served",
                RouteAction::Respond { status: 503 } => "closed",
                _ => "other",
            };
            served.insert(format!("{} at {domain}", route.name), done);
        }
    }
    served
}

/// Reasons by object, with the words that are looked for.
fn reasons(translation: &Translation) -> Vec<(String, String, String)> {
    let told = translation.problems.iter().filter(|problem| [QUOTA_EXCEEDED, TOO_LARGE].contains(&&*problem.reason));
    told.map(|problem| (problem.resource.clone().unwrap().to_string(), problem.reason.clone(), problem.message.clone()))
        .collect()
}

fn rows(rows: &[(&str, &'static str)]) -> BTreeMap<String, &'static str> {
    rows.iter().map(|(route, done)| ((*route).to_owned(), *done)).collect()
}

#[test]
fn a_route_is_as_large_as_its_hosts_matches_and_backends() {
    let hosts = ["a.example.com", "b.example.com", "c.example.com"];
    let asked = Asked { name: "team/first", day: 1, hosts: &hosts, paths: &["/x", "/y"], backends: 4 };
    let quota = |route| Quotas { route, ..Quotas::default() };
    let fits = world(std::slice::from_ref(&asked), quota(24));
    assert_eq!(reasons(&fits), []);
    assert!(served(&fits).values().all(|done| *done == "served"));
    let shared = super::listeners(&fits).flat_map(|listener| &listener.virtual_hosts);
    let shared: Vec<_> = shared.filter(|host| !host.routes.is_empty()).collect();
    assert_eq!(shared.len(), 1, "hosts with the same routes have one virtual host");
    assert_eq!((&shared[0].domains[..], shared[0].routes.len()), (&hosts.map(str::to_owned)[..], 2));

    let closed = world(&[asked], quota(23));
    let [(object, reason, message)] = &reasons(&closed)[..] else { panic!("{:?}", reasons(&closed)) };
    assert_eq!((object.as_str(), reason.as_str()), ("HTTPRoute team/first", TOO_LARGE));
    assert!(message.contains("3 hostnames x 2 matches x up to 4 backends are 24 entries"), "{message}");
    assert!(message.contains("23 (--max-route-size)"), "{message}");
    assert!(served(&closed).values().all(|done| *done == "closed") && served(&closed).len() == 6, "at all its matches");
    assert!(!closed.routes.values().next().unwrap().is_valid());
}

#[test]
fn the_oldest_routes_of_a_namespace_and_a_gateway_are_served() {
    let one = |name: &'static str, day, path: &'static [&'static str]| Asked {
        name,
        day,
        hosts: &["h.example.com"],
        paths: path,
        backends: 1,
    };
    let quotas = Quotas { namespace_routes: 2, gateway_routes: 3, ..Quotas::default() };
    let routes = [
        one("greedy/late", 5, &["/3"]),
        one("greedy/first", 1, &["/1"]),
        one("greedy/second", 2, &["/2"]),
        one("honest/first", 3, &["/4"]),
        one("other/first", 4, &["/5"]),
    ];
    let translation = world(&routes, quotas);
    let expected = [
        ("greedy/first/0/0 at h.example.com", "served"),
        ("greedy/second/0/0 at h.example.com", "served"),
        ("greedy/late/0/0 at h.example.com", "closed"),
        ("honest/first/0/0 at h.example.com", "served"),
        ("other/first/0/0 at h.example.com", "closed"),
    ];
    assert_eq!(served(&translation), rows(&expected));
    let told = reasons(&translation);
    let [(greedy, ..), (other, ..)] = &told[..] else { panic!("{told:?}") };
    assert_eq!([greedy.as_str(), other.as_str()], ["HTTPRoute greedy/late", "HTTPRoute other/first"]);
    assert!(told[0].2.contains("--max-namespace-routes") && told[1].2.contains("--max-gateway-routes"), "{told:?}");
}

#[test]
fn routes_of_a_wildcard_cost_what_they_are_for_each_host() {
    let wide = Asked { name: "wide/first", day: 1, hosts: &["'*.example.com'"], paths: &["/1", "/2"], backends: 1 };
    let narrow = |name, day, host| Asked { name, day, hosts: host, paths: &["/3"], backends: 1 };
    let routes = [wide, narrow("narrow/first", 2, &["a.example.com"]), narrow("narrow/second", 3, &["b.example.com"])];
    let translation = world(&routes, Quotas { namespace_routes: 3, ..Quotas::default() });
    let served = served(&translation);
    assert_eq!(
        served["narrow/first/0/0 at a.example.com"], "served",
        "one of its own, and two that come with the host"
    );
    assert_eq!(served["wide/first/0/0 at a.example.com"], "served");
    assert_eq!(served["narrow/second/0/0 at b.example.com"], "closed");
    assert_eq!(served["wide/first/0/0 at b.example.com"], "served", "others lose nothing");
}

/// Else what is left out would be another route's.
#[test]
fn a_namespace_is_closed_where_its_routes_can_t_be_closed_one_by_one() {
    let one = |name: &'static str, day, path: &'static [&'static str]| Asked {
        name,
        day,
        hosts: &["h.example.com"],
        paths: path,
        backends: 1,
    };
    let routes = [
        one("greedy/first", 1, &["/"]),
        one("greedy/second", 2, &["/2"]),
        one("greedy/third", 3, &["/3"]),
        one("honest/first", 4, &["/4"]),
    ];
    let quotas = Quotas { namespace_routes: 1, ..Quotas::default() };
    let expected = [
        ("greedy/first/0/0 at h.example.com", "closed"),
        ("greedy/second/0/0 at h.example.com", "closed"),
        ("honest/first/0/0 at h.example.com", "served"),
    ];
    let translation = world(&routes, quotas);
    assert_eq!(served(&translation), rows(&expected));
    let told: Vec<String> = reasons(&translation).into_iter().map(|(object, ..)| object).collect();
    assert_eq!(told, ["HTTPRoute greedy/first", "HTTPRoute greedy/second", "HTTPRoute greedy/third"]);
    let two = translate_two(&routes[..2], quotas);
    assert_eq!(two["greedy/first/0/0 at h.example.com"], "served");
}

fn translate_two(routes: &[Asked<'_>], quotas: Quotas) -> BTreeMap<String, &'static str> {
    served(&world(routes, quotas))
}

/// What a namespace asks for on hosts that are not its own is not served there, so it is nobody else's to pay for.
#[test]
fn where_hostnames_belong_to_namespaces_others_cost_nothing() {
    let one = |name, day, hosts, paths| Asked { name, day, hosts, paths, backends: 1 };
    let routes = [
        one("greedy/first", 1, &[], &["/1", "/2", "/3"]),
        one("honest/first", 2, &["'*.example.com'"], &["/"]),
        one("greedy/second", 3, &["'*.example.com'"], &["/1", "/2", "/3"]),
        one("honest/second", 4, &["a.example.com"], &["/"]),
    ];
    let translation = owned(&routes, "", Quotas { namespace_routes: 9, ..Quotas::default() });
    assert_eq!(reasons(&translation), []);
    let expected = [
        ("honest/first/0/0 at *.example.com", "served"),
        ("honest/first/0/0 at a.example.com", "served"),
        ("honest/second/0/0 at a.example.com", "served"),
    ];
    assert_eq!(served(&translation), rows(&expected));
}

/// Else two namespaces could multiply what each of them has.
#[test]
fn who_shares_a_host_pays_for_it() {
    let one = |name, day, hosts, paths| Asked { name, day, hosts, paths, backends: 1 };
    let grant = "---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: { name: share, namespace: host }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: guest }]
  to: [{ group: gateway.networking.k8s.io, kind: HTTPRoute }]
";
    let routes = [
        one("host/first", 1, &["a.example.com"], &["/"]),
        one("guest/first", 3, &["'*.example.com'"], &["/1", "/2"]),
        one("host/second", 2, &["b.example.com"], &["/"]),
    ];
    let quotas = Quotas { namespace_routes: 3, ..Quotas::default() };
    let shared = owned(&routes, grant, quotas);
    let served_of = served(&shared);
    assert_eq!(served_of["host/first/0/0 at a.example.com"], "served");
    assert_eq!(served_of["guest/first/0/1 at a.example.com"], "served", "it comes later, and does not pay");
    assert_eq!(served_of["host/second/0/0 at b.example.com"], "closed");
    assert_eq!(reasons(&shared).len(), 1, "{:?}", reasons(&shared));
    assert_eq!(reasons(&owned(&routes, "", quotas)), []);
}
