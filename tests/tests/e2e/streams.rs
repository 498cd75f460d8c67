//! A decision has an end: what passes on an open stream is judged by the policy as it stands.

use toolward_tests::http::{self, call, request};
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack, policy, route};
use toolward_tests::stream::{self, Stream};
use toolward_tests::toolward::{AUDIENCE, ISSUER, Issuer};
use toolward_tests::upstream::{TOOLS, TOOLS_WITHOUT_MULTIPLY, UPDATES, Upstream};

const ALL: &str = "[{ name: all, tools: ['*'] }]";
const ECHO: &str = "[{ name: echo, tools: [echo] }]";

/// Of an open stream, on which lists come or nothing.
trait Lists {
    fn is_idle(&self) -> bool;

    fn shows(&self, tools: &[&str], after: &str);
}

impl Lists for Stream {
    fn is_idle(&self) -> bool {
        self.kind == "idle"
    }

    /// Waits for lists that come from now on and are these tools.
    fn shows(&self, tools: &[&str], after: &str) {
        let names: Vec<String> = tools.iter().map(|name| format!(r#"{{"name":"{name}"}}"#)).collect();
        let wanted = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{}]}}}}"#, names.join(","));
        let before = self.seen().events.len();
        let what = format!("{tools:?} on {} after {after}", self.kind);
        eventually(&what, || {
            let seen = self.seen();
            assert!(!seen.ended, "{what}: it ended");
            self.is_idle() || seen.events.iter().skip(before).filter(|event| **event == wanted).count() > 3
        });
        let last = self.seen().events.last().cloned().unwrap_or_default();
        assert!(self.is_idle() || last == wanted, "{what}: {last}");
    }
}

/// A stream of each kind: of the server's own accord, one on which nothing comes, and the answer to a call.
fn streams(stack: &Stack, token: &str) -> [Stream; 3] {
    let get = |stream: &str| stack.client.get(stack.url()).bearer_auth(token).header("x-stream", stream);
    [
        Stream::open("GET", get("lists")),
        Stream::open("idle", get("idle")),
        Stream::open("the answer to a call", stack.post(call("add")).bearer_auth(token).header("x-stream", "lists")),
    ]
}

/// Puts the first policy in force.
fn restore(stack: &Stack, token: &str) {
    stack.folder.write("route.yaml", &route("/mcp"));
    stack.set_rules(OPS_MAY_ADD);
    eventually("the first policy", || {
        let answer = stack.ask(token, request("tools/list"));
        answer.status == 200 && answer.text == TOOLS_WITHOUT_MULTIPLY
    });
}

