//! What the gateway answers, each with the section that asks for it.

use reqwest::Method;
use serde_json::json;
use toolward_tests::authorization_server::AuthorizationServer;
use toolward_tests::http::{self, call};
use toolward_tests::process::eventually;
use toolward_tests::stack::{Stack, route};
use toolward_tests::toolward::Issuer;
use toolward_tests::upstream::Upstream;

use crate::world::{RULES, policy, protected};

#[test]
fn metadata_and_challenges() {
    let (login, upstream) = (AuthorizationServer::start(), Upstream::start());
    let more = format!("  authorization:\n    rules: {RULES}");
    let stack = protected(upstream.port, &login, "{ scopes: [tools.read], name: Math }", &more);
    let origin = format!("http://127.0.0.1:{}", stack.port);
    let well_known = format!("{origin}/.well-known/oauth-protected-resource");
    let get = |url: &str| http::send(stack.client.get(url));

    // RFC 9728 section 3.3: the resource is the URL that the client dialled.
    for (url, resource) in [
        (format!("{well_known}/mcp"), format!("{origin}/mcp")),
        (format!("{well_known}/mcp/"), format!("{origin}/mcp/")),
        (format!("{well_known}/mcp?x=y"), format!("{origin}/mcp")),
        (well_known.clone(), format!("{origin}/mcp")),
    ] {
        let answer = get(&url);
        assert_eq!((answer.status, answer.content_type.as_str()), (200, "application/json"), "{url}");
        let expected = json!({
            "resource": resource,
            "authorization_servers": [login.issuer],
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["tools.read"],
            "resource_name": "Math",
        });
        assert_eq!(answer.json(), expected, "{url}");
    }
    assert_eq!(get(&format!("{well_known}/other")).status, 404, "of no endpoint");
    assert_eq!(get(&format!("{well_known}x")).status, 404);
    assert_eq!(http::send(stack.client.delete(format!("{well_known}/mcp"))).status, 405);

    // What clients claim about hosts and schemes of others changes nothing.
    for (name, value) in [
        ("x-forwarded-host", "evil.example.com"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "host=evil.example.com;proto=https"),
        ("x-original-host", "evil.example.com"),
        ("x-forwarded-port", "443"),
    ] {
        let answer = http::send(stack.client.get(format!("{well_known}/mcp")).header(name, value));
        assert_eq!(answer.json()["resource"], format!("{origin}/mcp"), "{name}");
    }

    // RFC 6750 section 3.1: no error when no token came. RFC 9728 section 5.1: where the metadata are.
    let metadata = format!("resource_metadata=\"{well_known}/mcp\"");
    let none = http::send(stack.post(call("add")));
    let expected = format!("Bearer scope=\"tools.read\", {metadata}");
    assert_eq!((none.status, none.challenge), (401, Some(expected)));
    let bad = stack.ask("x", call("add"));
    let challenge = bad.challenge.expect("a challenge");
    assert!(challenge.starts_with("Bearer error=\"invalid_token\", error_description=\""), "{challenge}");
    assert!(challenge.ends_with(&metadata) && !challenge.contains('\\'), "{challenge}");

    // OAuth 2.1 section 5.1: no tokens in URLs.
    let in_url = http::send(http::post(&stack.client, &format!("{}?access_token=x", stack.url()), call("add")));
    assert_eq!((in_url.status, in_url.reason().as_deref()), (400, Some("TokenInUrl")));
    assert_eq!(upstream.take_recorded(), [], "nothing of this may reach the server");
}

#[test]
fn tokens_are_for_one_resource() {
    let (login, upstream) = (AuthorizationServer::start(), Upstream::start());
    let stack = protected(upstream.port, &login, "{ publicURL: 'https://mcp.example.com' }", "");
    let well_known = format!("http://127.0.0.1:{}/.well-known/oauth-protected-resource/mcp", stack.port);
    let metadata = http::send(stack.client.get(well_known).header("host", "evil.example.com"));
    assert_eq!(metadata.json()["resource"], "https://mcp.example.com/mcp");
    let rows = [
        ("https://mcp.example.com/mcp", 200),
        ("https://mcp.example.com/", 200),
        ("https://mcp.example.com/other", 401),
        ("https://evil.example.com/mcp", 401),
        (stack.url().as_str(), 401),
    ]
    .map(|(audience, status)| (audience.to_owned(), status));
    for (audience, status) in rows {
        let token = login.token(&audience, "tools.read");
        for host in ["mcp.example.com", "evil.example.com"] {
            let answer = http::send(stack.post(call("add")).bearer_auth(&token).header("host", host));
            assert_eq!(answer.status, status, "{audience} at {host}: {answer:?}");
        }
    }
}

