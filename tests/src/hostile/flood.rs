//! Many requests on connections that stay open, as fast as answers come.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a flood came to.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// Requests that were answered.
    pub answered: usize,
    /// How long it took.
    pub took: Duration,
}

/// Sends so many requests over so many connections, one after the other of those that are given; each must be answered.
///
/// # Panics
/// When one is not.
#[must_use]
pub fn flood(host: &str, requests: &[Vec<u8>], count: usize, connections: usize) -> Flood {
    let start = Instant::now();
    let answered = thread::scope(|scope| {
        let one = |first: usize| {
            let own = (first..count).step_by(connections);
            let mut connection = None;
            own.filter(|index| ask(host, &mut connection, &requests[index % requests.len()])).count()
        };
        let threads: Vec<_> = (0..connections).map(|first| scope.spawn(move || one(first))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(answered, count, "each is answered");
    Flood { answered, took: start.elapsed() }
}

/// Whether there was an answer; after it the connection stays where the server lets it.
fn ask(host: &str, connection: &mut Option<BufReader<TcpStream>>, request: &[u8]) -> bool {
    // The server may have closed a connection that was open.
    let was_open = connection.is_some();
    for _ in 0..=usize::from(was_open) {
        let mut reader = match connection.take() {
            Some(reader) => reader,
            None => connect(host),
        };
        let _ = reader.get_mut().write_all(request);
        if let Some(stays) = answer(&mut reader) {
            *connection = stays.then_some(reader);
            return true;
        }
    }
    false
}

fn connect(host: &str) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(host).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).and(stream.set_nodelay(true)).expect("a duration");
    BufReader::new(stream)
}

/// Reads one answer: whether the connection stays open; none: there was none.
fn answer(reader: &mut BufReader<TcpStream>) -> Option<bool> {
    let (mut length, mut stays, mut first) = (0, true, true);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if first && !line.starts_with("http/1.1 ") {
            return None;
        }
        first = false;
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        stays &= line != "connection: close";
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    Some(stays)
}
