//! Paths of the protocol on a host that tenants share as the standard lets them: clients of an endpoint are told by its own
//! namespace where to log in, and their tokens go to no other one.

use toolward_tests::process::eventually;
use toolward_tests::toolward::ISSUER;
use toolward_tests::upstream::OK;

use crate::hostnames::{MCP, Tenants, next_second, policy, route};

const HOST: &str = "math.example.com";
const METADATA: &str = "/.well-known/oauth-protected-resource/mcp";
const PATHS: &str = "toolward.dev/ProtocolPaths";

#[test]
fn clients_are_told_by_their_own_endpoint() {
    let tenants = Tenants::start(&["--unprotected-routes", "allow"]);
    let token = tenants.issuer.of_team("ops");
    // Older, and for nobody.
    let never = "{ path: { type: PathPrefix, value: /mcp }, headers: [{ name: x-nobody, value: sends }] }";
    tenants.cluster.apply(&route("hostile", "never", HOST, never));
    let evil = format!(
        "issuers: [{{ issuer: https://evil.example.com, audiences: [x], jwks: {{ inline: '{}' }} }}]",
        tenants.issuer.jwks()
    );
    tenants.cluster.apply(&policy("hostile", "never", &evil));
    next_second();
    tenants.cluster.apply(&route("honest", "math", HOST, MCP));
    tenants.protect("honest", "math");
    eventually("the honest tenant's calls pass", || tenants.ask(HOST, "/mcp", &token).text == OK);
    let told = || {
        let answer = tenants.get(HOST, METADATA);
        answer.status == 200 && answer.json()["authorization_servers"][0] == ISSUER
    };
    eventually("clients are told", told);
    tenants.expect("hostile", "never", PATHS, "False", "Conflicted");
    tenants.expect("honest", "math", PATHS, "True", "Conflicted");

    let exact = |path: &str| format!("{{ path: {{ type: Exact, value: {path} }} }}");
    let rows = [
        ("metadata", exact(METADATA)),
        ("appended", exact("/mcp/.well-known/openid-configuration")),
        ("issuer", "{ path: { type: PathPrefix, value: /.well-known/oauth-authorization-server/mcp } }".to_owned()),
        ("method", format!("{{ path: {{ type: Exact, value: {METADATA} }}, method: GET }}")),
    ];
    for (name, matches) in rows {
        tenants.cluster.apply(&route("hostile", name, HOST, &matches));
        tenants.expect("hostile", name, PATHS, "False", "Conflicted");
        assert!(told(), "{name}");
    }
    // For all that nobody else has.
    tenants.cluster.apply(&route("hostile", "all", HOST, "{ path: { type: PathPrefix, value: / } }"));
    tenants.expect("hostile", "all", "Accepted", "True", "Accepted");
    eventually("the rest is its own", || tenants.ask(HOST, "/rest", "a-token").text == OK);
    drop(tenants.hostile.take_recorded());
    for path in [
        METADATA,
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/mcp",
        "/.well-known/openid-configuration/mcp",
    ] {
        let answer = tenants.get(HOST, path);
        assert!(answer.status == 404 || path == METADATA, "{path}: {answer:?}");
    }
    assert!(told(), "beside a route for everything");
    assert!(
        tenants.hostile.take_recorded().is_empty(),
        "a request for a path of the protocol went to the hostile tenant"
    );

    // A rule that lives on callers' tokens.
    tenants.cluster.apply(&route("hostile", "tokens", HOST, &exact("/mcp")));
    tenants.cluster.apply(&policy("hostile", "tokens", "passthrough: {}"));
    eventually("closed", || {
        let answer = tenants.ask(HOST, "/mcp", &token);
        answer.status == 503 && answer.reason().as_deref() == Some("SharedHostname")
    });
    // Before its policy was there the way was open, and got calls without their tokens.
    let seen = tenants.hostile.take_recorded();
    let has_token = |(name, value): &(String, String)| name == "authorization" || value.contains(&token);
    let with_token = seen.iter().find(|request| request.headers.iter().any(has_token));
    assert!(with_token.is_none(), "a token went to the hostile tenant: {with_token:?}");
}
