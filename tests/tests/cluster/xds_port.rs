//! The xDS port of a shared control plane: tenants with service accounts of their own take neither its memory nor other
//! Gateways' places, nor the API server's time.

use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::runtime::Runtime;
use tonic::Code;
use toolward_tests::cluster::{Cluster, NAMESPACE};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::publisher::{Published, Publisher};
use toolward_tests::stack::gateway;
use toolward_tests::toolward::{ISSUER, Issuer};

use crate::world::{policy, route, server};
use crate::xds_clients::{Port, Stream, XDS, report, unfinished};

const HONEST: &str = "default/mcp-gateway";

/// A cluster with an honest Gateway, and tenants with Gateways and other service accounts of their own.
struct Tenants {
    cluster: Cluster,
    runtime: Runtime,
}

impl Tenants {
    fn start() -> Self {
        let (cluster, runtime) = (Cluster::start(), Runtime::new().expect("a runtime"));
        cluster.apply(&gateway(ports::free()).replace("name: mcp-gateway", "name: mcp-gateway, namespace: default"));
        cluster.kubectl(&["create", "serviceaccount", "-n", "default", "mcp-gateway-toolward"]);
        for namespace in ["mallory", "trudy"] {
            cluster.kubectl(&["create", "namespace", namespace]);
            for name in ["one", "two"] {
                let own = format!("name: {name}, namespace: {namespace}");
                cluster.apply(&gateway(ports::free()).replace("name: mcp-gateway", &own));
                cluster.kubectl(&["create", "serviceaccount", "-n", namespace, &format!("{name}-toolward")]);
            }
            cluster.kubectl(&["create", "serviceaccount", "-n", namespace, "nobody"]);
        }
        Self { cluster, runtime }
    }

    fn token(&self, namespace: &str, account: &str) -> String {
        self.cluster.token(namespace, account, XDS)
    }

    fn honest(&self) -> String {
        self.token("default", "mcp-gateway-toolward")
    }
}

async fn is_served(port: &Port, token: &str) {
    let mut honest = port.stream(token, HONEST).await.expect("a place");
    assert_eq!(honest.listeners().await.expect("a response"), 1);
}

#[test]
fn memory_is_for_those_that_are_known() {
    let tenants = Tenants::start();
    let port = Port::serve(&tenants.cluster, &[]);
    let (honest, nobody, gateway) =
        (tenants.honest(), tenants.token("mallory", "nobody"), tenants.token("mallory", "one-toolward"));
    let before = port.toolward.process.resident_mib();
    let grown = || port.toolward.process.resident_mib().saturating_sub(before);
    tenants.runtime.block_on(async {
        is_served(&port, &honest).await;
        // Of no Gateway: few streams, and small messages.
        let mut ends = Vec::new();
        let mut streams = Vec::new();
        for _ in 0..48 {
            let mut stream = unfinished(port.connect().await, &nobody, 31 << 20, 31 << 20).await;
            ends.push(stream.ends_within(Duration::from_secs(1)).await.expect("it is refused").code());
            streams.push(stream);
        }
        assert!(ends.iter().all(|code| [Code::OutOfRange, Code::ResourceExhausted].contains(code)), "{ends:?}");
        assert!(ends.contains(&Code::OutOfRange), "too large");
        assert!(grown() < 48, "{} MiB more", grown());
        drop(streams);

        // Of a Gateway: as much as all of its namespace may have on the way.
        let mut streams = Vec::new();
        for _ in 0..48 {
            streams.push(unfinished(port.connect().await, &gateway, 7 << 20, 6 << 20).await);
        }
        is_served(&port, &honest).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(grown() < 96, "{} MiB more", grown());
        is_served(&port, &honest).await;
        let end = streams[0].ends_within(Duration::from_secs(20)).await.expect("a message ends in time");
        assert_eq!(end.code(), Code::DeadlineExceeded, "{end:?}");
    });
    assert!(port.toolward.metric("toolward_xds_streams_cut_total") > 0.0);
}

