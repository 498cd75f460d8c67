//! HTTP+SSE (revision 2024-11-05): a stream announces the URI to which its client sends messages. It says whose session it is
//! in whatever way its server likes, so all of it is sealed.
//!
//! ```text
//! event: endpoint, data: /messages/?session_id=x ─> data: PATH?toolward-seal=BLOB, where PATH is that of the GET
//! POST PATH?toolward-seal=BLOB ─> the same route as the GET's ─> x-toolward-endpoint: /messages/?session_id=x
//! ```
//! INVARIANT: what a server announces never chooses a route. The route is chosen by the path that the client asked for, and puts
//! [`ENDPOINT`] in place of the path on the way to the server.

use std::borrow::Cow;

use crate::percent;

/// The one parameter of the announced URI.
const SEAL: &str = "toolward-seal";

/// The header of a request that tells the route which path and query its server announced.
pub const ENDPOINT: &str = "x-toolward-endpoint";

/// Longest endpoint, in bytes.
const MAX_ENDPOINT_BYTES: usize = 4096;

/// Whether the filter may take this query parameter away on the way to the server; see [`super::changes_header`].
#[must_use]
pub fn changes_parameter(name: &str) -> bool {
    name == SEAL
}

/// Whether a request's path carries a token (RFC 6750 section 2.3).
pub(super) fn carries_token(path: &str) -> bool {
    let Some((_, query)) = path.split_once('?') else { return false };
    // Some servers separate parameters by semicolons.
    query.split(['&', ';']).any(|part| decoded(part.split('=').next().unwrap_or_default()) == "access_token")
}

/// Path and query of an announced URI. `None`: it leads elsewhere than to the server that announces it, or two readers could
/// take it for two places.
pub(super) fn announced<'u>(uri: &'u str, authority: &str) -> Option<&'u str> {
    let rest = match ["http://", "https://"].iter().find_map(|scheme| behind(uri, scheme)) {
        Some(absolute) => {
            let (named, rest) = absolute.split_at_checked(absolute.find(['/', '?', '#'])?)?;
            Some(rest).filter(|_| !authority.is_empty() && named.eq_ignore_ascii_case(authority))?
        }
        None => uri,
    };
    let path = rest.split('?').next().unwrap_or_default();
    let is_readable = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\');
    let is_plain =
        |segment: &str| !matches!(decoded(segment.split(';').next().unwrap_or_default()).as_ref(), "." | "..");
    let is_good = rest.starts_with('/')
        && !rest.starts_with("//")
        && rest.len() <= MAX_ENDPOINT_BYTES
        && rest.bytes().all(is_readable)
        && path.split('/').all(is_plain);
    is_good.then_some(rest)
}

/// What a client is told in place of what the server announced, on a stream that it opened by this path.
pub(super) fn shown(path: &str, seal: &str) -> String {
    format!("{}?{SEAL}={seal}", bare(path))
}

/// The seal of a path that [`shown`] gave, with the path before it.
pub(super) fn seal(path: &str) -> Option<(&str, &str)> {
    let (bare, query) = path.split_once('?')?;
    Some((bare, query.strip_prefix(SEAL)?.strip_prefix('=')?))
}

/// A path without its query.
pub(super) fn bare(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

/// What stands behind a prefix, whose case does not matter.
fn behind<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn decoded(name: &str) -> Cow<'_, str> {
    let decoded = percent::once_decoded(name.as_bytes());
    decoded.map_or(Cow::Borrowed(name), |bytes| Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_messages_are_sent() {
        let long = format!("/m?{}", "x".repeat(MAX_ENDPOINT_BYTES));
        let rows = [
            ("a query", "/messages/?session_id=abc", Some("/messages/?session_id=abc")),
            ("a path", "/messages/abc", Some("/messages/abc")),
            ("brackets", "/m?sessionId[]=a", Some("/m?sessionId[]=a")),
            ("encoded brackets", "/m?sessionId%5B%5D=a", Some("/m?sessionId%5B%5D=a")),
            ("a bare query", "/m?abc", Some("/m?abc")),
            ("dots in a query", "/m?x=../y", Some("/m?x=../y")),
            ("dots in a name", "/m..n/.well-known?x=1", Some("/m..n/.well-known?x=1")),
            ("its own authority", "http://GW:1/m?x=1", Some("/m?x=1")),
            ("its own authority by https", "HTTPS://gw:1/m", Some("/m")),
            ("another authority", "http://evil/m", None),
            ("another port", "http://gw:2/m", None),
            ("a user", "http://gw:1@evil/m", None),
            ("no path", "http://gw:1", None),
            ("a query alone behind an authority", "http://gw:1?x=1", None),
            ("another scheme", "ftp://gw:1/m", None),
            ("a script", "javascript:alert(1)", None),
            ("a network path", "//evil/m", None),
            ("a backslash", "/\\evil/m", None),
            ("a relative path", "messages?x=1", None),
            ("a query alone", "?x=1", None),
            ("nothing", "", None),
            ("a fragment", "/m?x=1#y", None),
            ("dots", "/a/../b", None),
            ("one dot", "/a/./b", None),
            ("encoded dots", "/a/%2E%2e/b", None),
            ("dots with a parameter", "/a/..;x/b", None),
            ("dots at the end", "/a/..?x", None),
            ("a blank", "/m?x=1 2", None),
            ("a line end", "/m?x=1\n/n", None),
            ("NUL", "/m?x=\0", None),
            ("letters beyond ASCII", "/m?x=é", None),
            ("too long", &long, None),
        ];
        for (name, uri, expected) in rows {
            assert_eq!(announced(uri, "gw:1"), expected, "{name}");
        }
    }

    #[test]
    fn what_is_shown_comes_back() {
        let shown = shown("/sse?tenant=a", "BLOB");
        assert_eq!(shown, "/sse?toolward-seal=BLOB");
        assert_eq!(seal(&shown), Some(("/sse", "BLOB")));
        for path in
            ["/sse", "/sse?", "/sse?x=1", "/sse?x=1&toolward-seal=B", "/sse?Toolward-Seal=B", "/sse?toolward%2dseal=B"]
        {
            assert_eq!(seal(path), None, "{path}");
        }
        assert_eq!(seal("/sse?toolward-seal=B&x=1"), Some(("/sse", "B&x=1")), "which does not open");
    }

    #[test]
    fn tokens_in_paths() {
        for (path, carries) in [
            ("/mcp?access_token=x", true),
            ("/mcp?a=b&access%5Ftoken", true),
            ("/access_token?a=access_token", false),
            ("/mcp", false),
        ] {
            assert_eq!(carries_token(path), carries, "{path}");
        }
    }
}
