//! The admin port over real HTTP.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::listener::v3::Listener;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use toolward_xds_server::admin::{Admin, Report};
use toolward_xds_server::ads::clients::Clients;
use toolward_xds_server::metrics::Metrics;
use toolward_xds_server::model::GatewayName;
use toolward_xds_server::problem::Problem;
use toolward_xds_server::resources::{Name, ObjectRef};
use toolward_xds_server::snapshot::{GatewaySnapshot, Resource, ResourceType, Snapshot};

struct Server {
    address: SocketAddr,
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    reports: watch::Sender<Option<Report>>,
}

impl Server {
    async fn start() -> Self {
        Self::start_with(|admin, listener| tokio::spawn(admin.serve(listener, std::future::pending()))).await
    }

    /// With the pages that kubelet and Prometheus get.
    async fn start_health() -> Self {
        Self::start_with(|admin, listener| tokio::spawn(admin.serve_health(listener, std::future::pending()))).await
    }

    async fn start_with(serve: impl FnOnce(Admin, TcpListener) -> JoinHandle<std::io::Result<()>>) -> Self {
        let (snapshots, snapshot_receiver) = watch::channel(None);
        let (reports, report_receiver) = watch::channel(None);
        let admin = Admin {
            snapshots: snapshot_receiver,
            reports: report_receiver,
            clients: Clients::default(),
            metrics: Arc::new(Metrics::default()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        serve(admin, listener);
        Self { address, snapshots, reports }
    }

    /// Status and body.
    async fn get(&self, path: &str) -> (u16, String) {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

fn problem(message: &str) -> Problem {
    Problem {
        file: None,
        resource: Some(ObjectRef {
            group: "gateway.networking.k8s.io".into(),
            kind: "HTTPRoute".into(),
            name: Name::new("ns", "route"),
        }),
        field: "spec.rules[0]".into(),
        reason: "BackendNotFound".into(),
        message: message.into(),
    }
}

fn snapshot() -> Snapshot {
    let listener = Listener { name: "web".into(), ..Listener::default() };
    let resources = BTreeMap::from([("web".to_owned(), Resource::new(listener.encode_to_vec()))]);
    let gateway = GatewaySnapshot {
        resources: BTreeMap::from([(ResourceType::Listener, resources)]),
        ..GatewaySnapshot::default()
    };
    Snapshot { gateways: BTreeMap::from([(GatewayName("ns/gw".into()), Arc::new(gateway))]) }
}

#[tokio::test]
async fn it_is_ready_with_the_first_good_snapshot() {
    let server = Server::start().await;
    assert_eq!(server.get("/ready").await, (503, "not ready: the source was not read yet\n".into()));
    let report = Report { source: vec![problem("it is broken")], ..Report::default() };
    server.reports.send_replace(Some(report));
    let (status, body) = server.get("/ready").await;
    assert_eq!(status, 503);
    assert!(body.contains("HTTPRoute ns/route: spec.rules[0]: it is broken (BackendNotFound)"), "{body}");
    server.snapshots.send_replace(Some(Arc::new(snapshot())));
    assert_eq!(server.get("/ready").await.0, 200, "and stays so, whatever becomes of the source");
}

#[tokio::test]
async fn it_shows_what_is_served() {
    let server = Server::start().await;
    assert_eq!(server.get("/snapshot").await.0, 503);
    server.snapshots.send_replace(Some(Arc::new(snapshot())));
    let gateway = snapshot().gateways.into_values().next().unwrap();
    let version = &gateway.resources.get(&ResourceType::Listener).unwrap().get("web").unwrap().version;
    let versions = format!(r#"{{"ns/gw":{{"Listener":{{"web":"{version}"}}}}}}"#);
    assert_eq!(server.get("/snapshot").await, (200, versions));
    let content = r#"{"Listener":{"web":{"name":"web"}}}"#;
    assert_eq!(server.get("/snapshot?gateway=ns/gw").await, (200, content.into()));
    assert_eq!(server.get("/snapshot?gateway=ns/other").await.0, 404);
}

#[tokio::test]
async fn it_shows_problems_clients_and_metrics() {
    let server = Server::start().await;
    let report = Report {
        source: Vec::new(),
        resources: vec![problem("no such backend")],
        unprotected: vec!["HTTPRoute ns/route rule 0 on Gateway ns/gw".into()],
    };
    server.reports.send_replace(Some(report));
    let (status, problems) = server.get("/problems").await;
    assert_eq!(status, 200);
    assert!(problems.contains("no such backend") && problems.contains("rule 0 on Gateway ns/gw"), "{problems}");
    assert_eq!(server.get("/clients").await, (200, "[]".into()));
    let (status, metrics) = server.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    assert_eq!(server.get("/").await.0, 200);
    assert_eq!(server.get("/nothing").await.0, 404);
}

#[tokio::test]
async fn from_outside_only_readiness_and_metrics_are_seen() {
    let server = Server::start_health().await;
    assert_eq!(server.get("/ready").await.0, 503);
    server.snapshots.send_replace(Some(Arc::new(snapshot())));
    assert_eq!(server.get("/ready").await.0, 200);
    assert_eq!(server.get("/metrics").await.0, 200);
    for page in ["/", "/problems", "/snapshot", "/clients"] {
        assert_eq!(server.get(page).await.0, 404, "{page}");
    }
}
