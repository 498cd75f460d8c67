//! The discovery service over TLS on a real socket: who gets what, and how the certificate is renewed.
//!
//! The token reviewer is a stand-in; the real one asks an API server.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, ClientTlsConfig};
use tonic::{Code, Request, Status, Streaming};
use toolward_xds_server::ads::Ads;
use toolward_xds_server::ads::auth::{Authentication, Required, ReviewError, TokenReviewer};
use toolward_xds_server::ads::clients::Clients;
use toolward_xds_server::ads::identity::ServiceAccount;
use toolward_xds_server::ads::tls::{Certificate, TlsFiles};
use toolward_xds_server::metrics::Metrics;
use toolward_xds_server::model::GatewayName;
use toolward_xds_server::snapshot::{GatewaySnapshot, Resource, ResourceType, Snapshot};

/// Longer than anything takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The name in the server's certificate.
const HOST: &str = "toolward.test";

/// An authority that signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    /// Certificate and key, in PEM.
    fn signs(&self, name: SanType) -> (String, String) {
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names = vec![name];
        let key = KeyPair::generate().unwrap();
        (parameters.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn server(&self) -> (String, String) {
        self.signs(SanType::DnsName(Ia5String::try_from(HOST).unwrap()))
    }

    fn client(&self, account: &str) -> (String, String) {
        let id = format!("spiffe://cluster.local/ns/ns/sa/{account}");
        self.signs(SanType::URI(Ia5String::try_from(id).unwrap()))
    }
}

/// A Secret as kubelet mounts it: links to a hidden folder, which is replaced as a whole.
struct Mount(PathBuf);

impl Mount {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            symlink(Path::new("..data").join(file), path.join(file)).unwrap();
        }
        Self(path)
    }

    fn holds(&self, version: &str, (certificate, key): (&str, &str), authorities: &str) {
        let folder = self.0.join(version);
        fs::create_dir(&folder).unwrap();
        for (name, content) in [("tls.crt", certificate), ("tls.key", key), ("ca.crt", authorities)] {
            fs::write(folder.join(name), content).unwrap();
        }
        let staging = self.0.join("..data_tmp");
        symlink(version, &staging).unwrap();
        fs::rename(staging, self.0.join("..data")).unwrap();
    }

    fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.0.join("tls.crt"),
            key: self.0.join("tls.key"),
            client_authorities: Some(self.0.join("ca.crt")),
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Stands in for an API server: a token is the name of its service account.
struct Reviewer;

#[tonic::async_trait]
impl TokenReviewer for Reviewer {
    async fn review(&self, token: &str, _: IpAddr) -> Result<ServiceAccount, ReviewError> {
        match token {
            "away" => Err(ReviewError::Unavailable("nobody answers".into())),
            "expired" => Err(ReviewError::Invalid("it has expired".into())),
            name => Ok(ServiceAccount::new("ns", name).unwrap()),
        }
    }
}

/// A running server with the Gateways `ns/gw` and `ns/other`.
struct Server {
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    address: SocketAddr,
    certificate: Certificate,
    metrics: Arc<Metrics>,
    mount: Mount,
    authority: Authority,
    clients: Authority,
}

impl Server {
    async fn start(name: &str, max_stream_age: Duration) -> Self {
        let (authority, clients, mount) = (Authority::new(), Authority::new(), Mount::new(name));
        let (certificate, key) = authority.server();
        mount.holds("..1", (&certificate, &key), &clients.pem);
        let metrics = Arc::new(Metrics::default());
        let certificate = Certificate::load(mount.files(), Arc::clone(&metrics)).unwrap();
        let (snapshots, receiver) = watch::channel(None);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let required = Required { reviewer: Some(Arc::new(Reviewer)), ..Required::default() };
        let authentication = Authentication::Required(required);
        let ads = Ads::new(receiver, Clients::default(), Arc::clone(&metrics), authentication)
            .with_max_stream_age(max_stream_age);
        tokio::spawn(ads.serve_tls(listener, certificate.configs(), std::future::pending()));
        let server = Self { snapshots, address, certificate, metrics, mount, authority, clients };
        server.serves("1");
        server
    }

    /// Each Gateway has one cluster, with its own name and this content.
    fn serves(&self, content: &str) {
        let gateway = |name: &str| {
            let content = Resource::new(format!("secret {content} of {name}").into_bytes());
            let clusters = BTreeMap::from([("a".to_owned(), content)]);
            let snapshot = GatewaySnapshot {
                resources: BTreeMap::from([(ResourceType::Cluster, clusters)]),
                ..GatewaySnapshot::default()
            };
            (GatewayName(name.to_owned()), Arc::new(snapshot))
        };
        let gateways = BTreeMap::from([gateway("ns/gw"), gateway("ns/other")]);
        self.snapshots.send_replace(Some(Arc::new(Snapshot { gateways })));
    }

