//! The worker's side: requests in, handlers run, answers out in batches. It names no transport.

use core::time::Duration;

use heapless::Vec;
use ipc_frame::{Header, Kind, MAX_FDS};
use ipc_transport::{Fds, FdsLost, Inbox, Instant, Outbox, PassFds, TransportError};

use crate::handler::{Handler, Reply, Request};
use crate::refusal::Refusal;
use crate::slots::{Claim, Finish, RequestId, Slots};

/// Once the oldest unsent answer is older than this, it goes out before the next request.
const OLDEST: Duration = Duration::from_micros(100);

/// How serving came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// Main is gone, and all that it had sent is done.
    Finished,
    /// The handler could not settle a batch.
    NotSettled,
    /// The stream is out of step or broken.
    Broken,
}

/// What a worker of `BYTES` bytes each way needs to serve.
pub(crate) struct Server<'a, H, const SLOTS: usize, const BYTES: usize> {
    pub(crate) handler: &'a mut H,
    pub(crate) slots: &'a Slots,
    pub(crate) inbox: &'a mut Inbox<BYTES>,
    pub(crate) outbox: &'a mut Outbox<BYTES, SLOTS>,
    /// One-way requests that the handler has finished with and that are not settled.
    pub(crate) finished: Vec<(Claim<'a>, Finish), SLOTS>,
    /// The clock.
    pub(crate) now: fn() -> Instant,
}

impl<H: Handler, const SLOTS: usize, const BYTES: usize> Server<'_, H, SLOTS, BYTES> {
    /// Bytes that a reply may have.
    const REPLY: usize = reply_capacity(BYTES);

    /// Serves until main closes. The transport's calls wait.
    pub(crate) fn serve(&mut self, transport: &mut impl PassFds) -> Served {
        loop {
            let batch = self.work(transport).and_then(|()| self.flush(transport));
            if let Err(served) = batch {
                return served;
            }
            match self.inbox.receive_with(transport, MAX_FDS.into()) {
                Ok(_) => {}
                Err(TransportError::Closed) => return Served::Finished,
                Err(_) => return Served::Broken,
            }
        }
    }

    /// Runs the handler for every whole request in the inbox.
    fn work(&mut self, transport: &mut impl PassFds) -> Result<(), Served> {
        let mut oldest = None;
        while let Some(header) = self.inbox.advance().map_err(|_| Served::Broken)? {
            if !matches!(header.kind(), Kind::Request | Kind::OneWay) {
                return Err(Served::Broken);
            }
            if self.has_batch() {
                // The first one was finished just before: a lone one asks for no time.
                let now = (self.now)();
                let is_old = now.since(*oldest.get_or_insert(now)) > OLDEST;
                let has_room = self.outbox.has_room_for(Self::REPLY, MAX_FDS.into());
                if is_old || !has_room {
                    self.flush(transport)?;
                    oldest = None;
                }
            }
            self.run(&header)?;
        }
        Ok(())
    }

    fn run(&mut self, header: &Header) -> Result<(), Served> {
        let Some(claim) = RequestId::from_wire(header.id()).and_then(|id| self.slots.claim(id))
        else {
            return Ok(());
        };
        let mut room =
            self.outbox.reserve(Self::REPLY, MAX_FDS.into()).map_err(|_| Served::Broken)?;
        let arrival = self.inbox.current();
        let mut request = Request {
            header: *header,
            bytes: arrival.payload,
            fds: arrival.fds,
            claim: Some(claim),
        };
        let (kind, len) = answer(self.handler, &mut request, arrival.fds_lost, room.parts());
        if header.kind() == Kind::OneWay {
            // What it has put into the reply goes with the room.
            let finish = if kind == Kind::Refusal { Finish::Refused } else { Finish::Done };
            // There is room: each has had a slot since the last receive, and all before were told.
            _ = self.finished.push((claim, finish));
        } else {
            claim.done();
            let header = answer_to(kind, header.id());
            room.commit(header, len).map_err(|_| Served::Broken)?;
        }
        Ok(())
    }

    /// Returns whether anything is to be settled.
    fn has_batch(&self) -> bool {
        self.outbox.has_unsent() || !self.finished.is_empty()
    }

    /// Settles the batch and sends its answers.
    fn flush(&mut self, transport: &mut impl PassFds) -> Result<(), Served> {
        if !self.has_batch() {
            return Ok(());
        }
        self.handler.settle().map_err(|_| Served::NotSettled)?;
        self.tell_finished();
        while self.outbox.has_unsent() {
            match self.outbox.flush_with(transport) {
                // The work goes on for a main that is gone; only nobody hears of it.
                Err(TransportError::Closed) => self.outbox.discard_unsent(),
                Ok(flushed) if flushed.complete => {}
                Ok(_) | Err(TransportError::TooManyInFlight) => rest(),
                Err(_) => return Err(Served::Broken),
            }
        }
        self.outbox.retire_sent();
        Ok(())
    }

    /// Shows main which one-way requests are done. It is sent a frame for that only if it has
    /// asked, and if no answer goes to it that would wake it.
    fn tell_finished(&mut self) {
        if self.finished.is_empty() {
            return;
        }
        for (claim, finish) in &self.finished {
            claim.finish(*finish);
        }
        self.finished.clear();
        if self.slots.take_ask() && !self.outbox.has_unsent() {
            // Nothing is queued, so that there is room.
            _ = self.outbox.push(Header::one_way(0, 0), &[]);
        }
    }
}

/// Waits for the receivers of other descriptors in flight to catch up.
fn rest() {
    _ = ipc_transport::wait(&mut [], Some(Instant::now() + Duration::from_millis(1)));
}

/// Bytes that a reply may have in a worker of `bytes` bytes each way.
pub(crate) const fn reply_capacity(bytes: usize) -> usize {
    bytes / 2 - Header::SIZE
}

/// Returns the header of a refusal or else of a reply.
pub(crate) const fn answer_to(kind: Kind, id: u64) -> Header {
    match kind {
        Kind::Refusal => Header::refusal(id),
        _ => Header::reply(id),
    }
}

/// Runs the handler for one request. It returns the answer's kind and length; the bytes and
/// descriptors are where the reply's room is.
pub(crate) fn answer<H: Handler>(
    handler: &mut H,
    request: &mut Request<'_>,
    fds_lost: Option<FdsLost>,
    (space, fds): (&mut [u8], Fds<'_>),
) -> (Kind, usize) {
    let mut reply = Reply { space, len: 0, fds };
    let result = match fds_lost {
        None => handler.handle(request, &mut reply),
        Some(_) => Err(Refusal::FDS_LOST),
    };
    match result {
        Ok(()) => (Kind::Reply, reply.len),
        Err(refusal) => {
            reply.fds.clear();
            (Kind::Refusal, refusal.encode(reply.space))
        }
    }
}
