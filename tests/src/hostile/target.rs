//! Whom a case is sent to, and on whose behalf.

use serde_json::json;

use crate::servers::Era;

/// An endpoint with a caller that may use one tool and not another.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host and port.
    pub host: String,
    /// The endpoint's path.
    pub path: String,
    /// The caller's token.
    pub token: String,
    /// The tool that the caller may use.
    pub granted: String,
    /// The tool that the caller may not use.
    pub forbidden: String,
    /// Arguments that both tools take, as JSON.
    pub arguments: String,
    /// How the protocol is spoken.
    pub era: Era,
    /// The session, where the server has opened one.
    pub session: Option<String>,
}

impl Target {
    /// Headers of the session and the revision, as a well-behaved client that calls the granted tool sends them.
    #[must_use]
    pub fn protocol_headers(&self) -> Vec<(String, String)> {
        let mut headers = vec![("mcp-protocol-version", self.era.revision())];
        if self.era == Era::Modern {
            headers.extend([("mcp-method", "tools/call"), ("mcp-name", self.granted.as_str())]);
        }
        headers.extend(self.session.as_deref().map(|session| ("mcp-session-id", session)));
        headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// `_meta` with a comma before it, where the revision has one.
    #[must_use]
    pub fn meta(&self) -> String {
        match self.era {
            Era::Legacy => String::new(),
            Era::Modern => {
                let meta = json!({
                    "io.modelcontextprotocol/protocolVersion": self.era.revision(),
                    "io.modelcontextprotocol/clientCapabilities": {},
                });
                format!(r#","_meta":{meta}"#)
            }
        }
    }
}
