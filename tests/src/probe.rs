//! An Envoy whose filter is the one for tests: it judges signatures both ways, and traps on request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::envoy::{Envoy, shipped};
use crate::http;
use crate::ports;
use crate::tools::tools;

/// Such an Envoy.
#[derive(Debug)]
pub struct Probe {
    /// The proxy.
    pub envoy: Envoy,
    /// Its endpoint.
    pub url: String,
    /// A client that keeps its connections.
    pub client: Client,
}

/// What both verifiers say of a signature: `Accepted`, or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Verdicts {
    pub host: String,
    pub portable: String,
}

impl Probe {
    /// Starts one before a server on this port, which knows the key set of the example.
    ///
    /// # Panics
    /// When the host verifies nothing: then nothing would be compared.
    #[must_use]
    pub fn start(upstream: u16) -> Self {
        let port = ports::free();
        let module = tools().wasm.with_file_name("toolward-probe.wasm");
        assert!(module.exists(), "{} is missing: run `make wasm-probe`", module.display());
        let config = shipped("envoy/static.yaml")
            .replace("target/wasm/toolward.wasm", module.to_str().expect("UTF-8"))
            .replace("port_value: 10000", &format!("port_value: {port}"))
            .replace("port_value: 8000", &format!("port_value: {upstream}"));
        let envoy = Envoy::with_config(&config);
        let probe = Self { envoy, url: format!("http://127.0.0.1:{port}/mcp"), client: http::client() };
        let by = probe.ask(&json!({ "keys": [] }), "").pointer("/by").cloned();
        assert_eq!(by, Some(json!("RSA and ECDSA signatures are verified by the host")));
        probe
    }

    /// Has a JWS judged with a key set in the filter's form.
    ///
    /// # Panics
    /// When the filter does not understand the key set.
    #[must_use]
    pub fn judge(&self, key_set: &Value, jws: &str) -> Verdicts {
        let answer = self.ask(key_set, jws);
        let verdict = |name: &str| answer[name].as_str().expect("a verdict").to_owned();
        let verdicts = Verdicts { host: verdict("host"), portable: verdict("portable") };
        assert_ne!(verdicts.host, "NoConfig", "{key_set}");
        verdicts
    }

    fn ask(&self, key_set: &Value, jws: &str) -> Value {
        let issuer = json!({ "issuer": "probe", "audience": { "any": {} }, "keySet": "probe" });
        let jwt = json!({ "policy": "probe", "issuers": [issuer] });
        let protected = json!({ "authentication": { "jwt": jwt }, "protocol": { "sessionBinding": "None" } });
        let policies = json!({ "probe": { "protected": protected } });
        let config = json!({ "version": 1, "keySets": { "probe": key_set }, "policies": policies });
        let request = http::post(&self.client, &self.url, "{}")
            .header("x-probe-config", STANDARD.encode(config.to_string()))
            .header("x-probe-jws", STANDARD.encode(jws));
        http::send(request).json()
    }
}
