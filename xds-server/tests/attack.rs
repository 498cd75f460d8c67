//! The port for Envoys under attack: whatever one client does, the others are told of changes as before.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use toolward_xds_server::ads::Ads;
use toolward_xds_server::ads::auth::Authentication;
use toolward_xds_server::ads::bounds::Bounds;
use toolward_xds_server::ads::clients::Clients;
use toolward_xds_server::metrics::Metrics;
use toolward_xds_server::model::GatewayName;
use toolward_xds_server::snapshot::{GatewaySnapshot, Resource, ResourceType, Snapshot};

/// Longer than anything takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// How soon others are told of a change, at the latest.
const SOON: Duration = Duration::from_secs(2);

/// Small ones, so that little work reaches them.
fn bounds() -> Bounds {
    Bounds {
        idle_connections: 48,
        idle_for: Duration::from_millis(300),
        streams: 80,
        streams_per_gateway: 10,
        message_within: Duration::from_millis(300),
        message_bytes: 4 << 20,
        stranger_message_bytes: 256 << 10,
        first_message_within: Duration::from_millis(300),
        read_within: Duration::from_millis(500),
        requests_at_once: 50,
        requests_per_second: 20,
    }
}

struct Server {
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    address: SocketAddr,
    clients: Clients,
    metrics: Arc<Metrics>,
}

impl Server {
    async fn start(bounds: Bounds) -> Self {
        let (snapshots, receiver) = watch::channel(None);
        let (clients, metrics) = (Clients::default(), Arc::new(Metrics::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ads = Ads::new(receiver, clients.clone(), Arc::clone(&metrics), Authentication::None).with_bounds(bounds);
        tokio::spawn(ads.serve(listener, std::future::pending()));
        let server = Self { snapshots, address, clients, metrics };
        server.serves("at first");
        server
    }

    /// A world with a large cluster, so that whoever does not read is noticed.
    fn serves(&self, content: &str) {
        let large = [content.as_bytes(), &[b' '; 1 << 20]].concat();
        let resources = BTreeMap::from([("c".to_owned(), Resource::new(large))]);
        let gateway = GatewaySnapshot {
            resources: BTreeMap::from([(ResourceType::Cluster, resources)]),
            ..GatewaySnapshot::default()
        };
        let gateways = BTreeMap::from([(GatewayName("ns/gw".into()), Arc::new(gateway))]);
        self.snapshots.send_replace(Some(Arc::new(Snapshot { gateways })));
    }

    fn count(&self, metric: &str) -> u64 {
        let text = self.metrics.render(&self.clients.gateways(), self.snapshots.borrow().as_deref()).unwrap();
        let line = text.lines().find(|line| line.starts_with(metric) && !line.starts_with('#'));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }

    async fn counts(&self, metric: &str) {
        let counted = async {
            while self.count(metric) == 0 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, counted).await.unwrap_or_else(|_| panic!("{metric} is not counted"));
    }

    async fn client(&self) -> Result<AggregatedDiscoveryServiceClient<Channel>, tonic::transport::Error> {
        AggregatedDiscoveryServiceClient::connect(format!("http://{}", self.address)).await
    }

    async fn stream(&self) -> Envoy {
        let (requests, receiver) = mpsc::channel(1);
        let mut client = self.client().await.unwrap();
        let responses = client.delta_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Envoy { requests, responses }
    }
}

/// A client, which may or may not behave.
struct Envoy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

fn subscribe(names: &[String]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(Node { id: "test".into(), cluster: "ns/gw".into(), ..Node::default() }),
        type_url: ResourceType::Cluster.type_url().to_owned(),
        resource_names_subscribe: names.to_vec(),
        ..Default::default()
    }
}

impl Envoy {
    async fn subscribes(&mut self) {
        self.requests.send(subscribe(&["*".to_owned()])).await.unwrap();
    }

