//! `toolward serve` as a process: from a folder to the admin port, through changes and faults, to its end.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

const GATEWAY: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: toolward }
spec: { controllerName: toolward.dev/gateway-controller }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: gw, namespace: ns }
spec:
  gatewayClassName: toolward
  listeners: [{ name: http, protocol: HTTP, port: 8080 }]
";

/// Stands for the wasm module, which only Envoy reads.
const ANY_FILE: &str = env!("CARGO_BIN_EXE_toolward");

/// A route that redirects to this path.
fn route(path: &str) -> String {
    format!(
        "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: route, namespace: ns }}
spec:
  parentRefs: [{{ name: gw }}]
  rules:
  - filters:
    - type: RequestRedirect
      requestRedirect: {{ statusCode: 302, path: {{ type: ReplaceFullPath, replaceFullPath: {path} }} }}
"
    )
}

/// A folder that is removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.0.join(name), content).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn toolward(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_toolward"));
    command
        .args(["serve", "--log-format", "json"])
        .env("TOOLWARD_XDS_ADDRESS", "127.0.0.1:0")
        .env("TOOLWARD_ADMIN_ADDRESS", "127.0.0.1:0")
        .arg("--source")
        .arg(format!("dir:{}", folder.0.display()))
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// A running `toolward serve`, killed when dropped.
struct Server {
    child: Child,
    log: Receiver<String>,
    admin: String,
}

impl Server {
    fn start(folder: &Folder) -> Self {
        let mut child = toolward(folder, &["--wasm-file", ANY_FILE]).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let mut server = Self { child, log, admin: String::new() };
        server.admin = server.logs("listening").get("admin").and_then(Value::as_str).unwrap().to_owned();
        server
    }

    /// Reads the log until a line with this text, and gives its fields.
    fn logs(&mut self, text: &str) -> Value {
        let mut seen = String::new();
        loop {
            let line = self.log.recv_timeout(Duration::from_secs(60));
            assert!(line.is_ok(), "no line with {text:?}, {line:?}:\n{seen}");
            let line = line.unwrap();
            let entry: Value = serde_json::from_str(&line).expect(&line);
            let fields = entry.get("fields").unwrap();
            if fields.get("message").and_then(Value::as_str).is_some_and(|message| message.contains(text)) {
                return fields.clone();
            }
            seen.push_str(&line);
            seen.push('\n');
        }
    }

    /// Status and body.
    fn get(&self, path: &str) -> (u16, String) {
        let mut connection = TcpStream::connect(&self.admin).unwrap();
        write!(connection, "GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_folder_is_served_and_followed() {
    let folder = Folder::new("followed");
    folder.write("gateway.yaml", GATEWAY);
    folder.write("route.yaml", &route("/one"));
    let mut server = Server::start(&folder);
    server.logs("serving a new snapshot");
    assert_eq!(server.get("/ready"), (200, "ready\n".into()));
    let (status, first) = server.get("/snapshot?gateway=ns/gw");
    assert_eq!(status, 200);
    assert!(first.contains("ns/gw/8080"), "{first}");

    folder.write("route.yaml", &route("/two"));
    server.logs("serving a new snapshot");
    let (_, second) = server.get("/snapshot?gateway=ns/gw");
    assert_ne!(first, second);

    folder.write("route.yaml", "rules: [");
    server.logs("what was last good, if anything, stays in force");
    assert_eq!(server.get("/ready").0, 200);
    assert_eq!(server.get("/snapshot?gateway=ns/gw").1, second);
    assert!(server.get("/problems").1.contains("route.yaml"));
    assert!(server.get("/metrics").1.contains("toolward_source_loads_total{result=\"Failed\"} 1"));

    folder.write("route.yaml", &route("/three"));
    server.logs("the source can be used again");
    server.logs("serving a new snapshot");

    let killed = Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    server.logs("stopping on SIGTERM");
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn it_starts_with_a_broken_folder_and_says_so() {
    let folder = Folder::new("broken");
    folder.write("gateway.yaml", "kind: [");
    let mut server = Server::start(&folder);
    server.logs("the source can't be used");
    let (status, reason) = server.get("/ready");
    assert_eq!(status, 503);
    assert!(reason.contains("gateway.yaml"), "{reason}");
    folder.write("gateway.yaml", GATEWAY);
    server.logs("serving a new snapshot");
    assert_eq!(server.get("/ready").0, 200);
}

#[test]
fn it_does_not_start_without_what_it_needs() {
    let folder = Folder::new("refused");
    let occupant = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = occupant.local_addr().unwrap().to_string();
    let module = ANY_FILE;
    let rows = [
        ("no module", vec!["--wasm-file", "/nowhere/toolward.wasm"], "/nowhere/toolward.wasm"),
        ("a folder for a module", vec!["--wasm-file", "/"], "the wasm module /"),
        ("xDS port for anybody", vec!["--wasm-file", module, "--xds-address", "0.0.0.0:0"], "--xds-insecure"),
        (
            "no certificate",
            vec!["--wasm-file", module, "--xds-tls-cert", "/nowhere/tls.crt", "--xds-tls-key", "/nowhere/tls.key"],
            "/nowhere/tls.crt: No such file",
        ),
        ("xDS port taken", vec!["--wasm-file", module, "--xds-address", &taken], "--xds-address"),
        ("admin port taken", vec!["--wasm-file", module, "--admin-address", &taken], "--admin-address"),
    ];
    for (name, arguments, complaint) in rows {
        let Output { status, stderr, .. } = toolward(&folder, &arguments).output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{name}: {stderr}");
        assert!(stderr.starts_with("toolward: ") && stderr.contains(complaint), "{name}: {stderr}");
    }
}