#[test]
fn what_passes_is_judged_by_the_policy_as_it_stands() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    let ops = stack.issuer.of_team("ops");
    let jwks = stack.issuer.jwks();
    let second = Issuer::new("ES256");
    let (other, both) = (second.jwks(), Issuer::joined(&[&stack.issuer, &second]));
    let base = policy(&jwks, OPS_MAY_ADD);

    // What keeps the caller admitted cuts nothing, and shows at once.
    let goes_on: [(&str, String, &[&str]); 5] = [
        ("a rule that grants more", policy(&jwks, ALL), &["add", "multiply", "echo"]),
        (
            "a rule for others",
            base.clone() + "    - { name: others, tools: [x], claims: [{ path: team, in: [x] }] }\n",
            &["add", "echo"],
        ),
        ("a second key", policy(&both, OPS_MAY_ADD), &["add", "echo"]),
        (
            "a second issuer",
            base.replace("issuers: [", &format!("issuers: [{}, ", issuer("https://b", &other))),
            &["add", "echo"],
        ),
        ("a rule that grants less", policy(&jwks, "[{ name: add, tools: [add] }]"), &["add"]),
    ];
    // On one of each round nothing comes, so that its end may come later than what the others show.
    let mut rounds = Vec::new();
    for (after, world, shown) in goes_on {
        restore(&stack, &ops);
        let open = streams(&stack, &ops);
        open.iter().for_each(|stream| stream.shows(&["add", "echo"], "the start"));
        stack.folder.write("policy.yaml", &world);
        open.iter().for_each(|stream| stream.shows(shown, after));
        rounds.push((after, open));
    }

    // A policy of the Gateway's is one more gate, under another key: streams follow their route.
    restore(&stack, &ops);
    let open = streams(&stack, &ops);
    open.iter().for_each(|stream| stream.shows(&["add", "echo"], "the start"));
    let guard = policy(&jwks, "[{ name: add, tools: [add] }]").replace("name: math }\n", "name: guard }\n");
    let guard = guard.replace("kind: HTTPRoute, name: math", "kind: Gateway, name: mcp-gateway");
    stack.folder.write("guard.yaml", &without_authentication(&guard));
    open.iter().for_each(|stream| stream.shows(&["add"], "a policy of the Gateway"));
    stack.folder.remove("guard.yaml");
    open.iter().for_each(|stream| stream.shows(&["add", "echo"], "its end"));

    // The first policy again, which Envoy does not tell the filter by itself, since streams of that time are still there.
    stack.folder.write("policy.yaml", &policy(&jwks, ALL));
    open.iter().for_each(|stream| stream.shows(&["add", "multiply", "echo"], "a mistake"));
    let since = streams(&stack, &ops);
    stack.folder.write("policy.yaml", &base);
    open.iter().chain(&since).for_each(|stream| stream.shows(&["add", "echo"], "its correction"));
    rounds.extend([("the changes of the Gateway", open), ("a mistake", since)]);
    for (after, round) in &rounds {
        round.iter().for_each(|stream| stream.is_open(after));
    }

    // A call that is not granted any more: what it would answer is not shown. Everything else goes on.
    let open = streams(&stack, &ops);
    stack.folder.write("policy.yaml", &policy(&jwks, ECHO));
    open[2].ends("the end of the grant");
    open[..2].iter().for_each(|stream| stream.shows(&["echo"], "the end of the grant"));

    // What does not admit the caller any more ends everything, also where nothing comes.
    let ends = [
        ("a policy that is broken", base.replace("\"keys\"", "\"kyes\"")),
        ("the end of the key", policy(&other, OPS_MAY_ADD)),
        ("the end of the issuer", base.replace(ISSUER, "https://other.example.com")),
        ("another audience", base.replace(AUDIENCE, "https://other.example.com/mcp")),
        ("another algorithm", base.replace("audiences: [", "algorithms: [RS256], audiences: [")),
    ];
    for (after, world) in ends {
        restore(&stack, &ops);
        let open = streams(&stack, &ops);
        open.iter().for_each(|stream| stream.shows(&["add", "echo"], "the start"));
        assert_ne!(world, base, "{after}");
        stack.folder.write("policy.yaml", &world);
        open.iter().for_each(|stream| stream.ends(after));
        let again = http::send(stack.client.get(stack.url()).bearer_auth(&ops).header("x-stream", "idle"));
        assert!(matches!(again.status, 401 | 503), "{after}: {again:?}");
    }

    // The route.
    restore(&stack, &ops);
    let open = streams(&stack, &ops);
    open.iter().for_each(|stream| stream.shows(&["add", "echo"], "the start"));
    stack.folder.remove("route.yaml");
    open.iter().for_each(|stream| stream.ends("the end of the route"));

    // The token, whose time has come.
    restore(&stack, &ops);
    stack.folder.write("policy.yaml", &base.replace("audiences: [", "clockSkew: 0s, audiences: ["));
    let soon = ["--subject", "bob", "--claim", "team=ops", "--expires-in", "10"];
    eventually("no clock skew", || stack.ask(&stack.issuer.token(&["--expires-in", "-1"]), call("add")).status == 401);
    let open = streams(&stack, &stack.issuer.token(&soon));
    open.iter().for_each(|stream| stream.ends("the end of the token"));
    let open = streams(&stack, &ops);
    open.iter().for_each(|stream| stream.shows(&["add", "echo"], "another token"));
    assert_eq!(stack.envoy.stat("listener_manager.listener_modified"), 0);
}

/// What a server tells of its own accord, of a resource that the caller may not see.
#[test]
fn of_hidden_resources_nothing_is_told() {
    let upstream = Upstream::start();
    let rules = |resources: &str| format!("[{{ name: notes, tools: [add], resources: ['{resources}'] }}]");
    let stack = Stack::start(upstream.port, &rules("note://a"));
    let token = stack.issuer.of_team("ops");
    let get = stack.client.get(stack.url()).bearer_auth(&token).header("x-stream", "updates");
    let call = stack.post(call("add")).bearer_auth(&token).header("x-stream", "updates");
    let streams = [Stream::open("GET", get), Stream::open("the answer to a call", call)];
    let [of_a, of_b] = UPDATES;
    for stream in &streams {
        eventually("news of what is shown", || stream.seen().events.len() > 10);
        assert!(stream.seen().events.iter().all(|event| event == of_a), "{}: {:?}", stream.kind, stream.seen());
    }
    stack.set_rules(&rules("note://*"));
    for stream in &streams {
        eventually("news of both", || stream.seen().events.iter().any(|event| event == of_b));
    }
    stack.set_rules(&rules("note://a"));
    for stream in &streams {
        eventually("no news of what is hidden again", || {
            let seen = stream.seen();
            assert!(!seen.ended, "{}", stream.kind);
            seen.events.iter().rev().take(10).all(|event| event == of_a)
        });
    }
}