    /// What it is sent next, acknowledged: how the content begins.
    async fn gets(&mut self) -> String {
        let response = timeout(PATIENCE, self.responses.message()).await.expect("in time").unwrap().expect("a message");
        let acknowledgement = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..Default::default()
        };
        self.requests.send(acknowledgement).await.unwrap();
        let content = response.resources[0].resource.as_ref().unwrap().value.clone();
        String::from_utf8(content).unwrap().trim_end().to_owned()
    }

    async fn ends(&mut self) -> Status {
        loop {
            match timeout(PATIENCE, self.responses.message()).await.expect("in time") {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a clean end"),
                Err(status) => return status,
            }
        }
    }
}

/// An honest client is told of a change in time.
async fn others_are_told(server: &Server, honest: &mut Envoy, content: &str) {
    let start = Instant::now();
    server.serves(content);
    assert_eq!(honest.gets().await, content);
    assert!(start.elapsed() < SOON, "{content}: {:?}", start.elapsed());
}

async fn with_honest_client() -> (Server, Envoy) {
    with_honest_client_within(bounds()).await
}

async fn with_honest_client_within(bounds: Bounds) -> (Server, Envoy) {
    let server = Server::start(bounds).await;
    let mut honest = server.stream().await;
    honest.subscribes().await;
    assert_eq!(honest.gets().await, "at first");
    (server, honest)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_or_garbage() {
    let (server, mut honest) = with_honest_client().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        let Ok(mut connection) = TcpStream::connect(server.address).await else { continue };
        if silent.len() % 2 == 0 {
            let _ = connection.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n\x00\xff").await;
        }
        silent.push(connection);
    }
    server.counts("toolward_xds_connections_closed_total{reason=\"Crowded\"}").await;
    others_are_told(&server, &mut honest, "under garbage").await;
    // They are closed, and their places given to others.
    for connection in &mut silent {
        let closed = timeout(PATIENCE, connection.read_to_end(&mut Vec::new())).await;
        assert!(closed.is_ok(), "a silent connection stays open");
    }
    let mut late = server.stream().await;
    late.subscribes().await;
    assert_eq!(late.gets().await, "under garbage");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_say_nothing() {
    let (server, mut honest) = with_honest_client().await;
    let mut silent = Vec::new();
    let mut client = server.client().await.unwrap();
    for _ in 0..10 {
        let (requests, receiver) = mpsc::channel::<DeltaDiscoveryRequest>(1);
        silent.push((requests, client.delta_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap()));
    }
    others_are_told(&server, &mut honest, "beside silence").await;
    server.counts("toolward_xds_streams_cut_total{reason=\"Silent\"}").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_streams_are_closed() {
    let (server, mut honest) = with_honest_client().await;
    let mut idle = Vec::new();
    for _ in 0..10 {
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        // What every client of HTTP/2 says first, with no settings.
        connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        idle.push(connection);
    }
    for connection in &mut idle {
        let closed = timeout(PATIENCE, connection.read_to_end(&mut Vec::new())).await;
        assert!(closed.is_ok(), "a connection without a stream stays open");
    }
    assert_eq!(server.count("toolward_xds_connections_closed_total{reason=\"Idle\"}"), 10);
    sleep(2 * bounds().idle_for).await;
    others_are_told(&server, &mut honest, "on a connection with a stream").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_do_not_end() {
    let patient = Bounds { first_message_within: PATIENCE, message_within: Duration::from_secs(2), ..bounds() };
    let (server, mut honest) = with_honest_client_within(patient).await;
    let mut clients = Vec::new();
    // Its budget is that of two of the largest messages.
    for _ in 0..24 {
        clients.push(unfinished(&server, 3 << 20, 1 << 20).await);
    }
    others_are_told(&server, &mut honest, "beside unfinished messages").await;
    server.counts("toolward_xds_streams_cut_total{reason=\"MessageTooSlow\"}").await;
    // What was held for them is free again.
    let mut late = server.stream().await;
    let names: Vec<String> = (0..10_000).map(|name| format!("{name:0100}")).collect();
    let large = DeltaDiscoveryRequest { resource_names_unsubscribe: names, ..subscribe(&["*".to_owned()]) };
    late.requests.send(large).await.unwrap();
    assert_eq!(late.gets().await, "beside unfinished messages");
    let _too_large = unfinished(&server, 5 << 20, 1 << 10).await;
    server.counts("toolward_xds_streams_cut_total{reason=\"MessageTooLarge\"}").await;
}

/// A client that announces a message of so many bytes and sends some of them.
async fn unfinished(server: &Server, announced: u32, sent: usize) -> tokio::task::JoinHandle<()> {
    let mut channel = Channel::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
    let header = [&[0][..], &announced.to_be_bytes()].concat();
    let body = tonic::body::Body::new(Unfinished([header, vec![0; sent]].into()));
    let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
    let request = tonic::codegen::http::Request::post(format!("http://{}{path}", server.address))
        .header("content-type", "application/grpc")
        .body(body)
        .unwrap();
    std::future::poll_fn(|context| tonic::codegen::Service::poll_ready(&mut channel, context)).await.unwrap();
    tokio::spawn(async move {
        let response = tonic::codegen::Service::call(&mut channel, request).await;
        sleep(PATIENCE).await;
        drop(response);
    })
}

/// Parts of a body that does not end.
struct Unfinished(std::collections::VecDeque<Vec<u8>>);

impl http_body::Body for Unfinished {
    type Data = prost::bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Status>>> {
        match self.0.pop_front() {
            Some(part) => std::task::Poll::Ready(Some(Ok(http_body::Frame::data(part.into())))),
            None => std::task::Poll::Pending,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_streams_than_one_may_have() {
    let (server, mut honest) = with_honest_client().await;
    let mut streams = Vec::new();
    let mut refused = None;
    for _ in 0..6 {
        let mut client = server.client().await.unwrap();
        for _ in 0..8 {
            let (requests, receiver) = mpsc::channel(1);
            requests.send(subscribe(&["x".to_owned()])).await.unwrap();
            match client.delta_aggregated_resources(ReceiverStream::new(receiver)).await {
                Ok(stream) => streams.push((requests, stream)),
                Err(status) => refused = Some(status),
            }
        }
    }
    assert_eq!(refused.expect("one is refused").code(), Code::ResourceExhausted);
    assert!(server.count("toolward_xds_streams_refused_total{reason=\"TooManyOwnStreams\"}") > 0);
    others_are_told(&server, &mut honest, "beside a crowd").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_subscriptions() {
    let (server, mut honest) = with_honest_client().await;
    let flood = server.stream().await;
    let Envoy { requests, responses } = flood;
    let sender = tokio::spawn(async move {
        for round in 0_u32.. {
            let names: Vec<String> = (0..100).map(|name| format!("{round}-{name}")).collect();
            if requests.send(subscribe(&names)).await.is_err() {
                return;
            }
        }
    });
    server.counts("toolward_xds_requests_slowed_total").await;
    others_are_told(&server, &mut honest, "under a flood").await;
    drop(responses);
    sender.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_names_and_too_long_ones() {
    // So large a first message takes its time.
    let patient = Bounds { first_message_within: PATIENCE, message_within: PATIENCE, ..bounds() };
    let (server, mut honest) = with_honest_client_within(patient).await;
    let mut greedy = server.stream().await;
    let names: Vec<String> = (0..100_001).map(|name| format!("n{name}")).collect();
    greedy.requests.send(subscribe(&names)).await.unwrap();
    assert_eq!(greedy.ends().await.code(), Code::ResourceExhausted);
    let mut long = server.stream().await;
    long.requests.send(subscribe(&["x".repeat(1025)])).await.unwrap();
    assert_eq!(long.ends().await.code(), Code::ResourceExhausted);
    let mut knowing = server.stream().await;
    let known = names.into_iter().map(|name| (name, "1".to_owned())).collect();
    let request = DeltaDiscoveryRequest { initial_resource_versions: known, ..subscribe(&[]) };
    knowing.requests.send(request).await.unwrap();
    assert_eq!(knowing.ends().await.code(), Code::ResourceExhausted);
    assert_eq!(server.count("toolward_xds_streams_cut_total{reason=\"TooMuch\"}"), 3);
    others_are_told(&server, &mut honest, "beside greed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_never_acknowledges_gets_one_response_and_no_more() {
    let (server, mut honest) = with_honest_client().await;
    let mut mute = server.stream().await;
    mute.subscribes().await;
    let first = timeout(PATIENCE, mute.responses.message()).await.unwrap().unwrap();
    assert!(first.is_some());
    for change in 0..5 {
        others_are_told(&server, &mut honest, &format!("change {change}")).await;
    }
    let more = timeout(Duration::from_millis(200), mute.responses.message()).await;
    assert!(more.is_err(), "nothing more while the first is not acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_read_is_cut_off() {
    let (server, mut honest) = with_honest_client().await;
    // A client by hand: it opens a stream, asks again and again, acknowledges, and never reads.
    let mut slow = server.stream().await;
    slow.subscribes().await;
    let requests = slow.requests.clone();
    let asking = tokio::spawn(async move {
        for nonce in 1..1000 {
            let again = DeltaDiscoveryRequest { response_nonce: nonce.to_string(), ..subscribe(&["c".to_owned()]) };
            if requests.send(again).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    server.counts("toolward_xds_streams_cut_total{reason=\"NotReading\"}").await;
    others_are_told(&server, &mut honest, "beside a slow one").await;
    asking.abort();
    drop(slow);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_none() {
    let (server, mut honest) = with_honest_client().await;
    // gRPC's frame around bytes that are no protobuf: a varint that never ends.
    let channel = Channel::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
    let garbage = tokio_stream::iter([Garbage]);
    let codec = tonic_prost::ProstCodec::<Garbage, DeltaDiscoveryResponse>::default();
    let answer = grpc.streaming(tonic::Request::new(garbage), path.parse().unwrap(), codec).await;
    let status = match answer {
        Ok(response) => response.into_inner().message().await.expect_err("garbage is refused"),
        Err(status) => status,
    };
    assert_eq!(status.code(), Code::Internal, "{status:?}");
    server.counts("toolward_xds_streams_cut_total{reason=\"BadMessage\"}").await;
    others_are_told(&server, &mut honest, "beside nonsense").await;
}

/// Writes itself as a field with a varint of eleven bytes.
#[derive(Clone, Debug, Default, PartialEq)]
struct Garbage;

impl prost::Message for Garbage {
    fn encode_raw(&self, buffer: &mut impl prost::bytes::BufMut) {
        buffer.put_slice(&[0xff; 11]);
    }

    fn merge_field(
        &mut self,
        _: u32,
        _: prost::encoding::WireType,
        _: &mut impl prost::bytes::Buf,
        _: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        11
    }

    fn clear(&mut self) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn storms_of_reconnects() {
    let (server, mut honest) = with_honest_client().await;
    let address = server.address;
    let storm: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                loop {
                    let Ok(mut client) = AggregatedDiscoveryServiceClient::connect(format!("http://{address}")).await
                    else {
                        continue;
                    };
                    let request = tokio_stream::iter([subscribe(&["*".to_owned()])]);
                    if let Ok(stream) = client.delta_aggregated_resources(request).await {
                        let _ = stream.into_inner().message().await;
                    }
                }
            })
        })
        .collect();
    sleep(Duration::from_millis(300)).await;
    for change in 0..5 {
        others_are_told(&server, &mut honest, &format!("in the storm {change}")).await;
    }
    let streams = server.count("toolward_xds_streams{");
    storm.iter().for_each(tokio::task::JoinHandle::abort);
    assert!(streams <= 64, "{streams}");
}
