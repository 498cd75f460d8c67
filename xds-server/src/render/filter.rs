//! ECDS: the filter's module and its configuration, one per listener.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{
    AsyncDataSource, BackoffStrategy, DataSource, TypedExtensionConfig, async_data_source, data_source,
};
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::wasm::v3::{
    FailurePolicy, PluginConfig, ReloadConfig, VmConfig, plugin_config::Vm,
};
use envoy_types::pb::google::protobuf::{Any, BytesValue, StringValue};

use super::RenderOptions;
use super::message::{any, duration, yes};
use crate::model::Listener;

/// The same for all listeners: one VM per worker serves them all, and shares verified tokens among them.
const VM: &str = "toolward";

/// How long a worker waits before it replaces a VM that trapped; its requests are answered 503 meanwhile.
const RELOAD_AFTER: Duration = Duration::from_secs(1);

/// The filter of an Envoy that asks for it by the listener's name.
pub(super) fn discovered(listener: &Listener, options: &RenderOptions) -> TypedExtensionConfig {
    // Bytes, as they reach the filter unchanged and have one encoding. Were they ever not to be written (no value of
    // the type is such), the filter would refuse what it gets instead, and Envoy deny requests.
    let configuration = any(&BytesValue { value: serde_json::to_vec(&listener.filter).unwrap_or_default() });
    TypedExtensionConfig {
        name: listener.name.clone(),
        typed_config: Some(any(&wasm(&listener.name, configuration, options))),
    }
}

/// The filter of an Envoy that asks nobody: its configuration is text, to be read by people.
pub(super) fn complete(listener: &Listener, options: &RenderOptions) -> Wasm {
    let configuration = any(&StringValue { value: serde_json::to_string_pretty(&listener.filter).unwrap_or_default() });
    wasm(&listener.name, configuration, options)
}

fn wasm(name: &str, configuration: Any, options: &RenderOptions) -> Wasm {
    Wasm {
        config: Some(PluginConfig {
            // Envoy takes plugins of one name for one plugin.
            name: name.to_owned(),
            root_id: VM.to_owned(),
            configuration: Some(configuration),
            // A VM that traps is replaced by a new one; nothing passes meanwhile.
            failure_policy: FailurePolicy::FailReload.into(),
            reload_config: Some(ReloadConfig {
                backoff: Some(BackoffStrategy { base_interval: Some(duration(RELOAD_AFTER)), max_interval: None }),
            }),
            // Without this, holding the headers would hold back the body as well, and requests would hang.
            allow_on_headers_stop_iteration: Some(yes()),
            vm: Some(Vm::VmConfig(VmConfig {
                vm_id: VM.to_owned(),
                runtime: "envoy.wasm.runtime.v8".to_owned(),
                code: Some(AsyncDataSource {
                    specifier: Some(async_data_source::Specifier::Local(DataSource {
                        specifier: Some(data_source::Specifier::Filename(options.wasm_file.clone())),
                        ..Default::default()
                    })),
                }),
                ..Default::default()
            })),
            ..Default::default()
        }),
    }
}
