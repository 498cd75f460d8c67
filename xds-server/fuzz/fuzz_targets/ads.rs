//! Whatever a client says on its stream: it is sent only what exists and what it asked for, one unanswered response per
//! type at a time, and the same thing twice only when it asks again.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use toolward_xds_server::ads::delta::Delta;
use toolward_xds_server::ads::sotw::Sotw;
use toolward_xds_server::ads::stream::Stream;
use toolward_xds_server::ads::wire::{Message, Protocol, Wire};
use toolward_xds_server::snapshot::{GatewaySnapshot, Resource, ResourceType};

fuzz_target!(|data: &[u8]| {
    let Some((choice, mut rest)) = data.split_first() else { return };
    let protocol = if choice & 1 == 0 { Protocol::Delta } else { Protocol::Sotw };
    let mut client = Client::new(protocol);
    // Each step: what kind it is, how long it is, and its bytes.
    while let [kind, length, more @ ..] = rest {
        let (bytes, next) = more.split_at(usize::from(*length).min(more.len()));
        rest = next;
        match kind % 4 {
            0 => client.change(bytes),
            1 => client.now += Duration::from_secs(u64::from(*length)),
            _ if kind & 4 == 0 => client.acknowledge(*length),
            _ => {
                let Some(message) = read(protocol, bytes) else { return };
                if !client.hear(message) {
                    return;
                }
            }
        }
        client.take_all();
    }
});

fn read(protocol: Protocol, bytes: &[u8]) -> Option<Message> {
    match protocol {
        Protocol::Delta => DeltaDiscoveryRequest::decode(bytes).ok().map(Delta::read),
        Protocol::Sotw => DiscoveryRequest::decode(bytes).ok().map(Sotw::read),
    }
}

struct Client {
    stream: Stream,
    snapshot: GatewaySnapshot,
    now: Instant,
    nonces: BTreeSet<String>,
    unanswered: BTreeMap<ResourceType, String>,
}

impl Client {
    fn new(protocol: Protocol) -> Self {
        Self {
            stream: Stream::new(protocol),
            snapshot: GatewaySnapshot::default(),
            now: Instant::now(),
            nonces: BTreeSet::new(),
            unanswered: BTreeMap::new(),
        }
    }

    /// Another world: each byte is a resource.
    fn change(&mut self, bytes: &[u8]) {
        self.snapshot = GatewaySnapshot::default();
        for byte in bytes {
            let kind = ResourceType::ALL[usize::from(byte % 6)];
            let (name, content) = (format!("r{}", byte / 6 % 4), vec![byte / 24]);
            self.snapshot.resources.entry(kind).or_default().insert(name, Resource::new(content));
        }
    }

    /// What comes in; false where the client is disconnected for it.
    fn hear(&mut self, message: Message) -> bool {
        let Some(kind) = ResourceType::from_type_url(&message.type_url) else { return true };
        if self.unanswered.get(&kind) == Some(&message.request.nonce) {
            self.unanswered.remove(&kind);
        }
        self.stream.receive(kind, message.request).is_ok()
    }

    /// A well-behaved answer to one of the responses.
    fn acknowledge(&mut self, which: u8) {
        let Some((kind, nonce)) = self.unanswered.iter().nth(usize::from(which % 6)) else { return };
        let mut message = match self.stream.protocol() {
            Protocol::Delta => Delta::read(DeltaDiscoveryRequest::default()),
            // In this variant an answer repeats what is wanted.
            Protocol::Sotw => Sotw::read(DiscoveryRequest {
                resource_names: self.stream.view().types.get(kind.word()).map(names).unwrap_or_default(),
                ..DiscoveryRequest::default()
            }),
        };
        message.type_url = kind.type_url().to_owned();
        message.request.nonce = nonce.clone();
        self.hear(message);
    }

    fn take_all(&mut self) {
        // As many as there are types, twice for what is held back; more would be a loop.
        for _ in 0..=2 * ResourceType::ALL.len() {
            let Some(push) = self.stream.next(&self.snapshot, self.now) else { return };
            assert!(self.nonces.insert(push.nonce.clone()), "a nonce is used once");
            assert!(self.unanswered.insert(push.kind, push.nonce).is_none(), "one unanswered response per type");
            let existing = self.snapshot.resources.get(&push.kind);
            let mut names = BTreeSet::new();
            for (name, resource) in &push.update.resources {
                assert!(names.insert(name), "each name once");
                let exists = existing.and_then(|existing| existing.get(name)) == Some(resource);
                let is_held_back = matches!(push.kind, ResourceType::Cluster | ResourceType::Endpoint);
                assert!(exists || is_held_back, "only what exists is sent");
            }
            assert!(push.update.removed.iter().all(|name| !names.contains(name)), "sent or removed");
        }
        panic!("without end");
    }
}

fn names(view: &toolward_xds_server::ads::subscription::SubscriptionView) -> Vec<String> {
    view.names.iter().cloned().collect()
}
