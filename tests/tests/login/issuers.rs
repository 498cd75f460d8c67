//! Issuers of other makes, and what they can sign that is no access token for this endpoint.

use serde_json::{Value, json};
use toolward_tests::authorization_server::{AuthorizationServer, ForgingIssuer, SECOND_AUDIENCE, SecondServer};
use toolward_tests::client;
use toolward_tests::http::{self, call};
use toolward_tests::mcp_server::{McpServer, Sdk};
use toolward_tests::upstream::Upstream;

use crate::world::{ADD, RULES, discovering};

/// Seconds since the epoch, and so many more.
fn now(more: i64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_secs()).expect("a number") + more
}

#[test]
fn clients_log_in_at_a_second_make_of_authorization_server() {
    let (login, server) = (SecondServer::start(), McpServer::start(Sdk::V2));
    let issuers = format!(
        "[{{ issuer: '{}', audiences: ['{SECOND_AUDIENCE}'], tokenType: AccessToken, jwks: {{ discovery: {{}} }} }}]",
        login.issuer
    );
    let rules = format!("  authorization:\n    rules: {RULES}");
    let stack = discovering(server.port, &issuers, "{ scopes: [tools.read] }", &rules);
    for (name, report) in [
        ("Python 1.x", client::login(Sdk::V1, &stack.url(), "register", &["add", "multiply"])),
        ("Python 2.x", client::login(Sdk::V2, &stack.url(), "register", &["add", "multiply"])),
        ("TypeScript", client::login_ts(&stack.url(), "register", &["add", "multiply"], |_| ())),
        ("VS Code", client::vscode(&stack.url(), "register", &["add", "multiply"], |_| ())),
        ("revision 2025-03-26", client::vscode(&stack.url(), "2025-03-26", &["add", "multiply"], |_| ())),
    ] {
        let row = format!("{name}: {report:#}\n{}", login.process.log());
        assert_eq!(report["tools"], json!(["add"]), "{row}");
        assert_eq!(report["calls"]["add"], "13", "{row}");
        assert!(report["calls"]["multiply"].as_str().is_some_and(|said| said.contains("Unknown tool")), "{row}");
    }
    let report = client::inspector_login(&stack.url(), &ADD, |_| ());
    assert!(report.to_string().contains("13"), "{report:#}\n{}", login.process.log());
    assert_eq!(server.ran("multiply"), 0);

    // Clients of revision 2025-03-26 look for the issuer's metadata at the gateway; what they find is the issuer's own.
    let get = |url: String| http::send(stack.client.get(url));
    let own = get(login.issuer.replace("/tenant", "/.well-known/oauth-authorization-server/tenant")).json();
    for path in ["", "/mcp"] {
        let told = get(format!("http://127.0.0.1:{}/.well-known/oauth-authorization-server{path}", stack.port));
        assert_eq!((told.status, told.json()), (200, own.clone()), "{path}");
    }
}

#[test]
fn what_an_issuer_signs_is_not_always_an_access_token() {
    let (issuer, upstream) = (ForgingIssuer::start(), Upstream::start());
    let issuers = format!("[{{ issuer: '{}', jwks: {{ discovery: {{}} }} }}]", issuer.issuer);
    let stack = discovering(upstream.port, &issuers, "{ scopes: [tools.read] }", "");
    let url = stack.url();
    let good = |header: Value, payload: Value| {
        let mut claims = json!({ "aud": url, "sub": "bob", "iss": issuer.issuer, "exp": now(600) });
        let changes = payload.as_object().cloned().unwrap_or_default();
        claims.as_object_mut().expect("an object").extend(changes);
        json!({ "header": header, "payload": claims })
    };
    let of = |payload: Value| good(json!({}), payload);
    let rows = [
        ("a good one", of(json!({})), 200),
        ("of the right type", good(json!({ "typ": "at+jwt" }), json!({})), 200),
        ("for us among others", of(json!({ "aud": ["https://other.example.com", url] })), 200),
        ("for another resource", of(json!({ "aud": "https://other.example.com/mcp" })), 401),
        ("for a longer path", of(json!({ "aud": format!("{url}/x") })), 401),
        ("for nobody", of(json!({ "aud": null })), 401),
        ("for a list of nobody", of(json!({ "aud": [] })), 401),
        ("of another issuer", of(json!({ "iss": "https://evil.example.com" })), 401),
        ("of the issuer with a slash", of(json!({ "iss": format!("{}/", issuer.issuer) })), 401),
        ("of a list of issuers", of(json!({ "iss": [issuer.issuer] })), 401),
        ("expired", of(json!({ "exp": now(-120) })), 401),
        ("without expiry", of(json!({ "exp": null })), 401),
        ("an expiry in words", of(json!({ "exp": "9999999999" })), 401),
        ("not valid yet", of(json!({ "nbf": now(600) })), 401),
        ("issued in the future", of(json!({ "iat": now(600) })), 401),
        ("an ID-JAG", good(json!({ "typ": "oauth-id-jag+jwt" }), json!({})), 401),
        ("a logout token", good(json!({ "typ": "logout+jwt" }), json!({})), 401),
        ("a DPoP proof", good(json!({ "typ": "dpop+jwt" }), json!({})), 401),
        ("a security event", good(json!({ "typ": "secevent+jwt" }), json!({})), 401),
        ("an ID token", of(json!({ "nonce": "n", "at_hash": "x" })), 401),
        (
            "logout by its claims",
            of(json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } })),
            401,
        ),
        ("bound to a key", of(json!({ "cnf": { "jkt": "x" } })), 401),
        ("a key that nobody has", good(json!({ "kid": "other" }), json!({})), 401),
        (
            "a key by URL",
            good(json!({ "kid": "../../dev/null", "jku": "https://evil.example.com/jwks" }), json!({})),
            401,
        ),
    ];
    let mut granted = 0;
    for (row, forge, expected) in rows {
        let answer = stack.ask(&issuer.token(&forge), call("add"));
        assert_eq!(answer.status, expected, "{row}: {answer:?}");
        granted += usize::from(expected == 200);
    }
    assert_eq!(upstream.take_recorded().len(), granted, "only what was granted reaches the server");
    // Not one of them went along.
    let token = issuer.token(&of(json!({})));
    assert_eq!(stack.ask(&token, call("add")).status, 200);
    let recorded = upstream.take_recorded();
    assert!(
        recorded.iter().all(|request| request.headers.iter().all(|(_, value)| !value.contains(&token))),
        "{recorded:?}"
    );
}

#[test]
fn issuers_are_not_mixed_up() {
    let (one, other, upstream) = (ForgingIssuer::start(), AuthorizationServer::start(), Upstream::start());
    let issuers = format!(
        "[{{ issuer: '{}', jwks: {{ discovery: {{}} }} }}, {{ issuer: '{}', jwks: {{ discovery: {{}} }} }}]",
        one.issuer, other.issuer
    );
    let stack = discovering(upstream.port, &issuers, "{}", "");
    let url = stack.url();
    let token = |issuer: &str| one.token(&json!({ "payload": { "aud": url, "sub": "bob", "iss": issuer } }));
    assert_eq!(stack.ask(&token(&one.issuer), call("add")).status, 200);
    assert_eq!(stack.ask(&other.token(&url, "tools.read"), call("add")).status, 200);
    let forged = stack.ask(&token(&other.issuer), call("add"));
    assert_eq!(forged.status, 401, "signed by one in the name of the other: {forged:?}");
}
