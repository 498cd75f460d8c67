//! What Envoy accepts as header names, header values, paths and durations. One value that it refuses would make it
//! refuse a whole route configuration, so all are checked beforehand.

use std::time::Duration;

use toolward_policy::exchange::{changes_header, decides};

use super::problems::Fault;

/// A header name (RFC 9110 section 5.1), in lower case.
pub(super) fn header_name(name: &str) -> Result<String, Fault> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if (1..=256).contains(&name.len()) && name.bytes().all(token) {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(Fault::unsupported(format!("{name:?} is no header name")))
    }
}

/// A header of requests that a filter may change: not those by which requests are judged. The server would read another request
/// than the one that policies let pass.
pub(super) fn changeable_request_header(name: &str) -> Result<String, Fault> {
    let name = changeable(name)?;
    // A server would wait for what the gateway does not send.
    if name == "expect" {
        return Err(of_connection(&name));
    }
    // What the filter itself takes away from callers, a route may put there: it is the server's own.
    let is_changed = changes_header(&name) && name != "authorization";
    // Which page asks is judged before; what the server is told of it is the route's.
    let decides = decides(&name) && name != "origin";
    if is_changed || decides || name.starts_with(PROTOCOL) || name == "transfer-encoding" {
        return Err(judged(&name));
    }
    Ok(name)
}

/// A header of answers that a filter may change: not those by which clients are told where to log in, and which session is
/// theirs.
pub(super) fn changeable_response_header(name: &str) -> Result<String, Fault> {
    let name = changeable(name)?;
    if name == "www-authenticate" || name.starts_with(PROTOCOL) {
        return Err(judged(&name));
    }
    Ok(name)
}

/// Envoy changes no `Host`, wherever it stands.
fn changeable(name: &str) -> Result<String, Fault> {
    // RFC 9110 section 7.6.1, and what intermediaries of old take for these.
    const OF_CONNECTION: [&str; 7] =
        ["connection", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "upgrade"];
    let name = header_name(name)?;
    if OF_CONNECTION.contains(&name.as_str()) {
        return Err(of_connection(&name));
    }
    if name == "host" {
        return Err(Fault::unsupported(
            "the header Host can't be changed here; use a URLRewrite filter with a hostname",
        ));
    }
    Ok(name)
}

/// The prefix of MCP's own headers.
const PROTOCOL: &str = "mcp-";

fn of_connection(name: &str) -> Fault {
    Fault::unsupported(format!(
        "the header {name} can't be changed here: it is for one connection, between the gateway and its peer"
    ))
}

fn judged(name: &str) -> Fault {
    Fault::unsupported(format!("the header {name} can't be changed here: policies are carried out by it"))
}

/// A header value: no control characters but the tab (RFC 9110 section 5.5).
pub(super) fn header_value(value: &str) -> Result<String, Fault> {
    if value.len() <= 4096 && !value.chars().any(|c| c.is_control() && c != '\t') {
        Ok(value.to_owned())
    } else {
        Err(Fault::unsupported("this is no header value: at most 4096 bytes and no control characters are accepted"))
    }
}

/// A path without query, as Gateway API wants it for exact and prefix matches: absolute, normal, of URI characters.
pub(super) fn path(path: &str) -> Result<String, Fault> {
    let fault = |what: &str| Err(Fault::unsupported(format!("the path {path:?} {what}")));
    if !path.starts_with('/') {
        return fault("does not begin with /");
    }
    if path.len() > 1024 {
        return fault("has more than 1024 bytes");
    }
    let lower = path.to_ascii_lowercase();
    let abnormal = ["//", "/./", "/../", "%2f", "#"].iter().any(|part| lower.contains(part));
    if abnormal || lower.ends_with("/.") || lower.ends_with("/..") {
        return fault("is not in normal form: //, /./, /../, %2f and # can't stand in it");
    }
    if !uri_characters(path) {
        return fault("has characters that must be written as % and two hexadecimal digits");
    }
    Ok(path.to_owned())
}

/// Path segments as a prefix: without the slash at the end, which means nothing in a prefix.
pub(super) fn path_prefix(text: &str) -> Result<String, Fault> {
    let path = path(text)?;
    let trimmed = path.trim_end_matches('/');
    Ok(if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() })
}

