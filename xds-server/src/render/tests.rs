//! Golden cases: `testdata/render/<case>.in.yaml` is one Gateway of the model, `<case>.out.yaml` what its Envoys get.
//! `static.out.yaml` is a whole configuration. `UPDATE_GOLDEN=1 cargo test` rewrites the outputs.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;
use crate::model::GatewayName;

/// The case that is shown as a whole configuration.
const STATIC: &str = "static";

#[test]
fn golden_cases() {
    for (case, gateway) in cases() {
        let text = if case == STATIC {
            bootstrap::bootstrap(&gateway, &options()).unwrap()
        } else {
            let snapshot = render_gateway(&gateway, &options());
            yaml::document(&serde_json::json!(view::gateway(&snapshot).unwrap()))
        };
        let expected = folder().join(format!("{case}.out.yaml"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &text).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert!(text == expected, "{case} gives:\n{text}\nIf that is meant, run UPDATE_GOLDEN=1 cargo test");
    }
}

#[test]
fn equal_models_give_equal_bytes() {
    for (case, gateway) in cases() {
        let model = Model { gateways: [(GatewayName(case.clone()), gateway.into())].into_iter().collect() };
        let first = render(&model, &options());
        // Maps in messages have another order in each run; a few runs would show it.
        for _ in 0..8 {
            assert_eq!(render(&model, &options()), first, "{case}");
        }
    }
}

#[test]
fn the_listener_knows_nothing_of_routes_and_policies() {
    let (_, mut gateway) = cases().into_iter().find(|(case, _)| case == STATIC).unwrap();
    let before = render_gateway(&gateway, &options());
    let ports: Vec<u16> = gateway.listeners.keys().copied().collect();
    for port in ports {
        let listener = gateway.listeners.get_mut(&port).unwrap();
        listener.virtual_hosts.clear();
        listener.filter.policies.clear();
        listener.filter.key_sets.clear();
    }
    let after = render_gateway(&gateway, &options());
    assert_eq!(after.resources[&ResourceType::Listener], before.resources[&ResourceType::Listener]);
    assert_ne!(after.resources[&ResourceType::Route], before.resources[&ResourceType::Route]);
    assert_ne!(after.resources[&ResourceType::ExtensionConfig], before.resources[&ResourceType::ExtensionConfig]);
}

#[test]
fn of_a_secret_only_the_name_is_shown() {
    let secret = Resource::new(b"\x0a\x03key private".to_vec());
    let shown = view::resource(ResourceType::Secret, "key", &secret).unwrap();
    assert_eq!(shown, serde_json::json!({ "name": "key" }));
}

fn options() -> RenderOptions {
    RenderOptions {
        wasm_file: "target/wasm/toolward.wasm".to_owned(),
        listener_address: "127.0.0.1".to_owned(),
        system_ca_file: "/etc/ssl/certs/ca-certificates.crt".to_owned(),
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/render")
}

/// All cases with their Gateways.
fn cases() -> Vec<(String, Gateway)> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".in.yaml").map(str::to_owned))
        .collect();
    names.sort();
    let read = |case: String| {
        let text = fs::read_to_string(folder().join(format!("{case}.in.yaml"))).unwrap();
        // By way of JSON, in which enums are written as maps.
        let value: Value = serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{case}: {error}"));
        let gateway = serde_json::from_value(value).unwrap_or_else(|error| panic!("{case}: {error}"));
        (case, gateway)
    };
    names.into_iter().map(read).collect()
}
