//! Small messages that all kinds are built from.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};
use envoy_types::pb::google::protobuf;
use prost::{Message, Name};

use crate::model::StringMatch;

/// Where Envoy is told to ask: the stream on which it got the answer at hand.
pub(super) fn ads() -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource::default(),
        )),
        ..Default::default()
    }
}

/// An IP address, or a host name where the cluster resolves it, with a port.
pub(super) fn address(address: &str, port: u16) -> core::Address {
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: address.to_owned(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
            ..Default::default()
        })),
    }
}

/// A message in an `Any`.
pub(super) fn any<M: Message + Name>(message: &M) -> protobuf::Any {
    protobuf::Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// The sum of several messages in an `Any`: by protobuf's rules for merging, bytes one after the other are the message
/// that has the fields of all. That keeps the entries of a map in the order given, which an encoded map does not.
///
/// See <https://protobuf.dev/programming-guides/encoding/#last-one-wins>.
pub(super) fn merged<M: Message + Name>(parts: impl IntoIterator<Item = M>) -> protobuf::Any {
    let parts: Vec<M> = parts.into_iter().collect();
    let mut value = Vec::with_capacity(parts.iter().map(M::encoded_len).sum());
    for part in parts {
        // A buffer that grows has room.
        part.encode_raw(&mut value);
    }
    protobuf::Any { type_url: M::type_url(), value }
}

/// A span of time.
pub(super) fn duration(duration: Duration) -> protobuf::Duration {
    protobuf::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

pub(super) fn uint32(value: u32) -> protobuf::UInt32Value {
    protobuf::UInt32Value { value }
}

pub(super) fn yes() -> protobuf::BoolValue {
    protobuf::BoolValue { value: true }
}

pub(super) fn no() -> protobuf::BoolValue {
    protobuf::BoolValue { value: false }
}

/// A string as a value of a `Struct`.
pub(super) fn string(value: &str) -> protobuf::Value {
    protobuf::Value { kind: Some(protobuf::value::Kind::StringValue(value.to_owned())) }
}

/// A pattern in RE2.
pub(super) fn regex(pattern: &str) -> RegexMatcher {
    RegexMatcher { regex: pattern.to_owned(), ..Default::default() }
}

/// A match on a whole value; Envoy anchors regular expressions by itself.
pub(super) fn string_matcher(matches: &StringMatch) -> StringMatcher {
    let pattern = match matches {
        StringMatch::Exact(value) => MatchPattern::Exact(value.clone()),
        StringMatch::Regex(pattern) => MatchPattern::SafeRegex(regex(pattern)),
    };
    StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}
