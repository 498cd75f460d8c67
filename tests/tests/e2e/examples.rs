//! The shipped examples do what they say.

use toolward_tests::client::Session;
use toolward_tests::credentials::Authority;
use toolward_tests::envoy::Envoy;
use toolward_tests::examples::{Quickstart, example};
use toolward_tests::http::{self, call};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::tls_front::TlsFront;
use toolward_tests::tools::root;
use toolward_tests::toolward::{self, Issuer, Toolward};
use toolward_tests::upstream::{OK, Upstream};

#[test]
fn check_finds_nothing_but_the_missing_keys() {
    let issuer = Issuer::new("RS256");
    for name in ["quickstart", "per-team", "remote"] {
        let check = |path: &std::path::Path| toolward::run(&["check", path.to_str().expect("UTF-8")]);
        let with_keys = example(name, &issuer, &[]);
        let output = check(with_keys.path());
        assert!(output.status.success(), "{name}: {output:?}");
        let output = check(&root().join("manifests/examples").join(name));
        assert_eq!(output.status.code(), Some(1), "{name}");
        let problems = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(problems.contains("MCPAccessPolicy default/"), "{problems}");
        assert!(problems.contains("configMapRef"), "{problems}");
    }
}

#[test]
fn quickstart() {
    let issuer = Issuer::new("ES256");
    let running = Quickstart::start(&issuer);
    for (team, tools, product) in
        [("ops", "add, multiply", "42"), ("sre", "add, multiply", "42"), ("sales", "add", "Unknown tool: multiply")]
    {
        let mut session = Session::open(&running.url, &issuer.of_team(team));
        assert_eq!(session.ask("list"), tools, "{team}");
        assert_eq!(session.ask("add"), "13", "{team}");
        assert_eq!(session.ask("multiply"), product, "{team}");
    }
}

#[test]
fn per_team() {
    let issuer = Issuer::new("RS256");
    let upstream = Upstream::start();
    let port = ports::free();
    let folder = example("per-team", &issuer, &[(3000, port), (8001, upstream.port), (8002, upstream.port)]);
    let toolward = Toolward::serve(folder.path());
    toolward.wait_until_ready();
    let _envoy = Envoy::with_control_plane("default/mcp-gateway", toolward.xds);
    let client = http::client();
    eventually("the Gateway answers", || client.get(format!("http://127.0.0.1:{port}/")).send().is_ok());
    let may = |token: &str, path: &str, tool: &str| {
        let url = format!("http://127.0.0.1:{port}/{path}/mcp");
        let answer = http::send(http::post(&client, &url, call(tool)).bearer_auth(token));
        match answer.text.as_str() {
            OK => true,
            _ if answer.code() == Some(-32602) => false,
            _ => panic!("{answer:?}"),
        }
    };
    let support = issuer.token(&["--claim", "team=support", "--scope", "openid mcp.use"]);
    let sales = issuer.token(&["--claim", "team=sales", "--scope", "mcp.use"]);
    let no_scope = issuer.token(&["--claim", "team=support"]);
    let admin = issuer.token(&["--claim", "team=support", "--claim", r#"realm_access={"roles":["mcp-admin"]}"#]);
    let dev = issuer.token(&["--claim", "team=dev", "--scope", "mcp.use"]);
    for (who, token, path, tool, expected) in [
        ("support creates", &support, "tickets", "create_ticket", true),
        ("the guardrail holds for support", &support, "tickets", "delete_ticket", false),
        ("an administrator of support deletes", &admin, "tickets", "delete_ticket", true),
        ("sales read", &sales, "tickets", "get_ticket", true),
        ("sales don't create", &sales, "tickets", "create_ticket", false),
        ("without the scope nothing", &no_scope, "tickets", "get_ticket", false),
        ("developers search notes", &dev, "notes", "search_notes", true),
        ("sales have no notes", &sales, "notes", "search_notes", false),
        ("an administrator of another team", &admin, "notes", "search_notes", false),
    ] {
        assert_eq!(may(token, path, tool), expected, "{who}");
    }
}

#[test]
fn remote() {
    let issuer = Issuer::new("RS256");
    let upstream = Upstream::start();
    let authority = Authority::new();
    let front = TlsFront::start(upstream.port, &authority.host("mcp.deepwiki.com"), None);
    let system = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(system.path(), &authority.pem).expect("written");
    let port = ports::free();
    let folder = example("remote", &issuer, &[(3000, port), (443, front.port)]);
    // The host is this machine; what its certificate must be for stays as it is.
    let gateway = std::fs::read_to_string(folder.path().join("gateway.yaml")).expect("the example");
    let here = gateway.replace("host: mcp.deepwiki.com", "host: 127.0.0.1");
    folder.write("gateway.yaml", &here.replace("tls: {}", "tls: { sni: mcp.deepwiki.com }"));
    let arguments = ["--system-ca-file", system.path().to_str().expect("UTF-8")];
    let toolward = Toolward::serve_with(folder.path(), &arguments);
    toolward.wait_until_ready();
    let _envoy = Envoy::with_control_plane("default/mcp-gateway", toolward.xds);
    let client = http::client();
    let url = format!("http://127.0.0.1:{port}/wiki");
    eventually("the Gateway answers", || client.get(&url).send().is_ok());
    let ask = |token: &str, tool: &str| http::send(http::post(&client, &url, call(tool)).bearer_auth(token));
    let (engineer, other) = (issuer.of_team("engineering"), issuer.of_team("sales"));
    assert_eq!(ask(&other, "read_wiki_contents").text, OK);
    assert_eq!(ask(&other, "ask_question").code(), Some(-32602));
    assert_eq!(ask(&engineer, "ask_question").text, OK);
    let recorded = upstream.take_recorded();
    assert!(recorded.iter().all(|request| request.path == "/mcp"), "{recorded:?}");
    assert!(recorded.iter().flat_map(|request| &request.headers).all(|(name, _)| name != "authorization"));
}
