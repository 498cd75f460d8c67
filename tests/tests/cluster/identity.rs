//! An Envoy is known by its service account's token, which the API server reviews.

use toolward_tests::cluster::{Cluster, NAMESPACE};
use toolward_tests::credentials::{Authority, Credentials, Mount};
use toolward_tests::envoy::Envoy;
use toolward_tests::http;
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::stack::gateway;
use toolward_tests::toolward::{Issuer, Toolward};

use crate::world::{keys, policy, route, server};

const BOOTSTRAP: &str = "envoy/ads-tls.yaml";
const GATEWAY: &str = "default/mcp-gateway";
const AUDIENCE: &str = "toolward.dev/xds";

#[test]
fn envoys_get_what_their_token_is_for() {
    let cluster = Cluster::start();
    let port = ports::free();
    cluster.apply(&gateway(port).replace("name: mcp-gateway", "name: mcp-gateway, namespace: default"));
    cluster.apply(&server(ports::free()));
    cluster.apply(&keys(&Issuer::new("ES256").jwks()));
    cluster.apply(&route("math", "default"));
    cluster.apply(&policy("[add]"));
    for account in ["mcp-gateway-toolward", "other-toolward"] {
        cluster.kubectl(&["create", "serviceaccount", "-n", "default", account]);
    }
    let token = |account: &str, audience: &str| [("token", cluster.token("default", account, audience))];
    let own = || token("mcp-gateway-toolward", AUDIENCE);

    let authority = Authority::new();
    let mount = Mount::new(&authority.server());
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| mount.path(name).display().to_string());
    let account = cluster.service_account(NAMESPACE, "toolward");
    let arguments =
        ["--xds-tls-cert", &certificate, "--xds-tls-key", &key, "--namespace", NAMESPACE, "--identity", "one"];
    let (xds, admin) = (ports::free(), ports::free());
    let serve = || {
        let toolward = Toolward::in_cluster_on(&account, xds, admin, &arguments);
        toolward.wait_until_ready();
        toolward
    };
    let mut toolward = serve();

    // Tokens that are not good enough, one after the other in the same mounted file, and then the right one.
    let credentials = Credentials::new(&token("other-toolward", AUDIENCE), &authority);
    let _envoy = Envoy::secured(BOOTSTRAP, &credentials, GATEWAY, xds);
    let logs = |toolward: &Toolward, text: &str| eventually(text, || toolward.process.log().contains(text));
    logs(&toolward, "the service account default/other-toolward may not be the Gateway default/mcp-gateway");
    credentials.own.replace(&token("mcp-gateway-toolward", "https://kubernetes.default.svc"));
    logs(&toolward, "the token is refused");
    assert_eq!(toolward.metric("toolward_xds_responses_total"), 0.0);
    credentials.own.replace(&own());
    let url = format!("http://127.0.0.1:{port}/mcp");
    eventually("the Gateway answers", || http::client().get(&url).send().is_ok());
    logs(&toolward, "identity=default/mcp-gateway-toolward");

    // A token that was renewed counts after a restart of the control plane, and nothing is sent again.
    credentials.own.replace(&own());
    toolward.process.kill();
    let toolward = serve();
    eventually("connected again", || toolward.metric("toolward_xds_streams") >= 1.0);
    assert_eq!(toolward.metric("toolward_xds_resources_sent_total"), 0.0);
    assert!(http::client().get(&url).send().is_ok());
}