#[test]
fn the_host_that_a_client_chooses_is_no_resource() {
    let (login, upstream) = (AuthorizationServer::start(), Upstream::start());
    let stack = Stack::with_policy(upstream.port, Issuer::new("ES256"), &policy(&login, "{ name: Math }", ""));
    let own = login.token(&stack.url(), "tools.read");
    let closed = stack.ask(&own, call("add"));
    assert_eq!((closed.status, closed.reason().as_deref()), (503, Some("HostUnknown")), "a route for any host");

    let named = route("/mcp").replace("spec:\n", "spec:\n  hostnames: [mcp.example.com]\n");
    stack.folder.write("route.yaml", &named);
    let ask = |audience: &str, host: &str| {
        let token = login.token(audience, "tools.read");
        http::send(stack.post(call("add")).bearer_auth(&token).header("host", host)).status
    };
    let port = stack.port;
    let good = format!("http://mcp.example.com:{port}/mcp");
    eventually("the route names its host", || ask(&good, "mcp.example.com") == 200);
    for (audience, host, status) in [
        (good.as_str(), "mcp.example.com:9", 200),
        ("http://mcp.example.com:9/mcp", "mcp.example.com:9", 401),
        ("http://mcp.example.com/mcp", "mcp.example.com", 401),
        ("http://evil.example.com/mcp", "mcp.example.com", 401),
        ("http://evil.example.com/mcp", "evil.example.com", 404),
    ] {
        assert_eq!(ask(audience, host), status, "{audience} at {host}");
    }
}

#[test]
fn pages() {
    let (login, upstream) = (AuthorizationServer::start(), Upstream::start());
    let more = "  protocol: { allowedOrigins: ['https://app.example.com'] }";
    let stack = protected(upstream.port, &login, "{}", more);
    let token = login.token(&stack.url(), "tools.read");
    let header = |request: reqwest::blocking::RequestBuilder, name: &str| {
        let answer = request.send().expect("an answer");
        let value = answer.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
        (answer.status().as_u16(), value)
    };
    let allow = "access-control-allow-origin";
    let ask = |origin: &str| stack.post(call("add")).bearer_auth(&token).header("origin", origin);
    let app = "https://app.example.com";
    assert_eq!(header(ask(app), allow), (200, Some(app.to_owned())));
    assert_eq!(header(ask("https://evil.example.com"), allow), (403, None));
    assert_eq!(header(ask("null"), allow), (403, None));
    assert_eq!(header(ask(app).header("origin", app), allow), (403, None), "two origins, which Envoy joins");
    assert_eq!(header(stack.post(call("add")).header("origin", app), allow), (401, Some(app.to_owned())));

    let preflight = |origin: &str| {
        let request = stack.client.request(Method::OPTIONS, stack.url()).header("origin", origin);
        request.header("access-control-request-method", "POST").header(
            "access-control-request-headers",
            "authorization,content-type,mcp-protocol-version,mcp-param-region",
        )
    };
    let (status, headers) = header(preflight(app), "access-control-allow-headers");
    let headers = headers.expect("headers").to_ascii_lowercase();
    assert_eq!(status, 204);
    for name in ["authorization", "content-type", "mcp-protocol-version", "mcp-session-id", "mcp-param-region"] {
        assert!(headers.split(", ").any(|allowed| allowed == name), "{name}: {headers}");
    }
    assert_eq!(header(preflight("https://evil.example.com"), allow), (403, None));
    assert_eq!(upstream.take_recorded().len(), 1, "only what was granted reaches the server");
}
