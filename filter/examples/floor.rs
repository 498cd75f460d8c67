//! A filter that judges nothing: what entering the VM costs, and each call to the host. Its configuration is the name of a
//! call and how often it is made while the request's headers are looked at. `make bench-data-plane ONLY=floor`.
#![cfg(target_arch = "wasm32")]
#![expect(missing_docs, reason = "the SDK's macro writes an entry without")]

use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, MapType, MetricType};
use toolward_policy::config::{METADATA_NAMESPACE, METADATA_POLICY_FIELD};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

#[derive(Debug, Default)]
struct Root(Rc<Calls>);

/// What is called, and how often.
#[derive(Debug, Default)]
struct Calls {
    name: String,
    count: usize,
    counter: u32,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let text = String::from_utf8(self.get_plugin_configuration().unwrap_or_default()).unwrap_or_default();
        let Some((name, count)) = text.split_once(' ') else { return false };
        let Ok(count) = count.parse() else { return false };
        let counter = hostcalls::define_metric(MetricType::Counter, "floor").unwrap_or_default();
        self.0 = Rc::new(Calls { name: name.to_owned(), count, counter });
        true
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Http(Rc::clone(&self.0))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Http(Rc<Calls>);

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        for _ in 0..self.0.count {
            match self.0.name.as_str() {
                "property" => {
                    let path =
                        vec!["xds", "route_metadata", "filter_metadata", METADATA_NAMESPACE, METADATA_POLICY_FIELD];
                    let _ = hostcalls::get_property(path);
                }
                "headers" => {
                    let _ = hostcalls::get_map_bytes(MapType::HttpRequestHeaders);
                }
                "edit" => {
                    let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, "authorization", None);
                }
                "time" => {
                    let _ = hostcalls::get_current_time();
                }
                "count" => {
                    let _ = hostcalls::increment_metric(self.0.counter, 1);
                }
                "log" => {
                    let _ = hostcalls::set_property(vec!["toolward.decision"], Some(b"allowed"));
                }
                _ => {}
            }
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, _: usize, end_of_stream: bool) -> Action {
        if self.0.name != "body" {
            return Action::Continue;
        }
        if !end_of_stream {
            return Action::Pause;
        }
        for _ in 0..self.0.count {
            let _ = hostcalls::get_buffer(BufferType::HttpRequestBody, 0, usize::MAX);
        }
        Action::Continue
    }
}
