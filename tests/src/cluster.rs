//! A real Kubernetes API server: etcd and kube-apiserver on loopback, with RBAC. There are no other controllers and no
//! nodes: what a Deployment would start, the test starts.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::ports;
use crate::process::{Process, eventually};
use crate::tools::{cluster_tools, root};
use crate::toolward::Issuer;

mod audit;

/// The namespace in which toolward runs.
pub const NAMESPACE: &str = "toolward-system";

/// A running API server.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    etcd: Process,
    etcd_port: u16,
    server: Process,
    port: u16,
}

/// Which requests are written to the audit log; of lists of Secrets also what was answered.
const AUDIT: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: RequestResponse
  users: ['system:serviceaccount:toolward-system:toolward']
  verbs: [list]
  resources: [{ group: '', resources: [secrets] }]
  omitStages: [RequestReceived]
- { level: Metadata, users: ['system:serviceaccount:toolward-system:toolward'], omitStages: [RequestReceived] }
- { level: None }
";

/// The token of the administrator who applies manifests.
const ADMIN: &str = "administrator-of-tests";

impl Cluster {
    /// Starts an API server with the kinds of Gateway API, ours, and everything else of `manifests/`.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("tokens.csv"), format!("{ADMIN},admin,admin,system:masters\n")).expect("writable");
        std::fs::write(path("audit.yaml"), AUDIT).expect("writable");
        Issuer::new("RS256").write_key(&path("service-accounts.pem"));
        let (etcd_port, port) = (ports::free(), ports::free());
        let etcd = start_etcd(etcd_port, folder.path());
        let server = start_server(port, etcd_port, folder.path());
        let cluster = Self { folder, etcd, etcd_port, server, port };
        cluster.write_kubeconfig("admin", ADMIN);
        eventually("the API server is ready", || cluster.try_kubectl(&["get", "--raw", "/readyz"], "").is_ok());
        cluster.kubectl(&["apply", "--server-side", "-f", cluster_tools().gateway_api_crds.to_str().expect("UTF-8")]);
        cluster.kubectl(&["apply", "-k", root().join("manifests").to_str().expect("UTF-8")]);
        for crd in ["gateways.gateway.networking.k8s.io", "mcpaccesspolicies.toolward.dev", "mcpbackends.toolward.dev"]
        {
            cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", &format!("crd/{crd}")]);
        }
        cluster
    }

    /// Runs kubectl as the administrator.
    ///
    /// # Panics
    /// When it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments, "").unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    /// Runs kubectl as the administrator; gives what it says on standard error when it fails.
    ///
    /// # Errors
    /// When it fails.
    pub fn try_kubectl(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut command = Command::new(cluster_tools().programs.join("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig("admin")).args(arguments);
        command.env("HOME", self.folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl starts");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("kubectl reads");
        let output = child.wait_with_output().expect("kubectl ends");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// Applies manifests.
    ///
    /// # Panics
    /// When the API server refuses them.
    pub fn apply(&self, manifests: &str) {
        let applied = self.try_kubectl(&["apply", "-f", "-"], manifests);
        applied.unwrap_or_else(|error| panic!("{error}\n{manifests}"));
    }

    /// An object as JSON.
    #[must_use]
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", kind, "-n", namespace, name, "-o", "json"])).expect("JSON")
    }

    /// Where the credentials of somebody are, written by [`Self::write_kubeconfig`].
    #[must_use]
    pub fn kubeconfig(&self, who: &str) -> PathBuf {
        self.folder.path().join(format!("{who}.kubeconfig"))
    }

    /// Credentials of a service account, as its pods have them.
    #[must_use]
    pub fn service_account(&self, namespace: &str, name: &str) -> PathBuf {
        let token = self.kubectl(&["create", "token", "-n", namespace, name]);
        let who = format!("{namespace}-{name}");
        self.write_kubeconfig(&who, token.trim());
        self.kubeconfig(&who)
    }

    /// A token of a service account for an audience.
    #[must_use]
    pub fn token(&self, namespace: &str, name: &str, audience: &str) -> String {
        self.kubectl(&["create", "token", "-n", namespace, name, "--audience", audience]).trim().to_owned()
    }

    /// An address of the API server.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// The administrator as a client of HTTP, for more than kubectl can do in the time.
    ///
    /// # Panics
    /// When the system gives none.
    #[must_use]
    pub fn client(&self) -> reqwest::Client {
        let authority = std::fs::read(self.authority()).expect("a certificate");
        let authority = reqwest::Certificate::from_pem_bundle(&authority).expect("a certificate");
        let token = format!("Bearer {ADMIN}").parse().expect("a header");
        let headers = [(reqwest::header::AUTHORIZATION, token)].into_iter().collect();
        let client = reqwest::Client::builder().tls_certs_only(authority).default_headers(headers).no_proxy();
        client.build().expect("a client")
    }

    /// Whoever has this token, as a client of HTTP that waits for answers.
    ///
    /// # Panics
    /// When the system gives none.
    #[must_use]
    pub fn client_of(&self, token: &str) -> reqwest::blocking::Client {
        let authority = std::fs::read(self.authority()).expect("a certificate");
        let authority = reqwest::Certificate::from_pem_bundle(&authority).expect("a certificate");
        let token = format!("Bearer {token}").parse().expect("a header");
        let headers = [(reqwest::header::AUTHORIZATION, token)].into_iter().collect();
        let client = reqwest::blocking::Client::builder().tls_certs_only(authority).default_headers(headers);
        client.no_proxy().build().expect("a client")
    }

    fn authority(&self) -> PathBuf {
        self.folder.path().join("certificates/apiserver.crt")
    }

    fn write_kubeconfig(&self, who: &str, token: &str) {
        let authority = self.authority();
        let config = format!(
            "apiVersion: v1
kind: Config
current-context: test
clusters: [{{ name: test, cluster: {{ server: 'https://127.0.0.1:{}', certificate-authority: {} }} }}]
users: [{{ name: test, user: {{ token: {token} }} }}]
contexts: [{{ name: test, context: {{ cluster: test, user: test }} }}]
",
            self.port,
            authority.display()
        );
        std::fs::write(self.kubeconfig(who), config).expect("writable");
    }

    /// Kills the API server; what it stores stays.
    pub fn stop_server(&mut self) {
        self.server.kill();
    }

    /// Starts the API server again, on the same port.
    pub fn start_server(&mut self) {
        self.server = start_server(self.port, self.etcd_port, self.folder.path());
        eventually("the API server is ready", || self.try_kubectl(&["get", "--raw", "/readyz"], "").is_ok());
    }

    /// What etcd has written, for a test that fails.
    #[must_use]
    pub fn etcd_log(&self) -> String {
        self.etcd.log()
    }
}

fn start_etcd(port: u16, folder: &Path) -> Process {
    let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", ports::free()));
    let mut command = Command::new(cluster_tools().programs.join("etcd"));
    command.arg("--data-dir").arg(folder.join("etcd")).arg("--unsafe-no-fsync");
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client, "--log-level", "error"]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("default={peer}")]);
    let mut process = Process::start("etcd", &mut command);
    process.wait_until("listening", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    process
}

