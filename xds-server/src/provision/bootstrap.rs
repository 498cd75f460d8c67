//! What a provisioned Envoy starts with: where its control plane is, and who it itself is.

use serde_json::{Value, json};

use super::{Parameters, ProvisionOptions, STATUS_PORT, Trust, quantity};
use crate::render::overload::{self, Bounds};
use crate::resources::Name;

/// Where the ConfigMap is mounted.
pub(super) const FOLDER: &str = "/etc/envoy";

/// Where the token is mounted.
pub(super) const TOKEN_FOLDER: &str = "/var/run/secrets/toolward.dev";

/// File names in [`FOLDER`].
pub(super) const FILE: &str = "bootstrap.yaml";
pub(super) const AUTHORITIES_FILE: &str = "xds-ca.crt";
pub(super) const TOKEN_SECRET_FILE: &str = "xds-token.yaml";

/// File name in [`TOKEN_FOLDER`].
pub(super) const TOKEN_FILE: &str = "token";

/// Where the folder of the admin socket is mounted.
pub(super) const ADMIN_FOLDER: &str = "/run/envoy";

/// File name in [`ADMIN_FOLDER`].
const ADMIN_SOCKET: &str = "admin.sock";

/// Authorities in Envoy's own image.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Envoy's bootstrap. The node's id is given on its command line.
pub(super) fn bootstrap(gateway: &Name, parameters: &Parameters, options: &ProvisionOptions) -> Value {
    let memory = parameters.resources.limits.get("memory").and_then(|memory| quantity::parse(memory));
    // Without a timeout: an Envoy is not ready before it has been told what to serve.
    let source = json!({ "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" });
    json!({
        "node": { "cluster": gateway.to_string() },
        "admin": { "address": admin_address(), "ignore_global_conn_limit": true },
        "overload_manager": Bounds::of_memory(memory).manager(),
        "memory_allocator_manager": overload::allocator(),
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                // A new control plane is found quickly, a dead one is not flooded.
                "grpc_services": [{ "envoy_grpc": {
                    "cluster_name": "toolward",
                    "retry_policy": { "retry_back_off": { "base_interval": "0.2s", "max_interval": "5s" } },
                } }],
            },
            "cds_config": source,
            "lds_config": source,
        },
        "static_resources": {
            "clusters": [control_plane(options), admin()],
            "listeners": [status()],
        },
        "stats_config": { "stats_tags": [
            { "tag_name": "mcp_method", "regex": r"^wasmcustom\.toolward_(?:requests|items_hidden)(\.([^.]+))" },
            { "tag_name": "decision", "regex": r"^wasmcustom\.toolward_requests\.[^.]+(\.([^.]+))" },
            { "tag_name": "reason", "regex": r"^wasmcustom\.toolward_requests\.[^.]+\.[^.]+(\.([^.]+))" },
        ] },
    })
}

/// Lets Envoy read its token anew whenever it was renewed: without the line break at its end, as YAML.
pub(super) fn token_secret() -> String {
    let secret = json!({ "resources": [{
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": "xds-token",
        "generic_secret": { "secret": { "filename": format!("{TOKEN_FOLDER}/{TOKEN_FILE}") } },
    }] });
    crate::render::yaml::document(&secret).trim_end().to_owned()
}

fn address(ip: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": ip, "port_value": port } })
}

/// A socket that Envoy's user alone can open, and no port: routes lead to ports, those of loopback among them, and whatever
/// reaches the admin interface stops Envoy and reads all of its configuration.
fn admin_address() -> Value {
    json!({ "pipe": { "path": format!("{ADMIN_FOLDER}/{ADMIN_SOCKET}"), "mode": 0o600 } })
}

fn control_plane(options: &ProvisionOptions) -> Value {
    let authorities = match options.xds_trust {
        Trust::System => SYSTEM_AUTHORITIES.to_owned(),
        Trust::Authorities(_) => format!("{FOLDER}/{AUTHORITIES_FILE}"),
    };
    json!({
        "name": "toolward",
        "type": "STRICT_DNS",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": "toolward",
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(&options.xds_host, options.xds_port) } }] }],
        },
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": options.xds_host,
                "common_tls_context": {
                    "tls_params": { "tls_minimum_protocol_version": "TLSv1_2" },
                    "validation_context": {
                        "trusted_ca": { "filename": authorities },
                        "match_typed_subject_alt_names": [{ "san_type": "DNS", "matcher": { "exact": options.xds_host } }],
                    },
                },
            },
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                // A control plane that is gone without a word is noticed.
                "explicit_http_config": {
                    "http2_protocol_options": { "connection_keepalive": { "interval": "30s", "timeout": "5s" } },
                },
                "http_filters": [
                    {
                        "name": "envoy.filters.http.credential_injector",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
                            "overwrite": true,
                            "credential": {
                                "name": "envoy.http.injected_credentials.generic",
                                "typed_config": {
                                    "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic",
                                    "header_value_prefix": "Bearer ",
                                    "credential": {
                                        "name": "xds-token",
                                        "sds_config": { "path_config_source": {
                                            "path": format!("{FOLDER}/{TOKEN_SECRET_FILE}"),
                                            "watched_directory": { "path": TOKEN_FOLDER },
                                        } },
                                    },
                                },
                            },
                        },
                    },
                    {
                        "name": "envoy.filters.http.upstream_codec",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
                        },
                    },
                ],
            },
        },
    })
}

/// No route but those of [`status`] names this cluster: names that come from resources have a slash in them.
fn admin() -> Value {
    json!({
        "name": "admin",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "admin",
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": admin_address() } }] }],
        },
    })
}

/// For kubelet and Prometheus: two pages of the admin interface and nothing more of it, and whether workers answer at all.
fn status() -> Value {
    let read = json!([{ "name": ":method", "string_match": { "exact": "GET" } }]);
    let page = |path: &str| json!({ "match": { "path": path, "headers": read }, "route": { "cluster": "admin" } });
    json!({
        "name": "status",
        "address": address("0.0.0.0", STATUS_PORT),
        // An Envoy under attack is not one that has to be replaced.
        "ignore_global_conn_limit": true,
        "bypass_overload_manager": true,
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "status",
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                }],
                "route_config": { "name": "status", "virtual_hosts": [{
                    "name": "status",
                    "domains": ["*"],
                    "routes": [
                        page("/ready"),
                        page("/stats/prometheus"),
                        { "match": { "path": "/alive" }, "direct_response": { "status": 200 } },
                    ],
                }] },
            },
        }] }],
    })
}
