//! LDS: what Envoy listens on. Nothing of policies, keys or routes, so that they can change under open connections.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::listener::v3::{
    Filter, FilterChain, FilterChainMatch, Listener, filter::ConfigType,
};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds,
    http_connection_manager::{CodecType, PathWithEscapedSlashesAction, RouteSpecifier, ServerHeaderTransformation},
    http_filter,
};
use prost::Name;
use toolward_policy::config::Limits;

use super::access_log::access_log;
use super::message::{address, ads, any, duration, uint32, yes};
use super::{RenderOptions, credential, filter, route, tls};
use crate::model;

/// How long a stream may be silent. Servers keep SSE streams open for hours and say something rarely; without any
/// limit, streams whose client is gone without a word would pile up.
const QUIET_STREAM: Duration = Duration::from_secs(3600);

/// How long a client may take to send its headers.
const SLOW_HEADERS: Duration = Duration::from_secs(10);

/// How long a client may take to send its whole request. Bodies are held until they are judged, so slow ones would
/// hold memory.
const SLOW_REQUEST: Duration = Duration::from_secs(60);

/// How long Envoy waits for a client that reads nothing of the end of its answer.
const SLOW_READER: Duration = Duration::from_secs(60);

/// Streams of one HTTP/2 connection. Each may hold answers that its client does not read; a client has one stream of events
/// for each session, and opens another connection for more.
const STREAMS: u32 = 50;

/// What Envoy may hold of a body beyond the filter's own limit. Past the filter's limit the caller gets a JSON-RPC
/// error; past Envoy's he would get a bare 413 or 500.
const BUFFER_MARGIN: u32 = 1024 * 1024;

/// The listener of an Envoy that asks for routes, certificates and the filter's configuration.
pub(super) fn discovered(listener: &model::Listener, port: u16, options: &RenderOptions) -> Listener {
    // No default configuration: until the filter's own has come, and when it is refused, requests are answered 500.
    let filter = http_filter::ConfigType::ConfigDiscovery(core::ExtensionConfigSource {
        config_source: Some(ads()),
        type_urls: vec![Wasm::type_url()],
        ..Default::default()
    });
    let routes = |name: &str, _: &[model::VirtualHost]| {
        RouteSpecifier::Rds(Rds { config_source: Some(ads()), route_config_name: name.to_owned() })
    };
    build(listener, port, options, &Parts { filter, routes: &routes, secrets: Some(ads()) })
}

/// The listener of an Envoy that asks nobody.
pub(super) fn complete(listener: &model::Listener, port: u16, options: &RenderOptions) -> Listener {
    let filter = http_filter::ConfigType::TypedConfig(filter::complete(listener, options));
    let routes =
        |name: &str, hosts: &[model::VirtualHost]| RouteSpecifier::RouteConfig(route::configuration(name, hosts, port));
    build(listener, port, options, &Parts { filter, routes: &routes, secrets: None })
}

/// What is discovered or complete.
struct Parts<'p> {
    filter: http_filter::ConfigType,
    routes: &'p dyn Fn(&str, &[model::VirtualHost]) -> RouteSpecifier,
    /// Where secrets are had from; none: they stand in the bootstrap.
    secrets: Option<core::ConfigSource>,
}

fn build(listener: &model::Listener, port: u16, options: &RenderOptions, parts: &Parts<'_>) -> Listener {
    let buffer = buffer_limit(&listener.filter.limits);
    let chain = |name: &str, hosts: &[model::VirtualHost]| FilterChain {
        filters: vec![Filter {
            name: "envoy.filters.network.http_connection_manager".to_owned(),
            config_type: Some(ConfigType::TypedConfig(any(&connection_manager(
                listener,
                buffer,
                (parts.routes)(name, hosts),
                parts,
            )))),
        }],
        ..Default::default()
    };
    let secure = |tls: &model::TlsHosts| FilterChain {
        name: tls.name.clone(),
        filter_chain_match: tls
            .server_name
            .as_ref()
            .map(|name| FilterChainMatch { server_names: vec![name.clone()], ..Default::default() }),
        transport_socket: Some(tls::downstream(&tls.certificates, parts.secrets.as_ref())),
        ..chain(&tls.name, &tls.virtual_hosts)
    };
    let (filter_chains, listener_filters) = if listener.tls.is_empty() {
        (vec![chain(&listener.name, &listener.virtual_hosts)], Vec::new())
    } else {
        (listener.tls.iter().map(secure).collect(), vec![tls::inspector()])
    };
    Listener {
        name: listener.name.clone(),
        address: Some(address(&options.listener_address, port)),
        per_connection_buffer_limit_bytes: Some(uint32(buffer)),
        listener_filters,
        filter_chains,
        ..Default::default()
    }
}

fn connection_manager(
    listener: &model::Listener,
    buffer: u32,
    routes: RouteSpecifier,
    parts: &Parts<'_>,
) -> HttpConnectionManager {
    let filter =
        HttpFilter { name: listener.name.clone(), config_type: Some(parts.filter.clone()), ..Default::default() };
    let router = HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(any(&Router::default()))),
        ..Default::default()
    };
    let binds = !listener.filter.binding_key_ids.is_empty();
    let binding_keys = binds.then(|| credential::binding_keys(parts.secrets.as_ref()));
    HttpConnectionManager {
        stat_prefix: listener.name.clone(),
        codec_type: CodecType::Auto.into(),
        route_specifier: Some(routes),
        http_filters: binding_keys.into_iter().chain([filter, router]).collect(),
        // One spelling of each host and path: what the route matches is what the server gets.
        strip_trailing_host_dot: true,
        normalize_path: Some(yes()),
        merge_slashes: true,
        path_with_escaped_slashes_action: PathWithEscapedSlashesAction::RejectRequest.into(),
        common_http_protocol_options: Some(core::HttpProtocolOptions {
            // Many servers take `a_b` and `a-b` for the same header.
            headers_with_underscores_action: core::http_protocol_options::HeadersWithUnderscoresAction::RejectRequest
                .into(),
            ..Default::default()
        }),
        http2_protocol_options: Some(core::Http2ProtocolOptions {
            max_concurrent_streams: Some(uint32(STREAMS)),
            // With HTTP/2 the window is also the limit of what is held of a body.
            initial_stream_window_size: Some(uint32(buffer)),
            initial_connection_window_size: Some(uint32(buffer.saturating_mul(2).min(i32::MAX as u32))),
            ..Default::default()
        }),
        stream_idle_timeout: Some(duration(QUIET_STREAM)),
        stream_flush_timeout: Some(duration(SLOW_READER)),
        request_headers_timeout: Some(duration(SLOW_HEADERS)),
        request_timeout: Some(duration(SLOW_REQUEST)),
        // Envoy stands at the edge: the peer is the client, what clients say in `x-forwarded-for` is not believed, and
        // `x-envoy-*` headers, by which they could steer timeouts and retries, are removed.
        use_remote_address: Some(yes()),
        // Callers see the server's own `server` header.
        server_header_transformation: ServerHeaderTransformation::PassThrough.into(),
        access_log: listener.filter.access_log.is_on().then(access_log).into_iter().collect(),
        ..Default::default()
    }
}

/// What Envoy may hold of a body, in bytes: enough for each body and event that the filter judges as a whole, within
/// what HTTP/2 allows as a window.
fn buffer_limit(limits: &Limits) -> u32 {
    let largest = limits.request_body_bytes.max(limits.list_response_bytes).max(limits.sse_event_bytes);
    let largest = u32::try_from(largest).unwrap_or(u32::MAX);
    largest.saturating_add(BUFFER_MARGIN).min(i32::MAX as u32)
}
