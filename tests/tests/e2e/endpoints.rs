//! HTTP+SSE (revision 2024-11-05): what a server announces is its caller's, in whatever form it is.

use serde_json::{Value, json};
use toolward_tests::client;
use toolward_tests::http::{self, Answer, request};
use toolward_tests::mcp_server::McpServer;
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack, backend, policy, route};
use toolward_tests::stream;

const HTTP_SSE: &str = "  protocol: { transport: HTTPSSE }\n";

/// In which ways the stand-in says whose session it is.
const STYLES: [&str; 13] = [
    "sessionId",
    "session_id",
    "sid",
    "session",
    "connectionId",
    "brackets",
    "encoded-brackets",
    "index",
    "semicolon",
    "bare",
    "path",
    "middle",
    "matrix",
];

/// What it announces that leads elsewhere, or could be read in two ways.
const ELSEWHERE: [&str; 7] = ["absolute", "foreign", "network", "dots", "fragment", "relative", "scheme"];

/// A stream with what it announced.
struct Stream {
    data: Box<dyn Iterator<Item = String>>,
    endpoint: String,
}

struct World {
    server: McpServer,
    stack: Stack,
}

impl World {
    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.stack.port)
    }

    fn token(&self, who: &str) -> String {
        self.stack.issuer.token(&["--claim", "team=ops", "--subject", who])
    }

    /// Opens a stream; `None`: it ended before it announced anything.
    fn open(&self, path: &str, token: &str) -> Option<Stream> {
        let stream = self.stack.client.get(self.url(path)).bearer_auth(token).header("accept", "text/event-stream");
        let stream = stream.send().expect("an answer");
        assert_eq!(stream.status(), 200, "{path}");
        let mut data = Box::new(stream::data(stream));
        let endpoint = data.next()?;
        Some(Stream { data, endpoint })
    }

    fn send(&self, token: &str, path: &str) -> Answer {
        http::send(http::post(&self.stack.client, &self.url(path), request("ping")).bearer_auth(token))
    }

    /// The server's own id of the session that was opened last.
    fn last_session(&self) -> String {
        let log = self.server.process.log();
        let opened = log.lines().rfind(|line| line.starts_with("OPENED ")).expect("a session");
        opened.rsplit(' ').next().expect("an id").to_owned()
    }
}

/// A route by its name, path and further fields of its rule.
fn named_route(name: &str, path: &str, rule: &str) -> String {
    let text = route(path).replacen("name: math }", &format!("name: {name} }}"), 1);
    text.replace("    backendRefs:", &format!("{rule}    backendRefs:"))
}

fn world() -> World {
    let server = McpServer::start_endpoints();
    let stack = Stack::start(server.port, OPS_MAY_ADD);
    let jwks = stack.issuer.jwks();
    let rename = "    filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /sse } } }]\n";
    let backends = backend(server.port).replace(", path: /mcp", "");
    let one_path = backend(server.port).replace("name: math }", "name: one-path }").replace("/mcp", "/sse/path");
    stack.folder.write("backend.yaml", &format!("{backends}---\n{one_path}"));
    let routes = [
        named_route("math", "/sse", ""),
        named_route("renamed", "/renamed", rename),
        named_route("one-path", "/one-path", "").replace("MCPBackend, name: math", "MCPBackend, name: one-path"),
        // Where the server's own paths would lead to, were they to choose a route: it has another policy (`RouteChanged`).
        named_route("own", "/messages", ""),
    ];
    stack.folder.write("route.yaml", &routes.join("---\n"));
    let targets = ["math", "renamed", "one-path"]
        .map(|name| format!("{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: {name} }}"))
        .join(", ");
    let target = "{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: math }";
    let ways = policy(&jwks, OPS_MAY_ADD).replace(target, &targets);
    let strict = policy(&jwks, "[]").replace("name: math }", "name: own }");
    stack.folder.write("policy.yaml", &format!("{ways}{HTTP_SSE}---\n{strict}"));
    let world = World { server, stack };
    let token = world.token("alice");
    eventually("the routes lead to the server", || {
        let paths = ["/sse/sid", "/renamed/sid", "/one-path"];
        paths.iter().all(|path| {
            let answer = world.stack.client.get(world.url(path)).bearer_auth(&token).send();
            answer.is_ok_and(|answer| answer.status() == 200)
        })
    });
    world
}

