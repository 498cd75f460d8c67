//! MCP Inspector's page, and a browser with a person who visits it.

use std::process::Command;

use serde_json::Value;

use crate::client::report;
use crate::ports;
use crate::process::Process;
use crate::tools::{browser_tools, reports, root, tools};

/// The page, as it is served on loopback.
#[derive(Debug)]
pub struct InspectorPage {
    /// Its address.
    pub address: String,
    /// Scheme, host and port of it.
    pub origin: String,
    _process: Process,
    _home: tempfile::TempDir,
}

impl InspectorPage {
    /// That of Inspector 2.x for this server, which its backend dials: the browser sends nothing to the server.
    #[must_use]
    pub fn with_backend(url: &str) -> Self {
        let mut command = Command::new(&tools().node);
        command.arg(&tools().inspector).args(["--web", "--transport", "http", "--server-url", url]);
        Self::start(command, |log| {
            let address = log.split_whitespace().find(|word| word.contains("MCP_INSPECTOR_API_TOKEN="))?;
            Some(address.to_owned())
        })
    }

    /// That of Inspector 1.x, which dials servers itself.
    #[must_use]
    pub fn alone() -> Self {
        let mut command = Command::new(&tools().node);
        command.arg(browser_tools().folder.join("node_modules/inspector-v1/client/bin/client.js"));
        Self::start(command, |log| {
            let port = log.split("http://127.0.0.1:").nth(1)?.split_whitespace().next()?;
            Some(format!("http://127.0.0.1:{port}"))
        })
    }

    fn start(mut command: Command, address: impl Fn(&str) -> Option<String>) -> Self {
        let (home, port) = (tempfile::tempdir().expect("a temporary folder"), ports::free());
        command.env("HOST", "127.0.0.1").env("CLIENT_PORT", port.to_string()).env("MCP_SANDBOX_PORT", "0");
        command.env("HOME", home.path()).env("MCP_STORAGE_DIR", home.path()).env("MCP_AUTO_OPEN_ENABLED", "false");
        let mut process = Process::start("Inspector's page", &mut command);
        let log = process.log_file().to_owned();
        let said = || address(&std::fs::read_to_string(&log).unwrap_or_default());
        process.wait_until("up", || said().is_some());
        let address = said().expect("an address");
        Self { address, origin: format!("http://127.0.0.1:{port}"), _process: process, _home: home }
    }

    /// Connects, logs in, lists the tools and calls add(6, 7), by clicks. Gives what the page shows, and what the browser
    /// asked; a picture of the page with this name goes to the reports.
    #[must_use]
    pub fn visit(&self, url: &str, picture: &str) -> Value {
        let browser = browser_tools();
        let mut command = Command::new("timeout");
        command.arg("120").arg(&tools().node).arg(root().join("tests/clients/inspector_page.cjs"));
        command.args([&self.address, url]).arg(reports().join(picture));
        command.env("NODE_PATH", browser.folder.join("node_modules"));
        command.env("TOOLWARD_CHROMIUM", &browser.chromium).env("TOOLWARD_BROWSER", &browser.folder);
        report(&mut command)
    }
}
