//! A DNS server that knows one name (RFC 1035).

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;

/// A running name server; it ends with the tests.
#[derive(Debug)]
pub struct NameServer {
    /// Where it listens, over UDP.
    pub port: u16,
}

impl NameServer {
    /// One that knows this name at this address, and no other.
    ///
    /// # Panics
    /// When it can't listen.
    #[must_use]
    pub fn start(name: &str, address: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a free port");
        let port = socket.local_addr().expect("an address").port();
        let labels: Vec<u8> =
            name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
        let known = [labels, vec![0]].concat();
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut query) {
                if let Some(answer) = answer(&query[..length], &known, address) {
                    let _ = socket.send_to(&answer, client);
                }
            }
        });
        Self { port }
    }
}

/// The answer to a query with one question.
fn answer(query: &[u8], known: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    let question = query.get(12..)?;
    let end = question.iter().position(|byte| *byte == 0)? + 1;
    let (name, kind) = (question.get(..end)?, question.get(end..end + 2)?);
    let is_known = name.eq_ignore_ascii_case(known);
    let has_address = is_known && kind == [0, 1];
    let mut answer = query.get(..2)?.to_vec();
    answer.extend([0x81, if is_known { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    answer.extend(question.get(..end + 4)?);
    if has_address {
        // The name of the question, type A, class IN, 60 s, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
