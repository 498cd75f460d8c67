//! A policy that is bent while Envoy serves: misspelt, commented out, asking for nothing. What it protected is closed, and says
//! why; only what is open by the operator's word, or is no MCPBackend, is open.

use serde_json::Value;
use toolward_tests::folder::Folder;
use toolward_tests::http::{self, Answer, call};
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack, policy, route};
use toolward_tests::toolward::{self, Issuer};
use toolward_tests::upstream::{OK, Upstream};

/// What an anonymous call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    /// It reaches the server; so many rules are told to be unprotected.
    Open(usize),
    /// 503 with this reason.
    Closed(&'static str),
}

use Becomes::{Closed, Open};

const LOST: Becomes = Closed("PolicyTargetNotFound");
const NULL: Becomes = Closed("NullValue");
const UNPROTECTED: Becomes = Closed("Unprotected");
const NO_KIND: Becomes = Closed("UnsupportedKind");

/// A Service `default/web` for a server on loopback, and an HTTPRoute `default/web` to it.
fn web(port: u16) -> String {
    let route = route("/web").replace("metadata: { name: math }", "metadata: { name: web }");
    let route = route.replace("{ group: toolward.dev, kind: MCPBackend, name: math }", "{ name: web, port: 80 }");
    format!(
        "{route}---
apiVersion: v1
kind: Service
metadata: {{ name: web }}
spec: {{ ports: [{{ port: 80, targetPort: {port} }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: web-1, labels: {{ kubernetes.io/service-name: web }} }}
addressType: IPv4
ports: [{{ port: {port} }}]
endpoints: [{{ addresses: [127.0.0.1], conditions: {{ ready: true }} }}]
"
    )
}

/// A policy with these sections instead of its own.
fn asking(policy: &str, sections: &str) -> String {
    let (head, _) = policy.split_once("  authentication:").expect("sections");
    format!("{head}{sections}")
}

/// The whole with a route to an MCPBackend and one to a Service, each with a policy.
struct World {
    stack: Stack,
    server: Upstream,
    to_backend: String,
    to_service: String,
}

impl World {
    fn start() -> Self {
        let (server, issuer) = (Upstream::start(), Issuer::new("ES256"));
        let to_backend = policy(&issuer.jwks(), OPS_MAY_ADD);
        let to_service = to_backend.replace("name: math", "name: web");
        let stack = Stack::with_policy(server.port, issuer, &to_backend);
        stack.folder.write("web.yaml", &web(server.port));
        stack.folder.write("web-policy.yaml", &to_service);
        let world = Self { stack, server, to_backend, to_service };
        world.restored();
        world
    }

    fn ask(&self, path: &str, tool: &str) -> Answer {
        let url = format!("http://127.0.0.1:{}{path}", self.stack.port);
        http::send(http::post(&self.stack.client, &url, call(tool)))
    }

    /// Both routes are protected again.
    fn restored(&self) {
        for path in ["/mcp", "/web"] {
            eventually(path, || self.ask(path, "multiply").status == 401);
        }
    }

    /// Saves a bent policy on the live Gateway, sees what becomes of anonymous calls, and mends it.
    fn bend(&self, row: &str, path: &str, bent: &str, becomes: Becomes, arguments: &[&str]) {
        let (file, good) = match path {
            "/mcp" => ("policy.yaml", &self.to_backend),
            _ => ("web-policy.yaml", &self.to_service),
        };
        assert_ne!(bent, good, "{row}");
        let _ = self.server.take_recorded();
        self.stack.folder.write(file, bent);
        match becomes {
            Open(unprotected) => {
                eventually(row, || self.ask(path, "multiply").text == OK);
                let told = || self.stack.toolward.metric("toolward_unprotected_routes");
                assert_eq!(told(), unprotected as f64, "{row}");
                let problems = self.stack.toolward.get("/problems").json();
                assert_eq!(problems["unprotected"].as_array().map(Vec::len), Some(unprotected), "{row}: {problems}");
                check(
                    row,
                    &self.stack.folder,
                    arguments,
                    true,
                    if unprotected > 0 { "note: no policy protects" } else { "ok" },
                );
            }
            Closed(reason) => {
                eventually(row, || {
                    let answer = self.ask(path, "multiply");
                    answer.status == 503 && answer.reason().as_deref() == Some(reason)
                });
                let answer = self.ask(path, "multiply").text;
                match reason {
                    "Unprotected" => assert!(answer.contains("authentication: { anonymous: {} }"), "{row}: {answer}"),
                    "PolicyTargetNotFound" => {
                        let meant = format!("{} may have been meant for it", named(bent));
                        assert!(answer.contains(&meant), "{row}: not {meant}: {answer}");
                    }
                    _ => {}
                }
                assert_eq!(self.server.take_recorded(), [], "{row}: nothing may reach the server");
                check(row, &self.stack.folder, arguments, false, reason);
            }
        }
        self.stack.folder.write(file, good);
        self.restored();
    }
}

/// How an answer names a policy: `MCPAccessPolicy default/web`, by the kind that it says.
fn named(policy: &str) -> String {
    let policy: Value = serde_yaml_ng::from_str(policy).expect("YAML");
    let (kind, metadata) = (&policy["kind"], &policy["metadata"]);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let namespace = metadata.get("namespace").map_or_else(|| "default".to_owned(), text);
    format!("{} {namespace}/{}", text(kind), text(&metadata["name"]))
}

fn check(row: &str, folder: &Folder, arguments: &[&str], good: bool, says: &str) {
    let output = toolward::run(&[&["check", folder.path().to_str().expect("UTF-8")], arguments].concat());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!((output.status.success(), text.contains(says)), (good, true), "{row}: {text}");
}

const ISSUERS: &str = "issuers: [{ issuer: https://login.example.com, audiences: [a], jwks: { discovery: {} } }]";

#[test]
fn a_policy_that_is_bent_while_envoy_serves_opens_nothing() {
    let mut world = World::start();
    let (mcp, web) = (world.to_backend.clone(), world.to_service.clone());
    let target = "{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: web }";
    let at = |other: &str| web.replace(target, other);
    let kind = |from: &str, to: &str| {
        assert!(web.starts_with("apiVersion: toolward.dev/v1alpha1\nkind: MCPAccessPolicy\n"));
        web.replacen(from, to, 1)
    };
    let rules = "  authorization: { rules: [{ name: add, tools: [add] }] }\n";
    let dry_run = "  authorization: { mode: DryRun, rules: [{ name: add, tools: [add] }] }\n";
    let protocol = "  protocol: { batches: Allow }\n";
    let anonymous = "  authentication: { anonymous: {} }\n";
    let nothing = "# The policy is gone.\napiVersion: v1\nkind: Namespace\nmetadata: { name: apps }\n".to_owned();
    let rows: Vec<(&str, &str, String, Becomes)> = vec![
        // Targets that are not there, or not understood.
        ("a misspelt name", "/web", at("{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: wbe }"), LOST),
        (
            "a kind in another case",
            "/web",
            at("{ group: gateway.networking.k8s.io, kind: HttpRoute, name: web }"),
            LOST,
        ),
        ("a plural kind", "/web", at("{ group: gateway.networking.k8s.io, kind: httproutes, name: web }"), LOST),
        ("a wrong group", "/web", at("{ group: toolward.dev, kind: HTTPRoute, name: web }"), LOST),
        ("an empty group", "/web", at("{ group: '', kind: HTTPRoute, name: web }"), LOST),
        ("the Service itself", "/web", at("{ group: '', kind: Service, name: web }"), LOST),
        (
            "a misspelt Gateway",
            "/web",
            at("{ group: gateway.networking.k8s.io, kind: Gateway, name: mcp-gatway }"),
            LOST,
        ),
        ("a misspelt MCPBackend", "/web", at("{ group: toolward.dev, kind: MCPBackend, name: maths }"), LOST),
        ("no target", "/web", web.replace(&format!("[{target}]"), "[]"), LOST),
        (
            "another namespace",
            "/web",
            web.replace("metadata: { name: web }", "metadata: { name: web, namespace: apps }"),
            LOST,
        ),
        (
            "a misspelt name before a backend",
            "/mcp",
            mcp.replace("HTTPRoute, name: math", "HTTPRoute, name: maths"),
            LOST,
        ),
        // Objects that are no policies, and look like one.
        ("a policy in another case", "/web", kind("kind: MCPAccessPolicy", "kind: mcpaccesspolicy"), NO_KIND),
        ("a plural policy", "/web", kind("kind: MCPAccessPolicy", "kind: MCPAccessPolicies"), NO_KIND),
        ("a misspelt policy", "/web", kind("kind: MCPAccessPolicy", "kind: MCPAccesPolcy"), NO_KIND),
        ("an unknown kind", "/web", kind("kind: MCPAccessPolicy", "kind: Access"), NO_KIND),
        ("an unknown version", "/web", kind("toolward.dev/v1alpha1", "toolward.dev/v1"), NO_KIND),
        ("a misspelt group", "/web", kind("toolward.dev/v1alpha1", "Toolward.dev/v1alpha1"), NO_KIND),
        (
            "neither kind nor target",
            "/web",
            at("{ group: x, kind: HTTPRoute, name: web }").replacen(
                "kind: MCPAccessPolicy",
                "kind: mcpaccesspolicy",
                1,
            ),
            LOST,
        ),
        // Sections whose content is commented out.
        ("null for authentication", "/web", asking(&web, &format!("  authentication:\n{rules}")), NULL),
        (
            "null for authorization",
            "/web",
            asking(&web, &format!("  authentication: {{ {ISSUERS} }}\n  authorization:\n")),
            NULL,
        ),
        ("null for both", "/web", asking(&web, "  authentication:\n  authorization:\n"), NULL),
        ("null for rules", "/web", asking(&web, "  authorization: { rules: }\n"), NULL),
        ("null for issuers", "/web", asking(&web, "  authentication: { issuers: }\n"), NULL),
        (
            "null for claims",
            "/web",
            asking(&web, "  authorization: { rules: [{ name: all, tools: ['*'], claims: }] }\n"),
            NULL,
        ),
        ("null for protocol", "/web", asking(&web, &format!("{rules}  protocol:\n")), NULL),
        ("null for targetRefs", "/web", web.replace(&format!("[{target}]"), ""), NULL),
        (
            "null for spec",
            "/web",
            "apiVersion: toolward.dev/v1alpha1\nkind: MCPAccessPolicy\nmetadata: { name: web }\nspec:\n".to_owned(),
            NULL,
        ),
        // Policies that ask for nothing, and one that says so.
        ("protocol alone, to a backend", "/mcp", asking(&mcp, protocol), UNPROTECTED),
        ("protocol alone, to a Service", "/web", asking(&web, protocol), Open(1)),
        ("a dry run alone, to a backend", "/mcp", asking(&mcp, dry_run), UNPROTECTED),
        ("a dry run alone, to a Service", "/web", asking(&web, dry_run), Open(1)),
        ("anonymous, to a backend", "/mcp", asking(&mcp, anonymous), Open(0)),
        ("anonymous, to a Service", "/web", asking(&web, anonymous), Open(0)),
        ("anonymous and a dry run", "/mcp", asking(&mcp, &format!("{anonymous}{dry_run}")), Open(0)),
        ("no policy, to a backend", "/mcp", nothing.clone(), UNPROTECTED),
        ("no policy, to a Service", "/web", nothing.clone(), Open(1)),
    ];
    for (row, path, bent, becomes) in &rows {
        world.bend(row, path, bent, *becomes, &[]);
    }

    // Rules apply to callers without claims as well.
    world.stack.folder.write("policy.yaml", &asking(&mcp, &format!("{anonymous}{rules}")));
    eventually("anonymous callers may add", || world.ask("/mcp", "add").text == OK);
    assert_eq!(world.ask("/mcp", "multiply").code(), Some(-32602));
    // What opens a Gateway takes nothing away from its routes.
    let gateway = asking(&mcp, anonymous).replace("HTTPRoute, name: math", "Gateway, name: mcp-gateway");
    world.stack.folder.write("policy.yaml", &gateway);
    eventually("opened by the Gateway", || world.ask("/mcp", "multiply").text == OK);
    assert_eq!(world.ask("/web", "multiply").status, 401);
    world.stack.folder.write("policy.yaml", &mcp);
    world.restored();

    for (said, rows) in [
        (
            "allow",
            [
                ("no policy, to a backend", "/mcp", nothing.clone(), Open(1)),
                ("a dry run alone, to a backend", "/mcp", asking(&mcp, dry_run), Open(1)),
                (
                    "a misspelt name",
                    "/web",
                    at("{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: wbe }"),
                    LOST,
                ),
                ("anonymous, to a backend", "/mcp", asking(&mcp, anonymous), Open(0)),
            ],
        ),
        (
            "deny",
            [
                ("no policy, to a Service", "/web", nothing.clone(), UNPROTECTED),
                ("protocol alone, to a Service", "/web", asking(&web, protocol), UNPROTECTED),
                ("a dry run alone, to a Service", "/web", asking(&web, dry_run), UNPROTECTED),
                ("anonymous, to a Service", "/web", asking(&web, anonymous), Open(0)),
            ],
        ),
    ] {
        let arguments = ["--unprotected-routes", said];
        world.stack.toolward = world.stack.toolward.restart(world.stack.folder.path(), &arguments);
        world.stack.toolward.wait_until_ready();
        world.restored();
        for (row, path, bent, becomes) in &rows {
            world.bend(&format!("{said}: {row}"), path, bent, *becomes, &arguments);
        }
    }
}
