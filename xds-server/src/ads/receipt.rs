//! Reads a client's messages from the body of its request, as gRPC frames them. A message is held in memory only after its
//! client was found room for it, arrives whole within a time, and its buffer is given back once it was read.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use prost::Message;
use prost::bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Body as _;

use super::budget::{Budget, Share};

/// A byte that says whether a message is compressed, and its length.
const HEADER_BYTES: usize = 5;

/// How long to wait before it is looked again whether there is room.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A buffer that held a message of more bytes is not kept.
const KEPT_BYTES: usize = 16 * 1024;

/// The messages of one client.
#[derive(Debug)]
pub(super) struct Messages {
    body: Body,
    /// What arrived and was not read yet: less than one frame of HTTP/2 beyond the message that is on its way.
    arrived: BytesMut,
    terms: Terms,
    budget: Budget,
    /// Whose bytes these are in the budget.
    who: String,
    /// The message that is on its way.
    underway: Option<Underway>,
    /// Of the message that was read last: whoever asks for the next one has done with it.
    read: Option<Share>,
}

/// What is demanded of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Most bytes of it.
    pub(super) most: usize,
    /// It arrives whole within this time.
    pub(super) within: Duration,
}

#[derive(Debug)]
struct Underway {
    due: Instant,
    /// There once its header has arrived and there was room.
    found: Option<(usize, Share)>,
}

/// Why no more messages are read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It is too large.
    #[error("a message has {length} bytes, of which {most} are allowed")]
    TooLarge { length: usize, most: usize },
    /// It did not arrive in time.
    #[error("a message did not arrive within {} s", .0.as_secs_f64())]
    TooSlow(Duration),
    /// There was no room for it in time.
    #[error("there is no room for a message of {0} bytes at present: too many are on their way")]
    NoRoom(usize),
    /// It is no message.
    #[error("{0}")]
    Unreadable(String),
    /// The connection is gone.
    #[error("{}", .0.message())]
    Broken(Status),
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let text = fault.to_string();
        match fault {
            Fault::TooLarge { .. } => Self::out_of_range(text),
            Fault::TooSlow(_) => Self::deadline_exceeded(text),
            Fault::NoRoom(_) => Self::resource_exhausted(text),
            Fault::Unreadable(_) => Self::internal(text),
            Fault::Broken(status) => status,
        }
    }
}

impl Messages {
    pub(super) fn new(body: Body, terms: Terms, budget: Budget, who: String) -> Self {
        Self { body, arrived: BytesMut::new(), terms, budget, who, underway: None, read: None }
    }

    /// The next message; none: the client has ended. May be dropped and asked for again without a loss.
    pub(super) async fn next<M: Message + Default>(&mut self) -> Option<Result<M, Fault>> {
        self.read = None;
        match self.whole().await {
            Ok(Some(message)) => Some(M::decode(message).map_err(|error| Fault::Unreadable(error.to_string()))),
            Ok(None) => None,
            Err(fault) => Some(Err(fault)),
        }
    }

    /// How large the last message was, with its header.
    pub(super) fn last_bytes(&self) -> usize {
        self.read.as_ref().map_or(0, Share::bytes)
    }

    /// From now on, this is demanded.
    pub(super) fn demand(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// The bytes of the next message.
    async fn whole(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            if let Some(length) = self.found().await?
                && self.arrived.len() >= HEADER_BYTES + length
            {
                self.read = self.underway.take().and_then(|underway| underway.found).map(|(_, share)| share);
                return Ok(Some(self.take(length)));
            }
            match self.more().await? {
                Some(bytes) => self.arrived.extend_from_slice(&bytes),
                None if self.arrived.is_empty() => return Ok(None),
                None => return Err(Fault::Unreadable("the stream ended within a message".to_owned())),
            }
        }
    }

    /// The length of the message whose header has arrived, once there is room for it.
    async fn found(&mut self) -> Result<Option<usize>, Fault> {
        if let Some(Underway { found: Some((length, _)), .. }) = &self.underway {
            return Ok(Some(*length));
        }
        let Some(length) = announced(&self.arrived)? else { return Ok(None) };
        if length > self.terms.most {
            return Err(Fault::TooLarge { length, most: self.terms.most });
        }
        let due = self.underway.get_or_insert_with(|| Underway::from_now(self.terms.within)).due;
        loop {
            if let Some(share) = self.budget.take(&self.who, HEADER_BYTES + length) {
                self.underway = Some(Underway { due, found: Some((length, share)) });
                self.arrived.reserve((HEADER_BYTES + length).saturating_sub(self.arrived.len()));
                return Ok(Some(length));
            }
            if Instant::now() >= due {
                return Err(Fault::NoRoom(length));
            }
            // The body is not read meanwhile: the client's own window fills up.
            sleep(LOOK_EVERY).await;
        }
    }

    /// Takes out the message that has arrived.
    fn take(&mut self, length: usize) -> Bytes {
        let mut message = self.arrived.split_to(HEADER_BYTES + length);
        if message.len() > KEPT_BYTES {
            self.arrived = BytesMut::from(self.arrived.as_ref());
        }
        message.split_off(HEADER_BYTES).freeze()
    }

    /// What comes next of the body.
    async fn more(&mut self) -> Result<Option<Bytes>, Fault> {
        if !self.arrived.is_empty() && self.underway.is_none() {
            self.underway = Some(Underway::from_now(self.terms.within));
        }
        let due = self.underway.as_ref().map(|underway| underway.due);
        let frame = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context));
        let frame = match due {
            Some(due) => timeout_at(due, frame).await.map_err(|_| Fault::TooSlow(self.terms.within))?,
            None => frame.await,
        };
        match frame {
            // Trailers are no data, and nothing comes behind them.
            Some(Ok(frame)) => Ok(frame.into_data().ok()),
            Some(Err(status)) => Err(Fault::Broken(status)),
            None => Ok(None),
        }
    }
}

impl Underway {
    fn from_now(within: Duration) -> Self {
        Self { due: Instant::now() + within, found: None }
    }
}

/// What was announced, by the header that has arrived; none: it has not.
fn announced(arrived: &[u8]) -> Result<Option<usize>, Fault> {
    match arrived {
        [0, a, b, c, d, ..] => Ok(Some(u32::from_be_bytes([*a, *b, *c, *d]) as usize)),
        [compressed, ..] if *compressed != 0 => Err(Fault::Unreadable("messages may not be compressed".to_owned())),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;
