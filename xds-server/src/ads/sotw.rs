//! The state-of-the-world variant on the wire.

use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::protobuf::Any;

use super::wire::{Message, Names, Protocol, Push, Request, Wire};

/// The state-of-the-world variant.
#[derive(Debug)]
pub struct Sotw;

impl Wire for Sotw {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    const PROTOCOL: Protocol = Protocol::Sotw;

    fn read(message: DiscoveryRequest) -> Message {
        Message {
            node: message.node,
            type_url: message.type_url,
            request: Request {
                nonce: message.response_nonce,
                error: message.error_detail.map(|status| status.message),
                names: Names::All { names: message.resource_names, version: message.version_info },
            },
        }
    }

    fn write(push: Push) -> DiscoveryResponse {
        let type_url = push.kind.type_url();
        let any = |bytes: &[u8]| Any { type_url: type_url.to_owned(), value: bytes.to_vec() };
        DiscoveryResponse {
            version_info: push.update.version,
            resources: push.update.resources.iter().map(|(_, resource)| any(&resource.bytes)).collect(),
            type_url: type_url.to_owned(),
            nonce: push.nonce,
            ..DiscoveryResponse::default()
        }
    }
}
