//! Several policies with a `client` on one host: one is told, the others say that they are not.

use super::*;
use crate::key_sets::Known;

const HEAD: &str = r#"
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: toolward }
spec: { controllerName: toolward.dev/gateway-controller }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: gw, namespace: apps }
spec:
  gatewayClassName: toolward
  listeners: [{ name: http, port: 80, protocol: HTTP }]
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: apps }
spec: { ports: [{ port: 80 }] }
"#;

/// A route for a host, and a policy for it whose clients are to be this one.
fn route(name: &str, host: &str, client: &str, created: Option<&str>) -> String {
    let created = created.map(|created| format!(", creationTimestamp: \"{created}\"")).unwrap_or_default();
    format!(
        r#"
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name}, namespace: apps }}
spec:
  parentRefs: [{{ name: gw }}]
  hostnames: [{host}]
  rules: [{{ matches: [{{ path: {{ value: /{name} }} }}], backendRefs: [{{ name: web, port: 80 }}] }}]
---
apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: {{ name: {name}, namespace: apps{created} }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: {name} }}]
  authentication:
    issuers:
    - issuer: https://login.example.com
      audiences: [api]
      jwks: {{ discovery: {{}} }}
      client: {{ id: {client}, redirectURIs: ["http://127.0.0.1/callback"] }}
    resource: {{ publicURL: "http://{host}" }}
"#
    )
}

/// The clients that a world's hosts tell, and who says that theirs is not told.
fn told(manifests: &str) -> (Vec<(String, String)>, Vec<String>) {
    let resources = resources("clients", manifests);
    let set =
        br#"{"keys":[{"kty":"OKP","kid":"k","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let keys = toolward_policy::jwt::jwks::parse(set, 4096).unwrap().keys;
    let metadata = Some(r#"{"issuer":"https://login.example.com"}"#.to_owned());
    let known = places(&resources).into_iter().map(|place| {
        (
            place,
            Known::Good {
                keys: keys.clone(),
                left_out: Vec::new(),
                removed: Vec::new(),
                metadata: metadata.clone(),
                failing: None,
            },
        )
    });
    let key_sets = Arc::new(KeySets(known.collect()));
    let translation = translate(&resources, &TranslateOptions { key_sets, ..TranslateOptions::default() });
    let listener = listeners(&translation).next().unwrap();
    let hosts = listener.routes().flat_map(|(_, hosts)| hosts);
    let clients = hosts.flat_map(|host| {
        let policies = host.routes.iter().filter(|route| route.name.ends_with("/registration"));
        let documents =
            policies.filter_map(|route| match listener.filter.policies.get(&route.policy).map(|policy| &**policy) {
                Some(toolward_policy::config::RoutePolicy::Registration { document }) => {
                    let document: serde_json::Value = serde_json::from_str(document).unwrap();
                    Some((host.domains.join(" "), document["client_id"].as_str().unwrap().to_owned()))
                }
                _ => None,
            });
        documents.collect::<Vec<_>>()
    });
    let conflicts = translation.problems.iter().filter(|problem| problem.reason == "Conflicted");
    (clients.collect(), conflicts.map(ToString::to_string).collect())
}

#[test]
fn of_several_clients_on_a_host_the_oldest_policy_s_is_told() {
    type Row<'r> = (&'r str, Vec<String>, &'r [&'r str], Option<&'r str>);
    let (early, late) = (Some("2026-01-01T00:00:00Z"), Some("2026-02-01T00:00:00Z"));
    let rows: [Row<'_>; 6] = [
        ("one", vec![route("a", "one.example.com", "first", None)], &["first"], None),
        (
            "the older one",
            vec![route("a", "one.example.com", "first", late), route("b", "one.example.com", "second", early)],
            &["second"],
            Some("apps/a"),
        ),
        (
            "the first by name",
            vec![route("b", "one.example.com", "second", None), route("a", "one.example.com", "first", None)],
            &["first"],
            Some("apps/b"),
        ),
        (
            "one that says when it was made",
            vec![route("a", "one.example.com", "first", None), route("b", "one.example.com", "second", late)],
            &["second"],
            Some("apps/a"),
        ),
        (
            "two that say the same",
            vec![route("a", "one.example.com", "first", early), route("b", "one.example.com", "first", late)],
            &["first"],
            None,
        ),
        (
            "two hosts",
            vec![route("a", "one.example.com", "first", None), route("b", "two.example.com", "second", None)],
            &["first", "second"],
            None,
        ),
    ];
    for (row, routes, expected, conflicting) in rows {
        let manifests = format!("{HEAD}{}", routes.concat());
        let (clients, conflicts) = told(&manifests);
        let clients: Vec<&str> = clients.iter().map(|(_, client)| client.as_str()).collect();
        assert_eq!(clients, expected, "{row}");
        match conflicting {
            None => assert!(conflicts.is_empty(), "{row}: {conflicts:?}"),
            Some(policy) => {
                let [conflict] = conflicts.as_slice() else { panic!("{row}: {conflicts:?}") };
                let says = [&format!("MCPAccessPolicy {policy}"), "issuers[0].client", "one.example.com"];
                assert!(says.iter().all(|part| conflict.contains(*part)), "{row}: {conflict}");
                // As `toolward check` says it, which fetches nothing.
                let unfetched = translate(&resources("clients", &manifests), &TranslateOptions::default());
                let told = unfetched.problems.iter().map(ToString::to_string);
                assert!(told.collect::<Vec<_>>().contains(conflict), "{row}");
            }
        }
    }
}

