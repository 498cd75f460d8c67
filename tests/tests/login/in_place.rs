//! The gateway in place of an issuer where clients can't register, whose metadata pages can't read, and which refuses the
//! parameter `resource`.

use reqwest::Method;
use serde_json::json;
use toolward_tests::authorization_server::{SECOND_AUDIENCE, SecondServer};
use toolward_tests::client;
use toolward_tests::http;
use toolward_tests::mcp_server::{McpServer, Sdk};
use toolward_tests::stack::Stack;

use crate::world::{RULES, discovering};

fn stack(upstream: u16, login: &SecondServer, client: &str) -> Stack {
    let issuers = format!(
        "[{{ issuer: '{}', audiences: ['{SECOND_AUDIENCE}'], jwks: {{ discovery: {{}} }}{client} }}]",
        login.issuer
    );
    let rules = format!("  authorization:\n    rules: {RULES}");
    discovering(upstream, &issuers, "{ scopes: [tools.read] }", &rules)
}

#[test]
fn clients_log_in_where_they_cannot_register() {
    let (login, server) = (SecondServer::start_strict(), McpServer::start(Sdk::V2));

    // Such an issuer shuts them out.
    let plain = stack(server.port, &login, "");
    for (name, report) in [
        ("Python 2.x", client::login(Sdk::V2, &plain.url(), "register", &["add"])),
        ("Python 2.x, known", client::login(Sdk::V2, &plain.url(), "known", &["add"])),
        ("TypeScript", client::login_ts(&plain.url(), "register", &["add"], |_| ())),
        ("TypeScript, known", client::login_ts(&plain.url(), "known", &["add"], |_| ())),
    ] {
        assert!(report["error"].is_string(), "{name}: {report:#}");
    }
    assert_eq!(server.ran("add"), 0);

    let client = ", client: { id: known-client, redirectURIs: ['http://127.0.0.1/callback'] }";
    let stack = stack(server.port, &login, client);
    for (name, report) in [
        ("Python 1.x", client::login(Sdk::V1, &stack.url(), "register", &["add", "multiply"])),
        // In its mode `auto` it names the resource always, since its first request has a revision that knows of it.
        ("Python 2.x", client::login(Sdk::V2, &stack.url(), "legacy", &["add", "multiply"])),
        ("TypeScript", client::login_ts(&stack.url(), "register", &["add", "multiply"], |_| ())),
        ("VS Code", client::vscode(&stack.url(), "2025-03-26", &["add", "multiply"], |_| ())),
    ] {
        let row = format!("{name}: {report:#}\n{}", login.process.log());
        assert_eq!(report["tools"], json!(["add"]), "{row}");
        assert_eq!(report["calls"]["add"], "13", "{row}");
    }
    assert_eq!((server.ran("add"), server.ran("multiply")), (4, 0));
}

#[test]
fn nothing_that_a_client_says_is_in_what_it_is_told() {
    let (login, server) = (SecondServer::start_strict(), McpServer::start(Sdk::V2));
    let client = ", client: { id: known-client, redirectURIs: ['http://127.0.0.1/callback'] }";
    let stack = stack(server.port, &login, client);
    let origin = format!("http://127.0.0.1:{}", stack.port);
    let metadata = http::send(stack.client.get(format!("{origin}/.well-known/oauth-authorization-server")));
    assert_eq!(metadata.status, 200);
    let metadata = metadata.json();
    let endpoint = metadata["registration_endpoint"].as_str().expect("a URL").to_owned();
    assert_eq!(metadata["issuer"], origin);
    assert!(endpoint.starts_with(&origin), "{metadata:#}");
    // All else is asked of the issuer itself.
    for name in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
        assert!(metadata[name].as_str().is_some_and(|url| url.starts_with(&login.issuer)), "{metadata:#}");
    }

    let expected = json!({
        "client_id": "known-client",
        "redirect_uris": ["http://127.0.0.1/callback"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    });
    for asked in [
        json!({ "redirect_uris": ["http://127.0.0.1:1/callback"] }).to_string(),
        json!({ "redirect_uris": ["https://evil.example.com/"], "client_id": "other", "client_secret": "s" })
            .to_string(),
        "no JSON".to_owned(),
    ] {
        let answer = http::send(stack.client.post(&endpoint).header("content-type", "application/json").body(asked));
        assert_eq!((answer.status, answer.json()), (201, expected.clone()));
    }
    assert_eq!(http::send(stack.client.get(&endpoint)).status, 405);
    let preflight = stack.client.request(Method::OPTIONS, &endpoint).header("origin", "https://app.example.com");
    let preflight = http::send(preflight.header("access-control-request-method", "POST"));
    assert_eq!(preflight.status, 204);

    // A code goes to no address but those that the issuer knows.
    let evil = format!(
        "{}?response_type=code&client_id=known-client&redirect_uri=https%3A%2F%2Fevil.example.com%2F&state=s\
         &code_challenge=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU&code_challenge_method=S256",
        metadata["authorization_endpoint"].as_str().expect("a URL")
    );
    let answer = http::send(stack.client.get(evil));
    assert_eq!(answer.status, 400, "{answer:?}");
}