#[test]
fn are_of_their_callers_in_every_form() {
    let world = world();
    let (alice, bob) = (world.token("alice"), world.token("bob"));
    let mut ways: Vec<String> = STYLES.iter().map(|style| format!("/sse/{style}")).collect();
    ways.extend(STYLES.iter().map(|style| format!("/renamed/{style}")));
    ways.push("/one-path".to_owned());
    let mut hostile = 0;
    for way in &ways {
        let mut stream = world.open(way, &alice).unwrap_or_else(|| panic!("{way}: nothing was announced"));
        let (endpoint, own) = (stream.endpoint.clone(), world.last_session());
        assert!(endpoint.starts_with(&format!("{way}?toolward-seal=")) && !endpoint.contains(&own), "{endpoint}");
        assert_eq!(world.send(&alice, &endpoint).status, 202, "{way}");
        let answer: Value = serde_json::from_str(&stream.data.next().expect("an answer")).expect("JSON");
        assert_eq!(answer["result"]["said"], "ping", "{way}");

        let seal = endpoint.split_once('=').expect("a seal").1;
        let ran = world.server.ran("POST");
        // With the server's own id, should it be known by another way.
        let spellings = [
            endpoint.clone(),
            format!("{way}?sessionId={own}"),
            format!("{way}?sessionId[]={own}"),
            format!("{way}?sessionId%5B%5D={own}"),
            format!("{way}?session%5fid={own}"),
            format!("{way}?SID={own}"),
            format!("{way}?connectionId={own}"),
            format!("{way}?x=1;session={own}"),
            format!("{way}?{own}"),
            format!("{way}/{own}"),
            format!("{way}?toolward-seal={own}"),
            format!("{way}?toolward%2Dseal={seal}"),
            format!("{way}?toolward-seal={seal}&sid={own}"),
            format!("{way}?sid={own}&toolward-seal={seal}"),
            format!("{way}?toolward-seal={}", seal.to_uppercase()),
            way.clone(),
        ];
        for spelling in &spellings {
            let answer = world.send(&bob, spelling);
            assert_eq!((answer.status, answer.reason().as_deref()), (404, Some("SessionNotFound")), "{spelling}");
            let is_own = *spelling == endpoint;
            assert!(is_own || world.send(&alice, spelling).status == 404, "the caller itself: {spelling}");
        }
        let post = http::post(&world.stack.client, &world.url(way), request("ping")).bearer_auth(&bob);
        let by_header = http::send(post.header("x-toolward-endpoint", format!("/messages?sid={own}")));
        assert_eq!(by_header.status, 404, "{way}");
        let deleted = world.stack.client.delete(world.url(&endpoint)).bearer_auth(&bob);
        assert_eq!(http::send(deleted).status, 405, "{way}");
        hostile += spellings.len() * 2 + 1;
        assert_eq!(world.server.ran("POST"), ran, "{way}: nothing reached the server");
    }
    assert!(hostile >= 500, "{hostile}");
    for style in ELSEWHERE {
        let refused = "toolward_requests.GET.refused.EndpointNotAllowed";
        let before = world.stack.envoy.stat(&format!("wasmcustom.{refused}"));
        assert!(world.open(&format!("/sse/{style}"), &alice).is_none(), "{style}");
        eventually("it is counted", || world.stack.envoy.stat(&format!("wasmcustom.{refused}")) > before);
    }
}

#[test]
fn of_a_server_on_an_sdk() {
    let server = McpServer::start_sse();
    let stack = Stack::start(server.port, OPS_MAY_ADD);
    stack.folder.write("backend.yaml", &backend(server.port).replace(", path: /mcp", ""));
    stack.folder.write("route.yaml", &route("/"));
    let world = World { server, stack };
    let (World { server, stack }, token) = (&world, world.token("bob"));
    eventually("the route leads to the server", || {
        let answer = stack.client.get(world.url("/sse")).bearer_auth(&token).send();
        answer.is_ok_and(|answer| answer.status() == 200)
    });
    // Where no policy says that it may.
    assert!(world.open("/sse", &token).is_none(), "nothing is announced");
    let refused = "wasmcustom.toolward_requests.GET.refused.TransportNotAllowed";
    eventually("it is counted", || stack.envoy.stat(refused) > 0);

    let allowing = format!("{}{HTTP_SSE}", policy(&stack.issuer.jwks(), OPS_MAY_ADD));
    stack.folder.write("policy.yaml", &allowing);
    eventually("it may", || world.open("/sse", &token).is_some());
    let expected = json!({ "tools": ["add"], "calls": { "add": "13", "multiply": "Invalid request parameters" } });
    // Only the server can put an answer on the stream, so it is the server's word for what it does not know.
    assert_eq!(client::sdk_v1(&world.url("/sse"), &token, &["add", "multiply", "add"]), expected);
    assert_eq!((server.ran("add"), server.ran("multiply")), (2, 0));

    // By a path of its own, and another of the server's.
    let renamed = backend(server.port).replace("/mcp", "/sse");
    stack.folder.write("backend.yaml", &renamed);
    stack.folder.write("route.yaml", &route("/math"));
    eventually("the new path leads to the server", || {
        let answer = stack.client.get(world.url("/math/sse")).bearer_auth(&token).send();
        answer.is_ok_and(|answer| answer.status() == 200)
    });
    assert_eq!(client::sdk_v1(&world.url("/math/sse"), &token, &["add", "multiply", "add"]), expected);
}
