//! Real MCP servers.

use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::ports;
use crate::process::Process;
use crate::tools::{root, tools};

/// The two lines of the Python SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// 1.x: sessions, answers as server-sent events.
    V1,
    /// 2.x: both eras of the protocol.
    V2,
}

impl Sdk {
    /// A Python program with this SDK.
    #[must_use]
    pub fn python(self, script: &Path) -> Command {
        let path = match self {
            Self::V1 => &tools().python_v1,
            Self::V2 => &tools().python_v2,
        };
        let mut command = Command::new("python3");
        command.arg(script).env("PYTHONPATH", path).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// A running MCP server.
#[derive(Debug)]
pub struct McpServer {
    /// Where it listens; its path is `/mcp`.
    pub port: u16,
    /// The process.
    pub process: Process,
}

impl McpServer {
    /// Our server on this SDK.
    #[must_use]
    pub fn start(sdk: Sdk) -> Self {
        let script = match sdk {
            Sdk::V1 => "tests/servers/sdk_v1.py",
            Sdk::V2 => "tests/servers/sdk_v2.py",
        };
        Self::start_script(sdk, &root().join(script))
    }

    /// Our server on the 1.x line, over HTTP+SSE: its paths are `/sse` and `/messages/`.
    #[must_use]
    pub fn start_sse() -> Self {
        let mut command = Sdk::V1.python(&root().join("tests/servers/sdk_v1.py"));
        Self::start_command(command.env("TRANSPORT", "sse"))
    }

    /// A stand-in for servers over HTTP+SSE that announce their endpoint in all the ways there are.
    #[must_use]
    pub fn start_endpoints() -> Self {
        Self::start_script(Sdk::V1, &root().join("tests/servers/endpoints.py"))
    }

    /// Any script that listens on the port that the variable `PORT` says.
    #[must_use]
    pub fn start_script(sdk: Sdk, script: &Path) -> Self {
        Self::start_command(&mut sdk.python(script))
    }

    /// A script that also listens on the address that the variable `HOST` says.
    #[must_use]
    pub fn start_on(host: IpAddr, sdk: Sdk, script: &Path) -> Self {
        Self::start_at(host, sdk.python(script).env("HOST", host.to_string()))
    }

    /// Any program that listens on the port that the variable `PORT` says.
    #[must_use]
    pub fn start_command(command: &mut Command) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), command)
    }

    fn start_at(host: IpAddr, command: &mut Command) -> Self {
        let port = ports::free();
        let mut process = Process::start("MCP server", command.env("PORT", port.to_string()));
        process.wait_until("listening", || TcpStream::connect((host, port)).is_ok());
        Self { port, process }
    }

    /// How often a tool really ran.
    #[must_use]
    pub fn ran(&self, tool: &str) -> usize {
        self.told("RAN", tool)
    }

    /// How often a tool was stopped before its end.
    #[must_use]
    pub fn stopped(&self, tool: &str) -> usize {
        self.told("STOPPED", tool)
    }

    fn told(&self, word: &str, tool: &str) -> usize {
        let line = format!("{word} {tool}");
        self.process.log().lines().filter(|told| *told == line).count()
    }
}
