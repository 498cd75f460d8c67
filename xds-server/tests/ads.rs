//! The discovery service over real gRPC: real clients on a real socket, delta and state of the world.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::rpc::Status as RpcStatus;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use toolward_xds_server::ads::Ads;
use toolward_xds_server::ads::auth::Authentication;
use toolward_xds_server::ads::clients::Clients;
use toolward_xds_server::metrics::Metrics;
use toolward_xds_server::model::GatewayName;
use toolward_xds_server::snapshot::ResourceType::{Cluster, Endpoint, ExtensionConfig, Listener, Route};
use toolward_xds_server::snapshot::{GatewaySnapshot, Resource, ResourceType, Snapshot};

/// Longer than anything takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running server.
struct Server {
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    address: SocketAddr,
    clients: Clients,
    metrics: Arc<Metrics>,
}

impl Server {
    async fn start() -> Self {
        let (snapshots, receiver) = watch::channel(None);
        let (clients, metrics) = (Clients::default(), Arc::new(Metrics::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ads = Ads::new(receiver, clients.clone(), Arc::clone(&metrics), Authentication::None);
        tokio::spawn(ads.serve(listener, std::future::pending()));
        Self { snapshots, address, clients, metrics }
    }

    /// Puts the Gateway `ns/gw` in force, from `(type, name, content)`.
    fn serves(&self, resources: &[(ResourceType, &str, &str)]) {
        let mut gateway = GatewaySnapshot::default();
        for (kind, name, content) in resources {
            let resource = Resource::new(content.as_bytes().to_vec());
            gateway.resources.entry(*kind).or_default().insert((*name).to_owned(), resource);
        }
        let gateways = BTreeMap::from([(GatewayName("ns/gw".into()), Arc::new(gateway))]);
        self.snapshots.send_replace(Some(Arc::new(Snapshot { gateways })));
    }

    async fn client(&self) -> AggregatedDiscoveryServiceClient<Channel> {
        AggregatedDiscoveryServiceClient::connect(format!("http://{}", self.address)).await.unwrap()
    }

    async fn delta(&self) -> Delta {
        let (requests, receiver) = mpsc::channel(16);
        let mut client = self.client().await;
        let responses = client.delta_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Delta { requests, responses, node: Some(node()) }
    }

    async fn sotw(&self) -> Sotw {
        let (requests, receiver) = mpsc::channel(16);
        let mut client = self.client().await;
        let responses = client.stream_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Sotw { requests, responses, node: Some(node()) }
    }

    fn metrics(&self) -> String {
        self.metrics.render(&self.clients.gateways(), self.snapshots.borrow().as_deref()).unwrap()
    }
}

fn node() -> Node {
    Node { id: "test".into(), cluster: "ns/gw".into(), ..Node::default() }
}

fn version(content: &str) -> String {
    Resource::new(content.as_bytes().to_vec()).version.to_string()
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A delta client; the node goes with its first request only.
struct Delta {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    node: Option<Node>,
}

impl Delta {
    async fn says(&mut self, request: DeltaDiscoveryRequest) {
        self.requests.send(DeltaDiscoveryRequest { node: self.node.take(), ..request }).await.unwrap();
    }

    async fn subscribes(&mut self, kind: ResourceType, names: &[&str]) {
        let resource_names_subscribe = strings(names);
        let type_url = kind.type_url().to_owned();
        self.says(DeltaDiscoveryRequest { type_url, resource_names_subscribe, ..Default::default() }).await;
    }

    async fn returns(&mut self, kind: ResourceType, names: &[&str], known: &[(&str, &str)]) {
        let known = known.iter().map(|(name, content)| ((*name).to_owned(), version(content)));
        self.says(DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: strings(names),
            initial_resource_versions: known.collect::<HashMap<_, _>>(),
            ..Default::default()
        })
        .await;
    }

    async fn answers(&mut self, response: &DeltaDiscoveryResponse, error: Option<&str>) {
        self.says(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: error.map(|message| RpcStatus { message: message.into(), ..Default::default() }),
            ..Default::default()
        })
        .await;
    }

    async fn response(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let message = timeout(PATIENCE, self.responses.message()).await.expect("nothing came");
        message.map(|message| message.expect("the stream ended"))
    }

    /// The next response, as type and `name=content` or `-name`, acknowledged.
    async fn gets(&mut self) -> (ResourceType, String) {
        let response = self.response().await.unwrap();
        self.answers(&response, None).await;
        show(&response)
    }
}

fn show(response: &DeltaDiscoveryResponse) -> (ResourceType, String) {
    let resource = response.resources.iter().map(|resource| {
        let content = String::from_utf8(resource.resource.as_ref().unwrap().value.clone()).unwrap();
        assert_eq!(resource.version, version(&content));
        format!("{}={content}", resource.name)
    });
    let removed = response.removed_resources.iter().map(|name| format!("-{name}"));
    let kind = ResourceType::from_type_url(&response.type_url).unwrap();
    (kind, resource.chain(removed).collect::<Vec<_>>().join(" "))
}

/// A state-of-the-world client.
struct Sotw {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
    node: Option<Node>,
}

impl Sotw {
    async fn says(&mut self, request: DiscoveryRequest) {
        self.requests.send(DiscoveryRequest { node: self.node.take(), ..request }).await.unwrap();
    }

