//! What is not known does not open anything: while a kind can't be read, ways that are new are closed; and what a policy
//! protected that was deleted stays closed until its route is written.

use std::sync::Arc;

use toolward_policy::config::RoutePolicy;

use super::{listeners, resources};
use crate::resources::{Deleted, Name, Protects, Resources};
use crate::translate::{TranslateOptions, Translator, translate};

const GATEWAY: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: toolward }
spec: { controllerName: toolward.dev/gateway-controller }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: gw, namespace: apps }
spec:
  gatewayClassName: toolward
  listeners: [{ name: one, port: 80, protocol: HTTP }]
---
apiVersion: v1
kind: Service
metadata: { name: math, namespace: apps }
spec: { ports: [{ port: 80 }] }
";

/// A route to the Service, for these hosts and with these rules.
fn route(name: &str, hosts: &str, rules: &[&str]) -> String {
    let rule = |path: &&str| {
        format!(
            "  - name: {path}
    matches: [{{ path: {{ type: PathPrefix, value: /{path} }} }}]
    backendRefs: [{{ name: math, port: 80 }}]
"
        )
    };
    let rules: String = rules.iter().map(rule).collect();
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name}, namespace: apps }}
spec:
  parentRefs: [{{ name: gw }}]
  hostnames: [{hosts}]
  rules:
{rules}"
    )
}

const POLICY: &str = "---
apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: { name: guard, namespace: apps }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: r }]
  authorization: { rules: [{ name: few, tools: [add] }] }
";

fn world(parts: &[&str]) -> Resources {
    let mut world = resources("doubt", &[&[GATEWAY], parts].concat().concat());
    // As from an API server.
    world.origins = Default::default();
    world
}

/// Each way by host and path, with what closes it or `open`, sorted. A translator that knew the last world says the same.
fn ways(last: &Resources, world: &Resources) -> Vec<(String, String)> {
    let options = TranslateOptions::default();
    let translation = translate(world, &options);
    let mut translator = Translator::default();
    translator.translate(last, &options);
    assert_eq!(translator.translate(world, &options), translation);
    let mut ways = Vec::new();
    for listener in listeners(&translation) {
        for host in listener.routes().flat_map(|(_, hosts)| hosts) {
            for route in &host.routes {
                let said = match listener.filter.policies.get(&route.policy).map(|policy| &**policy) {
                    Some(RoutePolicy::Closed { reason, .. }) => reason.clone(),
                    Some(RoutePolicy::Protected { .. }) => "protected".to_owned(),
                    _ => "open".to_owned(),
                };
                for domain in &host.domains {
                    ways.push((format!("{domain} {:?}", route.matches.path), said.clone()));
                }
            }
        }
    }
    ways.sort();
    ways
}

fn said(last: &Resources, world: &Resources) -> Vec<String> {
    ways(last, world).into_iter().map(|(_, said)| said).collect()
}

#[test]
fn what_is_new_is_closed_while_a_kind_cannot_be_read() {
    let r = route("r", "a.example", &["a"]);
    let known = world(&[&r]);
    let grants = "---
apiVersion: v1
kind: Service
metadata: { name: other, namespace: apps }
spec: { ports: [{ port: 80 }] }
";
    let rows: [(&str, Vec<String>, &[&str]); 8] = [
        ("nothing is new", vec![r.clone()], &["open"]),
        ("a route", vec![r.clone(), route("s", "b.example", &["b"])], &["open", "PoliciesUnknown"]),
        ("a rule", vec![route("r", "a.example", &["a", "b"])], &["open", "PoliciesUnknown"]),
        ("a rule of another name", vec![r.replace("name: a", "name: z")], &["PoliciesUnknown"]),
        ("a match", vec![r.replace("value: /a", "value: /")], &["PoliciesUnknown"]),
        ("a host", vec![route("r", "a.example, b.example", &["a"])], &["PoliciesUnknown", "PoliciesUnknown"]),
        (
            "a backend",
            vec![r.replace("backendRefs: [{ name: math", "backendRefs: [{ name: other"), grants.to_owned()],
            &["PoliciesUnknown"],
        ),
        ("a host less", vec![r.clone(), POLICY.to_owned()], &["protected"]),
    ];
    for (row, parts, expected) in rows {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let known = Arc::new(known.clone());
        let next = Resources { vouched: Some(Arc::clone(&known)), ..world(&parts) };
        assert_eq!(said(&known, &next), expected, "{row}");
        let all_known = Resources { vouched: None, ..next.clone() };
        assert!(!said(&next, &all_known).contains(&"PoliciesUnknown".to_owned()), "{row}: known again");
    }
    let listener = "listeners: [{ name: one, port: 80, protocol: HTTP }, { name: two, port: 81, protocol: HTTP }]";
    let mut next = world(&[&r]);
    let with_two = GATEWAY.replace("listeners: [{ name: one, port: 80, protocol: HTTP }]", listener);
    next.gateways = resources("doubt", &with_two).gateways;
    next.vouched = Some(Arc::new(known.clone()));
    assert_eq!(said(&known, &next), ["PoliciesUnknown", "open"], "a listener");
}

#[test]
fn what_a_deleted_policy_protected_stays_closed_until_its_route_is_written() {
    let r = route("r", "a.example", &["a"]);
    let guarded = world(&[&r, POLICY]);
    let policy = guarded.policies.keys().next().unwrap().clone();
    let targets = guarded.policies.get(&policy).unwrap().spec.target_refs.clone();
    let mut next = guarded.clone();
    next.policies.remove(&policy);
    assert_eq!(said(&guarded, &next), ["open"], "nothing is known of a deletion");
    let on_gateway = |name: &str| {
        let mut targets = targets.clone();
        targets.iter_mut().for_each(|target| (target.kind, target.name) = ("Gateway".to_owned(), name.to_owned()));
        targets
    };
    let of_rule = |rule: &str| {
        let mut targets = targets.clone();
        targets.iter_mut().for_each(|target| target.section_name = Some(rule.to_owned()));
        targets
    };
    let rows = [
        ("the route", Protects::Targets(targets.clone()), "PolicyDeleted"),
        ("the Gateway", Protects::Targets(on_gateway("gw")), "PolicyDeleted"),
        ("another Gateway", Protects::Targets(on_gateway("other")), "open"),
        ("its rule", Protects::Targets(of_rule("a")), "PolicyDeleted"),
        ("a rule that is gone", Protects::Targets(of_rule("b")), "PolicyDeleted"),
        ("the namespace", Protects::Namespace, "PolicyDeleted"),
    ];
    for (row, protected, expected) in rows {
        next.deleted.insert(policy.clone(), Deleted { protected, turn: 7 });
        next.written = Default::default();
        assert_eq!(said(&guarded, &next), [expected], "{row}");
        let closed = next.clone();
        next.written.insert(Name::new("apps", "r"), 6);
        assert_eq!(said(&closed, &next), [expected], "{row}: written before");
        next.written.insert(Name::new("apps", "r"), 8);
        assert_eq!(said(&closed, &next), ["open"], "{row}: written since");
    }
    next.written = Default::default();
    let other = POLICY.replace("name: guard", "name: other");
    next.policies = world(&[&r, &other]).policies;
    assert_eq!(said(&guarded, &next), ["protected"], "another policy protects it");
}
