//! Envoy with no control plane.

use toolward_tests::envoy::{Envoy, shipped};
use toolward_tests::http::{self, call, request};
use toolward_tests::ports;
use toolward_tests::tools::tools;
use toolward_tests::toolward::Issuer;
use toolward_tests::upstream::{OK, TOOLS_WITHOUT_MULTIPLY, Upstream};

#[test]
fn the_shipped_example() {
    let upstream = Upstream::start();
    let issuer = Issuer::new("ES256");
    let jwks: serde_json::Value = serde_json::from_str(&issuer.jwks()).expect("a key set");
    let key = &jwks["keys"][0];
    let port = ports::free();
    let text = |name: &str| key[name].as_str().expect("text").to_owned();
    let config = shipped("envoy/static.yaml")
        .replace("target/wasm/toolward.wasm", tools().wasm.to_str().expect("UTF-8"))
        .replace("port_value: 10000", &format!("port_value: {port}"))
        .replace("port_value: 8000", &format!("port_value: {}", upstream.port))
        .replace("example-1", &text("kid"))
        .replace("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", &text("x"))
        .replace("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", &text("y"))
        .replace("\"math_*\"", "\"echo\"");
    let envoy = Envoy::with_config(&config);
    let (client, url) = (http::client(), format!("http://127.0.0.1:{port}/mcp"));
    let ask = |token: &str, body: String| http::send(http::post(&client, &url, body).bearer_auth(token));
    let ops = issuer.of_team("ops");
    assert_eq!(http::send(http::post(&client, &url, call("add"))).status, 401);
    assert_eq!(ask(&ops, call("add")).text, OK);
    assert_eq!(ask(&ops, request("tools/list")).text, TOOLS_WITHOUT_MULTIPLY);
    assert_eq!(ask(&ops, call("multiply")).code(), Some(-32602));
    assert_eq!(upstream.take_recorded().len(), 2);
    let elsewhere = http::send(http::post(&client, &format!("http://127.0.0.1:{port}/other"), call("add")));
    assert_eq!(elsewhere.status, 404, "where there is no route, Envoy says so");
    drop(envoy);
}
