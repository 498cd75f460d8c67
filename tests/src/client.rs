//! Real MCP clients.

use std::process::Command;

use serde_json::Value;

use crate::mcp_server::Sdk;
use crate::tools::{root, tools};

/// A client on the 1.x line of the Python SDK: lists the tools and calls some in one session.
#[must_use]
pub fn sdk_v1(url: &str, token: &str, tools: &[&str]) -> Value {
    report(Sdk::V1.python(&root().join("tests/clients/sdk_v1.py")).args([url, token]).args(tools))
}

/// The same on the 2.x line; `mode` is `auto` or `legacy`.
#[must_use]
pub fn sdk_v2(url: &str, token: &str, mode: &str, tools: &[&str]) -> Value {
    report(Sdk::V2.python(&root().join("tests/clients/sdk_v2.py")).args([url, token, mode]).args(tools))
}

/// MCP Inspector's command line; `era` is `legacy` or `modern`. Gives the result, or the error in its place.
///
/// # Panics
/// When it prints neither.
#[must_use]
pub fn inspector(url: &str, token: &str, era: &str, arguments: &[&str]) -> Value {
    let home = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(&tools().node)
        .arg(&tools().inspector)
        .args(["--cli", url, "--transport", "http", "--protocol-era", era, "--format", "json"])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(arguments)
        .env("MCP_STORAGE_DIR", home.path())
        .output()
        .expect("Inspector starts");
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let text = String::from_utf8_lossy(&text);
    serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("Inspector printed no JSON: {text}"))
}

fn report(command: &mut Command) -> Value {
    let output = command.output().expect("python3 starts");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.trim())
        .unwrap_or_else(|_| panic!("no JSON: {text}\n{}", String::from_utf8_lossy(&output.stderr)))
}