    /// Connects with a client certificate, trusting this authority.
    async fn connect(&self, authority: &str, identity: Option<(String, String)>) -> Result<Channel, String> {
        let mut tls =
            ClientTlsConfig::new().ca_certificate(tonic::transport::Certificate::from_pem(authority)).domain_name(HOST);
        if let Some((certificate, key)) = identity {
            tls = tls.identity(tonic::transport::Identity::from_pem(certificate, key));
        }
        let endpoint = Channel::from_shared(format!("https://{}", self.address)).unwrap().tls_config(tls).unwrap();
        endpoint.connect().await.map_err(|error| error.to_string())
    }

    /// A client with a certificate of this service account.
    async fn certified(&self, account: &str) -> Channel {
        self.connect(&self.authority.pem, Some(self.clients.client(account))).await.unwrap()
    }

    fn metrics(&self) -> String {
        self.metrics.render(&[], None).unwrap()
    }

    fn counted(&self, line: &str) {
        assert!(self.metrics().contains(line), "{line}:\n{}", self.metrics());
    }
}

/// A delta stream on which all clusters are asked for.
struct Stream {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Stream {
    async fn open(
        channel: Channel,
        gateway: &str,
        authorization: Option<&str>,
        known: &[(&str, &str)],
    ) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(16);
        let version = |content: &str| Resource::new(content.as_bytes().to_vec()).version.to_string();
        let first = DeltaDiscoveryRequest {
            node: Some(Node { id: "test".into(), cluster: gateway.into(), ..Node::default() }),
            type_url: ResourceType::Cluster.type_url().to_owned(),
            initial_resource_versions: known
                .iter()
                .map(|(name, content)| ((*name).to_owned(), version(content)))
                .collect::<HashMap<_, _>>(),
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(first).await.unwrap();
        let mut request = Request::new(ReceiverStream::new(receiver));
        if let Some(value) = authorization {
            request.metadata_mut().insert("authorization", value.parse().unwrap());
        }
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let responses = client.delta_aggregated_resources(request).await?.into_inner();
        Ok(Self { requests, responses })
    }

    /// The content of the next response, acknowledged; none where the stream ends cleanly.
    async fn next(&mut self) -> Result<Option<String>, Status> {
        let Some(response) = timeout(PATIENCE, self.responses.message()).await.expect("nothing came")? else {
            return Ok(None);
        };
        let acknowledgement = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        };
        // The server may have ended the stream already.
        let _ = self.requests.send(acknowledgement).await;
        let content = |resource: envoy_types::pb::envoy::service::discovery::v3::Resource| {
            String::from_utf8(resource.resource.unwrap().value).unwrap()
        };
        Ok(Some(response.resources.into_iter().map(content).collect::<Vec<_>>().join(" ")))
    }
}

/// What the first answer is to somebody who asks for the clusters of a Gateway.
async fn ask(channel: Channel, gateway: &str, authorization: Option<&str>) -> Result<String, Code> {
    let mut stream = Stream::open(channel, gateway, authorization, &[]).await.map_err(|status| status.code())?;
    stream.next().await.map(|content| content.expect("the stream ended")).map_err(|status| status.code())
}

#[tokio::test]
async fn clients_get_their_own_gateway_and_no_other() {
    let server = Server::start("own", PATIENCE * 10).await;
    let own = || Ok("secret 1 of ns/gw".to_owned());
    let rows = [
        ("a certificate", Some("gw-toolward"), None, "ns/gw", own()),
        ("the certificate of another", Some("other-toolward"), None, "ns/gw", Err(Code::PermissionDenied)),
        ("a Gateway that is not there", Some("gw-toolward"), None, "ns/none", Err(Code::PermissionDenied)),
        ("a Gateway of the same name elsewhere", Some("gw-toolward"), None, "else/gw", Err(Code::PermissionDenied)),
        ("a token", None, Some("Bearer gw-toolward"), "ns/gw", own()),
        ("the token of another", None, Some("Bearer other-toolward"), "ns/gw", Err(Code::PermissionDenied)),
        ("an expired token", None, Some("Bearer expired"), "ns/gw", Err(Code::Unauthenticated)),
        ("a token that can't be reviewed", None, Some("Bearer away"), "ns/gw", Err(Code::Unavailable)),
        ("nothing", None, None, "ns/gw", Err(Code::Unauthenticated)),
    ];
    for (row, account, authorization, gateway, expected) in rows {
        let channel = match account {
            Some(account) => server.certified(account).await,
            None => server.connect(&server.authority.pem, None).await.unwrap(),
        };
        assert_eq!(ask(channel, gateway, authorization).await, expected, "{row}");
    }
    server.counted("toolward_xds_streams_refused_total{reason=\"OtherGateway\"} 4");
    server.counted("toolward_xds_streams_refused_total{reason=\"InvalidCredentials\"} 1");
    server.counted("toolward_xds_streams_refused_total{reason=\"ReviewFailed\"} 1");
    server.counted("toolward_xds_streams_refused_total{reason=\"NoCredentials\"} 1");
}

#[tokio::test]
async fn certificates_of_other_authorities_are_refused() {
    let server = Server::start("stranger", PATIENCE * 10).await;
    let stranger = Authority::new().client("gw-toolward");
    let answer = match server.connect(&server.authority.pem, Some(stranger)).await {
        Ok(channel) => ask(channel, "ns/gw", None).await.map_err(|code| format!("{code:?}")),
        Err(error) => Err(error),
    };
    assert!(answer.is_err(), "{answer:?}");
    server.counted("toolward_xds_handshakes_failed_total 1");
}