fn start_server(port: u16, etcd: u16, folder: &Path) -> Process {
    let key = folder.join("service-accounts.pem");
    let mut command = Command::new(cluster_tools().programs.join("kube-apiserver"));
    command.args(["--etcd-servers", &format!("http://127.0.0.1:{etcd}"), "--bind-address", "127.0.0.1"]);
    command.args(["--secure-port", &port.to_string(), "--service-cluster-ip-range", "10.0.0.0/16"]);
    command.arg("--cert-dir").arg(folder.join("certificates"));
    command.arg("--token-auth-file").arg(folder.join("tokens.csv"));
    command.args(["--authorization-mode", "RBAC", "--service-account-issuer", "https://kubernetes.default.svc"]);
    command.arg("--service-account-key-file").arg(&key).arg("--service-account-signing-key-file").arg(&key);
    // What toolward asks for, by which a test sees which rights it needs.
    command
        .arg("--audit-policy-file")
        .arg(folder.join("audit.yaml"))
        .arg("--audit-log-path")
        .arg(folder.join("audit.log"));
    // Without its controller there is no token for pods to be mounted.
    command.args(["--disable-admission-plugins", "ServiceAccount", "--watch-cache=true", "-v=1"]);
    // Some clusters ask whoever makes an object that keeps its owner from being deleted for a right to the owner.
    command.args(["--enable-admission-plugins", "OwnerReferencesPermissionEnforcement"]);
    let mut process = Process::start("kube-apiserver", &mut command);
    process.wait_until("listening", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    process
}
