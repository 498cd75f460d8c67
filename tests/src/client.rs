//! Real MCP clients.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

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

/// A client of the Python SDK without a token, which logs in: `flow` is `register` or `known`.
#[must_use]
pub fn login(sdk: Sdk, url: &str, flow: &str, tools: &[&str]) -> Value {
    login_as(sdk, url, flow, tools, |_| ())
}

/// The same with more for its process to know.
#[must_use]
pub fn login_as(sdk: Sdk, url: &str, flow: &str, tools: &[&str], prepare: impl Fn(&mut Command)) -> Value {
    let script = match sdk {
        Sdk::V1 => "tests/clients/login_v1.py",
        Sdk::V2 => "tests/clients/login_v2.py",
    };
    let mut command = sdk.python(&root().join(script));
    prepare(&mut command);
    report(command.args([url, flow]).args(tools))
}

/// A client of the TypeScript SDK without a token, which logs in: `flow` is `register`, `known` or `cimd=URL`.
#[must_use]
pub fn login_ts(url: &str, flow: &str, tools: &[&str], prepare: impl Fn(&mut Command)) -> Value {
    let mut command = node("tests/clients/login_ts.cjs");
    prepare(&mut command);
    report(command.args([url, flow]).args(tools))
}

/// The steps of VS Code without a token, which logs in: `flow` is `register` or the id of a client.
#[must_use]
pub fn vscode(url: &str, flow: &str, tools: &[&str], prepare: impl Fn(&mut Command)) -> Value {
    let mut command = Sdk::V2.python(&root().join("tests/clients/vscode.py"));
    prepare(&mut command);
    report(command.args([url, flow]).args(tools))
}

/// MCP Inspector's command line without a token, which logs in; a script does what a person does in a browser. Gives the
/// result, or the error in its place.
///
/// # Panics
/// When it prints neither.
#[must_use]
pub fn inspector_login(url: &str, arguments: &[&str], prepare: impl Fn(&mut Command)) -> Value {
    let home = tempfile::tempdir().expect("a temporary folder");
    inspector_login_in(home.path(), url, arguments, prepare)
}

/// The same with a folder where it keeps what it learns.
///
/// # Panics
/// When it prints nothing.
#[must_use]
pub fn inspector_login_in(home: &Path, url: &str, arguments: &[&str], prepare: impl Fn(&mut Command)) -> Value {
    // It would wait for ever for a person who does not come.
    let mut command = Command::new("timeout");
    command.arg("60").arg(&tools().node).arg(&tools().inspector);
    command.args(["--cli", url, "--transport", "http", "--format", "json"]).args(arguments);
    command.env("MCP_STORAGE_DIR", home).env("MCP_AUTO_OPEN_ENABLED", "true").env("BROWSER", "/bin/true");
    // The callback is on loopback and needs no other port than a free one.
    command.args(["--callback-url", &format!("http://127.0.0.1:{}/oauth/callback", crate::ports::free())]);
    prepare(&mut command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("Inspector starts");
    // Asked whether it should go on to a login with more scopes, the person says yes.
    child.stdin.take().expect("a pipe").write_all(b"y\n").expect("writable");
    let mut said = String::new();
    let mut person = None;
    for line in BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok) {
        if let Some(at) =
            line.find("http").filter(|_| line.contains("navigate to") || said.trim_end().ends_with("navigate to:"))
        {
            let mut browser = Sdk::V2.python(&root().join("tests/clients/browser.py"));
            prepare(&mut browser);
            // The steps of a person belong to the record as well.
            if let Some((_, Some(record))) = command.get_envs().find(|(name, _)| *name == "RECORD") {
                let step = json!({ "method": "BROWSER", "url": line[at..].trim() });
                let mut file = OpenOptions::new().append(true).create(true).open(record).expect("a record");
                writeln!(file, "{step}").expect("writable");
            }
            browser.env_remove("NODE_OPTIONS").arg(line[at..].trim());
            let output = browser.output().expect("python3 starts");
            let failed = !output.status.success();
            person = Some(output);
            if failed {
                let _ = child.kill();
            }
        }
        said.push_str(&line);
        said.push('\n');
    }
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = if text.trim().is_empty() { &said } else { &text };
    let json = text.find('{').map_or(text.as_str(), |at| &text[at..]);
    serde_json::from_str(json.trim())
        .unwrap_or_else(|_| panic!("Inspector printed no JSON: {text}\n{said}\n{person:?}"))
}

/// A program for Node.js, which finds the packages of the tools.
pub(crate) fn node(script: &str) -> Command {
    let mut command = Command::new(&tools().node);
    command.arg(root().join(script)).env("NODE_PATH", tools().node.ancestors().nth(2).expect("node_modules"));
    command
}

/// The JSON that a program prints.
pub(crate) fn report(command: &mut Command) -> Value {
    let output = command.output().expect("the client starts");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.trim())
        .unwrap_or_else(|_| panic!("no JSON: {text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// A session of a real client (Python SDK 2.x) that stays open.
#[derive(Debug)]
pub struct Session {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Session {
    /// Starts the client; it connects meanwhile.
    ///
    /// # Panics
    /// When Python can't be started.
    #[must_use]
    pub fn open(url: &str, token: &str) -> Self {
        let mut command = Sdk::V2.python(&root().join("tests/clients/session.py"));
        let mut child = command
            .args([url, token])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines }
    }

    /// Calls a tool with a = 6 and b = 7, or with `list` lists the tools' names: what the client shows its user. A
    /// client that could not connect answers everything with why.
    ///
    /// # Panics
    /// When the client ended.
    pub fn ask(&mut self, what: &str) -> String {
        writeln!(self.child.stdin.as_mut().expect("a pipe"), "{what}").expect("the client listens");
        let line = self.lines.next().expect("an answer").expect("UTF-8");
        serde_json::from_str(&line).expect("a JSON string")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
