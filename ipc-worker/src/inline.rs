//! The launch in line: the handler runs in main itself, over the same queue, table and events.

use core::mem;

use ipc_barrier::process::Ended;
use ipc_frame::{Header, Kind, MAX_FDS};
use ipc_transport::{FdList, Instant, SystemError, above_stdio, wait};
use rustix::event::epoll;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::caller::Caller;
use crate::event::{GiveUp, Pending};
use crate::first_frame;
use crate::handler::{Handler, Reply, Request};
use crate::launch::{Launch, Policy, Run};
use crate::ledger::Words;
use crate::server::{answer, reply_capacity};
use crate::start_error::StartError;

const FDS: usize = MAX_FDS as usize;

/// Runs the handler in main itself: see [`Start::inline`](crate::Start::inline).
#[derive(Debug)]
pub struct Inline<H>(pub(crate) H);

impl<H: Handler> Launch for Inline<H> {
    type Runner = InMain;
}

/// Runs requests in main.
#[derive(Debug)]
pub struct InMain {
    /// It never shows anything: a program that waits for it waits for its deadline.
    epoll: OwnedFd,
    is_running: bool,
    /// Descriptors that came with replies so far.
    fd_sequence: u32,
    pending: Pending,
}

impl InMain {
    /// Runs the handler for what is queued, as far as the answers fit, and settles it.
    fn run<H: Handler, Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        handler: &mut H,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
    ) {
        if caller.has_frame() {
            return;
        }
        let mut batch = Batch { caller, fd_sequence: self.fd_sequence, runs: false };
        let mut ran = false;
        while batch.run_next(handler) {
            ran = true;
        }
        if ran {
            if let Err(refusal) = handler.settle() {
                drop(batch);
                caller.lose_all(None);
                self.is_running = false;
                self.pending.gave_up = Some(GiveUp::NotSettled(refusal));
                return;
            }
            batch.caller.free_sent();
        }
        self.fd_sequence = batch.fd_sequence;
        mem::forget(batch);
    }
}

/// A batch that is not settled. Dropping it loses it: where the handler panics and the program
/// goes on all the same, none of it is told as done, and none of it runs again.
struct Batch<'a, Tag, const SLOTS: usize, const BYTES: usize> {
    caller: &'a mut Caller<Tag, SLOTS, BYTES>,
    fd_sequence: u32,
    /// The handler runs.
    runs: bool,
}

impl<Tag, const SLOTS: usize, const BYTES: usize> Batch<'_, Tag, SLOTS, BYTES> {
    /// Runs the handler for the next request. Returns false where none is left or nothing fits.
    fn run_next<H: Handler>(&mut self, handler: &mut H) -> bool {
        let Self { caller: Caller { inbox, outbox, .. }, fd_sequence, runs } = self;
        let takes_fds = inbox.takes_fds();
        let Some((head, payload)) = inbox.space().split_first_chunk_mut::<{ Header::SIZE }>()
        else {
            return false;
        };
        let Some(space) = payload.get_mut(..reply_capacity(BYTES)).filter(|_| takes_fds) else {
            return false;
        };
        let mut reply_fds = FdList::<FDS>::new();
        *runs = true;
        let ran = outbox.hand_over(|header, bytes, fds| {
            let reply = Reply { space, len: 0, fds: reply_fds.fds_up_to(header.reply_fds().into()) };
            let mut request = Request { header: *header, bytes, fds, claim: None };
            (*header, answer(handler, &mut request, None, reply))
        });
        *runs = false;
        let Some((header, answered)) = ran else {
            return false;
        };
        if header.kind() == Kind::OneWay && answered.kind == Kind::Reply {
            // Its room is free once it is settled.
            return true;
        }
        // All of it fits: the room is smaller than `u32::MAX`, the list than `MAX_FDS`.
        let len = u32::try_from(answered.len).unwrap_or(u32::MAX);
        let fd_count = u16::try_from(reply_fds.len()).unwrap_or(MAX_FDS);
        let sequence = if fd_count > 0 { *fd_sequence } else { 0 };
        let Ok(reply) = answered.header(header.id()).encode_with(len, fd_count, sequence) else {
            return true;
        };
        *head = reply;
        *fd_sequence = fd_sequence.wrapping_add(fd_count.into());
        inbox.filled(Header::SIZE + answered.len, &mut reply_fds.fds());
        true
    }
}

impl<Tag, const SLOTS: usize, const BYTES: usize> Drop for Batch<'_, Tag, SLOTS, BYTES> {
    fn drop(&mut self) {
        let Self { caller, runs, .. } = self;
        caller.inbox.reset();
        caller.lose_sent();
        if *runs {
            caller.lose_next();
        }
    }
}

impl<H: Handler> Run<Inline<H>> for InMain {
    fn open(_policy: Policy) -> Result<Self, StartError> {
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(SystemError::of("epoll_create1"))?;
        let (epoll, pending) = (above_stdio(epoll)?, Pending::default());
        Ok(Self { epoll, is_running: false, fd_sequence: 0, pending })
    }

    fn start<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        launch: &mut Inline<H>,
        _caller: &mut Caller<Tag, SLOTS, BYTES>,
    ) -> Result<(), StartError> {
        let prepared = launch.0.prepare();
        prepared.map_err(|refusal| StartError::Failed(first_frame::refused(&refusal)))?;
        self.is_running = true;
        Ok(())
    }

    fn turn<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        launch: &mut Inline<H>,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        now: Instant,
    ) {
        caller.expire(now, None);
        if self.is_running {
            self.run(&mut launch.0, caller);
        }
    }

    fn wait<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        launch: &mut Inline<H>,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        wake: Instant,
    ) {
        if wake > Instant::now() {
            // If the wait fails, the turn is early, which harms nothing.
            _ = wait(&mut [], Some(wake));
        }
        self.turn(launch, caller, Instant::now());
    }

    fn close<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        _caller: &mut Caller<Tag, SLOTS, BYTES>,
        _deadline: Instant,
    ) {
        self.is_running = false;
    }

    fn closed(&self) -> Option<Option<Ended>> {
        Some(None)
    }

    fn break_off(&mut self) {}

    fn deadline<Tag, const SLOTS: usize, const BYTES: usize>(
        &self,
        caller: &Caller<Tag, SLOTS, BYTES>,
    ) -> Instant {
        match self.is_running && caller.outbox.has_unsent() {
            true => Instant::PAST,
            false => Instant::NEVER,
        }
    }

    fn is_running(&self) -> bool {
        self.is_running
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    fn pid(&self) -> Option<i32> {
        None
    }

    fn words(&self) -> Option<Words<'_>> {
        None
    }

    fn pending(&mut self) -> &mut Pending {
        &mut self.pending
    }

    fn has_pending(&self) -> bool {
        self.pending.is_any()
    }
}
