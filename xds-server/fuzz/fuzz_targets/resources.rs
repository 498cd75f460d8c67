//! Any folder of YAML is translated the same each time, and the filter understands what it is made into.
#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use toolward_policy::config::BindingKey;
use toolward_policy::policy::PolicyTable;
use toolward_xds_server::render::{RenderOptions, render};
use toolward_xds_server::source::documents::{self, File};
use toolward_xds_server::translate::{TranslateOptions, translate};

fuzz_target!(|content: &[u8]| {
    let files = [File { path: PathBuf::from("fuzz.yaml"), content: content.to_vec() }];
    let Ok(resources) = documents::read(&files) else { return };
    let binding_keys = vec![BindingKey([1; 32])];
    let options = TranslateOptions { binding_keys, ..TranslateOptions::default() };
    let translation = translate(&resources, &options);
    assert_eq!(translate(&resources, &options), translation, "the same resources mean the same");
    for gateway in translation.model.gateways.values() {
        for listener in gateway.listeners.values() {
            PolicyTable::new(&listener.filter).expect("the filter understands it");
        }
    }
    let options = RenderOptions {
        wasm_file: "toolward.wasm".to_owned(),
        listener_address: "127.0.0.1".to_owned(),
        system_ca_file: "ca.crt".to_owned(),
    };
    let snapshot = render(&translation.model, &options);
    assert_eq!(render(&translation.model, &options), snapshot, "the same model has the same bytes");
});