/// What else says so of a Gateway: the policy of the platform.
fn of_gateway(client: &str, created: &str) -> String {
    let policy = route("platform", "one.example.com", client, Some(created));
    let (_, policy) = policy.rsplit_once("---\n").unwrap();
    let policy = policy.replace("kind: HTTPRoute, name: platform", "kind: Gateway, name: gw");
    format!("---\n{policy}")
}

/// A gate for the way of a route that the policy of nobody as general as itself answers: it closes the way.
const GATE: &str = r#"
---
apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: { name: gate, namespace: apps }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: gw }]
  authorization: { rules: [{ name: r, tools: [add], claims: [{ path: team, in: [ops] }] }] }
"#;

#[test]
fn who_lets_nobody_in_claims_no_host() {
    let routes = [route("a", "one.example.com", "first", None), route("b", "one.example.com", "second", None)];
    let manifests = format!("{HEAD}{}{GATE}", routes.concat());
    let (clients, conflicts) = told(&manifests);
    assert!(clients.is_empty(), "{clients:?}");
    let of_clients: Vec<_> = conflicts.iter().filter(|conflict| conflict.contains("client")).collect();
    assert!(of_clients.is_empty(), "{of_clients:?}");
}

#[test]
fn the_client_of_the_platform_is_told_before_that_of_a_route() {
    // The route narrows nothing: its policy has the same issuer and audiences, and another client.
    let plain = route("z", "one.example.com", "none", None);
    let (plain, _) = plain.rsplit_once("---\n").unwrap();
    let manifests = [
        HEAD.to_owned(),
        of_gateway("platform", "2026-03-01T00:00:00Z"),
        plain.to_owned(),
        route("a", "one.example.com", "early", Some("2026-01-01T00:00:00Z")),
    ];
    let (clients, conflicts) = told(&manifests.concat());
    let clients: Vec<&str> = clients.iter().map(|(_, client)| client.as_str()).collect();
    assert_eq!(clients, ["platform"], "{conflicts:?}");
    let [conflict] = conflicts.as_slice() else { panic!("{conflicts:?}") };
    assert!(conflict.contains("MCPAccessPolicy apps/a") && conflict.contains("less specific"), "{conflict}");
}
