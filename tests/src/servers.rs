//! The servers of all SDKs, each with the same tools, prompts and resources.
//!
//! ```text
//!              for everybody               secret, and telling when it is used     telling when it is used
//! tools        add(a, b)                   multiply(a, b)                          count(to), touch(uri), pause(),
//!                                                                                  act(repo { owner }, to, force, amount, labels)
//! prompts      greeting(name)              secret
//! resources    note://today                note://secret
//! templates    note://day/{day}            secret://day/{day}
//! ```
//! `count` runs until it is cancelled, `touch` tells who subscribed to a resource, and `pause` closes its stream before its
//! result, which comes when the client resumes. `act` tells with which arguments it ran, having turned what it was given into
//! the types of its schema as far as its SDK does so ([`Server::ACT`]). [`Server::Everything`] has tools of its own.

use std::fmt;
use std::process::Command;

use crate::mcp_server::{McpServer, Sdk};
use crate::tools::{root, tools, wire_tools};

/// A way of speaking the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Era {
    /// With a handshake, up to revision 2025-11-25.
    Legacy,
    /// Without state, since revision 2026-07-28.
    Modern,
}

impl Era {
    /// For reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }

    /// Its newest revision.
    #[must_use]
    pub fn revision(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
        }
    }
}

/// A server on one of the SDKs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// The Python SDK, 1.x.
    PythonV1,
    /// The Python SDK, 2.x.
    PythonV2,
    /// The TypeScript SDK, 1.x.
    TypeScriptV1,
    /// The TypeScript SDK, 2.x.
    TypeScriptV2,
    /// The Rust SDK; it has the extensions for tasks and skills as well.
    Rust,
    /// The Go SDK.
    Go,
    /// The reference server on the TypeScript SDK 1.x; it has tasks as well.
    Everything,
    /// What the conformance suite expects, on the Python SDK 2.x.
    PythonConformance,
    /// What the conformance suite expects, on the TypeScript SDK 2.x.
    TypeScriptConformance,
    /// What the conformance suite expects, by the Go SDK's own authors; with sessions.
    GoConformance,
    /// The same without sessions.
    GoConformanceStateless,
}

impl Server {
    /// Those with the same tools.
    pub const ALIKE: [Self; 6] =
        [Self::PythonV1, Self::PythonV2, Self::TypeScriptV1, Self::TypeScriptV2, Self::Rust, Self::Go];

    /// Those with the tool `act`.
    pub const ACT: [Self; 5] = [Self::PythonV1, Self::PythonV2, Self::TypeScriptV1, Self::TypeScriptV2, Self::Go];

    /// Every one that speaks Streamable HTTP.
    pub const ALL: [Self; 11] = [
        Self::PythonV1,
        Self::PythonV2,
        Self::TypeScriptV1,
        Self::TypeScriptV2,
        Self::Rust,
        Self::Go,
        Self::Everything,
        Self::PythonConformance,
        Self::TypeScriptConformance,
        Self::GoConformance,
        Self::GoConformanceStateless,
    ];

    /// What it speaks on its one endpoint.
    #[must_use]
    pub fn eras(self) -> &'static [Era] {
        match self {
            Self::PythonV1 | Self::TypeScriptV1 | Self::Everything | Self::GoConformance => &[Era::Legacy],
            Self::GoConformanceStateless => &[Era::Modern],
            _ => &[Era::Legacy, Era::Modern],
        }
    }

    /// Whether it is made for the conformance suite.
    #[must_use]
    pub fn is_for_conformance(self) -> bool {
        matches!(
            self,
            Self::PythonConformance | Self::TypeScriptConformance | Self::GoConformance | Self::GoConformanceStateless
        )
    }

    /// Starts it; its path is `/mcp`.
    #[must_use]
    pub fn start(self) -> McpServer {
        match self {
            Self::PythonV1 => McpServer::start(Sdk::V1),
            Self::PythonV2 => McpServer::start(Sdk::V2),
            Self::TypeScriptV1 => McpServer::start_command(&mut node("typescript_v1.cjs")),
            Self::TypeScriptV2 => McpServer::start_command(&mut node("typescript_v2.cjs")),
            Self::Rust => McpServer::start_command(Command::new(wire_tools().rust_sdk.join("sdk")).arg("serve")),
            Self::Go => McpServer::start_command(Command::new(wire_tools().go_sdk.join("sdk")).arg("serve")),
            Self::Everything => McpServer::start_command(node("everything.mjs").arg("streamableHttp")),
            Self::PythonConformance => McpServer::start_script(Sdk::V2, &root().join("tests/servers/conformance.py")),
            Self::TypeScriptConformance => McpServer::start_command(&mut node("conformance.cjs")),
            Self::GoConformance => McpServer::start_command(&mut go_conformance("false")),
            Self::GoConformanceStateless => McpServer::start_command(&mut go_conformance("true")),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PythonV1 => "python 1.x",
            Self::PythonV2 => "python 2.x",
            Self::TypeScriptV1 => "typescript 1.x",
            Self::TypeScriptV2 => "typescript 2.x",
            Self::Rust => "rust",
            Self::Go => "go",
            Self::Everything => "everything",
            Self::PythonConformance => "python 2.x for conformance",
            Self::TypeScriptConformance => "typescript 2.x for conformance",
            Self::GoConformance => "go for conformance",
            Self::GoConformanceStateless => "go for conformance, stateless",
        })
    }
}

/// The reference server over HTTP+SSE, the transport of revision 2024-11-05: its paths are `/sse` and `/message`.
#[must_use]
pub fn everything_over_sse() -> McpServer {
    McpServer::start_command(node("everything.mjs").arg("sse"))
}

fn go_conformance(stateless: &str) -> Command {
    let mut command = Command::new("sh");
    let run = r#"exec "$1" -http "127.0.0.1:$PORT" -stateless="$2""#;
    command.args(["-c", run, "sh"]).arg(wire_tools().go_sdk.join("conformance")).arg(stateless);
    command
}

/// A server for Node.js, in `tests/servers`.
pub(crate) fn node(script: &str) -> Command {
    let mut command = Command::new(&tools().node);
    command.arg(root().join("tests/servers").join(script)).env("NODE_PATH", &wire_tools().node_modules);
    command
}
