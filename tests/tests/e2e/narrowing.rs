//! What the owners of routes may say where the platform asks for tokens: they narrow, or what they say closes. One Gateway with
//! three listeners: one whose policy is to be narrowed, one that lets itself be replaced, and one with a gate alone.

use toolward_tests::envoy::Envoy;
use toolward_tests::folder::Folder;
use toolward_tests::http::{self, Answer, call};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::toolward::{self, AUDIENCE, ISSUER, Issuer, Toolward};
use toolward_tests::upstream::{OK, Recorded, Upstream};

const NOT_NARROWER: &str = "AuthenticationNotNarrower";

/// What a caller without token, one of the platform's, and one with a token that the route's owner made get.
type Expected = [Got; 3];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Got {
    /// The server's answer.
    Passed,
    /// 401.
    Unknown,
    /// A JSON-RPC error in place of the server's answer.
    Denied,
    /// 503 for this reason.
    Closed(&'static str),
}

use Got::{Closed, Denied, Passed, Unknown};

const SHUT: Expected = [Closed(NOT_NARROWER); 3];
const PLATFORM: Expected = [Unknown, Passed, Unknown];
const OWN: Expected = [Unknown, Unknown, Passed];

/// The three listeners.
#[derive(Clone, Copy, Debug)]
enum On {
    Strict,
    Replaceable,
    GateAlone,
}

/// A route with the spec of a policy for it, but for its targetRefs; PLATFORM and OWN stand for key sets.
struct Case {
    name: &'static str,
    on: On,
    /// Whether the policy is for the rule of the route, or for an MCPBackend of its own; else for the route.
    target: &'static str,
    spec: String,
    /// The policy of the route where `spec` is that of its rule.
    of_route: Option<String>,
    backends: &'static str,
    expected: Expected,
}

const ONE: &str = "{ group: toolward.dev, kind: MCPBackend, name: math }";

fn case(name: &'static str, spec: impl Into<String>, expected: Expected) -> Case {
    let spec = spec.into();
    Case { name, on: On::Strict, target: "route", spec, of_route: None, backends: ONE, expected }
}

/// An issuer of the platform's name and keys with these further fields.
fn platform(fields: &str) -> String {
    format!("{{ issuer: {ISSUER}, jwks: {{ inline: 'PLATFORM' }}, {fields} }}")
}

fn own(fields: &str) -> String {
    format!("{{ issuer: https://own.example.com, jwks: {{ inline: 'OWN' }}, {fields} }}")
}

fn issuers(all: &[String]) -> String {
    format!("authentication: {{ issuers: [{}] }}", all.join(", "))
}

fn cases() -> Vec<Case> {
    let usual = format!("audiences: [{AUDIENCE}]");
    let same = || issuers(&[platform(&usual)]);
    let owned = || issuers(&[own(&usual)]);
    let with_keys =
        |inline: &str| issuers(&[format!("{{ issuer: {ISSUER}, jwks: {{ inline: '{inline}' }}, {usual} }}")]);
    let anything = "authorization: { rules: [{ name: all, tools: [\"*\"] }] }";
    let nothing = "authorization: { mode: DryRun, rules: [] }";
    let mut cases = vec![
        // What is the owner's instead of the platform's.
        case("own-issuer", owned(), SHUT),
        case("own-beside", issuers(&[platform(&usual), own(&usual)]), SHUT),
        case("own-first", issuers(&[own(&usual), platform(&usual)]), SHUT),
        case("own-keys", with_keys("OWN"), SHUT),
        case("both-keys", with_keys("BOTH"), SHUT),
        case("passthrough", "authentication: { passthrough: {} }", SHUT),
        case("allows-itself", owned().replace("{ issuers", "{ override: Allow, issuers"), SHUT),
        // The platform's, for more tokens.
        case("more-audiences", issuers(&[platform(&format!("audiences: [{AUDIENCE}, more]"))]), SHUT),
        case("any-audience", issuers(&[platform("audiences: ['*']")]), SHUT),
        case("the-endpoint", issuers(&[platform("")]), SHUT),
        case("longer-skew", issuers(&[platform(&format!("{usual}, clockSkew: 60s"))]), SHUT),
        case(
            "more-scopes",
            same().replace("{ issuers", "{ scopeImplies: [{ scope: openid, implies: [admin] }], issuers"),
            SHUT,
        ),
        // The platform's, for fewer.
        case("the-same", same(), PLATFORM),
        case("other-audience", issuers(&[platform("audiences: [other]")]), [Unknown; 3]),
        case("no-skew", issuers(&[platform(&format!("{usual}, clockSkew: 0s"))]), PLATFORM),
        case("algorithms", issuers(&[platform(&format!("{usual}, algorithms: [ES256]"))]), PLATFORM),
        case("access-tokens", issuers(&[platform(&format!("{usual}, tokenType: AccessToken"))]), PLATFORM),
        case("with-a-gate", format!("{}\n  {anything}", same()), PLATFORM),
        // No authentication: the platform's holds, and so does its gate.
        case("grants-all", anything, PLATFORM),
        case("dry-run", nothing, PLATFORM),
        case("grants-less", "authorization: { rules: [{ name: none, tools: [none] }] }", [Unknown, Denied, Unknown]),
        case("unbound", "protocol: { sessionBinding: None, batches: Allow }", PLATFORM),
    ];
    let of_rule = |name, spec: String, of_route: String, expected| Case {
        target: "rule",
        of_route: Some(of_route),
        ..case(name, spec, expected)
    };
    cases.extend([
        of_rule("rule-narrows", same(), issuers(&[platform(&format!("audiences: [{AUDIENCE}, other]"))]), PLATFORM),
        of_rule("rule-widens", same(), issuers(&[platform("audiences: [other]")]), SHUT),
        of_rule("rule-replaces", owned(), same(), SHUT),
    ]);
    let replacing = |name, spec: String, expected| Case { on: On::Replaceable, ..case(name, spec, expected) };
    cases.extend([
        replacing("replaced", owned(), OWN),
        replacing("replaced-through", "authentication: { passthrough: {} }".to_owned(), [Passed; 3]),
        replacing("kept", anything.to_owned(), PLATFORM),
        Case { backends: "{ group: toolward.dev, kind: MCPBackend, name: math }, { group: toolward.dev, kind: MCPBackend, name: other }",
            ..replacing("two-servers", "authentication: { passthrough: {} }".to_owned(), [Closed("PassthroughToSeveralServers"); 3]) },
        Case { backends: "{ group: toolward.dev, kind: MCPBackend, name: math }, { group: toolward.dev, kind: MCPBackend, name: other, weight: 0 }",
            ..replacing("none-for-one", "authentication: { passthrough: {} }".to_owned(), [Passed; 3]) },
        Case { backends: "{ group: toolward.dev, kind: MCPBackend, name: math }, { group: toolward.dev, kind: MCPBackend, name: other }",
            ..replacing("two-verified", owned(), OWN) },
        Case { backends: "{ group: toolward.dev, kind: MCPBackend, name: theirs }", ..replacing("backend-decides", owned(), SHUT) },
        Case { on: On::GateAlone, ..case("mints", owned(), [Closed("AuthenticationTooSpecific"); 3]) },
    ]);
    cases
}

fn policy(name: &str, target: &str, spec: &str) -> String {
    format!(
        "---
apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: {{ name: {name} }}
spec:
  targetRefs: [{{ {target} }}]
  {spec}
"
    )
}

fn manifests(cases: &[Case], ports: [u16; 3], upstream: u16, keys: &[(&str, String)]) -> String {
    let [strict, replaceable, gate] = ports;
    let listener = |name: &str, port: u16| format!("{{ name: {name}, port: {port}, protocol: HTTP }}");
    let three = [listener("strict", strict), listener("replaceable", replaceable), listener("gate", gate)].join(", ");
    let mut all = toolward_tests::stack::gateway(strict).replace(&listener("mcp", strict), &three);
    for backend in ["math", "other", "theirs"] {
        all += "---\n";
        all += &toolward_tests::stack::backend(upstream).replace("name: math", &format!("name: {backend}"));
    }
    let section =
        |name| format!("group: gateway.networking.k8s.io, kind: Gateway, name: mcp-gateway, sectionName: {name}");
    let usual = issuers(&[platform(&format!("audiences: [{AUDIENCE}, other]"))]);
    let add = "authorization: { rules: [{ name: add, tools: [add] }] }";
    let ops = "authorization: { rules: [{ name: ops, tools: [add], claims: [{ path: team, in: [ops] }] }] }";
    all += &policy("strict", &section("strict"), &format!("{usual}\n  {add}"));
    all += &policy("replaceable", &section("replaceable"), &usual.replace("{ issuers", "{ override: Allow, issuers"));
    all += &policy("gate", &section("gate"), ops);
    all += &policy(
        "theirs",
        "group: toolward.dev, kind: MCPBackend, name: theirs",
        &issuers(&[platform(&format!("audiences: [{AUDIENCE}]"))]),
    );
    for Case { name, on, target, spec, of_route, backends, .. } in cases {
        let section = match on {
            On::Strict => "strict",
            On::Replaceable => "replaceable",
            On::GateAlone => "gate",
        };
        all += &format!(
            "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name} }}
spec:
  parentRefs: [{{ name: mcp-gateway, sectionName: {section} }}]
  rules:
  - name: rule
    matches: [{{ path: {{ value: /{name} }} }}]
    backendRefs: [{backends}]
"
        );
        let route = format!("group: gateway.networking.k8s.io, kind: HTTPRoute, name: {name}");
        let rule = format!("{route}, sectionName: rule");
        all += &policy(name, if *target == "rule" { &rule } else { &route }, spec);
        all += &of_route.as_ref().map(|spec| policy(&format!("{name}-route"), &route, spec)).unwrap_or_default();
    }
    keys.iter().fold(all, |all, (name, keys)| all.replace(&format!("'{name}'"), &format!("'{keys}'")))
}

fn got(answer: &Answer) -> Got {
    match answer.status {
        200 if answer.text == OK => Passed,
        200 if answer.code().is_some() => Denied,
        401 => Unknown,
        503 => {
            let known = [NOT_NARROWER, "AuthenticationTooSpecific", "PassthroughToSeveralServers"];
            Closed(known.into_iter().find(|reason| answer.text.contains(reason)).unwrap_or("another reason"))
        }
        _ => panic!("{answer:?}"),
    }
}

#[test]
fn a_route_can_narrow_the_platform_s_authentication_and_not_loosen_it() {
    let (upstream, platform, own) = (Upstream::start(), Issuer::new("ES256"), Issuer::new("ES256"));
    let ports = [ports::free(), ports::free(), ports::free()];
    let both = Issuer::joined(&[&platform, &own]);
    let keys = [("PLATFORM", platform.jwks()), ("OWN", own.jwks()), ("BOTH", both)];
    let cases = cases();
    let folder = Folder::new();
    folder.write("world.yaml", &manifests(&cases, ports, upstream.port, &keys));
    let toolward = Toolward::serve(folder.path());
    toolward.wait_until_ready();
    let envoy = Envoy::with_control_plane("default/mcp-gateway", toolward.xds);
    let client = http::client();
    eventually("the Gateway answers", || {
        ports.iter().all(|port| client.get(format!("http://127.0.0.1:{port}/")).send().is_ok())
    });
    let good = platform.of_team("ops");
    // Whoever writes the policy of a route names issuers at will, the platform's as well.
    let minted = [own.token(&["--issuer", "https://own.example.com", "--claim", "team=ops"]), own.of_team("ops")];
    let mut sent = 0;
    for Case { name, on, expected, .. } in &cases {
        let [strict, replaceable, gate] = ports;
        let port = match on {
            On::Strict => strict,
            On::Replaceable => replaceable,
            On::GateAlone => gate,
        };
        let post = |token: Option<&str>, tool: &str| {
            let request = http::post(&client, &format!("http://127.0.0.1:{port}/{name}"), call(tool));
            http::send(token.into_iter().fold(request, |request, token| request.bearer_auth(token)))
        };
        let [none, of_platform, of_own] = *expected;
        let rows = [(None, none), (Some(&good), of_platform), (minted.first(), of_own)];
        for (token, expected) in rows {
            let answer = post(token.map(String::as_str), "add");
            assert_eq!(got(&answer), expected, "{name}: {answer:?}");
            let recorded: Vec<Recorded> = upstream.take_recorded();
            assert_eq!(recorded.len(), usize::from(expected == Passed), "{name}: what reached the server");
            sent += 1;
        }
        // In the platform's name, with the owner's key.
        let answer = post(minted.get(1).map(String::as_str), "add");
        let through = none == Passed;
        assert_eq!(got(&answer) == Passed, through, "{name}: {answer:?}");
        assert_eq!(upstream.take_recorded().len(), usize::from(through), "{name}");
        // The platform's own gate holds wherever it stands.
        if matches!(on, On::Strict) {
            assert_ne!(got(&post(Some(&good), "multiply")), Passed, "{name}: a tool that the platform does not grant");
            assert!(upstream.take_recorded().is_empty(), "{name}");
        }
    }
    assert!(cases.len() >= 30 && sent == 3 * cases.len(), "{} cases", cases.len());
    drop(envoy);

    let output = toolward::run(&["check", folder.path().to_str().expect("UTF-8")]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let says = |parts: &[&str]| text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    let closed = cases.iter().filter(|case| case.expected.iter().all(|got| matches!(got, Closed(_))));
    for Case { name, expected, .. } in closed {
        let [Closed(reason), ..] = expected else { panic!("{name}") };
        assert!(says(&[&format!("default/{name}"), reason]), "{name}: {text}");
    }
    assert!(
        says(&["default/own-issuer", "the issuer https://own.example.com", "authentication.override: Allow"]),
        "{text}"
    );
    assert!(
        says(&[
            "note",
            "HTTPRoute default/the-same",
            "default/the-same applies",
            "narrows MCPAccessPolicy default/strict"
        ]),
        "{text}"
    );
    assert!(says(&["note", "HTTPRoute default/replaced", "replaces MCPAccessPolicy default/replaceable"]), "{text}");
    assert!(says(&["note", "default/unbound", "spec.protocol.sessionBinding", "NotLoosened"]), "{text}");
}

#[test]
fn a_second_client_on_a_host_is_told_by_check() {
    let folder = Folder::new();
    folder.write("gateway.yaml", &toolward_tests::stack::gateway(3000));
    let mut all = String::new();
    for (name, created) in [("newer", "2026-02-01T00:00:00Z"), ("older", "2026-01-01T00:00:00Z")] {
        all += &format!(
            "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name} }}
spec:
  parentRefs: [{{ name: mcp-gateway }}]
  hostnames: [mcp.example.com]
  rules: [{{ matches: [{{ path: {{ value: /{name} }} }}], backendRefs: [{{ group: toolward.dev, kind: MCPBackend, name: math }}] }}]
"
        );
        let issuer = format!(
            "{{ issuer: https://login.example.com, audiences: [api], jwks: {{ discovery: {{}} }}, client: {{ id: {name}, redirectURIs: ['http://127.0.0.1/callback'] }} }}"
        );
        let spec =
            format!("authentication: {{ issuers: [{issuer}], resource: {{ publicURL: 'http://mcp.example.com' }} }}");
        let target = format!("group: gateway.networking.k8s.io, kind: HTTPRoute, name: {name}");
        all += &policy(name, &target, &spec).replace(
            &format!("metadata: {{ name: {name} }}"),
            &format!("metadata: {{ name: {name}, creationTimestamp: '{created}' }}"),
        );
    }
    folder.write("routes.yaml", &(all + "---\n" + &toolward_tests::stack::backend(8000)));
    let output = toolward::run(&["check", folder.path().to_str().expect("UTF-8")]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{text}");
    let conflicts: Vec<&str> = text.lines().filter(|line| line.contains("Conflicted")).collect();
    let [conflict] = conflicts.as_slice() else { panic!("{text}") };
    let parts = ["MCPAccessPolicy default/newer", "issuers[0].client", "mcp.example.com", "default/older"];
    assert!(parts.iter().all(|part| conflict.contains(part)), "{conflict}");
}
