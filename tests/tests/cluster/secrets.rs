//! Two Gateways of one namespace, each with a certificate of its own: no Envoy gets the other one's.

use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tonic::transport::{Channel, ClientTlsConfig};
use tonic::{Code, Request, Status};
use toolward_tests::cluster::{Cluster, NAMESPACE};
use toolward_tests::credentials::{Authority, Credentials, Mount};
use toolward_tests::envoy::Envoy;
use toolward_tests::ports;
use toolward_tests::process::{PATIENCE, eventually};
use toolward_tests::stack::gateway;
use toolward_tests::toolward::Toolward;

const BOOTSTRAP: &str = "envoy/ads-tls.yaml";
const AUDIENCE: &str = "toolward.dev/xds";
const SECRETS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// A Gateway with its certificate.
struct Party {
    name: &'static str,
    port: u16,
    /// Signed the certificate.
    authority: Authority,
    key: String,
}

impl Party {
    fn apply(name: &'static str, cluster: &Cluster) -> Self {
        let (port, authority) = (ports::free(), Authority::new());
        let [(_, certificate), (_, key)] = authority.host("web.example.com");
        let http = format!("{{ name: mcp, port: {port}, protocol: HTTP }}");
        let https =
            format!("{{ name: mcp, port: {port}, protocol: HTTPS, tls: {{ certificateRefs: [{{ name: {name} }}] }} }}");
        let manifests = gateway(port).replace(&http, &https);
        cluster.apply(&manifests.replace("name: mcp-gateway", &format!("name: {name}, namespace: default")));
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": { "name": name, "namespace": "default" }, "stringData": { "tls.crt": certificate, "tls.key": key } });
        cluster.apply(&secret.to_string());
        cluster.kubectl(&["create", "serviceaccount", "-n", "default", &format!("{name}-toolward")]);
        Self { name, port, authority, key }
    }

    fn gateway(&self) -> String {
        format!("default/{}", self.name)
    }

    fn token(&self, cluster: &Cluster) -> String {
        cluster.token("default", &format!("{}-toolward", self.name), AUDIENCE)
    }

    /// Whether the port shows a certificate of this authority.
    fn shows(&self, authority: &Authority) -> bool {
        let root = reqwest::Certificate::from_pem(authority.pem.as_bytes()).expect("a certificate");
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let client = reqwest::blocking::Client::builder().resolve("web.example.com", address).no_proxy();
        let client = client.tls_certs_only([root]).build().expect("a client");
        client.get(format!("https://web.example.com:{}/", self.port)).send().is_ok()
    }
}

