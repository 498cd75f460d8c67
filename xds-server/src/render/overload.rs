//! What Envoy does before its memory is used up: the part of a bootstrap that no control plane can send.
//!
//! The filter bounds what it holds itself. Beside that there are connections, answers that clients do not read, and bodies
//! on ways that are open.

use serde_json::{Value, json};

/// Bounds on one Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// What its heap may have, in bytes; none: that is not known. The filter's virtual machines are not in it.
    pub(crate) heap: Option<u64>,
    /// Connections of clients.
    pub(crate) connections: u64,
}

/// What a connection may cost on average, in bytes.
const CONNECTION: u64 = 128 * 1024;

/// `memory_allocator_manager` of a bootstrap: what a large configuration took up is given back in steps once it is gone. Left to
/// itself the allocator keeps it.
#[must_use]
pub(crate) fn allocator() -> Value {
    json!({ "bytes_to_release": RELEASED, "memory_release_interval": "1s" })
}

/// In one step, in bytes.
const RELEASED: u64 = 16 << 20;

/// Without a limit of memory: as many as one address has ports.
const MOST_CONNECTIONS: u64 = 65_536;

/// Streams whose buffers hold less are never reset for their memory: 1 MiB, as a power of two.
const LARGE_STREAM: u32 = 20;

impl Bounds {
    /// Those of an Envoy that may use so much memory.
    #[must_use]
    pub(crate) fn of_memory(memory: Option<u64>) -> Self {
        Self {
            // The rest is for virtual machines and what the allocator keeps.
            heap: memory.map(|memory| memory / 4 * 3),
            connections: memory.map_or(MOST_CONNECTIONS, |memory| memory / CONNECTION).clamp(64, MOST_CONNECTIONS),
        }
    }

    /// `overload_manager` of a bootstrap.
    #[must_use]
    pub(crate) fn manager(self) -> Value {
        let monitor = |name: &str, kind: &str, mut config: Value| {
            let kind = format!("type.googleapis.com/envoy.extensions.resource_monitors.{kind}");
            if let Some(members) = config.as_object_mut() {
                members.insert("@type".to_owned(), kind.into());
            }
            json!({ "name": format!("envoy.resource_monitors.{name}"), "typed_config": config })
        };
        let connections = monitor(
            "global_downstream_max_connections",
            "downstream_connections.v3.DownstreamConnectionsConfig",
            json!({ "max_active_downstream_connections": self.connections }),
        );
        let Some(heap) = self.heap else { return json!({ "resource_monitors": [connections] }) };
        let heap = monitor("fixed_heap", "fixed_heap.v3.FixedHeapConfig", json!({ "max_heap_size_bytes": heap }));
        json!({
            "refresh_interval": "0.25s",
            "buffer_factory_config": { "minimum_account_to_track_power_of_two": LARGE_STREAM },
            "resource_monitors": [heap, connections],
            "actions": [
                action("shrink_heap", json!({ "threshold": { "value": 0.8 } })),
                // Those that hold most go first.
                action(
                    "reset_high_memory_stream",
                    json!({ "scaled": { "scaling_threshold": 0.85, "saturation_threshold": 0.95 } }),
                ),
                action("disable_http_keepalive", json!({ "threshold": { "value": 0.9 } })),
                action("stop_accepting_requests", json!({ "threshold": { "value": 0.95 } })),
                action("stop_accepting_connections", json!({ "threshold": { "value": 0.98 } })),
            ],
        })
    }
}

fn action(name: &str, trigger: Value) -> Value {
    let mut trigger = trigger;
    if let Some(members) = trigger.as_object_mut() {
        members.insert("name".to_owned(), "envoy.resource_monitors.fixed_heap".into());
    }
    json!({ "name": format!("envoy.overload_actions.{name}"), "triggers": [trigger] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_bounds_the_heap_and_the_connections() {
        assert_eq!(Bounds::of_memory(Some(1 << 30)), Bounds { heap: Some(768 << 20), connections: 8192 });
        assert_eq!(Bounds::of_memory(Some(1 << 20)).connections, 64);
        let unknown = Bounds::of_memory(None);
        assert_eq!(unknown, Bounds { heap: None, connections: MOST_CONNECTIONS });
        assert_eq!(unknown.manager()["actions"], Value::Null);
    }
}
