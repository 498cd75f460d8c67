//! The server behind all Envoys: it answers every request with what it was last told to.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use crate::load::{self, Length};

/// What the stub answers: bytes that are written one after the other, each as one piece.
#[derive(Clone, Debug)]
pub(crate) struct Answer(Vec<Vec<u8>>);

impl Answer {
    pub(crate) fn json(body: &str) -> Self {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        Self(vec![(head + body).into_bytes()])
    }

    /// A stream of events, each of which comes by itself.
    pub(crate) fn events(events: impl Iterator<Item = String>) -> Self {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = |event: String| format!("{:x}\r\n{event}\r\n", event.len()).into_bytes();
        let pieces = std::iter::once(head.as_bytes().to_vec()).chain(events.map(chunk));
        Self(pieces.chain([b"0\r\n\r\n".to_vec()]).collect())
    }
}

/// A running stub.
#[derive(Clone, Debug)]
pub(crate) struct Stub(Rc<RefCell<Rc<Answer>>>);

impl Stub {
    pub(crate) fn start(listener: std::net::TcpListener, answer: Answer) -> Self {
        let stub = Self(Rc::new(RefCell::new(Rc::new(answer))));
        let listener = TcpListener::from_std(listener).expect("a listener");
        let answers = stub.clone();
        spawn_local(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let answers = answers.clone();
                spawn_local(async move { answers.serve(connection).await });
            }
        });
        stub
    }

    pub(crate) fn answer_with(&self, answer: Answer) {
        *self.0.borrow_mut() = Rc::new(answer);
    }

    /// Serves a connection until its client closes it.
    async fn serve(&self, mut connection: TcpStream) -> Option<()> {
        connection.set_nodelay(true).ok()?;
        let mut buffer = Vec::with_capacity(128 * 1024);
        loop {
            while !load::head_end(&buffer).is_some_and(|end| Length::of(&buffer[..end]).is_complete(&buffer[end..])) {
                if connection.read_buf(&mut buffer).await.ok()? == 0 {
                    return None;
                }
            }
            buffer.clear();
            let answer = Rc::clone(&self.0.borrow());
            for piece in &answer.0 {
                connection.write_all(piece).await.ok()?;
            }
        }
    }
}