#[test]
fn two_envoys_can_not_read_each_others_secrets() {
    let cluster = Cluster::start();
    let (one, two) = (Party::apply("one", &cluster), Party::apply("two", &cluster));
    let authority = Authority::new();
    let mount = Mount::new(&authority.server());
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| mount.path(name).display().to_string());
    let account = cluster.service_account(NAMESPACE, "toolward");
    let arguments = ["--xds-tls-cert", &certificate, "--xds-tls-key", &key, "--namespace", NAMESPACE];
    let toolward = Toolward::in_cluster(&account, &arguments);
    toolward.wait_until_ready();

    // Real Envoys, which ask for what their listeners name.
    let envoys = [&one, &two].map(|party| {
        let credentials = Credentials::new(&[("token", party.token(&cluster))], &authority);
        (Envoy::secured(BOOTSTRAP, &credentials, &party.gateway(), toolward.xds), credentials)
    });
    eventually("one speaks TLS", || one.shows(&one.authority));
    eventually("two speaks TLS", || two.shows(&two.authority));
    assert!(!one.shows(&two.authority) && !two.shows(&one.authority));
    for ((envoy, _), own, other) in [(&envoys[0], "one", "two"), (&envoys[1], "two", "one")] {
        let dump = envoy.admin("/config_dump");
        assert!(dump.contains(&format!("default/{own}\"")) && !dump.contains(&format!("default/{other}")), "{dump}");
    }

    // A client that asks for more than it is to have.
    let names = ["default/one", "default/two"];
    let greedy = Greedy { xds: toolward.xds, authority: &authority, runtime: Runtime::new().expect("a runtime") };
    let mut binding_keys = Vec::new();
    for (party, other) in [(&one, &two), (&two, &one)] {
        let (own, token) = (party.gateway(), party.token(&cluster));
        let answer = greedy.delta(&own, &token, &names).expect("an answer");
        let got: Vec<&str> = answer.resources.iter().map(|resource| resource.name.as_str()).collect();
        assert_eq!((got, &answer.removed_resources), (vec![own.as_str()], &vec![other.gateway()]), "by both names");
        let all = greedy.delta(&own, &token, &["*"]).expect("an answer");
        for (answer, expected) in [(&answer, &[own.as_str()][..]), (&all, &["binding-keys", &own])] {
            let got: Vec<&str> = answer.resources.iter().map(|resource| resource.name.as_str()).collect();
            assert_eq!(got, expected);
            let contents = answer.resources.iter().flat_map(|resource| &resource.resource);
            let contents: Vec<&[u8]> = contents.map(|content| content.value.as_slice()).collect();
            assert!(contents.iter().any(|content| holds(content, &party.key)));
            assert!(!contents.iter().any(|content| holds(content, &other.key)));
        }
        binding_keys.extend(all.resources.iter().filter(|resource| resource.name == "binding-keys").cloned());
        let answer = greedy.delta(&own, &token, &[&other.gateway()]).expect("an answer");
        assert_eq!((answer.resources.len(), answer.removed_resources), (0, vec![other.gateway()]), "by its name alone");
        let answer = greedy.sotw(&own, &token, &names).expect("an answer");
        assert!(answer.resources.len() == 1 && holds(&answer.resources[0].value, &party.key), "state of the world");
        // As the other Gateway.
        for asked in [&names[..], &[]] {
            let refused = greedy.delta(&other.gateway(), &token, asked).expect_err("refused");
            assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
            let refused = greedy.sotw(&other.gateway(), &token, asked).expect_err("refused");
            assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        }
    }
    let [own, others] = &binding_keys[..] else { panic!("{binding_keys:?}") };
    assert_ne!(own.resource, others.resource, "each binds sessions under keys of its own");
}

fn holds(content: &[u8], text: &str) -> bool {
    content.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Asks for secrets as an Envoy would, by names of its choice.
struct Greedy<'a> {
    xds: u16,
    authority: &'a Authority,
    runtime: Runtime,
}

impl Greedy<'_> {
    fn delta(&self, gateway: &str, token: &str, names: &[&str]) -> Result<DeltaDiscoveryResponse, Status> {
        let asked = DeltaDiscoveryRequest {
            node: Some(node(gateway)),
            type_url: SECRETS.to_owned(),
            resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        self.runtime.block_on(async {
            let mut client = self.client().await;
            let answers = client.delta_aggregated_resources(signed(token, asked)).await?;
            first(answers.into_inner()).await
        })
    }

    fn sotw(&self, gateway: &str, token: &str, names: &[&str]) -> Result<DiscoveryResponse, Status> {
        let asked = DiscoveryRequest {
            node: Some(node(gateway)),
            type_url: SECRETS.to_owned(),
            resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        self.runtime.block_on(async {
            let mut client = self.client().await;
            let answers = client.stream_aggregated_resources(signed(token, asked)).await?;
            first(answers.into_inner()).await
        })
    }

    async fn client(&self) -> AggregatedDiscoveryServiceClient<Channel> {
        let authority = tonic::transport::Certificate::from_pem(&self.authority.pem);
        let tls = ClientTlsConfig::new().ca_certificate(authority).domain_name("toolward.toolward-system.svc");
        let endpoint = Channel::from_shared(format!("https://127.0.0.1:{}", self.xds)).expect("an address");
        let channel = endpoint.tls_config(tls).expect("TLS").connect().await.expect("a connection");
        AggregatedDiscoveryServiceClient::new(channel)
    }
}

fn node(gateway: &str) -> Node {
    Node { id: "greedy".to_owned(), cluster: gateway.to_owned(), ..Default::default() }
}

/// One message on a stream that stays open, with a token.
fn signed<M: Send + 'static>(token: &str, message: M) -> Request<impl tokio_stream::Stream<Item = M> + Send + 'static> {
    let mut request = Request::new(tokio_stream::once(message).chain(tokio_stream::pending()));
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    request
}

async fn first<M>(mut answers: tonic::Streaming<M>) -> Result<M, Status> {
    let message = timeout(PATIENCE, answers.message()).await.expect("an answer")?;
    Ok(message.expect("no end"))
}
