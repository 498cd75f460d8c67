//! What a worker holds of bodies is bounded over all streams, and nobody's share is another's.

use serde_json::json;
use toolward_tests::http::{self, call};
use toolward_tests::http2::Connection;
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack};
use toolward_tests::upstream::{OK, Upstream};

const MIB: u64 = 1024 * 1024;

/// A body that is a little smaller than it may be.
const LARGE: usize = 4 * 1024 * 1024 - 1024;

/// What a caller may hold, and all of them.
const OF_CALLER: u64 = 16 * MIB;
const OF_ALL: u64 = 64 * MIB;

/// What large bodies of one issuer's callers may take: three quarters of its share, which is three quarters of the whole.
const LARGE_OF_ISSUER: u64 = OF_ALL / 16 * 9;

/// What may hold a little beside large ones.
const SMALL: u64 = 64 * 1024;

/// Streams of a connection, of which Envoy takes fifty.
const STREAMS: u32 = 100;

struct World {
    stack: Stack,
    upstream: Upstream,
    host: String,
    body: Vec<u8>,
}

impl World {
    fn start() -> Self {
        let upstream = Upstream::start();
        let stack = Stack::start(upstream.port, OPS_MAY_ADD);
        let host = format!("127.0.0.1:{}", stack.port);
        Self { stack, upstream, host, body: vec![b' '; LARGE] }
    }

    fn token(&self, subject: &str) -> String {
        self.stack.issuer.token(&["--subject", subject, "--claim", "team=ops"])
    }

    fn begin(&self, connection: &mut Connection, stream: u32, token: &str) {
        let authorization = format!("Bearer {token}");
        connection.begin(
            stream,
            &[
                (":method", "POST"),
                (":scheme", "http"),
                (":path", "/mcp"),
                (":authority", &self.host),
                ("authorization", &authorization),
                ("content-type", "application/json"),
                ("accept", "application/json, text/event-stream"),
            ],
        );
    }

    /// Opens streams with bodies that never end; they last as long as the connection.
    fn attack(&self, token: &str, streams: u32) -> Connection {
        let mut connection = Connection::open(&self.host);
        for index in 0..streams {
            self.begin(&mut connection, 2 * index + 1, token);
            connection.send(2 * index + 1, &self.body, false);
        }
        connection
    }

    fn held(&self) -> u64 {
        self.stack.envoy.stat("wasmcustom.toolward_held_bytes")
    }

    fn refused(&self, reason: &str) -> u64 {
        self.stack.envoy.stat(&format!("wasmcustom.toolward_requests.POST.refused.{reason}"))
    }

    /// Whether a body as large as it may be is judged.
    fn takes_a_large_call(&self, token: &str) -> bool {
        let mut body = call("add").into_bytes();
        body.resize(LARGE, b' ');
        self.stack.ask(token, body).text == OK
    }

    fn resident(&self) -> u64 {
        self.stack.envoy.process.resident_mib()
    }
}

#[test]
fn a_caller_that_holds_its_share_holds_up_nobody() {
    let world = World::start();
    let (alice, bob) = (world.token("alice"), world.token("bob"));
    assert!(world.takes_a_large_call(&bob) && world.takes_a_large_call(&alice));
    let before = world.resident();
    let mut most = before;
    for round in 0..5 {
        let connection = world.attack(&alice, STREAMS);
        eventually("the attack is answered", || world.refused("CallerHoldsTooMuch") > round * 20);
        most = most.max(world.resident());
        let held = world.held();
        assert!((1..=OF_CALLER).contains(&held), "{held} bytes");
        assert!(world.takes_a_large_call(&bob), "another caller has a share of its own");
        assert_eq!(world.stack.ask(&alice, call("add")).text, OK, "small calls have a quarter for themselves");
        drop(connection);
        eventually("nothing is held any more", || world.held() == 0);
    }
    println!("{STREAMS} endless streams of one caller: Envoy had {before} MiB, and {most} MiB at most");
    // What is held, once more while it is copied, and what the allocator keeps.
    assert!(most - before <= 3 * OF_CALLER / MIB, "{before} to {most} MiB");
    assert!(world.takes_a_large_call(&alice), "what was held is free again");
    let recorded = world.upstream.take_recorded();
    assert!(recorded.iter().all(|recorded| recorded.body.starts_with(b"{")), "of endless bodies nothing goes on");
}

#[test]
fn all_callers_of_an_issuer_together_have_a_bound() {
    let world = World::start();
    let last = world.token("last");
    assert!(world.takes_a_large_call(&last));
    let before = world.resident();
    let connections: Vec<Connection> =
        (0..6).map(|number| world.attack(&world.token(&format!("caller-{number}")), 8)).collect();
    eventually("the issuer's share is used up", || world.refused("IssuerHoldsTooMuch") > 0);
    let (held, most) = (world.held(), world.resident());
    println!("48 endless streams of six callers: Envoy had {before} MiB and has {most} MiB, {held} bytes are held");
    assert!((LARGE_OF_ISSUER / 2..=LARGE_OF_ISSUER + 48 * SMALL).contains(&held), "{held} bytes");
    assert!(most - before <= 3 * OF_ALL / MIB, "{before} to {most} MiB");
    let mut large = call("add").into_bytes();
    large.resize(LARGE, b' ');
    let refused = http::send(world.stack.post(large).bearer_auth(&last));
    assert_eq!((refused.status, refused.reason().as_deref()), (503, Some("IssuerHoldsTooMuch")));
    assert_eq!(world.stack.ask(&last, call("add")).text, OK, "ordinary calls pass");
    drop(connections);
    eventually("nothing is held any more", || world.held() == 0);
    assert!(world.takes_a_large_call(&last));
}

/// However an exchange ends, what it held is given back.
#[test]
fn nothing_stays_held() {
    let world = World::start();
    let alice = world.token("alice");
    let padded = |text: String| {
        let mut body = text.into_bytes();
        body.resize(512 * 1024, b' ');
        body
    };
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let mut went_on = 0;
    for round in 1..=20 {
        let mut connection = Connection::open(&world.host);
        // Ended well, denied, not JSON, by trailers, reset, and not at all.
        for (stream, body) in [(1, call("add")), (3, call("multiply")), (5, "x".to_owned()), (7, list.clone())] {
            world.begin(&mut connection, stream, &alice);
            connection.send(stream, &padded(body), true);
        }
        world.begin(&mut connection, 9, &alice);
        connection.send(9, &padded(call("add")), false);
        connection.end_by_trailers(9);
        world.begin(&mut connection, 11, &alice);
        connection.send(11, &padded(call("add")), false);
        connection.reset(11);
        while went_on < 3 * round {
            eventually("a call goes on", || !world.upstream.is_idle());
            went_on += world.upstream.take_recorded().len();
        }
        world.begin(&mut connection, 13, &alice);
        connection.send(13, &padded(call("add")), false);
        eventually("one of them is held", || world.held() > 0);
        drop(connection);
        eventually("nothing is held any more", || world.held() == 0);
    }
    // 20 rounds of 3.5 MiB are more than a caller may hold.
    assert!(world.takes_a_large_call(&alice));
    assert_eq!(world.refused("CallerHoldsTooMuch"), 0);
}
