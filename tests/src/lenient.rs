//! A server that reads requests as leniently as any: whatever some server could take for a host, a path, a parameter, a
//! header or a method, it takes for one.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::{http, ports};

/// A running server. It notes what it gets, byte for byte, and answers `{}`.
#[derive(Debug)]
pub struct Lenient {
    /// Where it listens.
    pub port: u16,
    got: Arc<Mutex<Vec<Got>>>,
}

/// The head of a request, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// Method, target and version.
    pub line: String,
    /// Header lines.
    pub headers: Vec<(String, String)>,
}

impl Lenient {
    /// Starts it.
    ///
    /// # Panics
    /// When it can't listen.
    #[must_use]
    pub fn start() -> Self {
        let port = ports::free();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let got = Arc::new(Mutex::new(Vec::new()));
        let server = Self { port, got: Arc::clone(&got) };
        thread::spawn(move || {
            for mut connection in listener.incoming().map_while(Result::ok) {
                let got = Arc::clone(&got);
                thread::spawn(move || {
                    let mut bytes = Vec::new();
                    let mut chunk = [0; 4096];
                    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
                        match connection.read(&mut chunk) {
                            Ok(length) if length > 0 => bytes.extend_from_slice(&chunk[..length]),
                            _ => return,
                        }
                    }
                    got.lock().expect("no panic").push(Got::read(&String::from_utf8_lossy(&bytes)));
                    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\
                                  connection: close\r\n\r\n{}";
                    let _ = connection.write_all(answer.as_bytes());
                    // What is still to come is read, so that the answer is not lost.
                    let _ = connection.shutdown(std::net::Shutdown::Write);
                    while connection.read(&mut chunk).is_ok_and(|length| length > 0) {}
                });
            }
        });
        server
    }

    /// What it got since the last time.
    ///
    /// # Panics
    /// When it panicked itself.
    #[must_use]
    pub fn take_got(&self) -> Vec<Got> {
        std::mem::take(&mut self.got.lock().expect("no panic"))
    }
}

impl Got {
    fn read(text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
        Self { line, headers: headers.map(|(name, value)| (folded(name), value.trim().to_owned())).collect() }
    }

    /// Whether it could be for this host.
    #[must_use]
    pub fn is_for_host(&self, host: &str) -> bool {
        let told = self.headers.iter().filter(|(name, _)| name.contains("host") || name == "forwarded");
        let target = self.target();
        told.map(|(_, value)| value.as_str()).chain([target.as_str()]).any(|value| {
            decoded(value)
                .replace(['\u{3002}', '\u{ff0e}', '\u{ff61}'], ".")
                .to_lowercase()
                .split(|character: char| !character.is_alphanumeric() && !".-_".contains(character))
                .any(|part| part.trim_matches('.') == host)
        })
    }

    /// Whether it could be for a path that begins so.
    #[must_use]
    pub fn is_for_path(&self, prefix: &str) -> bool {
        let told =
            self.headers.iter().filter(|(name, _)| ["url", "uri", "path"].iter().any(|word| name.contains(word)));
        let target = self.target();
        told.map(|(_, value)| value.clone()).chain([target]).any(|target| {
            let path = decoded(&target).replace('\\', "/");
            let path = path.split(['?', '#', '\0', '\r', '\n']).next().unwrap_or_default();
            let mut segments: Vec<&str> = Vec::new();
            for segment in path.split('/').map(|segment| segment.split(';').next().unwrap_or_default().trim()) {
                match segment {
                    "" | "." => {}
                    ".." => drop(segments.pop()),
                    segment => segments.push(segment),
                }
            }
            segments.first().is_some_and(|first| format!("/{first}") == prefix)
        })
    }

    /// Whether a query parameter could have this value.
    #[must_use]
    pub fn has_parameter(&self, name: &str, value: &str) -> bool {
        let target = decoded(&self.target());
        target.split(['?', '&', ';', '#', '\r', '\n', '\0']).any(|part| {
            let (own, its) = part.split_once('=').unwrap_or((part, ""));
            let own = own.split('[').next().unwrap_or_default();
            folded(own.trim_matches(|character: char| character == '+' || character.is_whitespace())) == folded(name)
                && its.trim_matches(|character: char| character == '+' || character.is_whitespace()) == value
        })
    }

    /// Whether a header could have this value.
    #[must_use]
    pub fn has_header(&self, name: &str, value: &str) -> bool {
        let own = self.headers.iter().filter(|(own, _)| *own == folded(name));
        own.flat_map(|(_, values)| values.split([',', ';'])).any(|one| one.trim().eq_ignore_ascii_case(value))
    }

    /// Whether it could be of this method.
    #[must_use]
    pub fn is_of_method(&self, method: &str) -> bool {
        let own = self.line.split(' ').next().unwrap_or_default();
        let told = self.headers.iter().filter(|(name, _)| name.contains("method")).map(|(_, value)| value.as_str());
        told.chain([own]).any(|told| told.trim().eq_ignore_ascii_case(method))
            || self.has_parameter("_method", method)
            || self.has_parameter("_method", &method.to_lowercase())
    }

    fn target(&self) -> String {
        self.line.split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

/// Names without regard to case and to what stands between words.
fn folded(name: &str) -> String {
    name.trim().to_lowercase().replace(['_', '.', ' '], "-")
}

/// Octets of octets as well.
fn decoded(text: &str) -> String {
    let bytes = (0..4).fold(text.as_bytes().to_vec(), |bytes, _| http::decoded(&bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
