//! An Envoy with one chain of filters.

use serde_json::{Value, json};
use toolward_tests::envoy::Envoy;
use toolward_tests::ports;

use crate::process;
use crate::world::{FILTER, World};

/// A running Envoy on the core for Envoys.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    /// Where it listens.
    pub(crate) port: u16,
    /// Its process.
    pub(crate) pid: u32,
    _envoy: Envoy,
}

impl Chain {
    /// The filter, as the control plane renders it.
    pub(crate) fn toolward(name: &'static str, world: &World) -> Self {
        Self::with_workers(name, world, 1)
    }

    /// The same with so many workers.
    pub(crate) fn with_workers(name: &'static str, world: &World, workers: usize) -> Self {
        let port = ports::free();
        let envoy = Envoy::with_workers(&world.on(port), workers);
        let pid = envoy.process.id();
        process::pin(pid, process::ENVOY_CORE);
        Self { name, port, pid, _envoy: envoy }
    }

    /// Other filters in its place, or none.
    pub(crate) fn of(name: &'static str, world: &World, filters: Vec<Value>) -> Self {
        Self::toolward(name, &world.with_filters(filters))
    }

    /// The filter with its configuration in a file (ECDS by the file system). This Envoy may use all cores, and its main
    /// thread, which tries a configuration before the workers get it, what is left of them: its worker must not wait for it.
    pub(crate) fn discovering(name: &'static str, world: &World, file: &str) -> Self {
        let mut world = world.clone();
        let filter = &mut world.connection_manager()["http_filters"][FILTER];
        filter.as_object_mut().expect("an object").remove("typed_config");
        filter["config_discovery"] = json!({
            "config_source": { "path_config_source": { "path": file }, "resource_api_version": "V3" },
            "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
        });
        let chain = Self::toolward(name, &world);
        process::pin(chain.pid, "0-1");
        process::put_main_thread_last(chain.pid);
        chain
    }
}
