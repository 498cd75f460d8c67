//! What a client sees of a handle says nothing and opens for its owner alone; nothing else opens for anybody.
#![no_main]

use std::cell::RefCell;
use std::num::NonZeroUsize;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use toolward_policy::config::{BINDING_KEYS_HEADER, BindingKey};
use toolward_policy::exchange::{ENDPOINT, Edits, Exchange, Headers, RequestStep, ResponseStep, Verification};
use toolward_policy::jwt::budget::Budget;
use toolward_policy::jwt::cache::TokenCache;
use toolward_policy::jwt::verify::Portable;
use toolward_policy::policy::PolicyTable;

const NOW: u64 = 1_800_000_000;

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    WORLD.with_borrow_mut(|world| match choice % 3 {
        0 => world.announce(rest),
        1 => world.guess(rest),
        _ => world.resume(rest),
    });
});

struct World {
    table: PolicyTable,
    cache: TokenCache,
    bob: String,
    eve: String,
}

fn binding_key() -> BindingKey {
    BindingKey([1; 32])
}

impl World {
    fn new() -> Self {
        let key = SigningKey::from_bytes(&[7; 32]);
        let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
        let policy = |transport: &str| {
            let issuer =
                json!({ "issuer": "https://a", "audience": { "any": {} }, "keySet": "k", "keySource": "inline n/p" });
            json!({ "protected": {
                "authentication": { "jwt": { "policy": "n/p", "issuers": [issuer] } },
                "protocol": { "transport": transport },
            } })
        };
        let config = json!({
            "version": 1,
            "bindingKeyIds": [binding_key().id()],
            "keySets": { "k": { "keys": [{ "kid": "k", "algorithms": ["EdDSA"], "material": { "kty": "OKP", "x": x } }] } },
            "policies": { "sse": policy("HTTPSSE"), "http": policy("StreamableHTTP") },
        });
        let table = PolicyTable::parse(config.to_string().as_bytes()).expect("a good configuration");
        let token = |who: &str| {
            let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let claims = json!({ "iss": "https://a", "sub": who, "exp": NOW + 60 });
            let input = format!("{}.{}", part(json!({ "alg": "EdDSA", "kid": "k" })), part(claims));
            let signature = URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()).to_bytes());
            format!("Bearer {input}.{signature}")
        };
        let (bob, eve) = (token("bob"), token("eve"));
        Self { table, cache: TokenCache::new(NonZeroUsize::new(2).expect("not zero")), bob, eve }
    }

    fn ask(&mut self, policy: &str, token: &str, headers: &[(&str, &[u8])]) -> (Exchange, RequestStep) {
        let key = binding_key().text();
        let given = [("authorization", token.as_bytes()), (BINDING_KEYS_HEADER, key.as_bytes())];
        let headers: Vec<(String, Vec<u8>)> =
            headers.iter().chain(&given).map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        let is_get = headers.iter().any(|(name, value)| name == ":method" && value == b"GET");
        let mut budget = Budget::default();
        budget.set(1000, 1);
        let mut verification =
            Verification { verifier: &Portable, cache: &mut self.cache, now: NOW, budget: &mut budget, millis: 0 };
        Exchange::request_headers(&self.table, Some(policy.as_bytes()), &Headers(&headers), is_get, &mut verification)
    }

    /// What passes of a stream; `None`: it ends.
    fn stream(&mut self, policy: &str, chunk: &[u8]) -> Option<String> {
        let bob = self.bob.clone();
        let (mut exchange, step) =
            self.ask(policy, &bob, &[(":method", b"GET"), (":path", b"/sse"), (":authority", b"gw")]);
        assert!(matches!(step, RequestStep::Continue(_)));
        let headers = [("content-type".to_owned(), b"text/event-stream".to_vec())];
        assert!(matches!(exchange.response_headers(&Headers(&headers), false), ResponseStep::Events(_)));
        let passed = exchange.response_events(chunk).ok()?;
        Some(String::from_utf8_lossy(&passed).into_owned())
    }

    /// A server announces this, and its caller sends a message there.
    fn announce(&mut self, uri: &[u8]) {
        // What stands behind a line end is another field, or another event.
        let uri = uri.split(|byte| b"\n\r".contains(byte)).next().unwrap_or_default();
        let event = [b"event: endpoint\ndata: ", uri, b"\n\n"].concat();
        assert!(self.stream("http", &event).is_none(), "no policy allows it");
        let Some(shown) = self.stream("sse", &event) else { return };
        let lines: Vec<&str> = shown.split(['\n', '\r']).filter_map(|line| line.strip_prefix("data: ")).collect();
        let [shown] = lines[..] else { panic!("{shown}") };
        let seal = shown.strip_prefix("/sse?toolward-seal=").expect("a seal");
        assert!(seal.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        let (bob, eve) = (self.bob.clone(), self.eve.clone());
        let post = |path| [(":method", &b"POST"[..]), (":path", path), ("content-type", b"application/json")];
        let opened = self.ask("sse", &bob, &post(shown.as_bytes())).1;
        let RequestStep::AwaitBody(Edits { set, .. }) = opened else { panic!("{shown}: {opened:?}") };
        let endpoint = &set.iter().find(|(name, _)| *name == ENDPOINT).expect("an endpoint").1;
        let is_path = endpoint.starts_with('/') && !endpoint.starts_with("//");
        assert!(is_path && endpoint.bytes().all(|byte| byte.is_ascii_graphic()), "{endpoint}");
        assert!(String::from_utf8_lossy(uri).contains(endpoint.as_str()), "{endpoint} is not what was announced");
        assert_eq!(status(&self.ask("sse", &eve, &post(shown.as_bytes())).1), Some(404));
    }

    /// Somebody sends a message to a path of its own making, in a session of its own making.
    fn guess(&mut self, path: &[u8]) {
        let eve = self.eve.clone();
        let post = [(":method", &b"POST"[..]), (":path", path), ("content-type", b"application/json")];
        let refused = status(&self.ask("sse", &eve, &post).1);
        // A token in it is refused before.
        assert!(matches!(refused, Some(404 | 400)), "{refused:?}");
        let at = [(":method", &b"GET"[..]), (":path", b"/mcp")];
        assert_eq!(status(&self.ask("http", &eve, &[at[0], at[1], ("mcp-session-id", path)]).1), Some(404));
        assert_eq!(status(&self.ask("http", &eve, &[at[0], at[1], ("last-event-id", path)]).1), Some(400));
    }

    /// A server sends an event with this id; its caller goes on behind it.
    fn resume(&mut self, id: &[u8]) {
        let event = [b"id: ", id, b"\ndata: x\n\n"].concat();
        let Some(shown) = self.stream("http", &event) else { return };
        let (bob, eve) = (self.bob.clone(), self.eve.clone());
        for id in
            shown.split(['\n', '\r']).filter_map(|line| line.strip_prefix("id:")).map(|id| id.trim_matches([' ', '\t']))
        {
            let get = [(":method", &b"GET"[..]), (":path", b"/mcp"), ("last-event-id", id.as_bytes())];
            if !id.is_empty() {
                assert!(matches!(self.ask("http", &bob, &get).1, RequestStep::Continue(_)), "{id:?}");
            }
            assert_eq!(status(&self.ask("http", &eve, &get).1), Some(400), "{id:?}");
        }
    }
}

fn status(step: &RequestStep) -> Option<u16> {
    match step {
        RequestStep::Answer(answer) => Some(answer.status),
        RequestStep::Continue(_) | RequestStep::AwaitBody(_) => None,
    }
}
