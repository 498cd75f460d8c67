//! An issuer's metadata: where they are, and what of them counts (RFC 8414, OpenID Connect Discovery 1.0).

use serde_json::{Map, Value};

use crate::strict;

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

/// The URLs at which an issuer's metadata may be, in the order in which clients of MCP look (MCP authorization,
/// "Authorization Server Metadata Discovery").
#[must_use]
pub fn urls(issuer: &str) -> Vec<String> {
    let after_scheme = issuer.find("://").map_or(0, |at| at + 3);
    let path_at = issuer.get(after_scheme..).and_then(|rest| rest.find('/')).map(|at| after_scheme + at);
    let (origin, path) = path_at.and_then(|at| issuer.split_at_checked(at)).unwrap_or((issuer, ""));
    match path.trim_end_matches('/') {
        "" => vec![format!("{origin}{OAUTH}"), format!("{origin}{OPENID}")],
        path => {
            vec![format!("{origin}{OAUTH}{path}"), format!("{origin}{OPENID}{path}"), format!("{origin}{path}{OPENID}")]
        }
    }
}

/// Metadata of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Where its key set is.
    pub jwks_uri: String,
    /// All of it.
    pub document: String,
}

/// Why metadata are of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataFault {
    /// No JSON object, or one with doubled members.
    #[error("this is no JSON object without doubled members")]
    NotAnObject,
    /// They are of another issuer (RFC 8414 section 3.3: then they must not be used).
    #[error("these are the metadata of another issuer, {0:?}")]
    OtherIssuer(String),
    /// They do not say where the keys are.
    #[error("they have no jwks_uri")]
    NoKeys,
}

impl Metadata {
    /// Reads metadata, which must be of this issuer.
    ///
    /// # Errors
    /// When they are of no use.
    pub fn parse(text: &[u8], issuer: &str) -> Result<Self, MetadataFault> {
        let metadata: Map<String, Value> = strict::object(text).map_err(|_| MetadataFault::NotAnObject)?;
        let member = |name: &str| metadata.get(name).and_then(Value::as_str);
        match member("issuer") {
            Some(named) if named == issuer => {}
            named => return Err(MetadataFault::OtherIssuer(named.unwrap_or_default().chars().take(256).collect())),
        }
        let jwks_uri = member("jwks_uri").ok_or(MetadataFault::NoKeys)?.to_owned();
        Ok(Self { jwks_uri, document: Value::Object(metadata).to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_metadata_may_be() {
        let root = ["https://a/.well-known/oauth-authorization-server", "https://a/.well-known/openid-configuration"];
        assert_eq!(urls("https://a"), root);
        assert_eq!(urls("https://a/"), root);
        let with_path = [
            "https://a/.well-known/oauth-authorization-server/x",
            "https://a/.well-known/openid-configuration/x",
            "https://a/x/.well-known/openid-configuration",
        ];
        assert_eq!(urls("https://a/x"), with_path);
        assert_eq!(urls("https://a/x/"), with_path);
    }

    #[test]
    fn metadata_of_one_issuer() {
        let parse = |text: &str| Metadata::parse(text.as_bytes(), "https://a").map(|metadata| metadata.jwks_uri);
        let other = |issuer: &str| Err(MetadataFault::OtherIssuer(issuer.to_owned()));
        let rows = [
            ("good", r#"{"issuer":"https://a","jwks_uri":"https://a/j"}"#, Ok("https://a/j".to_owned())),
            ("with a slash", r#"{"issuer":"https://a/","jwks_uri":"https://a/j"}"#, other("https://a/")),
            ("another", r#"{"issuer":"https://b","jwks_uri":"https://a/j"}"#, other("https://b")),
            ("none", r#"{"jwks_uri":"https://a/j"}"#, other("")),
            ("no keys", r#"{"issuer":"https://a"}"#, Err(MetadataFault::NoKeys)),
            ("keys that are no text", r#"{"issuer":"https://a","jwks_uri":1}"#, Err(MetadataFault::NoKeys)),
            ("two issuers", r#"{"issuer":"https://a","issuer":"https://b"}"#, Err(MetadataFault::NotAnObject)),
            ("no object", "[]", Err(MetadataFault::NotAnObject)),
        ];
        for (row, text, expected) in rows {
            assert_eq!(parse(text), expected, "{row}");
        }
    }
}
