//! Clients that have no token find out where to log in, do so, and call.

use serde_json::{Value, json};
use toolward_tests::authorization_server::AuthorizationServer;
use toolward_tests::client;
use toolward_tests::credentials::Authority;
use toolward_tests::mcp_server::{McpServer, Sdk};
use toolward_tests::publisher::{Published, Publisher};
use toolward_tests::tls_front::TlsFront;

use crate::world::{ADD, RULES, protected};

/// What MCP Inspector is to do.
const MULTIPLY: [&str; 8] =
    ["--method", "tools/call", "--tool-name", "multiply", "--tool-arg", "a=6", "--tool-arg", "b=7"];
const AS_KNOWN: [&str; 2] = ["--client-id", "known-client"];

/// The statuses of all exchanges with a URL that ends so.
fn statuses(report: &Value, end: &str) -> Vec<u64> {
    let all = report["exchanges"].as_array().unwrap_or_else(|| panic!("{report:#}"));
    let of = all.iter().filter(|exchange| exchange[1].as_str().is_some_and(|url| url.ends_with(end)));
    of.filter_map(|exchange| exchange[2].as_u64()).collect()
}

#[test]
fn python_sdks_log_in() {
    let login = AuthorizationServer::start();
    let rules = format!("  authorization:\n    rules: {RULES}");
    for (sdk, server) in [(Sdk::V1, Sdk::V1), (Sdk::V2, Sdk::V2), (Sdk::V2, Sdk::V1)] {
        let server = McpServer::start(server);
        let stack = protected(server.port, &login, "{ scopes: [tools.read] }", &rules);
        for flow in ["register", "known"] {
            let report = client::login(sdk, &stack.url(), flow, &["add", "multiply"]);
            let row = format!("{sdk:?} {flow}: {report:#}\n{}", login.process.log());
            assert_eq!(report["tools"], json!(["add"]), "{row}");
            assert_eq!(report["calls"], json!({ "add": "13", "multiply": "Unknown tool: multiply" }), "{row}");
            assert_eq!(report["scope"], "tools.read", "{row}");
            assert_eq!(statuses(&report, "/.well-known/oauth-protected-resource/mcp"), [200], "{row}");
            let registered = if flow == "register" { vec![201] } else { vec![] };
            assert_eq!(statuses(&report, "/reg"), registered, "{row}");
            let of_endpoint = statuses(&report, "/mcp");
            assert_eq!(of_endpoint.iter().filter(|status| **status == 401).count(), 1, "{row}");
        }
        assert_eq!(server.ran("multiply"), 0);
    }
}

#[test]
fn clients_ask_for_more_scopes() {
    let login = AuthorizationServer::start();
    let rules = format!("  authorization:\n    stepUp: Challenge\n    rules: {RULES}");
    for sdk in [Sdk::V1, Sdk::V2] {
        let server = McpServer::start(sdk);
        let stack = protected(server.port, &login, "{ scopes: [tools.read] }", &rules);
        // A client that registers names the scopes that it knows of, and this authorization server holds it to them.
        for (name, report) in [
            (format!("{sdk:?}"), client::login(sdk, &stack.url(), "known", &["add", "multiply"])),
            ("TypeScript".to_owned(), client::login_ts(&stack.url(), "known", &["add", "multiply"], |_| ())),
        ] {
            let row = format!("{name}: {report:#}\n{}", login.process.log());
            assert_eq!(report["calls"], json!({ "add": "13", "multiply": "42" }), "{row}");
            assert!(report["scope"].as_str().is_some_and(|scope| scope.contains("tools.write")), "{row}");
            assert!(statuses(&report, "/mcp").contains(&403), "{row}");
        }
        assert_eq!(server.ran("multiply"), 2);
        let report = client::inspector_login(&stack.url(), &[&MULTIPLY[..], &AS_KNOWN].concat(), |_| ());
        assert!(report.to_string().contains("42"), "{report:#}\n{}", login.process.log());
        assert_eq!(server.ran("multiply"), 3);
    }
}

