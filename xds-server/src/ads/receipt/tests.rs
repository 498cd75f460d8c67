use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use prost::bytes::BufMut as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::*;

const WITHIN: Duration = Duration::from_millis(200);

/// Sends the parts of a body.
fn messages(most: usize, budget: &Budget) -> (mpsc::Sender<Vec<u8>>, Messages) {
    let (sender, parts) = mpsc::channel(64);
    let body = Body::new(Parts(ReceiverStream::new(parts)));
    (sender, Messages::new(body, Terms { most, within: WITHIN }, budget.clone(), "who".to_owned()))
}

struct Parts(ReceiverStream<Vec<u8>>);

impl tonic::codegen::Body for Parts {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        let next = tokio_stream::Stream::poll_next(Pin::new(&mut self.0), context);
        next.map(|part| part.map(|part| Ok(http_body::Frame::data(Bytes::from(part)))))
    }
}

fn budget() -> Budget {
    Budget::new((1024 * 1024, 1024 * 1024))
}

fn request(bytes: usize) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { response_nonce: "x".repeat(bytes), ..DeltaDiscoveryRequest::default() }
}

fn framed(request: &DeltaDiscoveryRequest) -> Vec<u8> {
    let mut frame = vec![0];
    frame.put_u32(u32::try_from(request.encoded_len()).unwrap());
    frame.extend(request.encode_to_vec());
    frame
}

#[tokio::test]
async fn messages_are_read_however_they_are_cut() {
    let all: Vec<_> = [0, 10, 40_000, 3, 20_000].map(request).into();
    let bytes: Vec<u8> = all.iter().flat_map(framed).collect();
    for size in [1, 2, 5, 7, 1000, 30_000, bytes.len()] {
        let budget = Budget::new((2 * 1024 * 1024, 1024 * 1024));
        let (sender, mut messages) = messages(50_000, &budget);
        let parts: Vec<Vec<u8>> = bytes.chunks(size).map(<[u8]>::to_vec).collect();
        tokio::spawn(async move {
            for part in parts {
                sender.send(part).await.unwrap();
            }
        });
        for expected in &all {
            assert_eq!(messages.next::<DeltaDiscoveryRequest>().await.unwrap().unwrap(), *expected, "cut by {size}");
        }
        assert!(messages.next::<DeltaDiscoveryRequest>().await.is_none());
        assert!(messages.arrived.capacity() <= 2 * KEPT_BYTES + size, "{} kept", messages.arrived.capacity());
        assert!(budget.take("who", 1024 * 1024).is_some(), "all is given back");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let bytes = |bytes: &[u8]| bytes.to_vec();
    let rows = [
        ("too large", bytes(&[0, 0, 1, 0, 0]), false, "a message has 65536 bytes, of which 1000 are allowed"),
        ("compressed", bytes(&[1]), false, "messages may not be compressed"),
        ("cut off", bytes(&[0, 0, 0]), true, "the stream ended within a message"),
        ("slow", bytes(&[0, 0, 0, 0, 9, 1]), false, "a message did not arrive within 0.2 s"),
        ("a slow header", bytes(&[0, 0]), false, "a message did not arrive within 0.2 s"),
        (
            "no protobuf",
            bytes(&[0, 0, 0, 0, 2, 0xff, 0xff]),
            false,
            "failed to decode Protobuf message: invalid varint",
        ),
    ];
    for (row, part, ends, expected) in rows {
        let (sender, mut messages) = messages(1000, &budget());
        sender.send(part).await.unwrap();
        let _open = (!ends).then_some(sender);
        let fault = messages.next::<DeltaDiscoveryRequest>().await.unwrap().unwrap_err();
        assert_eq!(fault.to_string(), expected, "{row}");
    }
}

#[tokio::test]
async fn a_message_waits_for_room() {
    let budget = budget();
    let other = budget.take("other", 700 * 1024).unwrap();
    let (sender, mut first) = messages(200_000, &budget);
    sender.send(framed(&request(150_000))).await.unwrap();
    let held = budget.take("who", 500 * 1024).is_some();
    assert!(!held, "there is no room");
    let blocker = budget.take("who", 300 * 1024).unwrap();
    let fault = first.next::<DeltaDiscoveryRequest>().await.unwrap().unwrap_err();
    assert!(matches!(fault, Fault::NoRoom(_)), "{fault}");
    let (sender, mut second) = messages(200_000, &budget);
    sender.send(framed(&request(150_000))).await.unwrap();
    let giving_back = async {
        sleep(WITHIN / 4).await;
        drop((blocker, other));
    };
    let (message, ()) = tokio::join!(second.next::<DeltaDiscoveryRequest>(), giving_back);
    assert_eq!(message.unwrap().unwrap(), request(150_000));
    assert!(budget.take("who", 950 * 1024).is_none(), "it is held while it is looked at");
}

#[tokio::test]
async fn a_call_that_is_dropped_loses_nothing() {
    let (sender, mut messages) = messages(1000, &budget());
    let bytes = framed(&request(100));
    for part in bytes.chunks(10) {
        sender.send(part.to_vec()).await.unwrap();
        let _ = tokio::time::timeout(Duration::from_millis(2), messages.next::<DeltaDiscoveryRequest>())
            .await
            .map(|message| assert_eq!(message.unwrap().unwrap(), request(100)));
    }
}
