//! What a policy says to clients that are to log in, and to browsers' pages.

use std::collections::BTreeMap;

use toolward_policy::config::{Audience, ProtectedResource};

use crate::resources::mcp::{AuthenticationSpec, IssuerSpec, ResourceSpec, ScopeSpec};

use super::problems::Fault;

/// Every audience, and every origin.
const ANY: &str = "*";

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new("Invalid", message)
}

/// For whom an issuer's tokens must be.
pub(super) fn audience(issuer: &IssuerSpec) -> Result<Audience, Fault> {
    match issuer.audiences.as_slice() {
        [] if is_url(&issuer.issuer) => Ok(Audience::Resource {}),
        [] => Err(invalid(
            "the issuer is no URL, so its tokens are not for the URL of an endpoint; name the audiences that its tokens \
             have, or * for all",
        )),
        [any] if any == ANY => Ok(Audience::Any {}),
        audiences if audiences.iter().any(|one| one.is_empty() || one == ANY) => {
            Err(invalid("an audience can't be empty, and * stands alone"))
        }
        audiences => Ok(Audience::OneOf(audiences.to_vec())),
    }
}

/// What clients are told; nothing where no issuer is one that they could turn to (RFC 8414 section 2).
pub(super) fn resource(spec: &AuthenticationSpec, faults: &mut Vec<(String, Fault)>) -> Option<ProtectedResource> {
    const FIELD: &str = "spec.authentication.resource";
    let issuers = spec.issuers.iter().map(|issuer| issuer.issuer.clone());
    let authorization_servers: Vec<String> = issuers.filter(|issuer| is_url(issuer)).collect();
    let public_url_fault = public_url_fault(spec.resource.as_ref().and_then(|resource| resource.public_url.as_deref()));
    faults.extend(public_url_fault);
    let mut fault = |part: &str, fault| faults.push((format!("{FIELD}{part}"), fault));
    if spec.resource.is_some() && authorization_servers.is_empty() {
        fault("", invalid("the name of no issuer is a URL, so there is nowhere for a client to log in"));
    }
    let ResourceSpec { public_url, scopes, name, documentation } = spec.resource.clone().unwrap_or_default();
    for scope in &scopes {
        if let Some(found) = scope_fault(scope) {
            fault(".scopes", found);
        }
        if scope == "offline_access" {
            fault(".scopes", invalid("offline_access is for clients to ask for; a server does not name it"));
        }
    }
    if let Some(url) = documentation.as_ref().filter(|url| !is_url(url)) {
        fault(".documentation", invalid(format!("{url:?} is no URL")));
    }
    let is_url = !authorization_servers.is_empty();
    // Clients that take the gateway for the issuer have no metadata of the resource, or they would ask the issuer itself.
    let stands_in = spec.issuers.iter().any(|issuer| issuer.client.is_some());
    let authorization_servers = if stands_in { Vec::new() } else { authorization_servers };
    is_url.then_some(ProtectedResource { public_url, authorization_servers, scopes, name, documentation })
}

/// What is wrong with the URL by which clients reach the gateway.
pub(super) fn public_url_fault(url: Option<&str>) -> Option<(String, Fault)> {
    let url = url.filter(|url| !is_origin(url))?;
    let fault = invalid(format!("{url:?} is not of the form https://host or https://host:port"));
    Some(("spec.authentication.resource.publicURL".to_owned(), fault))
}

/// Scopes that hold others.
pub(super) fn scope_implies(
    spec: &AuthenticationSpec,
    faults: &mut Vec<(String, Fault)>,
) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for (index, ScopeSpec { scope, implies }) in spec.scope_implies.iter().enumerate() {
        let field = || format!("spec.authentication.scopeImplies[{index}]");
        let wrong = [scope].into_iter().chain(implies).filter_map(|scope| scope_fault(scope));
        faults.extend(wrong.map(|fault| (field(), fault)));
        if all.insert(scope.clone(), implies.clone()).is_some() {
            faults.push((field(), invalid(format!("the scope {scope:?} stands twice"))));
        }
    }
    all
}

/// What is wrong with a scope (RFC 6749 section 3.3).
pub(super) fn scope_fault(scope: &str) -> Option<Fault> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    let fits = !scope.is_empty() && scope.bytes().all(is_plain);
    (!fits).then(|| invalid(format!("{scope:?} is no scope: no spaces, quotes, backslashes or letters beyond ASCII")))
}

/// What is wrong with origins from which pages may ask.
pub(super) fn origin_faults(origins: &[String]) -> impl Iterator<Item = (String, Fault)> {
    let wrong = origins.iter().enumerate().filter(|(_, origin)| *origin != ANY && !is_origin(origin));
    wrong.map(|(index, origin)| {
        let message = format!("{origin:?} is no origin: write https://host, https://host:port, or * for all");
        (format!("spec.protocol.allowedOrigins[{index}]"), invalid(message))
    })
}

/// The origins that each of several policies allows which say so.
pub(super) fn common_origins<'s>(mut said: impl Iterator<Item = &'s [String]>) -> Vec<String> {
    let Some(first) = said.next() else { return Vec::new() };
    let allows = |list: &[String], origin: &str| list.iter().any(|one| one == origin || one == ANY);
    said.fold(first.to_vec(), |common, list| {
        if allows(&common, ANY) {
            return list.to_vec();
        }
        common.into_iter().filter(|origin| allows(list, origin)).collect()
    })
}

pub(super) fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control()))
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_that_all_allow() {
        type Row<'r> = (&'r str, &'r [&'r [&'r str]], &'r [&'r str]);
        let rows: [Row<'_>; 6] = [
            ("nobody says", &[], &[]),
            ("one says", &[&["https://a", "https://b"]], &["https://a", "https://b"]),
            ("both say", &[&["https://a", "https://b"], &["https://b", "https://c"]], &["https://b"]),
            ("one says all", &[&["*"], &["https://b"]], &["https://b"]),
            ("the other says all", &[&["https://b"], &["*"]], &["https://b"]),
            ("one says none", &[&["*"], &[]], &[]),
        ];
        for (row, said, expected) in rows {
            let said: Vec<Vec<String>> =
                said.iter().map(|list| list.iter().map(|it| (*it).to_owned()).collect()).collect();
            assert_eq!(common_origins(said.iter().map(Vec::as_slice)), expected, "{row}");
        }
    }

    #[test]
    fn what_is_a_scope() {
        for (scope, fits) in
            [("a:b/c.d", true), ("", false), ("a b", false), ("a\"b", false), ("a\\b", false), ("ä", false)]
        {
            assert_eq!(scope_fault(scope).is_none(), fits, "{scope}");
        }
    }

    #[test]
    fn what_is_an_origin() {
        for (text, fits) in [
            ("https://a.b", true),
            ("http://[::1]:80", true),
            ("https://a/", false),
            ("https://a/b", false),
            ("a.b", false),
            ("https://", false),
            ("https://u@a", false),
        ] {
            assert_eq!(is_origin(text), fits, "{text}");
        }
    }
}
