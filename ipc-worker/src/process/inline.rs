//! The inline launch: the handler runs in main itself, with the same queue, table and events.

use core::cell::RefCell;
use core::mem;

use ipc_frame::{Header, Kind, MAX_FDS};
use ipc_transport::{FdList, Fds, Instant};

use super::launch::Launch;
use super::medium::OverSocket;
use super::state::{Policy, Process};
use crate::blocks::{Lend, NoBlocks, View};
use crate::caller::Caller;
use crate::counters::add;
use crate::first_frame;
use crate::handler::{Answers, Handler, Request};
use crate::ledger::{Ending, How, RequestId};
use crate::refusal::Refusal;
use crate::server::answer;
use crate::start_error::StartError;

const FDS: usize = MAX_FDS as usize;

/// Runs the handler in main itself; see [`Start::inline`](crate::Start::inline).
#[derive(Debug)]
pub struct Inline<H, B = NoBlocks> {
    pub(crate) handler: H,
    pub(crate) blocks: B,
    /// Descriptors that arrived with replies since the inbox was reset.
    sequence: u32,
}

impl<H> Inline<H> {
    pub(crate) const fn new(handler: H) -> Self {
        Self::with_blocks(handler, NoBlocks)
    }
}

impl<H, B> Inline<H, B> {
    pub(crate) const fn with_blocks(handler: H, blocks: B) -> Self {
        Self { handler, blocks, sequence: 0 }
    }
}

impl<H: Handler, B: Lend> Launch for Inline<H, B> {
    type Medium = OverSocket;
    type Blocks = B;

    const DESCRIPTORS: usize = 0;

    fn blocks(&self) -> &B {
        &self.blocks
    }

    fn blocks_mut(&mut self) -> &mut B {
        &mut self.blocks
    }

    fn begin<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        policy: &Policy,
        _deadline: Instant,
        _caller: &mut Caller<Tag, SLOTS, BYTES>,
    ) -> Result<Option<Process>, StartError> {
        first_frame::check(self.handler.identity().served(), policy.expected)?;
        self.handler.prepare().map_err(StartError::Failed)?;
        Ok(None)
    }

    /// Runs the handler for queued requests, while the answers fit, and settles the batch.
    fn run<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
    ) -> Result<(), Refusal> {
        if caller.inbox.has_frame() {
            return Ok(());
        }
        let mut batch = Batch { inline: self, caller, finished: None, runs: false };
        let mut ran = false;
        while batch.run_next() {
            ran = true;
        }
        if ran {
            // If settling fails, the batch is dropped and its requests are lost.
            batch.inline.handler.settle()?;
        }
        if let Some(id) = batch.finished {
            batch.put(Header::done(id), 0, &mut FdList::<0>::new().fds());
        }
        mem::forget(batch);
        Ok(())
    }
}

/// A batch that is not settled. Dropping it loses it: if the handler panics and the program
/// continues, none of its requests is reported as done, and none runs again.
struct Batch<'a, H, B, Tag, const SLOTS: usize, const BYTES: usize> {
    inline: &'a mut Inline<H, B>,
    caller: &'a mut Caller<Tag, SLOTS, BYTES>,
    /// The last one-way request that the handler has finished.
    finished: Option<u64>,
    /// The handler runs.
    runs: bool,
}

