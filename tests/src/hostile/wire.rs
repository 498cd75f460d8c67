//! HTTP/1.1 byte for byte: clients that are meant to work would mend what is to be sent.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long an answer, or more of it, is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same where the answer may be a stream without end, or none may come.
const HASTE: Duration = Duration::from_millis(200);

/// A stream without end is left after this time.
const ENOUGH: Duration = Duration::from_millis(600);

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status of the first answer; none: the connection was closed, or silent.
    pub status: Option<u16>,
    /// The first answer's header lines.
    pub head: String,
    /// Everything behind, as it came.
    pub body: String,
}

impl Answer {
    /// A header of the first answer.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.head.lines().filter_map(|line| line.split_once(':'));
        values.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

/// Whether an answer ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It does.
    Sure,
    /// It may not.
    Unsure,
}

/// Sends bytes on a connection of their own, and reads what comes back.
#[must_use]
pub fn exchange(host: &str, request: &[u8], ending: Ending) -> Answer {
    let Ok(mut connection) = TcpStream::connect(host) else { return Answer::default() };
    let patience = if ending == Ending::Sure { PATIENCE } else { HASTE };
    let timeouts = connection.set_read_timeout(Some(patience)).and(connection.set_write_timeout(Some(PATIENCE)));
    timeouts.expect("a duration");
    // Whoever refuses early may close while we still send; what it said before can be read all the same.
    let _ = connection.write_all(request);
    let start = Instant::now();
    let mut received = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        match connection.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => received.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
        let is_enough = match ending {
            Ending::Sure => is_complete(&received),
            Ending::Unsure => start.elapsed() > ENOUGH,
        };
        if is_enough {
            break;
        }
    }
    let text = String::from_utf8_lossy(&received);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Whether the first answer is there to its end, where it says how long it is.
fn is_complete(received: &[u8]) -> bool {
    let text = String::from_utf8_lossy(received);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    match length {
        Some(length) => body.len() >= length,
        None => head.contains("transfer-encoding: chunked") && body.ends_with("0\r\n\r\n"),
    }
}
