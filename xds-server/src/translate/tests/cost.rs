//! What one namespace may ask for within its quotas is not multiplied by what it asks for elsewhere, neither in time nor in
//! routes.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::test_world::{GATEWAY, world};
use crate::translate::{TranslateOptions, Translation, UnprotectedRoutes, translate};

const ROUTES: usize = 2000;

/// Tests are not optimized, and share the machine.
const ENOUGH: Duration = Duration::from_secs(20);

const SERVICE: &str = "---
apiVersion: v1
kind: Service
metadata: { name: s, namespace: greedy }
spec: { ports: [{ port: 80 }] }
";

/// A route of these hostnames, created on this day, with these matches.
fn route(text: &mut String, name: &str, day: u32, hostnames: &str, matches: &str) {
    let (namespace, name) = name.split_once('/').unwrap();
    write!(
        text,
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name}, namespace: {namespace}, creationTimestamp: 2026-01-{day:02}T00:00:00Z }}
spec:
  parentRefs: [{{ name: gw, namespace: infra }}]
  hostnames: [{hostnames}]
  rules: [{{ matches: [{matches}], backendRefs: [{{ name: s, port: 80 }}] }}]
"
    )
    .unwrap();
}

fn policy(text: &mut String, name: &str, target: &str, authentication: &str) {
    let (namespace, name) = name.split_once('/').unwrap();
    write!(
        text,
        "---
apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: {target} }}]
  authentication: {{ {authentication} }}
"
    )
    .unwrap();
}

fn is_quick(row: &str, text: &str, owned: bool) -> Translation {
    let resources = world(&format!("{GATEWAY}{SERVICE}{text}"));
    let options = TranslateOptions {
        hostnames_belong_to_namespaces: owned,
        unprotected_routes: UnprotectedRoutes::Deny,
        ..TranslateOptions::default()
    };
    let begun = Instant::now();
    let translation = translate(&resources, &options);
    let took = begun.elapsed();
    println!("{row}: {took:?}");
    assert!(took < ENOUGH, "{row}: {took:?}");
    translation
}

#[test]
fn hostnames_that_are_others() {
    let mut text = String::new();
    route(&mut text, "honest/wide", 1, "'*.example.com'", "");
    for index in 0..ROUTES {
        route(&mut text, &format!("greedy/n{index}"), 2, &format!("h{index}.example.com"), "");
        route(&mut text, &format!("greedy/w{index}"), 2, "'*.example.com'", "");
    }
    is_quick("hostnames of others", &text, true);
}

#[test]
fn policies_that_name_nothing() {
    let mut text = String::new();
    for index in 0..ROUTES {
        let hostname = format!("h{}.example.org", index % 50);
        let path = format!("{{ path: {{ type: PathPrefix, value: /r{index} }} }}");
        route(&mut text, &format!("greedy/n{index}"), 2, &hostname, &path);
        policy(&mut text, &format!("greedy/lost{index}"), "none", "passthrough: {}");
    }
    let translation = is_quick("lost policies", &text, true);
    let more = format!("and {} more may have been meant", ROUTES - 3);
    let closed = translation.unprotected.iter().filter_map(|rule| rule.closed.as_deref());
    assert_eq!(closed.filter(|closed| closed.contains(&more)).count(), ROUTES);
}

/// On a host of two namespaces, one of which gets none of the other one's paths of the protocol.
#[test]
fn endpoints_on_a_shared_host() {
    let mut text = String::new();
    route(&mut text, "other/all", 1, "h.example.com", "");
    let endpoints = 200;
    for index in 0..endpoints {
        let endpoint = format!("{{ path: {{ type: Exact, value: /e{index} }} }}");
        route(&mut text, &format!("greedy/e{index}"), 2, "h.example.com", &endpoint);
        policy(&mut text, &format!("greedy/e{index}"), &format!("e{index}"), "passthrough: {}");
        let special = format!("{{ headers: [{{ name: x-special, value: v{index} }}] }}");
        route(&mut text, &format!("greedy/s{index}"), 2, "h.example.com", &special);
    }
    let translation = is_quick("endpoints", &text, false);
    let routes: usize =
        super::listeners(&translation).flat_map(|listener| &listener.virtual_hosts).map(|host| host.routes.len()).sum();
    assert!(routes < 20 * endpoints, "{routes} routes");
}

/// Each host has tokens to withhold, for a protected route of another namespace.
#[test]
fn tokens_that_are_withheld_on_many_hosts() {
    let mut text = String::new();
    route(&mut text, "greedy/through", 1, "'*.example.com'", "");
    policy(&mut text, "greedy/through", "through", "passthrough: {}");
    for index in 0..ROUTES {
        route(&mut text, &format!("other/n{index}"), 2, &format!("h{index}.example.com"), "");
        policy(&mut text, &format!("other/n{index}"), &format!("n{index}"), "passthrough: {}");
    }
    is_quick("withheld tokens", &text, false);
}
