//! The clients of all SDKs, each of which does the same things with a server of [`crate::servers`].

use std::fmt;
use std::process::Command;

use serde_json::Value;

use crate::client::report;
use crate::mcp_server::Sdk;
use crate::servers::Era;
use crate::tools::{root, tools, wire_tools};

/// A client on one of the SDKs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The Python SDK, 1.x.
    PythonV1,
    /// The Python SDK, 2.x.
    PythonV2,
    /// The TypeScript SDK, 1.x.
    TypeScriptV1,
    /// The TypeScript SDK, 2.x.
    TypeScriptV2,
    /// The Rust SDK.
    Rust,
    /// The Go SDK.
    Go,
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::PythonV1, Self::PythonV2, Self::TypeScriptV1, Self::TypeScriptV2, Self::Rust, Self::Go];

    /// What it speaks.
    #[must_use]
    pub fn eras(self) -> &'static [Era] {
        match self {
            Self::PythonV1 | Self::TypeScriptV1 => &[Era::Legacy],
            Self::PythonV2 | Self::TypeScriptV2 | Self::Rust | Self::Go => &[Era::Legacy, Era::Modern],
        }
    }

    /// Lists everything, calls, gets, reads, completes, subscribes, cancels and resumes; says what came of each. Errors are
    /// their codes.
    ///
    /// # Panics
    /// When the client fails as a whole.
    #[must_use]
    pub fn run(self, url: &str, token: &str, era: Era) -> Value {
        let script = |name: &str| root().join("tests/clients").join(name);
        let node = |name: &str| {
            let mut command = Command::new(&tools().node);
            command.arg(script(name)).env("NODE_PATH", &wire_tools().node_modules);
            command
        };
        let program = |folder: &std::path::Path| {
            let mut command = Command::new(folder.join("sdk"));
            command.arg("use");
            command
        };
        let mut command = match self {
            Self::PythonV1 => Sdk::V1.python(&script("use.py")),
            Self::PythonV2 => Sdk::V2.python(&script("use.py")),
            Self::TypeScriptV1 => node("typescript_v1.cjs"),
            Self::TypeScriptV2 => node("typescript_v2.cjs"),
            Self::Rust => program(&wire_tools().rust_sdk),
            Self::Go => program(&wire_tools().go_sdk),
        };
        report(command.args([url, token, era.revision()]))
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PythonV1 => "python 1.x",
            Self::PythonV2 => "python 2.x",
            Self::TypeScriptV1 => "typescript 1.x",
            Self::TypeScriptV2 => "typescript 2.x",
            Self::Rust => "rust",
            Self::Go => "go",
        })
    }
}
