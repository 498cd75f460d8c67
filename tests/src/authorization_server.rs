//! A real OAuth authorization server.

use std::net::TcpStream;
use std::process::Command;

use serde_json::Value;

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
        Self::start_with(|_| ())
    }

    /// The same with more for its process to know.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with(prepare: impl Fn(&mut Command)) -> Self {
        let port = ports::free();
        let mut command = Command::new(&tools().node);
        command.arg(root().join("tests/servers/authorization_server.cjs")).arg(port.to_string());
        prepare(&mut command);
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

/// For what the second server's tokens are: it knows no resources.
pub const SECOND_AUDIENCE: &str = "https://api.example.com";

/// A second authorization server, independent of the first: Authlib, an issuer with a path, tokens signed with ES256.
#[derive(Debug)]
pub struct SecondServer {
    /// Its name.
    pub issuer: String,
    /// The process.
    pub process: Process,
}

impl SecondServer {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        Self::start_as(&[])
    }

    /// One with the gaps of Microsoft Entra ID: clients can't register (it knows `known-client`), pages can't read its
    /// metadata, and the parameter `resource` is refused.
    #[must_use]
    pub fn start_strict() -> Self {
        Self::start_as(&["strict"])
    }

    fn start_as(mode: &[&str]) -> Self {
        let port = ports::free();
        let mut command = Command::new("python3");
        command.arg(root().join("tests/servers/second_authorization_server.py"));
        command.args([&port.to_string(), SECOND_AUDIENCE]).args(mode).env("PYTHONPATH", &tools().python_issuers);
        command.env("AUTHLIB_INSECURE_TRANSPORT", "1").env("PYTHONDONTWRITEBYTECODE", "1");
        let mut process = Process::start("second authorization server", &mut command);
        process.wait_until("listening", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { issuer: format!("http://127.0.0.1:{port}/tenant"), process }
    }
}

/// `oauth2-mock-server`, which signs whatever it is told to.
#[derive(Debug)]
pub struct ForgingIssuer {
    /// Its name.
    pub issuer: String,
    _process: Process,
}

impl ForgingIssuer {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        let port = ports::free();
        let mut command = Command::new(&tools().node);
        command.arg(root().join("tests/servers/forging_issuer.cjs")).arg(port.to_string());
        command.env("NODE_PATH", &tools().node_issuers);
        let mut process = Process::start("forging issuer", &mut command);
        process.wait_until("listening", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { issuer: format!("http://127.0.0.1:{port}"), _process: process }
    }

    /// A token with these changes to what it would have signed: `{ header: {}, payload: {} }`.
    ///
    /// # Panics
    /// When it signs nothing.
    #[must_use]
    pub fn token(&self, forge: &Value) -> String {
        let form =
            format!("grant_type=client_credentials&scope=tools.read&forge={}", percent_encoded(&forge.to_string()));
        let request = http::client().post(format!("{}/token", self.issuer)).body(form);
        let answer = http::send(request.header("content-type", "application/x-www-form-urlencoded"));
        answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{forge}: {answer:?}")).to_owned()
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
