//! Answering with a redirect.

use envoy_types::pb::envoy::config::route::v3::{
    RedirectAction,
    redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
};

use crate::model::{PathMatch, PathRewrite, Redirect};
use crate::render::path::{Rewrite, rewrite};

/// The redirect of requests that match the path and came in on the port.
pub(super) fn action(redirect: &Redirect, matched: &PathMatch, listener_port: u16) -> RedirectAction {
    RedirectAction {
        scheme_rewrite_specifier: redirect.scheme.clone().map(SchemeRewriteSpecifier::SchemeRedirect),
        host_redirect: redirect.hostname.clone().unwrap_or_default(),
        port_redirect: port(redirect, listener_port).map(u32::from).unwrap_or_default(),
        path_rewrite_specifier: redirect.path.as_ref().and_then(|path| new_path(matched, path)),
        response_code: code(redirect.status).into(),
        ..Default::default()
    }
}

/// The port that Envoy must be told, so that the answer has the one that the Gateway API asks for
/// (HTTPRequestRedirectFilter.port): with a scheme its well-known one, else the listener's.
fn port(redirect: &Redirect, listener_port: u16) -> Option<u16> {
    match (redirect.port, redirect.scheme.as_deref(), &redirect.hostname) {
        (Some(port), ..) => Some(port),
        // No port stands for the well-known one.
        (None, Some(_), Some(_)) => None,
        // Envoy copies the client's `Host`, whose port is not that of the new scheme.
        (None, Some(scheme), None) => match (scheme, listener_port) {
            (_, 80 | 443) => None,
            ("https", _) => Some(443),
            _ => Some(80),
        },
        (None, None, Some(_)) => Some(listener_port).filter(|port| *port != 80),
        // Envoy copies the client's `Host`.
        (None, None, None) => None,
    }
}

fn new_path(matched: &PathMatch, path: &PathRewrite) -> Option<PathRewriteSpecifier> {
    if let PathRewrite::Full(path) = path {
        return Some(PathRewriteSpecifier::PathRedirect(path.clone()));
    }
    Some(match rewrite(matched, path)? {
        Rewrite::Prefix(prefix) => PathRewriteSpecifier::PrefixRewrite(prefix),
        Rewrite::Regex(regex) => PathRewriteSpecifier::RegexRewrite(regex),
    })
}

fn code(status: u16) -> RedirectResponseCode {
    match status {
        301 => RedirectResponseCode::MovedPermanently,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        // 302 is what the Gateway API takes where nothing is said.
        _ => RedirectResponseCode::Found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_the_scheme_or_of_the_listener() {
        for (name, given, scheme, hostname, listener, expected) in [
            ("as asked", Some(8443), Some("https"), None, 80, Some(8443)),
            ("nothing asked", None, None, None, 8080, None),
            ("a new host keeps the listener's port", None, None, Some("b.example"), 8080, Some(8080)),
            ("the well-known port is not written", None, None, Some("b.example"), 80, None),
            ("a new scheme and host", None, Some("https"), Some("b.example"), 8080, None),
            ("a new scheme on an odd port", None, Some("https"), None, 8080, Some(443)),
            ("a new scheme on the well-known port", None, Some("https"), None, 80, None),
        ] {
            let redirect = Redirect {
                scheme: scheme.map(str::to_owned),
                hostname: hostname.map(str::to_owned),
                port: given,
                path: None,
                status: 302,
            };
            assert_eq!(port(&redirect, listener), expected, "{name}");
        }
    }
}