impl<H: Handler, B: Lend, Tag, const SLOTS: usize, const BYTES: usize>
    Batch<'_, H, B, Tag, SLOTS, BYTES>
{
    /// Runs the handler for the next request. Returns false without one, or if no answer fits.
    fn run_next(&mut self) -> bool {
        let Caller { inbox, outbox, .. } = &mut *self.caller;
        let takes_fds = inbox.takes_fds();
        let space = inbox.space();
        // Keep room for the frame that reports finished one-way requests.
        let end = space.len().saturating_sub(Header::SIZE);
        let room = space.get_mut(..end).and_then(|space| space.split_at_mut_checked(BYTES / 2));
        let Some((space, notes)) = room.filter(|_| takes_fds) else {
            return false;
        };
        let space = space.get_mut(Header::SIZE..).unwrap_or_default();
        let mut reply_fds = FdList::<FDS>::new();
        self.runs = true;
        let ran = outbox.hand_over(|header, bytes, fds| {
            let (fds_of_reply, fd_limit) = (&mut reply_fds, header.reply_fds().into());
            let noted = Noted { space: notes, len: 0, dropped: 0 };
            let written = RefCell::new(Written { space, fds: fds_of_reply, fd_limit, noted });
            let Inline { handler, blocks, .. } = &mut *self.inline;
            let view = blocks.view();
            let block = RequestId::from_wire(header.id()).and_then(|id| view.of(id));
            let mut request =
                Request { header: *header, bytes, fds, claim: None, block, answers: &written };
            let answer = answer(handler, &mut request, None);
            let Written { noted: Noted { len, dropped, .. }, .. } = written.into_inner();
            (header.kind(), answer, len, dropped)
        });
        self.runs = false;
        let Some((kind, (header, len), noted, dropped)) = ran else {
            return false;
        };
        add(&mut self.caller.last.counters.notes_dropped, dropped);
        if noted > 0 {
            // The notes go before the answer.
            let written = self.caller.inbox.space().get_mut(..BYTES / 2 + noted);
            written.unwrap_or_default().rotate_right(noted);
            self.caller.inbox.filled(noted, &mut FdList::<0>::new().fds());
        }
        match (kind, header.kind()) {
            (Kind::OneWay, Kind::Reply) => self.finished = Some(header.id()),
            _ => self.put(header, len, &mut reply_fds.fds()),
        }
        true
    }

    /// Adds an answer, whose payload is already in place.
    fn put(&mut self, header: Header, len: usize, fds: &mut Fds<'_>) {
        // Everything fits: the room is smaller than `u32::MAX`, the list than `MAX_FDS`.
        let payload = u32::try_from(len).unwrap_or(u32::MAX);
        let fd_count = u16::try_from(fds.len()).unwrap_or(MAX_FDS);
        let before = if fd_count > 0 { self.inline.sequence } else { 0 };
        let head = self.caller.inbox.space().first_chunk_mut();
        if let (Some(head), Ok(header)) = (head, header.encode_with(payload, fd_count, before)) {
            *head = header;
            self.inline.sequence = self.inline.sequence.wrapping_add(fd_count.into());
            self.caller.inbox.filled(Header::SIZE + len, fds);
        }
    }
}

/// The answer being written. It is reported after the batch, with the earlier ones.
struct Written<'a> {
    space: &'a mut [u8],
    fds: &'a mut FdList<FDS>,
    fd_limit: usize,
    noted: Noted<'a>,
}

/// The notes of a handler, as frames. They lie behind the answer's space.
struct Noted<'a> {
    space: &'a mut [u8],
    len: usize,
    dropped: u64,
}

impl Noted<'_> {
    /// Adds a note. `None` if it does not fit.
    fn put(&mut self, header: Header, bytes: &[u8]) -> Option<()> {
        let (head, space) = self.space.get_mut(self.len..)?.split_first_chunk_mut()?;
        let payload = space.get_mut(..bytes.len())?;
        *head = header.encode_with(u32::try_from(bytes.len()).ok()?, 0, 0).ok()?;
        payload.copy_from_slice(bytes);
        self.len += Header::SIZE + bytes.len();
        Some(())
    }
}

impl Answers for Written<'_> {
    fn space(&mut self) -> &mut [u8] {
        self.space
    }

    fn fds(&mut self) -> Fds<'_> {
        self.fds.fds_up_to(self.fd_limit)
    }

    fn flush(&mut self, _settle: &mut dyn FnMut() -> Result<(), Refusal>) -> Result<(), Refusal> {
        Ok(())
    }

    fn note(&mut self, header: Header, bytes: &[u8]) -> bool {
        let is_taken = self.noted.put(header, bytes).is_some();
        self.noted.dropped += u64::from(!is_taken);
        is_taken
    }
}

impl<H, B, Tag, const SLOTS: usize, const BYTES: usize> Drop
    for Batch<'_, H, B, Tag, SLOTS, BYTES>
{
    fn drop(&mut self) {
        self.caller.inbox.reset();
        self.inline.sequence = 0;
        self.caller.lose_sent();
        if self.runs {
            self.caller.end_next(0, Ending::Lost(How::Running));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use ipc_transport::Instant;
    use rustix::fs::{Mode, OFlags, open};

    use crate::{Call, Event, Outcome, Refusal, Reply, Request, Start, Worker};

    fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        assert_ne!(request.method(), 2, "on purpose");
        reply.put_fd(open(c"/dev/null", OFlags::CLOEXEC, Mode::empty())?)
    }

    #[test]
    fn repro_descriptors_come_with_replies_after_a_panic_too() {
        let mut worker = Worker::<u16, _, 4, 256>::start(Start::inline(handle)).unwrap();
        for method in [1, 2, 3] {
            worker.try_call(Call::new(method, &[]).reply_fds(1), method).unwrap();
            let turn = AssertUnwindSafe(|| worker.turn(Instant::now()));
            assert_eq!(catch_unwind(turn).is_err(), method == 2);
            let event = worker.next_event();
            let Some(Event::Done { tag, outcome }) = event else { panic!("{method}: {event:?}") };
            assert_eq!(tag, method);
            match outcome {
                Outcome::Reply(mut reply) => assert!(reply.take_fd().is_some()),
                outcome => assert!(method == 2, "{outcome:?}"),
            }
        }
    }
}
