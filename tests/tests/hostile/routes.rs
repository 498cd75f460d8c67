//! Two routes to one server, a strict one and a loose one: no request takes the loose one that the server could read as one
//! for the strict one.

use std::collections::BTreeMap;

use serde::Deserialize;
use toolward_tests::envoy::{Envoy, shipped};
use toolward_tests::folder::Folder;
use toolward_tests::hostile::{Ending, exchange};
use toolward_tests::http::call;
use toolward_tests::http2::Connection;
use toolward_tests::lenient::{Got, Lenient};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::servers::Server;
use toolward_tests::stack::gateway;
use toolward_tests::toolward::{AUDIENCE, ISSUER, Issuer, Toolward};

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    by: By,
    name: String,
    line: Option<String>,
    host: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
}

/// How the two routes differ.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
enum By {
    Host,
    Path,
    Query,
    Header,
    Method,
}

impl By {
    const ALL: [Self; 5] = [Self::Host, Self::Path, Self::Query, Self::Header, Self::Method];

    /// The request line and the headers of a plain request for the loose route, or for the strict one.
    fn plain(self, strict: bool) -> (&'static str, &'static str, Vec<(String, String)>) {
        let line = match (self, strict) {
            (Self::Path, true) | (Self::Host | Self::Header | Self::Method, false) => "POST /mcp HTTP/1.1",
            (Self::Path, false) => "POST /other HTTP/1.1",
            (Self::Query, false) => "POST /mcp?tenant=dev HTTP/1.1",
            (Self::Query, true) => "POST /mcp?tenant=prod HTTP/1.1",
            (Self::Method, true) => "DELETE /mcp HTTP/1.1",
            (Self::Host | Self::Header, true) => "POST /mcp HTTP/1.1",
        };
        let host = match (self, strict) {
            (Self::Host, false) => "loose.test",
            (Self::Host, true) => "strict.test",
            (Self::Path, _) => "path.test",
            (Self::Query, _) => "query.test",
            (Self::Header, _) => "header.test",
            (Self::Method, _) => "method.test",
        };
        let headers = match (self, strict) {
            (Self::Header, true) => vec![("x-tenant".to_owned(), "prod".to_owned())],
            _ => Vec::new(),
        };
        (line, host, headers)
    }

    /// What the strict route matches, beside the host.
    fn matches(self) -> &'static str {
        match self {
            Self::Host => "{}",
            Self::Path => "{ path: { value: /mcp } }",
            Self::Query => "{ queryParams: [{ name: tenant, value: prod }] }",
            Self::Header => "{ headers: [{ name: X-Tenant, value: prod }] }",
            Self::Method => "{ method: DELETE }",
        }
    }

    fn is_strict(self, got: &Got) -> bool {
        match self {
            Self::Host => got.is_for_host("strict.test"),
            Self::Path => got.is_for_path("/mcp"),
            Self::Query => got.has_parameter("tenant", "prod"),
            Self::Header => got.has_header("x-tenant", "prod"),
            Self::Method => got.is_of_method("DELETE"),
        }
    }
}

/// The two routes of each kind, to the server on this port. The loose one has no policy.
fn routes(port: u16) -> String {
    let backend = "{ group: toolward.dev, kind: MCPBackend, name: server }";
    let mut all = format!(
        "apiVersion: toolward.dev/v1alpha1
kind: MCPBackend
metadata: {{ name: server }}
spec: {{ targets: [{{ name: server, static: {{ host: 127.0.0.1, port: {port} }} }}] }}
"
    );
    for by in By::ALL {
        let name = format!("{by:?}").to_lowercase();
        let loose = if by == By::Host { "[]".to_owned() } else { format!("[{}]", by.plain(false).1) };
        let route = |kind: &str, hosts: &str, matches: &str| {
            format!(
                "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {kind}-{name} }}
spec:
  parentRefs: [{{ name: mcp-gateway }}]
  hostnames: {hosts}
  rules: [{{ matches: [{matches}], backendRefs: [{backend}] }}]
"
            )
        };
        all += &route("strict", &format!("[{}]", by.plain(true).1), by.matches());
        all += &route("loose", &loose, "{}");
    }
    all
}

fn policy(jwks: &str) -> String {
    let target = |by: By| {
        let name = format!("{by:?}").to_lowercase();
        format!("{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: strict-{name} }}")
    };
    format!(
        "apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: {{ name: strict }}
spec:
  targetRefs: [{}]
  authentication: {{ issuers: [{{ issuer: {ISSUER}, audiences: [{AUDIENCE}], jwks: {{ inline: '{jwks}' }} }}] }}
",
        By::ALL.map(target).join(", ")
    )
}

struct World {
    _folder: Folder,
    _toolward: Toolward,
    envoy: Envoy,
    host: String,
}

impl World {
    fn start(server: u16) -> Self {
        let (folder, port) = (Folder::new(), ports::free());
        folder.write("gateway.yaml", &gateway(port));
        folder.write("routes.yaml", &routes(server));
        folder.write("policy.yaml", &policy(&Issuer::new("ES256").jwks()));
        let toolward = Toolward::serve_with(folder.path(), &["--unprotected-routes", "allow"]);
        toolward.wait_until_ready();
        let envoy = Envoy::with_control_plane("default/mcp-gateway", toolward.xds);
        let world = Self { _folder: folder, _toolward: toolward, envoy, host: format!("127.0.0.1:{port}") };
        eventually("the routes are there", || world.plain(By::Path, true).0 == Some(401));
        world
    }

