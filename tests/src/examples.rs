//! The shipped examples, made ready to run: with keys, and on free ports.

use std::path::Path;

use crate::envoy::{Envoy, shipped};
use crate::folder::Folder;
use crate::http;
use crate::mcp_server::{McpServer, Sdk};
use crate::ports;
use crate::process::eventually;
use crate::tools::root;
use crate::toolward::{Issuer, Toolward};

/// The example `quickstart` with all that runs for it.
#[derive(Debug)]
pub struct Quickstart {
    /// The manifests.
    pub folder: Folder,
    /// The example's own MCP server.
    pub server: McpServer,
    /// The control plane.
    pub toolward: Toolward,
    /// The proxy.
    pub envoy: Envoy,
    /// The MCP endpoint.
    pub url: String,
}

impl Quickstart {
    /// Starts everything, and waits until the Gateway answers.
    #[must_use]
    pub fn start(issuer: &Issuer) -> Self {
        let server = McpServer::start_script(Sdk::V2, &root().join("manifests/examples/quickstart/server.py"));
        let port = ports::free();
        let folder = example("quickstart", issuer, &[(3000, port), (8000, server.port)]);
        let toolward = Toolward::serve(folder.path());
        toolward.wait_until_ready();
        let envoy = Envoy::with_control_plane("default/mcp-gateway", toolward.xds);
        let url = format!("http://127.0.0.1:{port}/mcp");
        eventually("the Gateway answers", || http::client().get(&url).send().is_ok());
        Self { folder, server, toolward, envoy, url }
    }
}

/// A copy of an example of `manifests/examples` with this issuer's keys, and these ports in place of others.
///
/// # Panics
/// When the example is not there, or does not say what is to be replaced.
#[must_use]
pub fn example(name: &str, issuer: &Issuer, ports: &[(u16, u16)]) -> Folder {
    let folder = Folder::new();
    let mut text = Vec::new();
    for file in files(&root().join("manifests/examples").join(name)) {
        text.push((file.clone(), shipped(&format!("manifests/examples/{name}/{file}"))));
    }
    replace(&mut text, r#"{"keys":[]}"#, &issuer.jwks());
    for (from, to) in ports {
        replace(&mut text, &format!("port: {from}"), &format!("port: {to}"));
    }
    for (file, content) in text {
        folder.write(&file, &content);
    }
    folder
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    names.filter(|name| name.ends_with(".yaml")).collect()
}

fn replace(files: &mut [(String, String)], from: &str, to: &str) {
    assert!(files.iter().any(|(_, content)| content.contains(from)), "no file says {from}");
    for (_, content) in files {
        *content = content.replace(from, to);
    }
}
