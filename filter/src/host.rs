//! All calls to the host, in the forms that can't trap on bytes from outside: values are bytes, maps come whole with
//! doubled headers visible, and a call that the host refuses is an error value.

use std::time::{Duration, UNIX_EPOCH};

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType, MetricType};
use toolward_policy::config::{METADATA_NAMESPACE, METADATA_POLICY_FIELD};
use toolward_policy::denial::Answer;
use toolward_policy::exchange::Edits;

/// How long an answer is waited for that nobody needs.
const CALL_WITHIN: Duration = Duration::from_secs(2);

/// Which direction of an exchange is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

impl Side {
    fn map(self) -> MapType {
        match self {
            Self::Request => MapType::HttpRequestHeaders,
            Self::Response => MapType::HttpResponseHeaders,
        }
    }

    fn buffer(self) -> BufferType {
        match self {
            Self::Request => BufferType::HttpRequestBody,
            Self::Response => BufferType::HttpResponseBody,
        }
    }
}

/// Seconds since the epoch. In doubt deny: without a clock it is so late that all tokens have expired.
pub(crate) fn now() -> u64 {
    since_epoch().map_or(u64::MAX, |since| since.as_secs())
}

/// Milliseconds since the epoch.
pub(crate) fn now_millis() -> u64 {
    since_epoch().map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn since_epoch() -> Option<Duration> {
    hostcalls::get_current_time().ok()?.duration_since(UNIX_EPOCH).ok()
}

/// The name under which the filter was configured: that of its listener.
pub(crate) fn plugin_name() -> Vec<u8> {
    hostcalls::get_property(vec!["plugin_name"]).ok().flatten().unwrap_or_default()
}

/// The policy key in the metadata of the route that was taken.
pub(crate) fn policy_key() -> Option<Vec<u8>> {
    let path = vec!["xds", "route_metadata", "filter_metadata", METADATA_NAMESPACE, METADATA_POLICY_FIELD];
    hostcalls::get_property(path).ok().flatten()
}

/// Whether it is certain that no route was taken.
pub(crate) fn has_no_route() -> bool {
    // Each route has this map. The message around it, when empty, looks like none.
    let metadata = hostcalls::get_property(vec!["xds", "route_metadata", "filter_metadata"]);
    // A host that does not know `xds` can't tell.
    let knows_xds = hostcalls::get_property(vec!["xds", "listener_direction"]).is_ok_and(|known| known.is_some());
    metadata == Ok(None) && knows_xds
}

pub(crate) fn headers(side: Side) -> Vec<(String, Vec<u8>)> {
    hostcalls::get_map_bytes(side.map()).unwrap_or_default()
}

pub(crate) fn edit_headers(side: Side, edits: &Edits) {
    for name in &edits.remove {
        let _ = hostcalls::set_map_value(side.map(), name, None);
    }
    for (name, value) in &edits.set {
        let _ = hostcalls::set_map_value(side.map(), name, Some(value.as_str()));
    }
}

/// All of a body that the host holds by now.
pub(crate) fn body(side: Side) -> Vec<u8> {
    hostcalls::get_buffer(side.buffer(), 0, usize::MAX).ok().flatten().unwrap_or_default()
}

/// Puts other bytes in place of all that the host holds of a body.
pub(crate) fn replace_body(side: Side, bytes: &[u8]) {
    let _ = hostcalls::set_buffer(side.buffer(), 0, usize::MAX, bytes);
}

/// Answers in place of the server; the host calls nothing more of this exchange but its end.
pub(crate) fn answer(answer: &Answer) {
    let content_type = (!answer.body.is_empty()).then_some(("content-type", "application/json"));
    let mut headers: Vec<_> = content_type.into_iter().collect();
    headers.extend(answer.headers.iter().map(|(name, value)| (*name, value.as_str())));
    let _ = hostcalls::send_http_response(u32::from(answer.status), headers, Some(answer.body.as_bytes()));
}

/// Sends a request without a body to a cluster, and does not wait for the answer. It belongs to the root context: those of
/// an exchange that ends are dropped.
pub(crate) fn call(cluster: &str, headers: Vec<(&str, &str)>, root: u32, own: u32) {
    within(root, own, || {
        let _ = hostcalls::dispatch_http_call(cluster, headers, None, Vec::new(), CALL_WITHIN);
    });
}

/// Has a root context tick from now on, or not any more. Without the right to it the module traps, as soon as it is configured.
pub(crate) fn tick(every: Option<Duration>, root: u32, own: u32) {
    within(root, own, || {
        let _ = hostcalls::set_tick_period(every.unwrap_or_default());
    });
}

/// Makes calls in another context; false: there is none of that number.
pub(crate) fn within(context: u32, own: u32, calls: impl FnOnce()) -> bool {
    let is_there = hostcalls::set_effective_context(context).is_ok();
    if is_there {
        calls();
        let _ = hostcalls::set_effective_context(own);
    }
    is_there
}

/// Ends an answer that has begun already.
pub(crate) fn reset_response() {
    let _ = hostcalls::reset_http_response();
}

/// A field of the access log: `%FILTER_STATE(wasm.NAME:PLAIN)%`.
pub(crate) fn set_log_field(name: &str, value: &str) {
    let _ = hostcalls::set_property(vec![name], Some(value.as_bytes()));
}

pub(crate) fn define_counter(name: &str) -> Option<u32> {
    hostcalls::define_metric(MetricType::Counter, name).ok()
}

pub(crate) fn count(counter: u32, by: u32) {
    let _ = hostcalls::increment_metric(counter, i64::from(by));
}

pub(crate) fn define_gauge(name: &str) -> Option<u32> {
    hostcalls::define_metric(MetricType::Gauge, name).ok()
}

/// Of a gauge of all workers.
pub(crate) fn add(gauge: u32, difference: i64) {
    let _ = hostcalls::increment_metric(gauge, difference);
}

/// Envoy's `verify_signature`: `EVP_DigestVerify` of its TLS library. None where this host has no such function.
pub(crate) fn verify_signature(hash: &str, key: &[u8], signature: &[u8], message: &[u8]) -> Option<bool> {
    let mut arguments = Vec::with_capacity(hash.len() + key.len() + signature.len() + message.len() + 24);
    for (number, value) in [(1, hash.as_bytes()), (2, key), (3, signature), (4, message)] {
        protobuf_field(&mut arguments, number, value);
    }
    let result = hostcalls::call_foreign_function("verify_signature", Some(&arguments)).ok()?;
    // message VerifySignatureResult { bool result = 1; string error = 2; }
    Some(result.unwrap_or_default().starts_with(&[0x08, 0x01]))
}

/// A length-delimited field (<https://protobuf.dev/programming-guides/encoding/>).
fn protobuf_field(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = value.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(value);
}