#[test]
fn inspector_and_typescript_and_vscode_log_in() {
    let (login, server) = (AuthorizationServer::start(), McpServer::start(Sdk::V2));
    let rules = format!("  authorization:\n    rules: {RULES}");
    let stack = protected(server.port, &login, "{ scopes: [tools.read] }", &rules);
    for arguments in [ADD.to_vec(), [&ADD[..], &AS_KNOWN].concat()] {
        let report = client::inspector_login(&stack.url(), &arguments, |_| ());
        let row = format!("{arguments:?}: {report:#}\n{}", login.process.log());
        assert!(report.to_string().contains("13"), "{row}");
    }
    for flow in ["register", "known"] {
        let report = client::login_ts(&stack.url(), flow, &["add", "multiply"], |_| ());
        let row = format!("TypeScript, {flow}: {report:#}\n{}", login.process.log());
        assert_eq!(report["tools"], json!(["add"]), "{row}");
        assert_eq!(report["calls"]["add"], "13", "{row}");
        assert!(report["calls"]["multiply"].as_str().is_some_and(|said| said.contains("Unknown tool")), "{row}");
        assert_eq!(report["scope"], "tools.read", "{row}");
    }
    let by_hand = format!("token={}", login.token(&stack.url(), "tools.read"));
    for (flow, refusals) in [("register", 1), ("known-client", 1), (by_hand.as_str(), 0)] {
        let report = client::vscode(&stack.url(), flow, &["add", "multiply"], |_| ());
        let row = format!("VS Code, {flow}: {report:#}\n{}", login.process.log());
        assert_eq!(report["tools"], json!(["add"]), "{row}");
        assert_eq!(report["calls"], json!({ "add": "13", "multiply": "Unknown tool: multiply" }), "{row}");
        // No 403, after which VS Code would register anew, and a channel that is there or refused plainly.
        assert_eq!(
            statuses(&report, "/mcp").iter().filter(|status| [401, 403].contains(status)).count(),
            refusals,
            "{row}"
        );
        assert!([200, 405].contains(&report["channel"].as_u64().unwrap_or(0)), "{row}");
    }
    assert_eq!(server.ran("multiply"), 0);
}

/// Nobody registers: the client's id is the URL of a document that describes it (MCP authorization, "Client ID Metadata
/// Documents").
#[test]
fn clients_that_describe_themselves_log_in() {
    let (authority, publisher, folder) = (Authority::new(), Publisher::start(), tempfile::tempdir().expect("a folder"));
    let front = TlsFront::start(publisher.port, &authority.host("localhost"), None);
    let document = format!("https://localhost:{}/client.json", front.port);
    let described = json!({
        "client_id": document,
        "client_name": "test",
        "redirect_uris": ["http://127.0.0.1/callback", "http://127.0.0.1/oauth/callback", "http://127.0.0.1/"],
        "application_type": "native",
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    });
    publisher.publish("/client.json", Published::Json(described.to_string()));
    let file = folder.path().join("ca.crt");
    std::fs::write(&file, &authority.pem).expect("writable");
    let login = AuthorizationServer::start_with(|command| {
        command.env("NODE_EXTRA_CA_CERTS", &file);
    });
    let server = McpServer::start(Sdk::V2);
    let rules = format!("  authorization:\n    rules: {RULES}");
    let stack = protected(server.port, &login, "{ scopes: [tools.read] }", &rules);
    let flow = format!("cimd={document}");
    for (name, report) in [
        ("Python 1.x", client::login(Sdk::V1, &stack.url(), &flow, &["add"])),
        ("Python 2.x", client::login(Sdk::V2, &stack.url(), &flow, &["add"])),
        ("TypeScript", client::login_ts(&stack.url(), &flow, &["add"], |_| ())),
        ("VS Code", client::vscode(&stack.url(), &document, &["add"], |_| ())),
    ] {
        let row = format!("{name}: {report:#}\n{}", login.process.log());
        assert_eq!(report["calls"]["add"], "13", "{row}");
        assert_eq!(statuses(&report, "/reg"), [] as [u64; 0], "{row}");
    }
    let report =
        client::inspector_login(&stack.url(), &[&ADD[..], &["--client-metadata-url", &document]].concat(), |_| ());
    assert!(report.to_string().contains("13"), "{report:#}\n{}", login.process.log());
    assert!(publisher.take_asked().iter().any(|(path, status)| path == "/client.json" && *status == 200));
}