#[tokio::test]
async fn a_new_connection_sees_the_new_certificate_and_streams_live_on() {
    let mut server = Server::start("renewed", PATIENCE * 10).await;
    let mut stream = Stream::open(server.certified("gw-toolward").await, "ns/gw", None, &[]).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "secret 1 of ns/gw");

    // A new authority, both for the server and for its clients.
    let (old_server, old_clients) = (server.authority.pem.clone(), server.clients.client("gw-toolward"));
    (server.authority, server.clients) = (Authority::new(), Authority::new());
    let (certificate, key) = server.authority.server();
    server.mount.holds("..2", (&certificate, &key), &server.clients.pem);
    server.certificate.reload();
    assert_eq!(ask(server.certified("gw-toolward").await, "ns/gw", None).await.unwrap(), "secret 1 of ns/gw");
    assert!(server.connect(&old_server, None).await.is_err(), "the old certificate is no longer shown");
    let answer = match server.connect(&server.authority.pem, Some(old_clients)).await {
        Ok(channel) => ask(channel, "ns/gw", None).await.map_err(|code| format!("{code:?}")),
        Err(error) => Err(error),
    };
    assert!(answer.is_err(), "the old authority no longer counts");
    server.serves("2");
    assert_eq!(stream.next().await.unwrap().unwrap(), "secret 2 of ns/gw", "the stream lives on");

    // What is broken changes nothing.
    let (_, other_key) = server.authority.server();
    server.mount.holds("..3", (&certificate, &other_key), &server.clients.pem);
    server.certificate.reload();
    server.certificate.reload();
    server.counted("toolward_xds_certificate_loads_total{result=\"Failed\"} 1");
    server.counted("toolward_xds_certificate_loads_total{result=\"Ok\"} 2");
    assert_eq!(ask(server.certified("gw-toolward").await, "ns/gw", None).await.unwrap(), "secret 2 of ns/gw");
    server.mount.holds("..4", (&certificate, &key), &server.clients.pem);
    server.certificate.reload();
    server.counted("toolward_xds_certificate_loads_total{result=\"Ok\"} 3");
}

#[test]
fn what_is_wrong_with_files_is_said() {
    let (authority, mount) = (Authority::new(), Mount::new("faults"));
    let (certificate, key) = authority.server();
    let (_, other_key) = authority.server();
    let ca = authority.pem.as_str();
    let rows = [
        ("no certificate", ("", key.as_str()), ca, "tls.crt: no certificate"),
        ("a key for a certificate", (key.as_str(), key.as_str()), ca, "tls.crt: no certificate"),
        ("half a certificate", (&certificate[..200], key.as_str()), ca, "tls.crt"),
        ("no key", (certificate.as_str(), ""), ca, "tls.key: no private key"),
        ("the key of another", (certificate.as_str(), other_key.as_str()), ca, "can't be used together"),
        ("no authority", (certificate.as_str(), key.as_str()), "", "ca.crt: no certificate"),
    ];
    for (number, (row, pair, authorities, complaint)) in rows.into_iter().enumerate() {
        mount.holds(&format!("..{number}"), pair, authorities);
        let error = Certificate::load(mount.files(), Arc::default()).map(|_| ()).expect_err(row).to_string();
        assert!(error.contains(complaint), "{row}: {error}");
    }
    let files = TlsFiles { key: mount.0.join("nowhere"), ..mount.files() };
    let error = Certificate::load(files, Arc::default()).map(|_| ()).expect_err("no file").to_string();
    assert!(error.contains("nowhere: No such file"), "{error}");
}

#[tokio::test]
async fn old_streams_end_cleanly_and_nothing_is_sent_again() {
    let server = Server::start("aged", Duration::from_millis(200)).await;
    let channel = server.certified("gw-toolward").await;
    let mut stream = Stream::open(channel.clone(), "ns/gw", None, &[]).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "secret 1 of ns/gw");
    assert_eq!(stream.next().await.unwrap(), None, "a clean end");
    let mut stream = Stream::open(channel, "ns/gw", None, &[("a", "secret 1 of ns/gw")]).await.unwrap();
    assert_eq!(stream.next().await.unwrap(), None, "it has everything");
    server.counted("toolward_xds_resources_sent_total{type=\"Cluster\"} 1");
}

#[tokio::test]
async fn clients_that_do_not_speak_tls_hinder_nobody() {
    let server = Server::start("noise", PATIENCE * 10).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut loud = TcpStream::connect(server.address).await.unwrap();
    loud.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Perhaps an alert, in any case the end.
    let _ = timeout(PATIENCE, loud.read_to_end(&mut answer)).await.expect("the connection ends");
    server.counted("toolward_xds_handshakes_failed_total 1");
    assert_eq!(ask(server.certified("gw-toolward").await, "ns/gw", None).await.unwrap(), "secret 1 of ns/gw");
}
