//! The incremental variant on the wire.

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use envoy_types::pb::google::protobuf::Any;

use super::wire::{Message, Names, Protocol, Push, Request, Wire};

/// The incremental variant.
#[derive(Debug)]
pub struct Delta;

impl Wire for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    const PROTOCOL: Protocol = Protocol::Delta;

    fn read(message: DeltaDiscoveryRequest) -> Message {
        Message {
            node: message.node,
            type_url: message.type_url,
            request: Request {
                nonce: message.response_nonce,
                error: message.error_detail.map(|status| status.message),
                names: Names::Change {
                    subscribe: message.resource_names_subscribe,
                    unsubscribe: message.resource_names_unsubscribe,
                    known: message.initial_resource_versions.into_iter().collect(),
                },
            },
        }
    }

    fn write(push: Push) -> DeltaDiscoveryResponse {
        let type_url = push.kind.type_url();
        let resource = |(name, resource): (String, crate::snapshot::Resource)| Resource {
            name,
            version: resource.version.to_string(),
            resource: Some(Any { type_url: type_url.to_owned(), value: resource.bytes.to_vec() }),
            ..Resource::default()
        };
        DeltaDiscoveryResponse {
            system_version_info: push.update.version,
            resources: push.update.resources.into_iter().map(resource).collect(),
            type_url: type_url.to_owned(),
            removed_resources: push.update.removed,
            nonce: push.nonce,
            ..DeltaDiscoveryResponse::default()
        }
    }
}
