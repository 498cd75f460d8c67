//! A real OAuth authorization server.

use std::net::TcpStream;
use std::process::Command;

use crate::http;
use crate::mcp_server::Sdk;
use crate::ports;
use crate::process::Process;
use crate::tools::{root, tools};

/// `oidc-provider` on loopback, where everybody is Bob and consents.
#[derive(Debug)]
pub struct AuthorizationServer {
    /// Its name.
    pub issuer: String,
    /// The process.
    pub process: Process,
}

impl AuthorizationServer {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start() -> Self {
        let port = ports::free();
        let mut command = Command::new(&tools().node);
        command.arg(root().join("tests/servers/authorization_server.cjs")).arg(port.to_string());
        command.env("NODE_PATH", tools().node.ancestors().nth(2).expect("node_modules"));
        let mut process = Process::start("authorization server", &mut command);
        process.wait_until("listening", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { issuer: format!("http://127.0.0.1:{port}"), process }
    }

    /// Its public keys, as a JWK Set.
    #[must_use]
    pub fn jwks(&self) -> String {
        http::send(http::client().get(format!("{}/jwks", self.issuer))).text
    }

    /// A token of Bob's for this resource with these scopes, as a client gets one that is known to the server.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn token(&self, resource: &str, scope: &str) -> String {
        let script = root().join("tests/clients/get_token.py");
        let output = Sdk::V2.python(&script).args([&self.issuer, resource, scope]).output().expect("python3 starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}