/// What a prefix or path is replaced by: may be empty where a prefix is to vanish.
pub(super) fn replacement(text: &str) -> Result<String, Fault> {
    if text.len() <= 1024 && uri_characters(text) && (text.is_empty() || text.starts_with('/')) {
        Ok(text.to_owned())
    } else {
        Err(Fault::unsupported(format!("{text:?} can't replace a path: write an absolute path without query")))
    }
}

fn uri_characters(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fits = if byte == b'%' {
            let mut hex = || bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit());
            hex() && hex()
        } else {
            byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
        };
        if !fits {
            return false;
        }
    }
    true
}

/// A duration in the form of GEP-2257, such as `1m30s`.
pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
    let parsed = text.parse::<gateway_api::Duration>().ok();
    parsed
        .and_then(|duration| u64::try_from(duration.as_millis()).ok())
        .map(Duration::from_millis)
        .ok_or_else(|| Fault::unsupported(format!("{text:?} is no duration: write for example 500ms, 30s or 1m30s")))
}

/// A port number.
pub(super) fn port(number: i32) -> Result<u16, Fault> {
    u16::try_from(number)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| Fault::unsupported(format!("{number} is no port: 1 to 65535 are")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_checked() {
        let rows = [
            ("the root", "/", true),
            ("segments", "/a/b.c", true),
            ("an escape", "/a%20b", true),
            ("relative", "a", false),
            ("nothing", "", false),
            ("a query", "/a?b", false),
            ("a fragment", "/a#b", false),
            ("a doubled slash", "/a//b", false),
            ("a step up", "/a/../b", false),
            ("a step up at the end", "/a/..", false),
            ("an escaped slash", "/a%2Fb", false),
            ("half an escape", "/a%2", false),
            ("a space", "/a b", false),
            ("not ASCII", "/ä", false),
        ];
        for (row, text, fits) in rows {
            assert_eq!(path(text).is_ok(), fits, "{row}");
        }
    }

    #[test]
    fn headers_by_which_policies_are_carried_out_are_not_changed() {
        let rows = [
            ("x-team", true, true),
            ("authorization", true, true),
            ("Content-Type", false, true),
            ("content-encoding", false, true),
            ("transfer-encoding", false, true),
            ("content-length", false, true),
            ("accept-encoding", false, true),
            ("origin", true, true),
            ("host", false, false),
            ("Mcp-Session-Id", false, false),
            ("mcp-name", false, false),
            ("Mcp-Param-Region", false, false),
            ("mcp-protocol-version", false, false),
            ("last-event-id", false, true),
            ("X-HTTP-Method-Override", false, true),
            ("x-toolward-subject", false, true),
            ("WWW-Authenticate", true, false),
            ("Connection", false, false),
            ("keep-alive", false, false),
            ("Proxy-Authorization", false, false),
            ("proxy-connection", false, false),
            ("TE", false, false),
            ("trailer", false, false),
            ("Upgrade", false, false),
            ("Expect", false, true),
        ];
        for (name, request, response) in rows {
            assert_eq!(changeable_request_header(name).is_ok(), request, "{name} of a request");
            assert_eq!(changeable_response_header(name).is_ok(), response, "{name} of an answer");
        }
    }

    #[test]
    fn a_slash_at_the_end_of_a_prefix_means_nothing() {
        assert_eq!(path_prefix("/a/b/").unwrap(), "/a/b");
        assert_eq!(path_prefix("/").unwrap(), "/");
    }

    #[test]
    fn durations_are_those_of_gep_2257() {
        let rows = [
            ("seconds", "10s", Some(Duration::from_secs(10))),
            ("several parts", "1m30s", Some(Duration::from_secs(90))),
            ("zero", "0s", Some(Duration::ZERO)),
            ("no unit", "10", None),
            ("fractions", "1.5s", None),
            ("negative", "-1s", None),
            ("nothing", "", None),
        ];
        for (row, text, expected) in rows {
            assert_eq!(duration(text).ok(), expected, "{row}");
        }
    }
}