    async fn wants(&mut self, kind: ResourceType, names: &[&str]) {
        let type_url = kind.type_url().to_owned();
        self.says(DiscoveryRequest { type_url, resource_names: strings(names), ..Default::default() }).await;
    }

    /// The next response, as type and contents, acknowledged with these names.
    async fn gets(&mut self, names: &[&str]) -> (ResourceType, String) {
        let message = timeout(PATIENCE, self.responses.message()).await.expect("nothing came");
        let response = message.unwrap().expect("the stream ended");
        self.says(DiscoveryRequest {
            type_url: response.type_url.clone(),
            version_info: response.version_info.clone(),
            response_nonce: response.nonce.clone(),
            resource_names: strings(names),
            ..Default::default()
        })
        .await;
        let contents = response.resources.iter().map(|any| {
            assert_eq!(any.type_url, response.type_url);
            String::from_utf8(any.value.clone()).unwrap()
        });
        (ResourceType::from_type_url(&response.type_url).unwrap(), contents.collect::<Vec<_>>().join(" "))
    }
}

fn got(kind: ResourceType, text: &str) -> (ResourceType, String) {
    (kind, text.to_owned())
}

#[tokio::test]
async fn delta_clients_get_changes_in_order() {
    let server = Server::start().await;
    server.serves(&[(Cluster, "a", "1"), (Endpoint, "a", "1"), (Listener, "web", "1"), (Route, "web", "to a")]);
    let mut envoy = server.delta().await;
    envoy.subscribes(Cluster, &[]).await;
    assert_eq!(envoy.gets().await, got(Cluster, "a=1"));
    envoy.subscribes(Endpoint, &["a"]).await;
    assert_eq!(envoy.gets().await, got(Endpoint, "a=1"));
    envoy.subscribes(Listener, &[]).await;
    assert_eq!(envoy.gets().await, got(Listener, "web=1"));
    envoy.subscribes(Route, &["web", "other"]).await;
    assert_eq!(envoy.gets().await, got(Route, "web=to a -other"));

    server.serves(&[(Cluster, "b", "1"), (Endpoint, "b", "1"), (Listener, "web", "1"), (Route, "web", "to b")]);
    assert_eq!(envoy.gets().await, got(Cluster, "b=1"));
    assert_eq!(envoy.gets().await, got(Route, "web=to b"));
    // The old ones go, in this order, only now that the route to them is replaced.
    assert_eq!(envoy.gets().await, got(Cluster, "-a"));
    assert_eq!(envoy.gets().await, got(Endpoint, "-a"));
}

#[tokio::test]
async fn routes_wait_for_the_filter_to_be_acknowledged() {
    let server = Server::start().await;
    server.serves(&[(ExtensionConfig, "web", "1"), (Route, "web", "1")]);
    let mut envoy = server.delta().await;
    envoy.subscribes(ExtensionConfig, &["web"]).await;
    let filter = envoy.response().await.unwrap();
    envoy.subscribes(Route, &["web"]).await;
    // Answered after the subscription to the route, and yet the route comes after.
    envoy.subscribes(Listener, &["*"]).await;
    assert_eq!(envoy.gets().await, got(Listener, ""));
    envoy.answers(&filter, None).await;
    assert_eq!(envoy.gets().await, got(Route, "web=1"));
}

#[tokio::test]
async fn a_returning_client_gets_only_what_it_lacks() {
    let server = Server::start().await;
    server.serves(&[(Cluster, "a", "1"), (Cluster, "b", "2"), (Listener, "web", "1"), (Route, "web", "1")]);
    let mut envoy = server.delta().await;
    envoy.returns(Listener, &[], &[("web", "1")]).await;
    envoy.returns(Route, &["web"], &[("web", "1")]).await;
    envoy.returns(Cluster, &["*"], &[("a", "1"), ("b", "1"), ("c", "1")]).await;
    assert_eq!(envoy.gets().await, got(Cluster, "b=2"), "and nothing of the listener and the route, which it has");
    assert_eq!(envoy.gets().await, got(Cluster, "-c"));
    server.serves(&[(Cluster, "a", "1"), (Cluster, "b", "2"), (Listener, "web", "2"), (Route, "web", "1")]);
    assert_eq!(envoy.gets().await, got(Listener, "web=2"));
}

#[tokio::test]
async fn a_refused_resource_is_not_sent_again_and_is_shown() {
    let server = Server::start().await;
    server.serves(&[(Route, "web", "bad")]);
    let mut envoy = server.delta().await;
    envoy.subscribes(Route, &["web"]).await;
    let response = envoy.response().await.unwrap();
    envoy.answers(&response, Some("no good")).await;
    // Something else changes: the refused one stays away.
    server.serves(&[(Route, "web", "bad"), (Listener, "web", "1")]);
    envoy.subscribes(Listener, &[]).await;
    assert_eq!(envoy.gets().await, got(Listener, "web=1"));
    let views = server.clients.view();
    let routes = &views[0].stream.types["RouteConfiguration"];
    assert_eq!(routes.rejected["web"], version("bad"));
    assert_eq!(routes.last_rejection.as_ref().unwrap().message, "no good");
    assert!(server.metrics().contains("toolward_xds_nacks_total{type=\"RouteConfiguration\"} 1"));
    server.serves(&[(Route, "web", "good"), (Listener, "web", "1")]);
    assert_eq!(envoy.gets().await, got(Route, "web=good"));
}

#[tokio::test]
async fn sotw_clients_get_full_sets_of_clusters_and_the_routes_they_name() {
    let server = Server::start().await;
    server.serves(&[(Cluster, "a", "cluster a"), (Route, "x", "route x"), (Route, "y", "route y")]);
    let mut envoy = server.sotw().await;
    envoy.wants(Cluster, &[]).await;
    assert_eq!(envoy.gets(&[]).await, got(Cluster, "cluster a"));
    envoy.wants(Route, &["x"]).await;
    assert_eq!(envoy.gets(&["x"]).await, got(Route, "route x"));
    server.serves(&[(Cluster, "b", "cluster b"), (Route, "x", "route x to b"), (Route, "y", "route y")]);
    assert_eq!(envoy.gets(&[]).await, got(Cluster, "cluster a cluster b"));
    assert_eq!(envoy.gets(&["x", "y"]).await, got(Route, "route x to b"));
    assert_eq!(envoy.gets(&["x", "y"]).await, got(Route, "route y"));
    assert_eq!(envoy.gets(&[]).await, got(Cluster, "cluster b"));
}

#[tokio::test]
async fn clients_wait_for_a_snapshot_and_for_their_gateway() {
    let server = Server::start().await;
    let mut envoy = server.delta().await;
    envoy.subscribes(Cluster, &[]).await;
    let mut stranger = server.delta().await;
    stranger.node = Some(Node { cluster: "ns/other".into(), ..node() });
    stranger.subscribes(Cluster, &[]).await;
    server.serves(&[(Cluster, "a", "1")]);
    assert_eq!(envoy.gets().await, got(Cluster, "a=1"));
    let other =
        GatewaySnapshot { resources: BTreeMap::from([(Cluster, BTreeMap::new())]), ..GatewaySnapshot::default() };
    let gateways = BTreeMap::from([(GatewayName("ns/other".into()), Arc::new(other))]);
    server.snapshots.send_replace(Some(Arc::new(Snapshot { gateways })));
    assert_eq!(stranger.gets().await, got(Cluster, ""), "its Gateway appeared, and is empty");
    assert_eq!(envoy.gets().await, got(Cluster, "-a"), "its Gateway is gone");
}

#[tokio::test]
async fn types_that_are_not_served_are_passed_over() {
    let server = Server::start().await;
    server.serves(&[(Cluster, "a", "1")]);
    let mut envoy = server.delta().await;
    let type_url = "type.googleapis.com/envoy.service.runtime.v3.Runtime".to_owned();
    envoy.says(DeltaDiscoveryRequest { type_url, ..Default::default() }).await;
    envoy.subscribes(Cluster, &[]).await;
    assert_eq!(envoy.gets().await, got(Cluster, "a=1"));
    assert!(server.metrics().contains("toolward_xds_unknown_type_requests_total 1"));
    assert!(server.metrics().contains("toolward_xds_streams{gateway=\"ns/gw\",protocol=\"delta\"} 1"));
}

#[tokio::test]
async fn clients_that_do_not_say_who_they_are_are_refused() {
    let server = Server::start().await;
    for (name, node) in [("no node", None), ("no id", Some(Node { id: String::new(), ..node() }))] {
        let mut envoy = server.delta().await;
        envoy.node = node;
        envoy.subscribes(Cluster, &[]).await;
        assert_eq!(envoy.response().await.unwrap_err().code(), Code::InvalidArgument, "{name}");
    }
    assert!(server.metrics().contains("toolward_xds_streams_refused_total{reason=\"InvalidNode\"} 2"));
}

#[tokio::test]
async fn streams_end_when_nothing_will_be_served_any_more() {
    let server = Server::start().await;
    server.serves(&[(Cluster, "a", "1")]);
    let mut envoy = server.delta().await;
    envoy.subscribes(Cluster, &[]).await;
    assert_eq!(envoy.gets().await, got(Cluster, "a=1"));
    drop(server);
    assert_eq!(envoy.response().await.unwrap_err().code(), Code::Unavailable);
}
