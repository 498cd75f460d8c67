//! go-control-plane's snapshot cache in a process of its own, with the resources that Toolward serves.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use prost::Message as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::envoy::{Envoy, Kind};
use crate::server::free;
use crate::world::World;

/// A running server.
pub(crate) struct Rival {
    pub(crate) address: String,
    routes: Vec<(usize, String, RouteConfiguration)>,
    changes: ChildStdin,
    _process: Child,
    _folder: TempDir,
}

impl Rival {
    /// Serves what these Envoys have, of which there is one for each Gateway. `None`: it can't be built, for want of Go or
    /// of its modules.
    pub(crate) async fn start(envoys: Vec<Envoy>) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("go-control-plane");
        let built =
            Command::new("go").args(["build", "-o"]).arg(&program).arg(".").current_dir(source()).status().await;
        if !built.is_ok_and(|status| status.success()) {
            return None;
        }
        let mut lines = String::new();
        let mut routes = Vec::new();
        for Envoy { gateway, contents, .. } in envoys {
            for ((kind, name), value) in contents.into_iter().flatten() {
                lines.push_str(&format!("{}\n", line(gateway, kind, &name, &value)));
                if kind == Kind::Route {
                    let configuration = RouteConfiguration::decode(value.as_slice()).expect("what Toolward serves");
                    routes.push((gateway, name, configuration));
                }
            }
        }
        routes.sort_by_key(|(gateway, ..)| *gateway);
        let resources = folder.path().join("resources");
        std::fs::write(&resources, lines).expect("the file written");
        let address = free();
        let mut process = Command::new(program)
            .arg(&resources)
            .arg(address.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let mut output = BufReader::new(process.stdout.take().expect("its output"));
        output.read_line(&mut String::new()).await.expect("it is ready");
        let changes = process.stdin.take().expect("its input");
        Some(Self { address: format!("http://{address}"), routes, changes, _process: process, _folder: folder })
    }

    /// Changes the routes of one Gateway, and gives it, with the time before.
    pub(crate) async fn change(&mut self, number: usize) -> (usize, Instant) {
        let index = number * 37 % self.routes.len();
        let (gateway, name, configuration) = &mut self.routes[index];
        configuration.response_headers_to_remove = vec![format!("x-version-{number}")];
        let line = line(*gateway, Kind::Route, name, &configuration.encode_to_vec());
        let begun = Instant::now();
        self.changes.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
        (*gateway, begun)
    }
}

fn line(gateway: usize, kind: Kind, name: &str, value: &[u8]) -> Value {
    json!({ "gateway": World::gateway(gateway), "type": kind.url(), "name": name, "value": STANDARD.encode(value) })
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("go-control-plane")
}
