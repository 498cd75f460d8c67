//! The module may ask only for what it uses, and Envoy holds it to that.

use std::collections::BTreeSet;

use toolward_tests::envoy::{Envoy, shipped};
use toolward_tests::http::{self, call};
use toolward_tests::ports;
use toolward_tests::tools::tools;
use toolward_tests::upstream::Upstream;
use toolward_xds_server::render::filter::CAPABILITIES;

#[test]
fn what_is_allowed_is_what_the_module_can_use() {
    let module = std::fs::read(&tools().wasm).expect("the module");
    let names: BTreeSet<&str> = CAPABILITIES.into();
    let unknown: Vec<&&str> = names.iter().filter(|name| !contains(&module, name.as_bytes())).collect();
    assert!(unknown.is_empty(), "neither imported nor exported: {unknown:?}");
    let stands =
        |name: &&str| shipped("envoy/static.yaml").contains(&format!("\n                      {name}: {{}}\n"));
    assert!(names.iter().all(stands), "the static example allows the same");
    for dangerous in ["proxy_grpc_call", "proxy_set_shared_data", "proxy_register_shared_queue"] {
        assert!(contains(&module, dangerous.as_bytes()), "the SDK brings {dangerous} along");
        assert!(!names.contains(dangerous), "{dangerous}");
    }
}

#[test]
fn without_a_capability_nothing_passes() {
    let upstream = Upstream::start();
    for withheld in [
        "proxy_get_property",
        "proxy_get_header_map_pairs",
        "proxy_get_buffer_bytes",
        "proxy_set_tick_period_milliseconds",
    ] {
        let port = ports::free();
        let config = shipped("envoy/static.yaml")
            .replace("target/wasm/toolward.wasm", tools().wasm.to_str().expect("UTF-8"))
            .replace("port_value: 10000", &format!("port_value: {port}"))
            .replace("port_value: 8000", &format!("port_value: {}", upstream.port))
            .replace(&format!("                      {withheld}: {{}}\n"), "");
        let mut envoy = Envoy::unready(&config);
        let (client, url) = (http::client(), format!("http://127.0.0.1:{port}/mcp"));
        let mut status = None;
        envoy.process.wait_until_ended_or("answers", || {
            status = http::post(&client, &url, call("add")).send().ok().map(|answer| answer.status().as_u16());
            status.is_some()
        });
        assert_ne!(status, Some(200), "without {withheld}");
        assert!(upstream.take_recorded().is_empty(), "without {withheld}");
    }
}

fn contains(module: &[u8], name: &[u8]) -> bool {
    module.windows(name.len()).any(|window| window == name)
}
