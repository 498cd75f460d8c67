//! Requests that Envoy reads as one for this route, and that a server could read as one for another.
//!
//! What is looked at is what reached the filter: Envoy has normalized the path, taken a dot off the host's end and removed
//! the headers that `Connection` names (RFC 9110 section 7.6.1), from its own choice as well as from what the server gets.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::headers::Headers;
use crate::denial::RequestFault;
use crate::percent;
use crate::route_choice::RouteChoice;

/// Longest host name (RFC 1035 section 2.3.4).
const HOST_BYTES: usize = 253;

/// The parameter by which Rails, Laravel and others take another method than the request's own.
const METHOD_PARAMETER: &str = "_method";

/// The host by which the virtual host was chosen is one, and the only one. Envoy lets no request through without.
pub(super) fn check_host(headers: &Headers<'_>) -> Result<(), RequestFault> {
    let mut hosts = headers.all(":authority").chain(headers.all("host"));
    let Some(first) = hosts.next() else { return Ok(()) };
    if is_host(first) && hosts.all(|other| other == first) { Ok(()) } else { Err(RequestFault::Host) }
}

/// The path has one reading.
pub(super) fn check_path(headers: &Headers<'_>, choice: Option<&RouteChoice>) -> Result<(), RequestFault> {
    if headers.first(":path").is_none() {
        return Ok(());
    }
    let (path, _) = target(headers);
    let reserved = |byte: u8| choice.is_some_and(|choice| choice.path_characters.contains(&char::from(byte)));
    if path.starts_with(b"/") && path_has_one_reading(path, reserved) { Ok(()) } else { Err(RequestFault::Path) }
}

/// What the routes of the host are chosen by has one reading.
pub(super) fn check_choice(headers: &Headers<'_>, choice: &RouteChoice) -> Result<(), RequestFault> {
    let (_, query) = target(headers);
    let is_listed = |name: &String| {
        let is_single = choice.single_headers.contains(name);
        headers.all(name).count() > 1 || (is_single && headers.all(name).any(|value| value.contains(&b',')))
    };
    if choice.headers.iter().any(is_listed) {
        return Err(RequestFault::RouteHeader);
    }
    let mut parameters = choice.parameters.iter();
    if parameters.any(|name| !parameter_has_one_reading(query, name)) {
        return Err(RequestFault::RouteParameter);
    }
    if choice.methods.is_empty() {
        return Ok(());
    }
    let method = headers.http_method();
    let head_as_get = method == b"HEAD" && choice.methods.contains("GET") && !choice.methods.contains("HEAD");
    // Methods are compared with case (RFC 9110 section 9.1); some servers do not.
    if head_as_get || method.iter().any(u8::is_ascii_lowercase) || names(query, METHOD_PARAMETER) {
        return Err(RequestFault::RouteMethod);
    }
    Ok(())
}

/// The path and the query of the request.
fn target<'h>(headers: &Headers<'h>) -> (&'h [u8], &'h [u8]) {
    let target = headers.first(":path").unwrap_or_default();
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    (path, target.get(path.len() + 1..).unwrap_or_default())
}

/// A name of letters, digits, hyphens and underscores between dots, or an address, with one port at most (RFC 3986 section
/// 3.2). No user, no blanks, no octets, no other alphabet.
fn is_host(authority: &[u8]) -> bool {
    let Ok(authority) = std::str::from_utf8(authority) else { return false };
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            return address.parse::<Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let is_name = host.len() <= HOST_BYTES && host.split('.').all(is_label);
    // What ends in a number is an IPv4 address or nothing (WHATWG URL, section 3.5).
    let ends_in_number = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    port.is_none_or(is_port) && is_name && (!ends_in_number || host.parse::<Ipv4Addr>().is_ok())
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0') && port.parse::<u16>().is_ok()
}

/// No parameters of segments, which some servers cut off; no octets for what could stand there itself, for what ends a
/// path or a segment elsewhere, for control characters, or for the sign of octets.
fn path_has_one_reading(path: &[u8], reserved: impl Fn(u8) -> bool) -> bool {
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let Some(octet) = percent::octet(tail) else { return false };
            rest = tail.get(2..).unwrap_or_default();
            let is_double = octet == b'%' && percent::octet(rest).is_some();
            let unreserved = octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
            if is_double || unreserved || octet.is_ascii_control() || b"/\\;?#".contains(&octet) || reserved(octet) {
                return false;
            }
        } else if !byte.is_ascii_graphic() || b";\\#".contains(&byte) {
            return false;
        }
    }
    true
}

