//! tokio: a UNIX stream, with frames from tokio-util's length-delimited codec and messages encoded
//! by postcard, as a service written for tokio would use. One thread on each side.

use std::os::unix::net::UnixStream;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::contender::{Contender, Peer, Task, Trouble, split};
use crate::echo::arrived;
use crate::message::{Message, Service, kind};
use crate::work::{IN_FLIGHT, ONE_WAYS, Work};

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    method: u16,
    #[serde(with = "serde_bytes")]
    payload: &'a [u8],
}

type Stream = Framed<tokio::net::UnixStream, LengthDelimitedCodec>;

pub(crate) fn start(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    match task.work {
        Work::Fds { .. } => return Err(Trouble::LeftOut("passes no descriptors")),
        Work::Meet | Work::Large { .. } => return Err(Trouble::Elsewhere),
        _ => {}
    }
    let (ours, theirs) = UnixStream::pair()?;
    let (ours, peer) = split(task, ours, theirs, |stream| {
        let runtime = runtime()?;
        runtime.block_on(async { serve(framed(stream)?, task.work).await })
    })?;
    let runtime = runtime()?;
    let stream = runtime.block_on(async { framed(ours) })?;
    let message = Message::new(task.work.size());
    Ok(Box::new(Codec { stream, runtime, work: task.work, message, peer }))
}

fn runtime() -> Result<Runtime, Trouble> {
    Ok(Builder::new_current_thread().enable_io().build()?)
}

fn framed(stream: UnixStream) -> Result<Stream, Trouble> {
    stream.set_nonblocking(true)?;
    Ok(Framed::new(tokio::net::UnixStream::from_std(stream)?, LengthDelimitedCodec::new()))
}

struct Codec {
    stream: Stream,
    runtime: Runtime,
    work: Work,
    message: Message,
    peer: Peer,
}

impl Contender for Codec {
    fn round(&mut self) -> Result<(), Trouble> {
        let Self { stream, runtime, work, message, .. } = self;
        let (count, kind) = match work {
            Work::OneWay { .. } => (ONE_WAYS, kind::ONE_WAY),
            Work::InFlight { .. } => (IN_FLIGHT, kind::ECHO),
            _ => (1, kind::ECHO),
        };
        runtime.block_on(async {
            let first = message.number() + 1;
            for _ in 0..count {
                stream.feed(envelope(message.next(kind))?).await?;
            }
            if let Work::OneWay { .. } = work {
                stream.feed(envelope(message.next(kind::COUNT))?).await?;
                flush(stream).await?;
                return reply(stream, message, arrived(message)).await;
            }
            flush(stream).await?;
            for number in first..=message.number() {
                reply(stream, message, number).await?;
            }
            Ok(())
        })
    }

    fn pid(&mut self) -> Option<i32> {
        Some(self.peer.pid())
    }
}

async fn reply(stream: &mut Stream, message: &Message, number: u64) -> Result<(), Trouble> {
    let frame = stream.next().await.ok_or(Trouble::Failed("the peer has closed".into()))??;
    let envelope: Envelope<'_> = postcard::from_bytes(&frame)?;
    message.check(envelope.payload, number)
}

async fn flush(stream: &mut Stream) -> Result<(), Trouble> {
    Ok(SinkExt::<Bytes>::flush(stream).await?)
}

fn envelope(payload: &[u8]) -> Result<Bytes, Trouble> {
    Ok(postcard::to_stdvec(&Envelope { method: 1, payload })?.into())
}

async fn serve(mut stream: Stream, work: Work) -> Result<(), Trouble> {
    let mut service = Service::new(work.size());
    while let Some(frame) = stream.next().await {
        let frame = frame?;
        let request: Envelope<'_> = postcard::from_bytes(&frame)?;
        if let Some(reply) = service.answer(request.payload)? {
            stream.feed(envelope(&reply)?).await?;
        }
        // Replies are batched while more requests are buffered.
        if stream.read_buffer().is_empty() {
            flush(&mut stream).await?;
        }
    }
    Ok(())
}
