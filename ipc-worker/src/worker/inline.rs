//! The handler in main itself: the same queue, table and events, without a process.

use core::mem;

use heapless::Deque;
use ipc_barrier::Reason;
use ipc_frame::{Header, Kind, MAX_FDS};
use ipc_transport::Errno;
use rustix::fd::OwnedFd;

use crate::event::GiveUp;
use crate::handler::{Handler, Request};
use crate::serve::{ReplyFds, answer, reply_capacity};
use crate::slots::{Finish, RequestId};
use crate::start::StartError;
use crate::worker::Worker;
use crate::worker::life::Phase;

const FDS: usize = MAX_FDS as usize;

impl<Tag, H: Handler, const SLOTS: usize, const BYTES: usize> Worker<Tag, H, SLOTS, BYTES> {
    pub(super) fn start_inline(&mut self) -> Result<(), StartError> {
        self.start.handler.prepare().map_err(|refusal| {
            let (errno, text) = (Errno(refusal.code), refusal.text.as_str());
            StartError::Failed(Reason::new(4, errno, text))
        })?;
        self.phase = Phase::Inline { fd_sequence: 0, runs: false };
        Ok(())
    }

    /// Runs the handler for what is queued, as far as the answers fit, and settles it.
    pub(super) fn run_inline(&mut self) {
        if self.caller.inbox.has_frame() {
            return;
        }
        let batch = Batch(self);
        let mut ran = false;
        while batch.0.run_next() {
            ran = true;
        }
        if ran {
            if let Err(refusal) = batch.0.start.handler.settle() {
                drop(batch);
                return self.give_up(GiveUp::NotSettled(refusal));
            }
            batch.0.caller.let_go_sent();
        }
        mem::forget(batch);
    }

    /// Runs the handler for the next request; answers false where none is left or nothing fits.
    fn run_next(&mut self) -> bool {
        let Phase::Inline { fd_sequence, runs } = &mut self.phase else {
            return false;
        };
        let has_room = self.caller.inbox.takes_fds();
        let space = self.caller.inbox.space();
        let Some((number, _)) = self.caller.outbox.next_unsent() else {
            return false;
        };
        if !has_room || space.len() < Header::SIZE + reply_capacity(BYTES) {
            return false;
        }
        let mut fds = Deque::<OwnedFd, FDS>::new();
        self.caller.outbox.take_fds(number, &mut fds);
        let Some((_, frame)) = self.caller.outbox.next_unsent() else {
            return false;
        };
        let Some((head, payload)) = space.split_first_chunk_mut() else {
            return false;
        };
        let header = *frame.header();
        let mut request = Request { header, bytes: frame.payload(), fds: &mut fds, claim: None };
        let mut reply_fds = ReplyFds::new();
        let room = payload.get_mut(..reply_capacity(BYTES)).unwrap_or_default();
        *runs = true;
        let (kind, len) =
            answer(&mut self.start.handler, &mut request, None, (room, &mut reply_fds));
        *runs = false;
        let fd_count = u16::try_from(reply_fds.len()).unwrap_or(MAX_FDS);
        self.caller.outbox.pass_unsent();
        if header.kind == Kind::OneWay {
            // One that is done is let go once it is settled.
            if let Some(id) = RequestId::from_wire(header.id).filter(|_| kind == Kind::Refusal) {
                self.caller.let_go(id, number, Finish::Refused);
            }
            return true;
        }
        *head = Header {
            len: u32::try_from(len).unwrap_or(u32::MAX),
            fd_count,
            fd_sequence: if fd_count > 0 { *fd_sequence } else { 0 },
            ..Header::new(kind, 0, header.id)
        }
        .encode();
        *fd_sequence = fd_sequence.wrapping_add(u32::from(fd_count));
        self.caller.inbox.filled(Header::SIZE + len, reply_fds);
        true
    }
}

/// A batch that is not settled. It is lost with this: where the handler panics and the program
/// goes on all the same, none of it is told as done, and none of it runs again.
struct Batch<'a, Tag, H: Handler, const SLOTS: usize, const BYTES: usize>(
    &'a mut Worker<Tag, H, SLOTS, BYTES>,
);

impl<Tag, H: Handler, const SLOTS: usize, const BYTES: usize> Drop
    for Batch<'_, Tag, H, SLOTS, BYTES>
{
    fn drop(&mut self) {
        let Worker { phase, caller, .. } = &mut *self.0;
        caller.inbox.reset();
        caller.lose_sent();
        if let Phase::Inline { fd_sequence, runs } = phase {
            *fd_sequence = 0;
            if mem::take(runs) {
                caller.lose_next();
            }
        }
    }
}