/// The parameter is not there in any reading, or it is there once, by its own name and with a value as it stands. Envoy
/// takes the first of a name, cuts at `&` alone and decodes nothing.
fn parameter_has_one_reading(query: &[u8], name: &str) -> bool {
    let own: Vec<&[u8]> = query
        .split(|byte| *byte == b'&')
        .filter_map(|part| {
            let (own, value) = part.split_at(part.iter().position(|byte| *byte == b'=').unwrap_or(part.len()));
            (own == name.as_bytes()).then_some(value)
        })
        .collect();
    // In doubt deny: what is encoded too often may name it as well.
    let Some(count) = occurrences(query, name) else { return false };
    match own.as_slice() {
        [] => count == 0,
        [value] => count == 1 && !value.iter().any(|byte| b"%+;?#".contains(byte)),
        _ => false,
    }
}

/// Whether a parameter is there in some reading.
fn names(query: &[u8], name: &str) -> bool {
    occurrences(query, name) != Some(0)
}

/// How often a parameter is there for a server that decodes first, cuts wherever some server does, and does not look at
/// case or brackets. None: it is encoded more often than could be relied on.
fn occurrences(query: &[u8], name: &str) -> Option<usize> {
    let mut decoded = Cow::Borrowed(query);
    let mut rounds = 0;
    while let Some(next) = percent::once_decoded(&decoded) {
        rounds += 1;
        if rounds == percent::MAX_ROUNDS {
            return None;
        }
        decoded = Cow::Owned(next);
    }
    let name = folded(name.as_bytes());
    let parts = decoded.split(|byte| b"&;?#\n\r".contains(byte));
    Some(parts.filter(|part| folded(part.split(|byte| *byte == b'=').next().unwrap_or_default()) == name).count())
}

