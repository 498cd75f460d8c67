//! The clients: connections that are kept, each with one request after the other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::sleep_until;

/// Requests that are sent over and over, from where they were left.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    all: Rc<[Vec<u8>]>,
    next: Rc<Cell<usize>>,
    /// Of all answers.
    status: u16,
}

impl Requests {
    /// Requests that pass.
    pub(crate) fn new(all: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { all: all.into_iter().collect(), next: Rc::default(), status: 200 }
    }

    /// The same, where all are answered with this status.
    pub(crate) fn answered(self, status: u16) -> Self {
        Self { status, ..self }
    }

    fn next(&self) -> &[u8] {
        let next = self.next.get();
        self.next.set(next + 1);
        &self.all[next % self.all.len()]
    }
}

/// A POST of a JSON-RPC message.
pub(crate) fn post(token: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /mcp HTTP/1.1\r\nhost: mcp.example.com\r\nuser-agent: bench\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
         mcp-protocol-version: 2025-11-25\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A GET, which a client sends to hear of what the server tells by itself. One that is refused does not cost its
/// connection, as a POST does whose body has not been read.
pub(crate) fn get(token: &str) -> Vec<u8> {
    format!(
        "GET /mcp HTTP/1.1\r\nhost: mcp.example.com\r\nuser-agent: bench\r\nauthorization: Bearer {token}\r\n\
         accept: text/event-stream\r\nmcp-protocol-version: 2025-11-25\r\n\r\n"
    )
    .into_bytes()
}

/// Sends so many requests over so many connections, and waits for all answers.
pub(crate) async fn run(port: u16, requests: &Requests, connections: usize, total: usize) {
    let left = Rc::new(Cell::new(total));
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            let (requests, left) = (requests.clone(), Rc::clone(&left));
            spawn_local(async move {
                let mut client = Client::connect(port).await;
                while left.get() > 0 {
                    left.set(left.get() - 1);
                    client.send(&requests).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("a client");
    }
}

/// Sends so many requests at a steady rate over one connection; gives how long each answer took.
pub(crate) async fn paced(port: u16, requests: &Requests, every: Duration, total: usize) -> Vec<Duration> {
    let mut client = Client::connect(port).await;
    let (start, mut took) = (Instant::now(), Vec::with_capacity(total));
    for number in 0..total {
        sleep_until((start + every * u32::try_from(number).expect("few")).into()).await;
        let sent = Instant::now();
        client.send(requests).await;
        took.push(sent.elapsed());
    }
    took
}

/// Sends one request after the other until it is told to stop; gives how long each answer took.
pub(crate) async fn until(port: u16, requests: Requests, stop: Rc<Cell<bool>>, took: Rc<RefCell<Vec<Duration>>>) {
    let mut client = Client::connect(port).await;
    while !stop.get() {
        let sent = Instant::now();
        client.send(&requests).await;
        took.borrow_mut().push(sent.elapsed());
    }
}

struct Client {
    connection: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn connect(port: u16) -> Self {
        let connection = TcpStream::connect(("127.0.0.1", port)).await.expect("Envoy listens");
        connection.set_nodelay(true).expect("a connection");
        Self { connection, buffer: Vec::with_capacity(128 * 1024) }
    }

    async fn send(&mut self, requests: &Requests) {
        self.connection.write_all(requests.next()).await.expect("Envoy reads");
        self.buffer.clear();
        let mut head = None;
        loop {
            let read = self.connection.read_buf(&mut self.buffer).await.expect("Envoy answers");
            assert!(read > 0, "Envoy closed: {}", String::from_utf8_lossy(&self.buffer));
            head = head.or_else(|| head_end(&self.buffer).map(|end| (end, Length::of(&self.buffer[..end]))));
            if head.is_some_and(|(end, length)| length.is_complete(&self.buffer[end..])) {
                break;
            }
        }
        let told = self.buffer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        assert!(told == Some(requests.status), "not {}: {}", requests.status, String::from_utf8_lossy(&self.buffer));
    }
}

/// Where the headers of a message end.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|part| part == b"\r\n\r\n").map(|start| start + 4)
}

/// How long a message's body is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    Bytes(usize),
    Chunks,
}

impl Length {
    pub(crate) fn of(head: &[u8]) -> Self {
        let head = std::str::from_utf8(head).expect("ASCII");
        let value = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        match value {
            Some(length) => Self::Bytes(length.parse().expect("a length")),
            None if head.contains("transfer-encoding: chunked") => Self::Chunks,
            None => Self::Bytes(0),
        }
    }

    /// No chunk of what is measured ends like the last one.
    pub(crate) fn is_complete(self, body: &[u8]) -> bool {
        match self {
            Self::Bytes(length) => body.len() >= length,
            Self::Chunks => body.ends_with(b"\r\n0\r\n\r\n") || body == b"0\r\n\r\n",
        }
    }
}
