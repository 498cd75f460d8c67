//! One simulated Envoy: what it asks for follows from what it gets, as with the real one.
//!
//! It asks for all clusters and listeners, then for the endpoints of the clusters, and for the routes and the filter
//! configuration of each listener, which have the listener's name.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use prost::Message as _;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// What can be asked for, by the last word of the type's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Cluster,
    Endpoint,
    Listener,
    Filter,
    Route,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Cluster, Self::Endpoint, Self::Listener, Self::Filter, Self::Route];

    pub(crate) fn url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Filter => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// Those whose names come with resources of this kind.
    fn named_by(self) -> &'static [Self] {
        match self {
            Self::Cluster => &[Self::Endpoint],
            Self::Listener => &[Self::Filter, Self::Route],
            _ => &[],
        }
    }
}

/// Something that an Envoy got and has acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The Envoy's Gateway.
    pub(crate) gateway: usize,
    pub(crate) kind: Kind,
    pub(crate) resources: usize,
    /// Of the whole response.
    pub(crate) bytes: usize,
    /// When it was acknowledged.
    pub(crate) at: Instant,
    /// Whether it answers the question that is asked last after a reconnect.
    pub(crate) last: bool,
}

/// Versions by name, by kind.
pub(crate) type Holdings = HashMap<Kind, HashMap<String, String>>;

/// Bytes by kind and name.
pub(crate) type Contents = HashMap<(Kind, String), Vec<u8>>;

/// Who it is and what it has.
#[derive(Clone, Debug)]
pub(crate) struct Envoy {
    pub(crate) id: usize,
    pub(crate) gateway: usize,
    pub(crate) holdings: Holdings,
    /// What it has, where that is to be kept.
    pub(crate) contents: Option<Contents>,
}

/// A name that no resource has. The answer to it proves that everything asked before was answered.
const LAST: &str = "nothing-has-this-name";

/// An open stream.
pub(crate) struct Stream {
    envoy: Envoy,
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Stream {
    /// Connects and says what it wants, and what it has from before.
    pub(crate) async fn open(envoy: Envoy, address: &str) -> Self {
        let mut client =
            AggregatedDiscoveryServiceClient::connect(address.to_owned()).await.expect("the server listens");
        client = client.max_decoding_message_size(64 * 1024 * 1024);
        let (requests, receiver) = mpsc::channel(64);
        let node = Node {
            id: format!("envoy-{}", envoy.id),
            cluster: crate::world::World::gateway(envoy.gateway),
            ..Node::default()
        };
        let mut first = Some(node);
        let returns = !envoy.holdings.is_empty();
        for kind in Kind::ALL {
            let known = envoy.holdings.get(&kind).cloned().unwrap_or_default();
            let wildcard = matches!(kind, Kind::Cluster | Kind::Listener);
            if wildcard || !known.is_empty() {
                let names = if wildcard { Vec::new() } else { known.keys().cloned().collect() };
                let request = DeltaDiscoveryRequest {
                    node: first.take(),
                    type_url: kind.url().to_owned(),
                    resource_names_subscribe: names,
                    initial_resource_versions: known,
                    ..DeltaDiscoveryRequest::default()
                };
                requests.send(request).await.expect("room for the first requests");
            }
        }
        if returns {
            let request = asking(Kind::Route, vec![LAST.to_owned()]);
            requests.send(request).await.expect("room for the first requests");
        }
        let responses =
            client.delta_aggregated_resources(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
        Self { envoy, requests, responses }
    }

    /// Takes what comes and tells of it, until it is told to stop; gives what the Envoy then has.
    pub(crate) async fn run(
        mut self,
        received: mpsc::UnboundedSender<Received>,
        mut stop: tokio::sync::watch::Receiver<bool>,
    ) -> Envoy {
        loop {
            let response = tokio::select! {
                response = self.responses.message() => response.expect("a working stream").expect("a stream that goes on"),
                _ = stop.changed() => return self.envoy,
            };
            let told = self.take(response).await;
            if received.send(told).is_err() {
                return self.envoy;
            }
        }
    }

    async fn take(&mut self, response: DeltaDiscoveryResponse) -> Received {
        let bytes = response.encoded_len();
        let kind =
            Kind::ALL.into_iter().find(|kind| kind.url() == response.type_url).expect("a kind that was asked for");
        let holdings = self.envoy.holdings.entry(kind).or_default();
        let mut new = Vec::new();
        let resources = response.resources.len();
        let last = response.removed_resources.iter().any(|name| name == LAST);
        for resource in response.resources {
            if let (Some(contents), Some(any)) = (&mut self.envoy.contents, resource.resource) {
                contents.insert((kind, resource.name.clone()), any.value);
            }
            if holdings.insert(resource.name.clone(), resource.version).is_none() {
                new.push(resource.name);
            }
        }
        for name in &response.removed_resources {
            holdings.remove(name);
        }
        let acknowledgement = DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            ..DeltaDiscoveryRequest::default()
        };
        self.say(acknowledgement).await;
        let at = Instant::now();
        if !new.is_empty() {
            for named in kind.named_by() {
                self.say(asking(*named, new.clone())).await;
            }
        }
        Received { gateway: self.envoy.gateway, kind, resources, bytes, at, last }
    }

    async fn say(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).await.expect("a working stream");
    }
}

fn asking(kind: Kind, names: Vec<String>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: kind.url().to_owned(),
        resource_names_subscribe: names,
        ..DeltaDiscoveryRequest::default()
    }
}