#[test]
fn places_are_divided_between_namespaces() {
    let tenants = Tenants::start();
    let port = Port::serve(&tenants.cluster, &["--xds-max-streams", "80", "--xds-max-streams-per-gateway", "16"]);
    let honest = tenants.honest();
    tenants.runtime.block_on(async {
        let mut taken = Vec::new();
        for namespace in ["mallory", "trudy"] {
            for (name, most, why) in [
                ("one", 16, "streams of this client are open"),
                ("two", 4, "streams of the Gateways of this namespace are open"),
            ] {
                let token = tenants.token(namespace, &format!("{name}-toolward"));
                let (streams, refusal) = take_all(&port, &token, &format!("{namespace}/{name}")).await;
                assert_eq!(streams.len(), most, "{namespace}/{name}");
                assert!(refusal.contains(why), "{refusal}");
                taken.extend(streams);
            }
            let nobody = tenants.token(namespace, "nobody");
            let mut refused = String::new();
            let mut silent = Vec::new();
            for _ in 0..20 {
                let mut stream = unfinished(port.connect().await, &nobody, 100, 0).await;
                match stream.ends_within(Duration::from_millis(50)).await {
                    Some(end) => refused = end.message().to_owned(),
                    None => silent.push(stream),
                }
            }
            assert!(silent.len() <= 5, "{} streams of no Gateway", silent.len());
            assert!(refused.contains("of no Gateway that is there"), "{refused}");
        }
        let (streams, _) = take_all(&port, &honest, HONEST).await;
        assert_eq!(streams.len(), 16, "the honest Gateway has all that it may");
    });
}

/// Opens streams until one is refused.
async fn take_all(port: &Port, token: &str, gateway: &str) -> (Vec<Stream>, String) {
    let mut streams = Vec::new();
    for _ in 0..40 {
        let opened = async {
            let mut stream = port.stream(token, gateway).await?;
            stream.listeners().await.map(|_| stream)
        };
        match opened.await {
            Ok(stream) => streams.push(stream),
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                return (streams, status.message().to_owned());
            }
        }
    }
    (streams, String::new())
}

#[test]
fn connections_that_serve_nobody_make_room() {
    let tenants = Tenants::start();
    let port = Port::serve(&tenants.cluster, &["--xds-max-idle-connections", "64"]);
    let honest = tenants.honest();
    let is_counted = |reason: &str| {
        let text = port.toolward.get("/metrics").text;
        text.contains(&format!("toolward_xds_connections_closed_total{{reason=\"{reason}\"}}"))
    };
    let mut kept = tenants.runtime.block_on(port.stream(&honest, HONEST)).expect("a place");
    assert_eq!(tenants.runtime.block_on(kept.listeners()).expect("a response"), 1);
    // Handshakes that are not finished, and connections on which no stream is opened.
    let mut sockets: Vec<TcpStream> = Vec::new();
    let mut channels = Vec::new();
    for _ in 0..8 {
        for _ in 0..100 {
            sockets.push(TcpStream::connect(("127.0.0.1", port.toolward.xds)).expect("it listens"));
        }
        for _ in 0..20 {
            channels.push(tenants.runtime.block_on(port.connect()));
        }
        tenants.runtime.block_on(is_served(&port, &honest));
    }
    assert!(is_counted("Crowded"));
    let last = sockets.last_mut().expect("a socket");
    last.set_read_timeout(Some(Duration::from_secs(20))).expect("a duration");
    let end = last.read(&mut [0]);
    let is_closed = match &end {
        Ok(read) => *read == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    };
    assert!(is_closed, "{end:?}");
    eventually("those that were not too many are idle for too long", || is_counted("Idle"));
    // A connection with a stream stays.
    let told = tenants.runtime.block_on(async {
        let late = tokio::time::timeout(Duration::from_secs(1), kept.listeners());
        late.await.is_err()
    });
    assert!(told, "the stream goes on");
    assert!(port.toolward.metric("toolward_xds_streams_refused_total") < 1.0, "no Envoy is turned away");
}

