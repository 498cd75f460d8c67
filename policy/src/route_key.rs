//! What a route tells the filter, for one request: hosts that have the same routes share them, so that what is told of the host
//! is put in here.

use crate::config::RouteKey;

/// Stands for the host of a request in [`RouteKey::origin`].
pub const ANY_HOST: &str = "*";

/// A [`RouteKey`] as a route has it, for a request: routes of several hosts are told apart by the request's own. It is one of
/// those that the route is for, since Envoy found the route by it; without case and port, as Envoy compares hosts.
#[must_use]
pub fn key_of_request(written: &[u8], authority: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(written) else { return written.to_vec() };
    let key = RouteKey::parse(text);
    let is_for_many = key.route.is_some_and(|route| route.ends_with('@'));
    let origin = key.origin.and_then(|origin| origin.split_once(ANY_HOST));
    if !is_for_many && origin.is_none() {
        return written.to_vec();
    }
    let host = std::str::from_utf8(authority).map(host_of).unwrap_or_default();
    // In doubt nobody is told where the endpoint is.
    let origin = match origin {
        Some(_) if host.is_empty() => None,
        Some((scheme, port)) => Some(format!("{scheme}{host}{port}")),
        None => key.origin.map(str::to_owned),
    };
    let route = key.route.map(|route| if is_for_many { format!("{route}{host}") } else { route.to_owned() });
    RouteKey { origin: origin.as_deref(), route: route.as_deref(), ..key }.to_string().into_bytes()
}

/// The host of an authority in lower case; empty where it could not stand in a URL.
fn host_of(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if host.bytes().all(is_plain) { host.to_ascii_lowercase() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_the_request_s() {
        let of = |origin, route, authority: &str| {
            let key = RouteKey { policy: "p", origin, servers: Some("s"), route, choice: Some("c") };
            let completed = key_of_request(key.to_string().as_bytes(), authority.as_bytes());
            let text = String::from_utf8(completed).unwrap();
            let RouteKey { policy, origin, servers, route, choice } = RouteKey::parse(&text);
            assert_eq!((policy, servers, choice), ("p", Some("s"), Some("c")), "the rest stays what it is");
            (origin.map(str::to_owned), route.map(str::to_owned))
        };
        let some = |text: &str| Some(text.to_owned());
        for (name, origin, route, authority, expected) in [
            ("a host", "https://*", "r@", "a.example", (some("https://a.example"), some("r@a.example"))),
            ("case", "https://*", "r@", "A.Example", (some("https://a.example"), some("r@a.example"))),
            ("port", "http://*:8080", "r@", "a.example:99", (some("http://a.example:8080"), some("r@a.example"))),
            ("an address", "http://*", "r@", "[::1]:80", (some("http://[::1]"), some("r@[::1]"))),
            ("without port", "http://*", "r@", "[::1]", (some("http://[::1]"), some("r@[::1]"))),
            ("what is known already", "http://b", "r@*.b", "a.b", (some("http://b"), some("r@*.b"))),
            ("what can't be named", "http://*", "r@", "a\"b", (None, some("r@"))),
            ("lines", "http://*", "r@", "a\nb", (None, some("r@"))),
            ("nothing", "http://*", "r@", "", (None, some("r@"))),
        ] {
            assert_eq!(of(Some(origin), Some(route), authority), expected, "{name}");
        }
        assert_eq!(of(None, Some("r@"), "a"), (None, some("r@a")));
        assert_eq!(key_of_request(b"p", b"a.example"), b"p");
    }
}
