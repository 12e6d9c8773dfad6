//! The worker's side of the traffic: receives requests, runs handlers, and sends answers in
//! batches. It knows neither transport nor process.

mod notes;
mod sending;

use core::cell::RefCell;
use core::time::Duration;

use ipc_frame::{Header, Kind, MAX_FDS};
use ipc_transport::{
    Fds, FdsLost, Inbox, Instant, Outbox, PassFds, Room, SystemError, TransportError,
};

use crate::blocks::View;
use crate::handler::{Answers, Handler, Reply, Request};
use crate::ledger::{Block, Claim, Hold, RequestId, Words};
use crate::refusal::Refusal;

pub(crate) use notes::{LAST_WORDS, Notes, Sender};
pub(crate) use sending::{SHORTAGE, Sent, Served};
use sending::{send, wait_out};

/// The longest run of a quick handler. An unsent answer older than this is sent before the next
/// request runs.
const QUICK: Duration = Duration::from_micros(100);

/// How many quick runs in a row a method needs before answers may wait for it.
const OFTEN: u8 = 16;

const FDS: usize = MAX_FDS as usize;

/// What a worker of `BYTES` bytes in each direction needs to serve.
pub(crate) struct Server<'a, H, V, const SLOTS: usize, const BYTES: usize> {
    pub(crate) handler: &'a mut H,
    pub(crate) words: Words<'a>,
    pub(crate) blocks: V,
    pub(crate) inbox: &'a mut Inbox<BYTES>,
    pub(crate) outbox: &'a mut Outbox<BYTES, SLOTS>,
    pub(crate) notes: Notes<'a>,
    /// The last finished one-way request, until main was told of it.
    pub(crate) finished: Option<u64>,
    pub(crate) now: fn() -> Instant,
    pub(crate) paces: Paces,
}

/// How many more quick runs each method needs to count as quick. Methods with the same lowest bits
/// share an entry.
#[derive(Debug)]
pub(crate) struct Paces([u8; 16]);

impl Paces {
    /// At first, one quick run is enough.
    pub(crate) const NEW: Self = Self([1; 16]);

    fn of(&mut self, method: u16) -> &mut u8 {
        let Self([first, others @ ..]) = self;
        others.get_mut(usize::from(method) % 16).unwrap_or(first)
    }
}

impl<H: Handler, V: View, const SLOTS: usize, const BYTES: usize> Server<'_, H, V, SLOTS, BYTES> {
    /// Serves until main closes. The transport must be blocking.
    pub(crate) fn serve(&mut self, transport: &mut impl PassFds) -> Served {
        let mut shortage = None;
        loop {
            let batch = self.work(transport).and_then(|()| self.flush(transport));
            if let Err(served) = batch {
                return served;
            }
            let received = match self.inbox.receive_with(transport, FDS) {
                Ok(_) => {
                    shortage = None;
                    continue;
                }
                Err(TransportError::Exhausted(_)) => wait_out(&mut shortage),
                Err(TransportError::Closed) => return Served::Finished,
                Err(_) => return Served::Broken,
            };
            if let Err(served) = received {
                return served;
            }
        }
    }

    /// Runs the handler for every whole request in the inbox. Finished answers are sent before a
    /// request that is not known to be quick.
    fn work(&mut self, transport: &mut impl PassFds) -> Result<(), Served> {
        // When the first and the last unsent answer were finished.
        let mut waiting: Option<(Instant, Instant)> = None;
        while let Some(header) = self.inbox.advance().map_err(|_| Served::Broken)? {
            if !matches!(header.kind(), Kind::Request | Kind::OneWay) {
                return Err(Served::Broken);
            }
            let (method, has_batch) = (header.method(), self.has_batch());
            // A single request needs no clock.
            let is_timed = has_batch || self.inbox.has_frame();
            let is_old = waiting.is_some_and(|(first, last)| last.since(first) > QUICK);
            let has_room = self.outbox.has_room_for(reply_capacity(BYTES), FDS);
            let is_quick = self.handler.is_quick(method);
            let is_quick = is_quick.unwrap_or(*self.paces.of(method) == 0);
            if has_batch && (is_old || !has_room || !is_quick) {
                self.flush(transport)?;
                waiting = None;
            }
            let begun = waiting.map(|(_, last)| last).or_else(|| is_timed.then(self.now));
            self.run(&header, transport)?;
            if let Some(begun) = begun {
                let now = (self.now)();
                let pace = self.paces.of(method);
                *pace = if now.since(begun) > QUICK { OFTEN } else { pace.saturating_sub(1) };
                waiting = Some((waiting.map_or(now, |(first, _)| first), now));
            }
        }
        Ok(())
    }

    fn run(&mut self, header: &Header, transport: &mut impl PassFds) -> Result<(), Served> {
        let Some(id) = RequestId::from_wire(header.id()) else { return Ok(()) };
        let blocks = self.blocks;
        let block = blocks.of(id);
        let hold = block.and_then(|block| block.hold());
        let Some(claim) = Hold::claim(hold, self.words, id) else { return Ok(()) };
        let ran = self.run_claimed(header, claim, block, transport);
        _ = hold.map(Hold::release);
        ran
    }

    fn run_claimed(
        &mut self,
        header: &Header,
        claim: Claim<'_>,
        block: Option<Block<'_>>,
        transport: &mut impl PassFds,
    ) -> Result<(), Served> {
        let room = self.outbox.reserve(reply_capacity(BYTES), header.reply_fds().into());
        let room = room.map_err(|_| Served::Broken)?;
        let finished = &mut self.finished;
        let notes = self.notes;
        let written = RefCell::new(Written { room, finished, notes, transport, served: Ok(()) });
        let arrival = self.inbox.current();
        let mut request = Request {
            header: *header,
            bytes: arrival.payload,
            fds: arrival.fds,
            claim: Some(claim),
            block,
            answers: &written,
        };
        let (answer, len) = answer(self.handler, &mut request, arrival.fds_lost);
        claim.done();
        let Written { room, finished, served, .. } = written.into_inner();
        served?;
        if header.kind() == Kind::OneWay && answer.kind() == Kind::Reply {
            // A one-way's reply is dropped with its room.
            *finished = Some(header.id());
        } else {
            room.commit(answer, len).map_err(|_| Served::Broken)?;
        }
        Ok(())
    }

    /// Returns whether there is anything to settle.
    fn has_batch(&self) -> bool {
        self.outbox.has_unsent() || self.finished.is_some()
    }

    /// Settles the batch and sends its answers. One frame reports all one-way requests that are
    /// done.
    fn flush(&mut self, transport: &mut impl PassFds) -> Result<(), Served> {
        if !self.has_batch() {
            return Ok(());
        }
        self.handler.settle().map_err(|_| Served::NotSettled)?;
        // If there is no room now, it is sent after the queued frames.
        self.finished.take_if(|id| self.outbox.push(Header::done(*id), &[]).is_ok());
        flush(self.outbox, &mut self.finished, self.notes, transport)
    }
}