#[test]
fn keys_are_missed_by_whoever_has_their_set() {
    let (tenants, idp) = (Tenants::start(), Publisher::start());
    idp.publish("/keys", Published::Json(Issuer::new("ES256").jwks()));
    let cluster = &tenants.cluster;
    cluster.apply(&server(ports::free()));
    cluster.apply(&route("math", "default"));
    let place = format!("{{ uri: '{}' }}", idp.url("/keys"));
    cluster.apply(
        &policy("[add]").replace(ISSUER, "https://idp").replace("{ configMapRef: { name: login-keys } }", &place),
    );
    let port = Port::serve(cluster, &[]);
    let snapshot = || port.toolward.get(&format!("/snapshot?gateway={HONEST}")).text;
    eventually("the key set is served", || snapshot().contains("\"place\""));
    let served = snapshot();
    let id = served.split("\"place\"").nth(1).and_then(|rest| rest.split('"').nth(1)).expect("an id").to_owned();
    let (honest, nobody, other) =
        (tenants.honest(), tenants.token("mallory", "nobody"), tenants.token("mallory", "one-toolward"));
    drop(idp.take_asked());
    tenants.runtime.block_on(async {
        let channel = port.connect().await;
        for _ in 0..50 {
            assert_eq!(report(channel.clone(), &nobody, &id).await, 403, "of no Gateway");
            assert_eq!(report(channel.clone(), &other, &id).await, 204, "passed over");
            assert_eq!(report(channel.clone(), &honest, "junk").await, 204, "passed over");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(idp.take_asked(), [], "nobody who has it misses a key");
        assert_eq!(report(channel, &honest, &id).await, 204);
    });
    let mut asked = false;
    eventually("the set is fetched", || {
        asked |= !idp.take_asked().is_empty();
        asked
    });
}

#[test]
fn made_up_tokens_cost_the_api_server_little() {
    let tenants = Tenants::start();
    let port = Port::serve(&tenants.cluster, &[]);
    let honest = tenants.honest();
    let reviews = || {
        let asked = |entry: &serde_json::Value| entry["objectRef"]["resource"] == "tokenreviews";
        tenants.cluster.audit_log().iter().filter(|entry| asked(entry)).count()
    };
    tenants.runtime.block_on(async {
        let channel = port.connect_from("127.0.0.2").await.expect("a connection");
        let refused = async |token: &str| Stream::open(channel.clone(), token, HONEST).await.err().expect("refused");
        for round in 0..100 {
            let made_up = [
                format!("junk{round}"),
                forged(&json!({ "round": round, "aud": ["other"] })),
                forged(&json!({ "round": round, "exp": 1 })),
                forged(&json!({ "round": round, "sub": "ann" })),
            ];
            for token in made_up {
                let status = refused(&token).await;
                assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
            }
        }
        assert_eq!(reviews(), 0, "what can't be good is not asked about");

        let start = Instant::now();
        let mut busy = 0;
        for round in 0..1000 {
            let status = refused(&forged(&json!({ "round": round }))).await;
            busy += usize::from(status.code() == Code::Unavailable);
        }
        let most = 100 + 10 * (start.elapsed().as_secs() as usize + 1);
        assert!(reviews() <= most && busy >= 1000 - most, "{} reviews, {busy} not looked at", reviews());
        assert!(reviews() > 50, "{} reviews", reviews());
        // An Envoy elsewhere has its own reviewed meanwhile.
        is_served(&port, &honest).await;

        // One that was found to be bad is not asked about again.
        let other = port.connect_from("127.0.0.3").await.expect("a connection");
        let (before, token) = (reviews(), forged(&json!({ "round": "again" })));
        for _ in 0..50 {
            let status = Stream::open(other.clone(), &token, HONEST).await.err().expect("refused");
            assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
        }
        assert_eq!(reviews(), before + 1);
    });
    assert!(port.toolward.get("/metrics").text.contains("reason=\"TooManyTokens\""));
}

/// A token that looks like the honest Gateway's, signed by nobody.
fn forged(changes: &serde_json::Value) -> String {
    let mut claims = json!({
        "iss": "https://kubernetes.default.svc", "aud": [XDS], "exp": 4_000_000_000_u64,
        "sub": "system:serviceaccount:default:mcp-gateway-toolward", "kubernetes.io": { "namespace": NAMESPACE }
    });
    for (name, value) in changes.as_object().expect("members") {
        claims[name] = value.clone();
    }
    let encoded = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!(
        "{}.{}.{}",
        encoded(&json!({ "alg": "RS256", "kid": "k" })),
        encoded(&claims),
        URL_SAFE_NO_PAD.encode([7; 256])
    )
}
