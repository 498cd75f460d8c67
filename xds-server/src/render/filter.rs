//! ECDS: the filter's module and its configuration, one per listener.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{
    AsyncDataSource, BackoffStrategy, DataSource, TypedExtensionConfig, async_data_source, data_source,
};
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::wasm::v3::{
    CapabilityRestrictionConfig, FailurePolicy, PluginConfig, ReloadConfig, SanitizationConfig, VmConfig,
    plugin_config::Vm,
};
use envoy_types::pb::google::protobuf::{Any, BytesValue, StringValue};

use super::RenderOptions;
use super::message::{any, duration, merged, yes};
use crate::model::Listener;

/// The same for all listeners: one VM per worker serves them all, and shares verified tokens among them.
const VM: &str = "toolward";

/// How long a worker waits before it replaces a VM that trapped; its requests are answered 503 meanwhile.
const RELOAD_AFTER: Duration = Duration::from_millis(500);

/// Everything that the host may be asked for, and ask: whoever took the VM over could read no other plugin's data. Requests of its
/// own it may send, to the clusters of its Envoy: by one it tells the control plane of a key that is missing. It may keep a timer,
/// by which streams end on which nothing passes. Names are those of the Proxy-Wasm ABI and of WASI.
pub const CAPABILITIES: [&str; 35] = [
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "proxy_call_foreign_function",
    "proxy_close_stream",
    "proxy_define_metric",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_property",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_http_call_response",
    "proxy_on_log",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_response_trailers",
    "proxy_on_tick",
    "proxy_on_vm_start",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
    "proxy_set_buffer_bytes",
    "proxy_set_effective_context",
    "proxy_set_property",
    "proxy_set_tick_period_milliseconds",
    "random_get",
];

/// The filter of an Envoy that asks for it by the listener's name.
pub(super) fn discovered(listener: &Listener, options: &RenderOptions) -> TypedExtensionConfig {
    // Bytes, as they reach the filter unchanged and have one encoding. Were they ever not to be written (no value of
    // the type is such), the filter would refuse what it gets instead, and Envoy deny requests.
    let configuration = any(&BytesValue { value: serde_json::to_vec(&listener.filter).unwrap_or_default() });
    TypedExtensionConfig { name: listener.name.clone(), typed_config: Some(wasm(listener, configuration, options)) }
}

/// The filter of an Envoy that asks nobody: its configuration is text, to be read by people.
pub(super) fn complete(listener: &Listener, options: &RenderOptions) -> Any {
    let configuration = any(&StringValue { value: serde_json::to_string_pretty(&listener.filter).unwrap_or_default() });
    wasm(listener, configuration, options)
}

fn wasm(listener: &Listener, configuration: Any, options: &RenderOptions) -> Any {
    // Without an access log there is nothing to enter the VM for once more.
    let is_used = |name: &&str| *name != "proxy_on_log" || listener.filter.access_log.is_on();
    let capabilities = CAPABILITIES.into_iter().filter(is_used).map(capability);
    merged(std::iter::once(plugin(&listener.name, configuration, options)).chain(capabilities))
}

/// A part of the filter that allows one capability. Envoys before 1.40 pass over it.
fn capability(name: &str) -> Wasm {
    let allowed_capabilities = [(name.to_owned(), SanitizationConfig::default())].into();
    let capability_restriction_config = Some(CapabilityRestrictionConfig { allowed_capabilities });
    let vm = VmConfig { capability_restriction_config, ..Default::default() };
    Wasm { config: Some(PluginConfig { vm: Some(Vm::VmConfig(vm)), ..Default::default() }) }
}

fn plugin(name: &str, configuration: Any, options: &RenderOptions) -> Wasm {
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