/// The answer being written, queued behind the unsent ones.
struct Written<'a, T, const SLOTS: usize, const BYTES: usize> {
    room: Room<'a, BYTES, SLOTS>,
    finished: &'a mut Option<u64>,
    notes: Notes<'a>,
    transport: &'a mut T,
    /// Whether the worker continues after this handler.
    served: Result<(), Served>,
}

impl<T: PassFds, const SLOTS: usize, const BYTES: usize> Answers for Written<'_, T, SLOTS, BYTES> {
    fn space(&mut self) -> &mut [u8] {
        self.room.payload()
    }

    fn fds(&mut self) -> Fds<'_> {
        self.room.fds()
    }

    fn flush(&mut self, settle: &mut dyn FnMut() -> Result<(), Refusal>) -> Result<(), Refusal> {
        let waits = self.room.outbox().has_unsent() || self.finished.is_some();
        if self.served.is_err() || !waits {
            return Ok(());
        }
        settle().inspect_err(|_| self.served = Err(Served::NotSettled))?;
        self.served = flush(self.room.outbox(), self.finished, self.notes, self.transport);
        Ok(())
    }

    fn note(&mut self, header: Header, bytes: &[u8]) -> bool {
        let transport = &mut *self.transport;
        let mut by = |pieces: &[&[u8]]| transport.send(pieces);
        let sent = self.served.and_then(|()| self.notes.send(&mut by, header, bytes));
        self.served = sent.map(|_| ());
        sent == Ok(true)
    }
}

/// Sends the queued frames, and then the report of finished one-way requests, unless it is queued.
fn flush<const SLOTS: usize, const BYTES: usize>(
    outbox: &mut Outbox<BYTES, SLOTS>,
    finished: &mut Option<u64>,
    notes: Notes<'_>,
    transport: &mut impl PassFds,
) -> Result<(), Served> {
    let _turn = notes.sender.enter()?;
    let mut shortage = None;
    while outbox.has_unsent() {
        match outbox.flush_with(transport) {
            // Main is gone. The work continues, but nobody receives the answers.
            Err(TransportError::Closed) => outbox.discard_unsent(),
            Ok(flushed) if flushed.complete => {}
            Err(TransportError::FdsRefused(error)) => refuse_next(outbox, error, transport)?,
            Ok(_) | Err(TransportError::Exhausted(_)) => wait_out(&mut shortage)?,
            Err(_) => return Err(Served::Broken),
        }
        outbox.retire_sent();
    }
    match finished.take() {
        Some(id) => send(&mut |pieces| transport.send(pieces), Header::done(id), &[]),
        None => Ok(()),
    }
}

/// Replaces the next answer by a refusal, because its descriptors cannot be passed.
fn refuse_next<const SLOTS: usize, const BYTES: usize>(
    outbox: &mut Outbox<BYTES, SLOTS>,
    error: SystemError,
    transport: &mut impl PassFds,
) -> Result<(), Served> {
    let (number, frame) = outbox.next_unsent().ok_or(Served::Broken)?;
    let header = Header::refusal(frame.header().id());
    outbox.retire(number);
    let mut text = [0; Refusal::SIZE];
    let len = Refusal::new(error.errno.0, Refusal::UNSENDABLE_FDS).encode(&mut text);
    send(&mut |pieces| transport.send(pieces), header, text.get(..len).unwrap_or_default())
}

/// Returns the capacity of a reply, for a worker of `bytes` bytes in each direction.
pub(crate) const fn reply_capacity(bytes: usize) -> usize {
    bytes / 2 - Header::SIZE
}

/// Runs the handler for one request. Returns the answer's header and the length of its bytes. These
/// and the descriptors are in the reply's space.
pub(crate) fn answer<H: Handler>(
    handler: &mut H,
    request: &mut Request<'_>,
    fds_lost: Option<FdsLost>,
) -> (Header, usize) {
    let (id, answers) = (request.header.id(), request.answers);
    let mut reply = Reply { answers, len: 0 };
    let result = match fds_lost {
        None => handler.handle(request, &mut reply),
        Some(_) => Err(Refusal::FDS_LOST),
    };
    match (result, answers.try_borrow_mut()) {
        (Err(refusal), Ok(mut answers)) => {
            answers.fds().clear();
            (Header::refusal(id), refusal.encode(answers.space()))
        }
        _ => (Header::reply(id), reply.len),
    }
}