/// Of the old transport, whose answers come on one stream for as long as it lasts.
#[test]
fn what_passes_on_the_stream_of_http_sse_is_judged_by_the_policy_as_it_stands() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    let ops = stack.issuer.of_team("ops");
    let jwks = stack.issuer.jwks();
    let old = |policy: String| policy + "  protocol: { transport: HTTPSSE }\n";
    let base = old(policy(&jwks, OPS_MAY_ADD));
    let get = || stack.client.get(stack.url()).bearer_auth(&ops).header("x-stream", "endpoint");
    let changes: [(&str, String, Option<&[&str]>); 7] = [
        ("a rule that grants more", old(policy(&jwks, ALL)), Some(&["add", "multiply", "echo"])),
        ("a rule that grants less", old(policy(&jwks, "[{ name: add, tools: [add] }]")), Some(&["add"])),
        ("a policy that is broken", base.replace("\"keys\"", "\"kyes\""), None),
        ("the end of the key", old(policy(&Issuer::new("ES256").jwks(), OPS_MAY_ADD)), None),
        ("the end of the issuer", base.replace(ISSUER, "https://other.example.com"), None),
        ("another audience", base.replace(AUDIENCE, "https://other.example.com/mcp"), None),
        ("the end of the transport", policy(&jwks, OPS_MAY_ADD), None),
    ];
    for (after, world, shown) in changes {
        stack.folder.write("policy.yaml", &base);
        // Until then a stream ends with the endpoint that it announces.
        eventually("the first policy", || {
            let answer = get().send().expect("an answer");
            answer.status() == 200 && stream::data(answer).filter(|data| data.starts_with('{')).take(2).count() == 2
        });
        let open = Stream::open("HTTP+SSE", get());
        open.shows(&["add", "echo"], "the start");
        stack.folder.write("policy.yaml", &world);
        match shown {
            Some(tools) => open.shows(tools, after),
            None => open.ends(after),
        }
    }
}

#[test]
fn lists_are_known_by_their_shape() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, &format!("{OPS_MAY_ADD}\n      resources: ['note://*']"));
    let ops = stack.issuer.of_team("ops");
    let post = |body: &str| stack.post(body.to_owned()).bearer_auth(&ops);
    let answered = |body: &str, answer: &str| http::send(post(body).header("x-answer-json", answer));
    let add = call("add").to_string();
    assert_eq!(answered(&add, TOOLS).text, TOOLS_WITHOUT_MULTIPLY, "as the answer to a call");
    let in_error = |tools: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":-1,"message":"m","data":{{"tools":[{tools}]}}}}}}"#)
    };
    assert_eq!(answered(&add, &in_error(r#"{"name":"multiply"}"#)).text, in_error(""), "in an error");
    for list in [r#"{"multiply":{}}"#, r#""multiply""#, "null", "1"] {
        let answer = answered(&add, &format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":{list}}}}}"#));
        assert_eq!(answer.reason().as_deref(), Some("UnreadableList"), "{list}");
    }
    let resource = r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"note://a"}}"#;
    let public = r#"{"jsonrpc":"2.0","id":1,"result":{"contents":[],"ttlMs":86400000,"cacheScope":"public"}}"#;
    let request = post(resource).header("x-answer-json", public).header("x-answer-cache", "public, max-age=86400");
    let answer = request.send().expect("an answer");
    assert_eq!(answer.headers()["cache-control"], "private, max-age=60");
    let private = public.replace("86400000", "60000").replace("public", "private");
    assert_eq!(answer.text().expect("a body"), private, "for one caller, and not for long");

    // Large answers pass as they come, unless there is a list in them.
    let large = |list: bool| {
        let request = post(&add).header("x-answer-large", "6000");
        if list { request.header("x-answer-list", "1") } else { request }
    };
    let whole = large(false).send().and_then(|answer| answer.text()).expect("an answer of 6 MB");
    assert!(whole.len() > 6_000_000, "{}", whole.len());
    let cut = large(true).send().expect("an answer that begins");
    assert_eq!(cut.status(), 200);
    assert!(cut.text().is_err(), "a list at its end");
    let reasons = || stack.envoy.access_log().into_iter().map(|entry| entry["reason"].clone());
    eventually("the reason for its end", || reasons().any(|reason| reason == "UnexpectedList"));

    // Arguments in headers.
    let with = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2}}}"#;
    let status = |values: &[&str]| {
        let request = values.iter().fold(post(with), |request, value| request.header("mcp-param-a", *value));
        http::send(request).status
    };
    assert_eq!([status(&["1"]), status(&["2"]), status(&["3"]), status(&["1", "1"])], [200, 400, 400, 400]);
}

fn issuer(name: &str, jwks: &str) -> String {
    format!("{{ issuer: '{name}', audiences: [x], jwks: {{ inline: '{jwks}' }} }}")
}

/// The policy with its rules alone.
fn without_authentication(policy: &str) -> String {
    let lines = policy.lines().filter(|line| !line.contains("authentication:") && !line.contains("issuers:"));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}
