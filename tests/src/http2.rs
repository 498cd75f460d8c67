//! A connection of HTTP/2, frame by frame (RFC 9113): clients that are meant to work would end what they begin.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Largest frame that may be sent without asking.
const FRAME: usize = 16 * 1024;

/// How often the window is looked at before nothing more is sent.
const PATIENCE: usize = 100;

/// A connection. Flow control of streams is not looked at: what is sent on one must fit its window.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    /// What may still be sent, on all streams.
    window: Arc<AtomicI64>,
    /// Streams that were answered or reset; none is told of after the connection's end.
    ended: Receiver<u32>,
}

impl Connection {
    /// Connects in clear, with prior knowledge.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    pub fn open(host: &str) -> Self {
        let mut socket = TcpStream::connect(host).expect("it listens");
        socket.set_write_timeout(Some(Duration::from_secs(5))).expect("a duration");
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("it reads");
        let (tell, ended) = mpsc::channel();
        let mut connection = Self { socket, window: Arc::new(AtomicI64::new(65_535)), ended };
        let _ = frame(&mut connection.socket, SETTINGS, 0, 0, &[]);
        let mut reading = connection.socket.try_clone().expect("a socket");
        let mut acknowledging = connection.socket.try_clone().expect("a socket");
        let window = Arc::clone(&connection.window);
        thread::spawn(move || {
            let mut head = [0; 9];
            while reading.read_exact(&mut head).is_ok() {
                let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
                let mut payload = vec![0; length];
                if reading.read_exact(&mut payload).is_err() {
                    break;
                }
                match (head[3], head[4], &head[5..]) {
                    (SETTINGS, flags, _) if flags & ACK == 0 => drop(frame(&mut acknowledging, SETTINGS, ACK, 0, &[])),
                    (HEADERS | RESET, _, [first, second, third, fourth]) => {
                        let _ = tell.send(u32::from_be_bytes([*first, *second, *third, *fourth]));
                    }
                    (WINDOW_UPDATE, _, [0, 0, 0, 0]) => {
                        let bytes: [u8; 4] = payload.try_into().unwrap_or_default();
                        window.fetch_add(i64::from(u32::from_be_bytes(bytes)), Ordering::SeqCst);
                    }
                    _ => {}
                }
            }
        });
        connection
    }

    /// Begins a request.
    pub fn begin(&mut self, stream: u32, headers: &[(&str, &str)]) {
        // HPACK: a literal field without indexing, with a new name (RFC 7541 section 6.2.2).
        let mut block = Vec::new();
        for (name, value) in headers {
            block.push(0);
            for text in [name, value] {
                integer(&mut block, text.len());
                block.extend_from_slice(text.as_bytes());
            }
        }
        let _ = frame(&mut self.socket, HEADERS, END_HEADERS, stream, &block);
    }

    /// Sends bytes of a request's body, as far as the connection's window allows.
    pub fn send(&mut self, stream: u32, bytes: &[u8], end: bool) {
        let count = bytes.len().div_ceil(FRAME);
        for (index, chunk) in bytes.chunks(FRAME).enumerate() {
            let length = i64::try_from(chunk.len()).unwrap_or(i64::MAX);
            for _ in 0..PATIENCE {
                if self.window.load(Ordering::SeqCst) >= length {
                    break;
                }
                thread::sleep(Duration::from_millis(10));
            }
            self.window.fetch_sub(length, Ordering::SeqCst);
            let flags = if end && index + 1 == count { END_STREAM } else { 0 };
            if frame(&mut self.socket, DATA, flags, stream, chunk).is_err() {
                return;
            }
        }
    }

    /// Ends a request by its trailers.
    pub fn end_by_trailers(&mut self, stream: u32) {
        let mut block = vec![0];
        for text in ["x-end", "1"] {
            integer(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
        let _ = frame(&mut self.socket, HEADERS, END_HEADERS | END_STREAM, stream, &block);
    }

    /// Takes a request back.
    pub fn reset(&mut self, stream: u32) {
        let _ = frame(&mut self.socket, RESET, 0, stream, &8_u32.to_be_bytes());
    }

    /// Waits for an answer.
    ///
    /// # Panics
    /// When none comes, and the connection stays.
    pub fn wait_until_answered_or_closed(&self, stream: u32) {
        loop {
            match self.ended.recv_timeout(Duration::from_secs(10)) {
                Ok(ended) if ended == stream => return,
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => panic!("no answer on stream {stream}"),
            }
        }
    }
}

fn frame(socket: &mut TcpStream, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    socket.write_all(&frame)
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

/// A length (RFC 7541 section 5.1) of a text that is not compressed.
fn integer(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        block.push(u8::try_from(length).unwrap_or(126));
        return;
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap_or(0) | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap_or(0));
}
