//! MCP Inspector's page in a real browser: connect, log in, list, call, by clicks.

use serde_json::{Value, json};
use toolward_tests::authorization_server::AuthorizationServer;
use toolward_tests::inspector_page::InspectorPage;
use toolward_tests::mcp_server::{McpServer, Sdk};

use crate::world::{RULES, protected};

/// The methods and statuses of what the browser asked at URLs that begin so.
fn asked(report: &Value, start: &str) -> Vec<(String, u64)> {
    let all = report["exchanges"].as_array().unwrap_or_else(|| panic!("{report:#}"));
    let of = all.iter().filter(|exchange| exchange[1].as_str().is_some_and(|url| url.starts_with(start)));
    of.map(|exchange| (exchange[0].as_str().unwrap_or_default().to_owned(), exchange[2].as_u64().unwrap_or(0)))
        .collect()
}

/// The page shows what is granted, and nothing of what is not.
fn assert_shows_the_grant(report: &Value, row: &str) {
    assert_eq!(report["tools"], json!(["add"]), "{row}");
    let text = report["text"].as_str().unwrap_or_default();
    assert!(text.lines().any(|line| line.trim_matches('"') == "13"), "{row}");
    assert!(!text.contains("multiply"), "{row}");
}

#[test]
fn the_page_of_inspector_2_logs_in() {
    let (login, server) = (AuthorizationServer::start(), McpServer::start(Sdk::V2));
    let rules = format!("  authorization:\n    rules: {RULES}");
    let stack = protected(server.port, &login, "{ scopes: [tools.read] }", &rules);
    let page = InspectorPage::with_backend(&stack.url());
    let report = page.visit(&stack.url(), "inspector-2.png");
    let row = format!("{report:#}\n{}", login.process.log());
    assert_shows_the_grant(&report, &row);
    // The browser takes the person to the login; all else is its backend's.
    assert!(asked(&report, &format!("{}/auth?", login.issuer)).contains(&("GET".to_owned(), 303)), "{row}");
    let gateway = format!("http://127.0.0.1:{}/", stack.port);
    assert_eq!(asked(&report, &gateway), [], "{row}");
    assert_eq!((server.ran("add"), server.ran("multiply")), (1, 0), "{row}");
}

/// All that the page of Inspector 1.x asks, the browser asks for it (Fetch standard, "CORS protocol").
#[test]
fn a_page_that_dials_servers_itself_logs_in_where_it_is_allowed() {
    let (login, server, page) = (AuthorizationServer::start(), McpServer::start(Sdk::V2), InspectorPage::alone());
    let visit = |origin: &str, picture: &str| {
        let more = format!("  protocol: {{ allowedOrigins: ['{origin}'] }}\n  authorization:\n    rules: {RULES}");
        let stack = protected(server.port, &login, "{ scopes: [tools.read] }", &more);
        (page.visit(&stack.url(), picture), stack)
    };

    let (report, stack) = visit("https://app.example.com", "inspector-1-refused.png");
    let row = format!("{report:#}\n{}", login.process.log());
    assert!(report["error"].is_string(), "{row}");
    assert_eq!(asked(&report, &stack.url()), [("OPTIONS".to_owned(), 403)], "{row}");
    assert_eq!(server.ran("add"), 0);

    let (report, stack) = visit(&page.origin, "inspector-1.png");
    let row = format!("{report:#}\n{}", login.process.log());
    assert_shows_the_grant(&report, &row);
    let of_endpoint = asked(&report, &stack.url());
    for (method, status) in [("OPTIONS", 204), ("POST", 401), ("POST", 200)] {
        assert!(of_endpoint.contains(&(method.to_owned(), status)), "{method} {status}: {row}");
    }
    let metadata = format!("http://127.0.0.1:{}/.well-known/oauth-protected-resource/mcp", stack.port);
    for (method, status) in [("OPTIONS", 204), ("GET", 200)] {
        assert!(asked(&report, &metadata).contains(&(method.to_owned(), status)), "{method} {status}: {row}");
    }
    assert!(asked(&report, &format!("{}/token", login.issuer)).contains(&("POST".to_owned(), 200)), "{row}");
    assert_eq!((server.ran("add"), server.ran("multiply")), (1, 0), "{row}");
}
