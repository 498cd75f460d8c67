//! MCP endpoints as OAuth 2.0 protected resources (RFC 9728): by which URL clients know one, where its metadata are, and
//! how a client is asked for a token (RFC 6750 section 3).

use serde_json::{Map, Value, json};

use crate::config::ProtectedResource;
use crate::exchange::Headers;

/// The path of metadata; that of the endpoint follows (RFC 9728 section 3.1).
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The URL of an endpoint as clients dial it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    origin: String,
    /// Empty, or with a slash in front.
    path: String,
}

impl Endpoint {
    /// The endpoint that a request asks; none where its host or path could not stand in a URL or a quoted string.
    #[must_use]
    pub fn of(public_url: Option<&str>, headers: &Headers<'_>) -> Option<Self> {
        Self::new(public_url, headers, path_of(headers)?)
    }

    /// The endpoint at this path.
    #[must_use]
    pub fn at(origin: &str, path: &str) -> Option<Self> {
        Self::new(Some(origin), &Headers(&[]), path)
    }

    /// The endpoint that a request asks about.
    #[must_use]
    pub fn described(public_url: Option<&str>, path: Option<&str>, headers: &Headers<'_>) -> Option<Self> {
        let suffix = path_of(headers)?.strip_prefix(WELL_KNOWN)?;
        Self::new(public_url, headers, path.unwrap_or(suffix))
    }

    fn new(public_url: Option<&str>, headers: &Headers<'_>, path: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte);
        let path = if path == "/" { "" } else { path };
        let origin = match public_url {
            Some(origin) => origin.to_owned(),
            None => own_origin(headers)?,
        };
        path.bytes().all(is_plain).then(|| Self { origin, path: path.to_owned() })
    }

    /// The resource identifier (RFC 8707 section 2).
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    /// Where its metadata are.
    #[must_use]
    pub fn metadata_url(&self) -> String {
        format!("{}{WELL_KNOWN}{}", self.origin, self.path)
    }

    /// Whether an audience is this endpoint, or what it is a part of. Hosts are compared without case, and a slash at the
    /// end does not count: clients add one to URLs without a path.
    #[must_use]
    pub fn is_within(&self, audience: &str) -> bool {
        let Some((origin, path)) = audience.split_at_checked(self.origin.len()) else { return false };
        let path = path.strip_suffix('/').unwrap_or(path);
        let rest = self.path.strip_prefix(path);
        origin.eq_ignore_ascii_case(&self.origin)
            && (path.is_empty() || path.starts_with('/'))
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Scheme, host and port that a request was sent to. Envoy says in `x-forwarded-proto` how it came.
fn own_origin(headers: &Headers<'_>) -> Option<String> {
    let text = |name: &str| headers.text(name).flatten();
    let scheme = text("x-forwarded-proto").or_else(|| text(":scheme")).filter(|it| matches!(*it, "http" | "https"))?;
    let host = text(":authority").filter(|host| !host.is_empty())?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    host.bytes().all(is_plain).then(|| format!("{scheme}://{host}"))
}

fn path_of<'h>(headers: &Headers<'h>) -> Option<&'h str> {
    let path = headers.text(":path").flatten()?;
    Some(path.split_once('?').map_or(path, |(path, _)| path))
}

/// The metadata of an endpoint (RFC 9728 section 2).
#[must_use]
pub fn metadata(resource: &ProtectedResource, endpoint: &Endpoint) -> String {
    let mut metadata = Map::from_iter([
        ("resource".to_owned(), json!(endpoint.url())),
        ("authorization_servers".to_owned(), json!(resource.authorization_servers)),
        ("bearer_methods_supported".to_owned(), json!(["header"])),
    ]);
    if !resource.scopes.is_empty() {
        metadata.insert("scopes_supported".to_owned(), json!(resource.scopes));
    }
    let texts = [("resource_name", &resource.name), ("resource_documentation", &resource.documentation)];
    metadata.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?)))));
    Value::Object(metadata).to_string()
}

/// What a challenge tells clients that can log in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    scopes: Vec<String>,
    metadata_url: Option<String>,
}

impl Hints {
    /// Those for the endpoint of a request.
    #[must_use]
    pub fn new(resource: Option<&ProtectedResource>, origin: Option<&str>, headers: &Headers<'_>) -> Self {
        let Some(resource) = resource else { return Self::default() };
        let has_metadata = !resource.authorization_servers.is_empty();
        let endpoint = Endpoint::of(resource.public_url.as_deref().or(origin), headers).filter(|_| has_metadata);
        Self { scopes: resource.scopes.clone(), metadata_url: endpoint.map(|endpoint| endpoint.metadata_url()) }
    }

