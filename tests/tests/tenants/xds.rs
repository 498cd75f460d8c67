//! What a tenant's pods can do at the xDS port, with the token of a service account of the tenant's own.

use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tonic::Request;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

use crate::storm::Attacker;
use crate::world::GATEWAY;

const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// How long an answer is waited for that should not come.
const WAIT: Duration = Duration::from_secs(2);

pub(crate) fn handshakes(attacker: &mut Attacker<'_>) {
    let xds = attacker.storm.world.toolward.xds;
    let open: Vec<_> = (0..200).map(|_| TcpStream::connect(("127.0.0.1", xds))).collect();
    sleep(WAIT);
    drop(open);
}

/// Each of another form, audience or time, and none of the API server's.
pub(crate) fn forged_tokens(attacker: &mut Attacker<'_>) {
    let world = &attacker.storm.world;
    let claims = ["--issuer", "https://kubernetes.default.svc", "--audience", "toolward.dev/xds", "--subject"];
    let subject = format!("system:serviceaccount:{}:{}-toolward", GATEWAY.0, GATEWAY.1);
    let forged = world.issuer.token(&[&claims[..], &[&subject]].concat());
    within(attacker, async |client, attacker| {
        for number in 0..100 {
            let token = match number % 3 {
                0 => format!("{forged}{number}"),
                1 => format!("a.b.{number}"),
                _ => "x".repeat(number * 100),
            };
            asks(client.clone(), attacker, &token, &own(), Vec::new()).await;
        }
    });
}

pub(crate) fn foreign_gateway(attacker: &mut Attacker<'_>) {
    let (platform, name) = GATEWAY;
    let token = attacker.tenant.token.clone();
    within(attacker, async |client, attacker| {
        for cluster in [own(), format!("{platform}/{name} "), format!("{platform}//{name}"), format!("x/{name}")] {
            asks(client.clone(), attacker, &token, &cluster, Vec::new()).await;
        }
    });
}

pub(crate) fn large_messages(attacker: &mut Attacker<'_>) {
    let token = attacker.tenant.token.clone();
    within(attacker, async |client, attacker| {
        let names = || vec!["x".repeat(31 * 1024 * 1024)];
        let cluster = own();
        for _ in 0..8 {
            asks(client.clone(), attacker, &token, &cluster, names()).await;
        }
    });
}

pub(crate) fn many_streams(attacker: &mut Attacker<'_>) {
    let token = attacker.tenant.token.clone();
    within(attacker, async |client, attacker| {
        let mut open = Vec::new();
        for _ in 0..512 {
            let mut client = client.clone();
            let mut request = Request::new(tokio_stream::pending::<DeltaDiscoveryRequest>());
            sign(&mut request, &token);
            open.push(tokio::spawn(async move {
                let _open = timeout(WAIT, client.delta_aggregated_resources(request)).await;
                tokio::time::sleep(WAIT).await;
            }));
        }
        let _ = attacker;
        for stream in open {
            let _ = stream.await;
        }
    });
}

/// The shared Gateway, which no tenant's account is.
fn own() -> String {
    format!("{}/{}", GATEWAY.0, GATEWAY.1)
}

/// Asks for a Gateway's clusters, of which nothing is to be told.
async fn asks(
    mut client: AggregatedDiscoveryServiceClient<Channel>,
    attacker: &Attacker<'_>,
    token: &str,
    cluster: &str,
    names: Vec<String>,
) {
    let node = Node { id: "evil".to_owned(), cluster: cluster.to_owned(), ..Default::default() };
    let asked = DeltaDiscoveryRequest {
        node: Some(node),
        type_url: CLUSTERS.to_owned(),
        resource_names_subscribe: names,
        ..Default::default()
    };
    let mut request = Request::new(tokio_stream::once(asked).chain(tokio_stream::pending()));
    sign(&mut request, token);
    let Ok(Ok(answers)) = timeout(WAIT, client.delta_aggregated_resources(request)).await else { return };
    let mut answers = answers.into_inner();
    if let Ok(Ok(Some(answer))) = timeout(WAIT, answers.message()).await
        && !answer.resources.is_empty()
    {
        attacker.storm.steals(format!("{} clusters of {cluster}", answer.resources.len()));
    }
}

fn sign<M>(request: &mut Request<M>, token: &str) {
    if let Ok(value) = format!("Bearer {token}").parse() {
        request.metadata_mut().insert("authorization", value);
    }
}

/// Does something with a connection, if there is one to be had.
fn within(attacker: &Attacker<'_>, act: impl AsyncFn(AggregatedDiscoveryServiceClient<Channel>, &Attacker<'_>)) {
    let world = &attacker.storm.world;
    let authority = Certificate::from_pem(&world.authority.pem);
    let tls = ClientTlsConfig::new().ca_certificate(authority).domain_name("toolward.toolward-system.svc");
    let endpoint = Channel::from_shared(format!("https://127.0.0.1:{}", world.toolward.xds)).expect("an address");
    let endpoint = endpoint.tls_config(tls).expect("TLS").connect_timeout(WAIT);
    Runtime::new().expect("a runtime").block_on(async {
        if let Ok(channel) = endpoint.connect().await {
            act(AggregatedDiscoveryServiceClient::new(channel), attacker).await;
        }
    });
}
