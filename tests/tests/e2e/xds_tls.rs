//! The control plane knows its Envoys by client certificates. Tokens need an API server: see the tests with a cluster.

use toolward_tests::credentials::{Authority, Credentials, Mount};
use toolward_tests::envoy::Envoy;
use toolward_tests::folder::Folder;
use toolward_tests::http::{self, call};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, backend, gateway, policy, route};
use toolward_tests::toolward::{Issuer, Toolward};
use toolward_tests::upstream::{OK, Upstream};

const BOOTSTRAP: &str = "envoy/ads-client-certificate.yaml";
const GATEWAY: &str = "default/mcp-gateway";

#[test]
fn envoys_with_client_certificates() {
    let (upstream, issuer, port) = (Upstream::start(), Issuer::new("ES256"), ports::free());
    let folder = Folder::new();
    folder.write("gateway.yaml", &gateway(port));
    folder.write("route.yaml", &route("/mcp"));
    folder.write("backend.yaml", &backend(upstream.port));
    folder.write("policy.yaml", &policy(&issuer.jwks(), OPS_MAY_ADD));

    let (authority, clients) = (Authority::new(), Authority::new());
    let files = |authority: &Authority| [authority.server().as_slice(), &[("ca.crt", clients.pem.clone())]].concat();
    let mount = Mount::new(&files(&authority));
    let paths = ["tls.crt", "tls.key", "ca.crt"].map(|name| mount.path(name).display().to_string());
    let [certificate, key, ca] = &paths;
    let arguments = ["--xds-tls-cert", certificate, "--xds-tls-key", key, "--xds-client-ca", ca];
    let toolward = Toolward::serve_with(folder.path(), &arguments);
    toolward.wait_until_ready();
    let refused = |reason: &str| {
        toolward.get("/metrics").text.contains(&format!("toolward_xds_streams_refused_total{{reason=\"{reason}\"}}"))
    };

    // The certificate of another Gateway: it is told nothing.
    let of_another = Credentials::new(&clients.client("default/other-toolward"), &authority);
    let other = Envoy::secured(BOOTSTRAP, &of_another, GATEWAY, toolward.xds);
    eventually("refused", || refused("OtherGateway"));
    let reason = "default/other-toolward may not be the Gateway default/mcp-gateway";
    assert!(toolward.process.log().contains(reason), "{}", toolward.process.log());
    // PERMISSION_DENIED.
    eventually("Envoy is told", || other.process.log().contains("closed: 7, "));
    assert_eq!(toolward.metric("toolward_xds_responses_total"), 0.0);
    assert_eq!(toolward.metric("toolward_xds_streams"), 0.0);
    drop(other);

    // Its own: it serves.
    let own = Credentials::new(&clients.client("default/mcp-gateway-toolward"), &authority);
    let envoy = Envoy::secured(BOOTSTRAP, &own, GATEWAY, toolward.xds);
    let client = http::client();
    let url = format!("http://127.0.0.1:{port}/mcp");
    let ops = issuer.of_team("ops");
    let ask = || http::send(http::post(&client, &url, call("add")).bearer_auth(&ops));
    eventually("the Gateway answers", || client.get(&url).send().is_ok());
    assert_eq!(ask().text, OK);

    // A new certificate: the stream lives on, a new connection sees it.
    let new_authority = Authority::new();
    mount.replace(&files(&new_authority));
    toolward.process.signal("HUP");
    eventually("renewed", || toolward.metric("toolward_xds_certificate_loads_total") >= 2.0);
    folder.write("policy.yaml", &policy(&issuer.jwks(), "[]"));
    eventually("a change arrives", || ask().code() == Some(-32602));
    assert_eq!(envoy.stat("cluster.toolward.upstream_cx_total"), 1, "on the connection that was there");
    let distrustful = Envoy::secured(BOOTSTRAP, &own, GATEWAY, toolward.xds);
    eventually("the new certificate is not trusted", || toolward.metric("toolward_xds_handshakes_failed_total") >= 1.0);
    drop(distrustful);

    // A new client certificate: Envoy shows it when it connects the next time, without a restart.
    own.own.replace(&clients.client("default/other-toolward"));
    mount.replace(&files(&authority));
    let toolward = toolward.restart(folder.path(), &arguments);
    eventually("refused", || toolward.process.log().contains(reason));
    own.own.replace(&clients.client("default/mcp-gateway-toolward"));
    let toolward = toolward.restart(folder.path(), &arguments);
    eventually("served again", || toolward.metric("toolward_xds_streams") >= 1.0);
}

#[test]
fn streams_are_opened_anew_and_nothing_is_sent_again() {
    let (upstream, issuer, port) = (Upstream::start(), Issuer::new("ES256"), ports::free());
    let folder = Folder::new();
    folder.write("gateway.yaml", &gateway(port));
    folder.write("route.yaml", &route("/mcp"));
    folder.write("backend.yaml", &backend(upstream.port));
    folder.write("policy.yaml", &policy(&issuer.jwks(), OPS_MAY_ADD));
    let toolward = Toolward::serve_with(folder.path(), &["--xds-max-stream-age", "1s"]);
    toolward.wait_until_ready();
    let envoy = Envoy::with_control_plane(GATEWAY, toolward.xds);
    let streams = || toolward.process.log().matches("disconnected").count();
    eventually("a stream has ended", || streams() >= 1);
    let sent = toolward.metric("toolward_xds_resources_sent_total");
    eventually("others have ended", || streams() >= 4);
    assert_eq!(toolward.metric("toolward_xds_resources_sent_total"), sent);
    assert_eq!(envoy.stat("listener_manager.listener_modified"), 0);
    let ops = issuer.of_team("ops");
    let url = format!("http://127.0.0.1:{port}/mcp");
    assert_eq!(http::send(http::post(&http::client(), &url, call("add")).bearer_auth(&ops)).text, OK);
}