    /// The same with other scopes.
    #[must_use]
    pub fn with_scopes(self, scopes: Vec<String>) -> Self {
        Self { scopes, ..self }
    }

    /// A challenge, with the error and its description if there is one. Some clients compare `Bearer` with case, take the
    /// first scheme alone, and end a value at the first quote.
    #[must_use]
    pub fn challenge(&self, error: Option<(&str, &str)>) -> String {
        let mut parameters = Vec::new();
        if let Some((error, description)) = error {
            parameters.push(format!("error=\"{error}\", error_description=\"{description}\""));
        }
        if !self.scopes.is_empty() {
            parameters.push(format!("scope=\"{}\"", self.scopes.join(" ")));
        }
        parameters.extend(self.metadata_url.iter().map(|url| format!("resource_metadata=\"{url}\"")));
        format!("Bearer {}", parameters.join(", ")).trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
    }

    fn endpoint(path: &str) -> Endpoint {
        let headers = headers(&[(":scheme", "https"), (":authority", "mcp.example.com"), (":path", path)]);
        Endpoint::of(None, &Headers(&headers)).unwrap()
    }

    #[test]
    fn urls() {
        for (path, url, metadata) in [
            ("/mcp", "https://mcp.example.com/mcp", "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"),
            (
                "/mcp/",
                "https://mcp.example.com/mcp/",
                "https://mcp.example.com/.well-known/oauth-protected-resource/mcp/",
            ),
            ("/a?b=c", "https://mcp.example.com/a", "https://mcp.example.com/.well-known/oauth-protected-resource/a"),
            ("/", "https://mcp.example.com", "https://mcp.example.com/.well-known/oauth-protected-resource"),
        ] {
            assert_eq!(
                (endpoint(path).url().as_str(), endpoint(path).metadata_url().as_str()),
                (url, metadata),
                "{path}"
            );
        }
    }

    #[test]
    fn requests_of_which_no_url_can_be_made() {
        for (name, value) in [
            (":authority", "a\"b"),
            (":authority", ""),
            (":authority", "a/b"),
            (":authority", "user@a"),
            (":path", "/a\"b"),
            (":path", "/a b"),
            (":path", "/ä"),
            (":scheme", "ftp"),
        ] {
            let mut all = vec![(":scheme", "https"), (":authority", "a"), (":path", "/a")];
            all.iter_mut().filter(|header| header.0 == name).for_each(|header| header.1 = value);
            assert_eq!(Endpoint::of(None, &Headers(&headers(&all))), None, "{name}: {value}");
        }
    }

    #[test]
    fn what_envoy_says_of_the_scheme_counts() {
        let all = [(":scheme", "https"), ("x-forwarded-proto", "http"), (":authority", "a"), (":path", "/m")];
        assert_eq!(Endpoint::of(None, &Headers(&headers(&all))).unwrap().url(), "http://a/m");
    }

    #[test]
    fn audiences_that_an_endpoint_is_within() {
        for (audience, path, within) in [
            ("https://mcp.example.com/mcp", "/mcp", true),
            ("https://MCP.example.com/mcp", "/mcp", true),
            ("https://mcp.example.com/mcp/", "/mcp", true),
            ("https://mcp.example.com/mcp", "/mcp/", true),
            ("https://mcp.example.com/mcp", "/mcp/x", true),
            ("https://mcp.example.com", "/mcp", true),
            ("https://mcp.example.com/", "/mcp", true),
            ("https://mcp.example.com/", "/", true),
            ("https://mcp.example.com/mcp/x", "/mcp", false),
            ("https://mcp.example.com/mc", "/mcp", false),
            ("https://mcp.example.com/MCP", "/mcp", false),
            ("https://mcp.example.com/other", "/mcp", false),
            ("https://mcp.example.com.evil.com", "/mcp", false),
            ("https://mcp.example.com:444/mcp", "/mcp", false),
            ("http://mcp.example.com/mcp", "/mcp", false),
            ("mcp", "/mcp", false),
            ("", "/mcp", false),
        ] {
            assert_eq!(endpoint(path).is_within(audience), within, "{audience} for {path}");
        }
    }

    #[test]
    fn challenges() {
        let hints = |scopes: &[&str], url: Option<&str>| Hints {
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            metadata_url: url.map(str::to_owned),
        };
        assert_eq!(hints(&[], None).challenge(None), "Bearer");
        assert_eq!(hints(&["a", "b"], None).challenge(None), "Bearer scope=\"a b\"");
        let all = hints(&["a"], Some("https://h/x")).challenge(Some(("invalid_token", "why")));
        assert_eq!(
            all,
            "Bearer error=\"invalid_token\", error_description=\"why\", scope=\"a\", resource_metadata=\"https://h/x\""
        );
    }
}
