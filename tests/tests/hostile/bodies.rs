//! Bodies and events without end hold no more memory than their limit.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use toolward_tests::http::{self, call};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::stack::{OPS_MAY_ADD, Stack};
use toolward_tests::upstream::{OK, Upstream};

const CONNECTIONS: usize = 8;
const MIB: usize = 1024 * 1024;

/// What may be held for a connection: the limit of bodies, Envoy's margin, and as much again while it is copied into the VM.
const PER_CONNECTION_MIB: u64 = 16;

#[test]
fn endless_bodies_are_cut_off() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    let ops = stack.issuer.of_team("ops");
    assert_eq!(stack.ask(&ops, call("add")).text, OK);
    let before = stack.envoy.process.resident_mib();
    let host = format!("127.0.0.1:{}", stack.port);
    let (most, statuses) = thread::scope(|scope| {
        let pour = || pour(&host, &ops);
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(pour)).collect();
        let mut most = before;
        while threads.iter().any(|thread| !thread.is_finished()) {
            most = most.max(stack.envoy.process.resident_mib());
            thread::sleep(Duration::from_millis(20));
        }
        (most, threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>())
    });
    println!("Envoy had {before} MiB, and {most} MiB at most under {CONNECTIONS} endless bodies: {statuses:?}");
    assert!(statuses.iter().all(|status| status.contains(" 413 ")), "{statuses:?}");
    assert!(most - before <= PER_CONNECTION_MIB * CONNECTIONS as u64, "{before} to {most} MiB");
    assert_eq!(stack.ask(&ops, call("add")).text, OK, "others are served");
}

/// Sends chunks until it is told to stop; gives the status line.
fn pour(host: &str, token: &str) -> String {
    let mut connection = TcpStream::connect(host).expect("it listens");
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).expect("it reads");
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    for _ in 0..64 * MIB / 0x10000 {
        if connection.write_all(&chunk).is_err() {
            break;
        }
    }
    let mut answer = [0; 64];
    let length = connection.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn slow_bodies_hold_up_nobody() {
    let upstream = Upstream::start();
    let stack = Stack::start(upstream.port, OPS_MAY_ADD);
    let ops = stack.issuer.of_team("ops");
    let host = format!("127.0.0.1:{}", stack.port);
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {ops}\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\n\r\n{{"
    );
    let before = stack.envoy.process.resident_mib();
    let slow: Vec<TcpStream> = (0..500)
        .map(|_| {
            let mut connection = TcpStream::connect(&host).expect("it listens");
            connection.write_all(head.as_bytes()).expect("it reads");
            connection
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(stack.ask(&ops, call("add")).text, OK);
    }
    let after = stack.envoy.process.resident_mib();
    println!("500 bodies that do not come: {before} to {after} MiB");
    assert!(after - before <= 64, "{before} to {after} MiB");
    let nothing = upstream.take_recorded().iter().all(|recorded| recorded.body == call("add").as_bytes());
    assert!(nothing, "no byte of an unfinished request goes upstream");
    drop(slow);
}

#[test]
fn endless_events_end_their_stream_alone() {
    let port = endless_events();
    let stack = Stack::start(port, OPS_MAY_ADD);
    let ops = stack.issuer.of_team("ops");
    let before = stack.envoy.process.resident_mib();
    let mut streams: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            stack
                .client
                .get(stack.url())
                .header("accept", "text/event-stream")
                .bearer_auth(&ops)
                .send()
                .expect("a stream")
        })
        .collect();
    for stream in &mut streams {
        let mut passed = Vec::new();
        let ended = stream.read_to_end(&mut passed);
        assert!(ended.is_err(), "cut off, not ended");
        assert!(passed.is_empty(), "of an event that never ends nothing is passed on");
    }
    let after = stack.envoy.process.resident_mib();
    println!("{CONNECTIONS} events without end: {before} to {after} MiB");
    assert!(after - before <= PER_CONNECTION_MIB * CONNECTIONS as u64, "{before} to {after} MiB");
    eventually("counted", || stack.envoy.admin("/stats?filter=toolward").contains("EventTooLarge"));
    assert_eq!(http::send(stack.post(call("multiply")).bearer_auth(&ops)).code(), Some(-32602), "others are served");
}

/// A server whose answers are an event that never ends.
fn endless_events() -> u16 {
    let port = ports::free();
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || send_endlessly(connection));
        }
    });
    port
}

fn send_endlessly(mut connection: TcpStream) {
    let _ = connection.read(&mut [0; 4096]);
    let _ =
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: ");
    while connection.write_all(&[b'x'; 65536]).is_ok() {}
}