/// A name as lenient servers take it: PHP and Rails read `a[]` and `a[0]` as `a`, PHP `a.b` and `a b` as `a_b`; blanks and
/// control characters around it vanish; some compare without case.
fn folded(name: &[u8]) -> Vec<u8> {
    let name = name.split(|byte| *byte == b'[').next().unwrap_or_default();
    let is_blank = |byte: &u8| *byte == b'+' || byte.is_ascii_whitespace() || byte.is_ascii_control();
    let start = name.iter().position(|byte| !is_blank(byte)).unwrap_or(name.len());
    let end = name.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    let fold = |byte: &u8| if b". +".contains(byte) { b'_' } else { byte.to_ascii_lowercase() };
    name.get(start..end).unwrap_or_default().iter().map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let rows = [
            ("a name", "strict.example.com", true),
            ("in capitals", "STRICT.example.com", true),
            ("with a port", "strict.example.com:8080", true),
            ("one label", "localhost", true),
            ("an underscore", "a_b.example.com", true),
            ("an address", "127.0.0.1:80", true),
            ("an address of version 6", "[::1]:80", true),
            ("without a port", "[2001:db8::1]", true),
            ("nothing", "", false),
            ("a dot at the end", "strict.example.com.", false),
            ("a dot at the beginning", ".strict.example.com", false),
            ("two dots", "strict..example.com", false),
            ("a user", "x@strict.example.com", false),
            ("a password", "x:y@strict.example.com", false),
            ("a blank", "strict.example.com x", false),
            ("two hosts", "strict.example.com,loose.example.com", false),
            ("an octet", "strict%2eexample.com", false),
            ("another dot", "strict\u{3002}example.com", false),
            ("another letter", "ｓtrict.example.com", false),
            ("a path", "strict.example.com/x", false),
            ("a fragment", "strict.example.com#x", false),
            ("a backslash", "strict.example.com\\x", false),
            ("a port that is none", "strict.example.com:", false),
            ("two ports", "strict.example.com:80:80", false),
            ("a port with a zero", "strict.example.com:080", false),
            ("a port too large", "strict.example.com:65536", false),
            ("a port with a sign", "strict.example.com:+80", false),
            ("a short address", "127.1", false),
            ("an address as a number", "2130706433", false),
            ("an octal address", "0177.0.0.1", false),
            ("an address with a zone", "[fe80::1%25eth0]", false),
            ("an address without brackets", "::1", false),
            ("something behind brackets", "[::1]x", false),
            ("a long label", &"a".repeat(64), false),
            ("a long name", &["a"; 128].join("."), false),
        ];
        for (row, host, fits) in rows {
            assert_eq!(is_host(host.as_bytes()), fits, "{row}");
        }
        let headers = |hosts: &[(&str, &str)]| {
            let headers: Vec<(String, Vec<u8>)> =
                hosts.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
            check_host(&Headers(&headers)).is_ok()
        };
        assert!(headers(&[(":authority", "a.test")]));
        assert!(headers(&[(":authority", "a.test"), ("host", "a.test")]));
        assert!(!headers(&[(":authority", "a.test"), ("host", "b.test")]));
        assert!(!headers(&[(":authority", "a.test"), (":authority", "b.test")]));
    }

    #[test]
    fn paths() {
        let rows = [
            ("plain", "/mcp", true),
            ("a space", "/a%20b", true),
            ("another alphabet", "/caf%C3%A9", true),
            ("a percent sign", "/100%25", true),
            ("reserved", "/a%40b", true),
            ("a parameter", "/mcp;x=1", false),
            ("a parameter of dots", "/x/..;/mcp", false),
            ("its octet", "/mcp%3bx", false),
            ("a letter as an octet", "/%6dcp", false),
            ("a dot as an octet", "/%2e%2e/mcp", false),
            ("an octet of an octet", "/%256dcp", false),
            ("the end of the path", "/mcp%3fx", false),
            ("a fragment", "/mcp%23x", false),
            ("a zero", "/mcp%00", false),
            ("the end of a line", "/mcp%0d", false),
            ("a slash", "/a%2fmcp", false),
            ("a backslash", "/a%5cmcp", false),
            ("the sign itself", "/a\\mcp", false),
            ("half an octet", "/mcp%2", false),
            ("an octet of IIS", "/%u006dcp", false),
            ("raw bytes", "/caf\u{e9}", false),
            ("reserved where a match has it", "/a%3ab", false),
        ];
        for (row, path, fits) in rows {
            assert_eq!(path_has_one_reading(path.as_bytes(), |byte| byte == b':'), fits, "{row}");
        }
    }

    #[test]
    fn parameters() {
        let rows = [
            ("there", "tenant=prod", true),
            ("among others", "a=%20&tenant=prod&b=a+b", true),
            ("without a value", "tenant", true),
            ("not there", "a=b&c=d%26", true),
            ("nothing", "", true),
            ("another that begins so", "tenants=prod", true),
            ("twice", "tenant=dev&tenant=prod", false),
            ("an octet in the name", "tenan%74=prod", false),
            ("an octet of an octet", "tenan%2574=prod", false),
            ("an octet encoded more often than anybody decodes", "tenan%2525252574=prod", false),
            ("another value, encoded so often", "a=%2525252541", false),
            ("another value, encoded three times", "a=%252541", true),
            ("an octet in the value", "tenant=%70rod", false),
            ("a plus in the value", "tenant=prod+", false),
            ("in another case", "Tenant=prod", false),
            ("with brackets", "tenant[]=prod", false),
            ("with an index", "tenant%5B0%5D=prod", false),
            ("with a blank", "+tenant=prod", false),
            ("behind a semicolon", "a=1;tenant=prod", false),
            ("behind an octet of the separator", "a=1%26tenant=prod", false),
            ("behind another question mark", "?tenant=prod", false),
            ("twice in another case", "tenant=dev&TENANT=prod", false),
            ("a semicolon behind the value", "tenant=prod;x", false),
            ("an octet of the equals sign", "tenant%3dprod", false),
            ("a zero", "tenant%00=prod", false),
        ];
        for (row, query, fits) in rows {
            assert_eq!(parameter_has_one_reading(query.as_bytes(), "tenant"), fits, "{row}");
        }
        assert!(!parameter_has_one_reading(b"a.b=1", "a_b"), "PHP");
        assert!(names(b"_metho%2525252564=PUT", METHOD_PARAMETER));
    }
}
