//! A remote MCP server like that of gitlab.com: TLS, an authorization server of its own, and no mercy with tokens.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;

use tempfile::TempDir;

use crate::credentials::Authority;
use crate::name_server::NameServer;
use crate::process::Process;
use crate::tools::{root, tools};

/// Its name.
pub const HOST: &str = "gitlab.com";

/// A running stand-in.
#[derive(Debug)]
pub struct Remote {
    /// Where it listens, on port 443.
    pub address: Ipv4Addr,
    /// Who knows its name.
    pub names: NameServer,
    /// Who signed its certificate.
    pub authority: Authority,
    /// The process.
    pub process: Process,
    folder: TempDir,
}

impl Remote {
    /// Starts one on an address of loopback of its own: its URLs have no port.
    ///
    /// # Panics
    /// When this user may not listen on port 443.
    #[must_use]
    pub fn start() -> Self {
        let address = free_address();
        let authority = Authority::new();
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in authority.host(HOST) {
            std::fs::write(folder.path().join(name), content).expect("writable");
        }
        std::fs::write(folder.path().join("ca.crt"), &authority.pem).expect("writable");
        let mut command = Command::new(&tools().node);
        command.arg(root().join("tests/servers/remote.cjs")).arg(address.to_string()).arg(folder.path());
        command.env("NODE_PATH", tools().node.ancestors().nth(2).expect("node_modules"));
        let mut process = Process::start("remote MCP server", &mut command);
        process.wait_until("listening", || TcpStream::connect((address, 443)).is_ok());
        let names = NameServer::start(HOST, address);
        Self { address, names, authority, process, folder }
    }

    /// The file with the authority that signed its certificate.
    ///
    /// # Panics
    /// When the path is not UTF-8.
    #[must_use]
    pub fn authority_file(&self) -> String {
        self.folder.path().join("ca.crt").to_str().expect("UTF-8").to_owned()
    }

    /// Lets a client's process find it and trust it.
    pub fn show_to(&self, command: &mut Command) {
        command.env("RESOLVE", format!("{HOST}={}", self.address));
        command.env("SSL_CERT_FILE", self.authority_file());
        command.env("NODE_EXTRA_CA_CERTS", self.authority_file());
        command.env("NODE_OPTIONS", format!("--require {}", root().join("tests/clients/resolve.cjs").display()));
    }

    /// The lines that it wrote about requests to its MCP endpoint: method, and what became of the token.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.process.log().lines().filter_map(|line| line.strip_prefix("MCP ").map(str::to_owned)).collect()
    }
}

fn free_address() -> Ipv4Addr {
    let [.., third, fourth] = std::process::id().to_be_bytes();
    let mut candidates = (1..250).map(|offset: u8| Ipv4Addr::new(127, 100 + offset % 100, third, fourth.max(1)));
    let free = candidates.find(|address| TcpListener::bind((*address, 443)).is_ok());
    free.expect("this user may listen on port 443 of an address of loopback")
}