    /// Asks without a token; gives the status and the reason.
    fn ask(&self, line: &str, host: &str, headers: &[(String, String)], body: &str) -> (Option<u16>, String) {
        let own: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let close = if own.to_lowercase().contains("\r\nconnection:") || own.to_lowercase().starts_with("connection:") {
            ""
        } else {
            "connection: close\r\n"
        };
        let request = format!(
            "{line}\r\nhost: {host}\r\n{own}{close}content-type: application/json\r\naccept: application/json, \
             text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: multiply\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(&self.host, request.as_bytes(), Ending::Sure);
        (answer.status, answer.body)
    }

    fn plain(&self, by: By, strict: bool) -> (Option<u16>, String) {
        let (line, host, headers) = by.plain(strict);
        self.ask(line, host, &headers, &call("multiply"))
    }

    fn case(&self, case: &Case, body: &str) -> (Option<u16>, String) {
        let (line, host, _) = case.by.plain(false);
        self.ask(case.line.as_deref().unwrap_or(line), case.host.as_deref().unwrap_or(host), &case.headers, body)
    }
}

fn cases() -> Vec<Case> {
    let cases: Cases = serde_yaml_ng::from_str(&shipped("tests/hostile/routes/cases.yaml")).expect("cases");
    cases.cases
}

#[test]
fn the_looser_route_never_wins() {
    let server = Lenient::start();
    let world = World::start(server.port);
    for by in By::ALL {
        assert_eq!(world.plain(by, true).0, Some(401), "{by:?}");
        assert_eq!(server.take_got(), [], "{by:?}");
        assert_eq!(world.plain(by, false).0, Some(200), "{by:?}");
        assert_eq!(server.take_got().len(), 1, "{by:?}: the loose route is open");
    }
    let cases = cases();
    let (mut wrong, mut ended) = (Vec::new(), BTreeMap::<String, usize>::new());
    for case in &cases {
        let (status, body) = world.case(case, &call("multiply"));
        for got in server.take_got() {
            if case.by.is_strict(&got) {
                wrong.push(format!("{:?}, {}: {status:?} {got:?}", case.by, case.name));
            }
        }
        let reason = body.split_once("\"reason\":\"").and_then(|(_, rest)| rest.split('"').next()).unwrap_or("-");
        println!("{:?}, {}: {status:?} {reason}", case.by, case.name);
        *ended.entry(format!("{status:?} {reason}")).or_default() += 1;
    }
    println!("{} cases: {ended:?}", cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases.len() >= 90, "{}", cases.len());
    // The filter's own answers are counted, each by its reason.
    let stats = world.envoy.admin("/stats?filter=toolward_requests");
    for reason in ["InvalidHost", "AmbiguousPath", "AmbiguousHeader", "AmbiguousParameter", "AmbiguousMethod"] {
        assert!(stats.contains(&format!(".refused.{reason}: ")), "{reason}: {stats}");
    }
}

/// The host of the loose route.
const LOOSE: (&str, &str) = (":authority", "loose.test");

/// With HTTP/2 a request may name its host twice.
#[test]
fn a_host_beside_the_authority_chooses_nothing() {
    let server = Lenient::start();
    let world = World::start(server.port);
    for hosts in [
        // What is sent as all others are, and well, reaches the server.
        &[LOOSE][..],
        &[LOOSE, ("host", "strict.test")],
        &[LOOSE, ("host", "strict.test.")],
        &[(":authority", "strict.test.")],
        &[(":authority", "x@strict.test")],
        &[(":authority", "strict.test\u{3002}")],
        &[LOOSE, (":authority", "strict.test")],
        &[("host", "strict.test")],
    ] {
        let common = [(":method", "POST"), (":scheme", "http"), (":path", "/mcp")];
        let mut connection = Connection::open(&world.host);
        connection.begin(1, &[&common[..], hosts, &[("content-type", "application/json")]].concat());
        connection.send(1, call("multiply").as_bytes(), true);
        // Envoy takes the requests of a connection one after the other, and ends one that is malformed.
        connection.begin(3, &[&common[..2], &[(":path", "/last"), LOOSE]].concat());
        connection.send(3, b"{}", true);
        connection.wait_until_answered_or_closed(3);
        let got = server.take_got();
        assert!(!got.iter().any(|got| By::Host.is_strict(got)), "{hosts:?}: {got:?}");
        assert!(hosts != [LOOSE] || got.iter().any(|got| got.line.starts_with("POST /mcp ")), "{hosts:?}: {got:?}");
    }
}

/// What the stand-in shows of paths, a server on a real SDK shows as well.
#[test]
fn no_spelling_of_a_path_reaches_the_endpoint_of_a_real_server() {
    let mcp = Server::PythonV2.start();
    let world = World::start(mcp.port);
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let body = call("multiply").replace(r#""params":{"#, &format!(r#""params":{{{meta},"#));
    let (line, host, _) = By::Header.plain(false);
    assert_eq!(world.ask(line, host, &[], &body).0, Some(200));
    assert_eq!(mcp.ran("multiply"), 1, "the loose route is open");
    for case in cases().iter().filter(|case| case.by == By::Path) {
        let (status, _) = world.case(case, &body);
        assert_eq!(mcp.ran("multiply"), 1, "{}: {status:?}", case.name);
    }
}
