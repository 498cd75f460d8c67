//! Clients of the xDS port that show a service account's token: one that behaves, and what others may send.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use envoy_types::pb::google::rpc::Status as Detail;
use http_body::{Body as _, Frame};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Code, Status, Streaming};

use toolward_tests::cluster::{Cluster, NAMESPACE};
use toolward_tests::credentials::{Authority, Mount};
use toolward_tests::ports;
use toolward_tests::toolward::Toolward;

/// The audience of tokens for the port.
pub(crate) const XDS: &str = "toolward.dev/xds";

/// Longer than anything takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// The port, as it is in a cluster.
pub(crate) struct Port {
    pub(crate) toolward: Toolward,
    authority: Authority,
    _mount: Mount,
}

impl Port {
    /// `toolward` with these arguments, which speaks TLS and reviews tokens.
    pub(crate) fn serve(cluster: &Cluster, arguments: &[&str]) -> Self {
        let authority = Authority::new();
        let mount = Mount::new(&authority.server());
        let [certificate, key] = ["tls.crt", "tls.key"].map(|name| mount.path(name).display().to_string());
        let account = cluster.service_account(NAMESPACE, "toolward");
        let tls = ["--xds-tls-cert", &certificate, "--xds-tls-key", &key, "--namespace", NAMESPACE];
        let own = ["--identity", "one", "--provision", "false", "--key-set-networks", "127.0.0.0/8"];
        let arguments = [&tls, &own[..], arguments].concat();
        let toolward = Toolward::in_cluster_on(&account, ports::free(), ports::free(), &arguments);
        toolward.wait_until_ready();
        Self { toolward, authority, _mount: mount }
    }

    /// A connection from this address.
    pub(crate) async fn connect_from(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.authority.pem))
            .domain_name("toolward.toolward-system.svc");
        let endpoint = Channel::from_shared(format!("https://127.0.0.1:{}", self.toolward.xds)).expect("a URL");
        let address: IpAddr = address.parse().expect("an address");
        endpoint.local_address(Some(address)).tls_config(tls)?.connect().await
    }

    pub(crate) async fn connect(&self) -> Channel {
        self.connect_from("127.0.0.1").await.expect("a connection")
    }

    /// A stream of this Gateway on which its listeners are asked for.
    pub(crate) async fn stream(&self, token: &str, gateway: &str) -> Result<Stream, Status> {
        Stream::open(self.connect().await, token, gateway).await
    }
}

/// An open stream.
pub(crate) struct Stream {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Stream {
    pub(crate) async fn open(channel: Channel, token: &str, gateway: &str) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(1);
        let node = Node { id: "test".into(), cluster: gateway.into(), ..Node::default() };
        let first = DeltaDiscoveryRequest {
            node: Some(node),
            type_url: "type.googleapis.com/envoy.config.listener.v3.Listener".into(),
            resource_names_subscribe: vec!["*".into()],
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(first).await.expect("room");
        let mut request = tonic::Request::new(ReceiverStream::new(receiver));
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("ASCII"));
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let responses = timeout(PATIENCE, client.delta_aggregated_resources(request)).await.expect("an answer")?;
        Ok(Self { requests, responses: responses.into_inner() })
    }

    /// How many listeners it is sent.
    pub(crate) async fn listeners(&mut self) -> Result<usize, Status> {
        let response = timeout(PATIENCE, self.responses.message()).await.expect("a response")?;
        Ok(response.expect("a response").resources.len())
    }

    /// Refuses what it is sent in these words, and asks for the same once more.
    pub(crate) async fn refuse(&mut self, message: String) -> Result<(), Status> {
        let response = timeout(PATIENCE, self.responses.message()).await.expect("a response")?;
        let response = response.expect("a response");
        let answer = DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            resource_names_subscribe: response.resources.into_iter().map(|resource| resource.name).collect(),
            error_detail: Some(Detail { message, ..Detail::default() }),
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(answer).await.expect("room");
        Ok(())
    }
}

/// Opens a stream, announces a message of so many bytes, and sends so many of them as fast as they are taken.
pub(crate) async fn unfinished(mut channel: Channel, token: &str, announced: u32, sent: usize) -> Unfinished {
    let header = [&[0][..], &announced.to_be_bytes()].concat();
    let chunks = std::iter::repeat_n(vec![0; 16 * 1024], sent.div_ceil(16 * 1024));
    let request = Request::post(format!("https://toolward{DELTA}"))
        .header("content-type", "application/grpc")
        .header("authorization", format!("Bearer {token}"))
        .body(Body::new(Parts(std::iter::once(header).chain(chunks).collect())))
        .expect("a request");
    std::future::poll_fn(|context| tonic::codegen::Service::poll_ready(&mut channel, context)).await.expect("open");
    let response = tonic::codegen::Service::call(&mut channel, request).await.expect("an answer");
    Unfinished { response, _channel: channel }
}

/// A stream whose message has not ended.
pub(crate) struct Unfinished {
    response: Response<Body>,
    _channel: Channel,
}

impl Unfinished {
    /// How it ends; none: it goes on for longer than this.
    pub(crate) async fn ends_within(&mut self, time: Duration) -> Option<Status> {
        if let Some(status) = Status::from_header_map(self.response.headers()) {
            return Some(status);
        }
        let body = self.response.body_mut();
        let end = async {
            loop {
                let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
                let trailers = match frame {
                    Some(Ok(frame)) => frame.into_trailers().ok(),
                    Some(Err(status)) => return status,
                    None => Some(HeaderMap::new()),
                };
                if let Some(trailers) = trailers {
                    let status = Status::from_header_map(&trailers);
                    return status.unwrap_or_else(|| Status::new(Code::Unknown, "no status"));
                }
            }
        };
        timeout(time, end).await.ok()
    }
}

/// Parts of a body that does not end.
struct Parts(VecDeque<Vec<u8>>);

impl http_body::Body for Parts {
    type Data = tonic::codegen::Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        match self.0.pop_front() {
            Some(part) => Poll::Ready(Some(Ok(Frame::data(part.into())))),
            None => Poll::Pending,
        }
    }
}

/// The answer to a report of keys that are missing from these sets.
pub(crate) async fn report(mut channel: Channel, token: &str, key_sets: &str) -> u16 {
    let request = Request::post("https://toolward/toolward.v1alpha1.Keys/Missing")
        .header("toolward-key-sets", key_sets)
        .header("authorization", format!("Bearer {token}"))
        .body(Body::default())
        .expect("a request");
    std::future::poll_fn(|context| tonic::codegen::Service::poll_ready(&mut channel, context)).await.expect("open");
    tonic::codegen::Service::call(&mut channel, request).await.expect("an answer").status().as_u16()
}
