//! The worker's side of the traffic: requests in, handlers run, answers out in batches. It names no
//! transport and no process.

use core::time::Duration;

use ipc_frame::{Header, Kind, MAX_FDS};
use ipc_transport::{FdsLost, Inbox, Instant, Outbox, PassFds, TransportError};

use crate::handler::{Handler, Reply, Request};
use crate::ledger::{RequestId, Words};
use crate::refusal::Refusal;

/// Once the oldest unsent answer is older than this, it goes out before the next request.
const OLDEST: Duration = Duration::from_micros(100);

const FDS: usize = MAX_FDS as usize;

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
    pub(crate) words: Words<'a>,
    pub(crate) inbox: &'a mut Inbox<BYTES>,
    pub(crate) outbox: &'a mut Outbox<BYTES, SLOTS>,
    /// The last one-way request that the handler has finished and main was not told of.
    pub(crate) finished: Option<u64>,
    /// The clock.
    pub(crate) now: fn() -> Instant,
}

impl<H: Handler, const SLOTS: usize, const BYTES: usize> Server<'_, H, SLOTS, BYTES> {
    /// Serves until main closes. The transport's calls wait.
    pub(crate) fn serve(&mut self, transport: &mut impl PassFds) -> Served {
        loop {
            let batch = self.work(transport).and_then(|()| self.flush(transport));
            if let Err(served) = batch {
                return served;
            }
            match self.inbox.receive_with(transport, FDS) {
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
                if is_old || !self.outbox.has_room_for(reply_capacity(BYTES), FDS) {
                    self.flush(transport)?;
                    oldest = None;
                }
            }
            self.run(&header)?;
        }
        Ok(())
    }

    fn run(&mut self, header: &Header) -> Result<(), Served> {
        let Some(claim) = RequestId::from_wire(header.id()).and_then(|id| self.words.claim(id))
        else {
            return Ok(());
        };
        let room = self.outbox.reserve(reply_capacity(BYTES), header.reply_fds().into());
        let mut room = room.map_err(|_| Served::Broken)?;
        let arrival = self.inbox.current();
        let mut request = Request {
            header: *header,
            bytes: arrival.payload,
            fds: arrival.fds,
            claim: Some(claim),
        };
        let (space, fds) = room.parts();
        let reply = Reply { space, len: 0, fds };
        let (answer, len) = answer(self.handler, &mut request, arrival.fds_lost, reply);
        claim.done();
        if header.kind() == Kind::OneWay && answer.kind() == Kind::Reply {
            // What it has put into the reply goes with the room.
            self.finished = Some(header.id());
        } else {
            room.commit(answer, len).map_err(|_| Served::Broken)?;
        }
        Ok(())
    }

    /// Returns whether anything is to be settled.
    fn has_batch(&self) -> bool {
        self.outbox.has_unsent() || self.finished.is_some()
    }

    /// Settles the batch and sends its answers. Main is told once of all the one-way requests that
    /// are done by now.
    fn flush(&mut self, transport: &mut impl PassFds) -> Result<(), Served> {
        if !self.has_batch() {
            return Ok(());
        }
        self.handler.settle().map_err(|_| Served::NotSettled)?;
        while self.has_batch() {
            // Where it finds no room now, it goes out after what is queued.
            self.finished.take_if(|id| self.outbox.push(Header::done(*id), &[]).is_ok());
            match self.outbox.flush_with(transport) {
                // The work goes on for a main that is gone; only nobody hears of it.
                Err(TransportError::Closed) => self.outbox.discard_unsent(),
                Ok(flushed) if flushed.complete => {}
                Ok(_) | Err(TransportError::TooManyInFlight) => rest(),
                Err(_) => return Err(Served::Broken),
            }
            self.outbox.retire_sent();
        }
        Ok(())
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

/// Runs the handler for one request. Returns the answer's header, and the length of its bytes;
/// these and its descriptors are where the reply's room is.
pub(crate) fn answer<H: Handler>(
    handler: &mut H,
    request: &mut Request<'_>,
    fds_lost: Option<FdsLost>,
    mut reply: Reply<'_>,
) -> (Header, usize) {
    let id = request.header.id();
    let result = match fds_lost {
        None => handler.handle(request, &mut reply),
        Some(_) => Err(Refusal::FDS_LOST),
    };
    match result {
        Ok(()) => (Header::reply(id), reply.len),
        Err(refusal) => {
            reply.fds.clear();
            (Header::refusal(id), refusal.encode(reply.space))
        }
    }
}
