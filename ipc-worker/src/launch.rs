//! How requests come to be run: what every launch provides to a worker, and the policy that they
//! share.

use core::fmt;
use core::time::Duration;

use ipc_barrier::process::Ended;
use ipc_transport::{Instant, Patience};
use rustix::fd::BorrowedFd;

use crate::caller::Caller;
use crate::event::Pending;
use crate::ledger::{Restart, Words};
use crate::start_error::StartError;

/// What a worker is started by: [`Fork`](crate::Fork) or [`Inline`](crate::Inline). No other crate
/// can add one.
///
/// It is a type, so a program links only what it uses, and main's calls need not know the handler.
pub trait Launch: Sized {
    /// What runs the requests.
    #[doc(hidden)]
    type Runner: Run<Self>;
}

/// What the builder calls of [`Start`](crate::Start) have set.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub(crate) restart: Restart,
    pub(crate) ready_within: Duration,
    pub(crate) patience: Patience,
}

/// Runs requests: what a worker needs of its launch. Only `start` and `wait` may wait.
pub trait Run<L>: fmt::Debug + Sized {
    /// Opens the descriptor for event loops, and whatever lasts for the worker's whole life.
    fn open(policy: Policy) -> Result<Self, StartError>;

    /// Starts, and waits until requests can be run.
    fn start<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        launch: &mut L,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
    ) -> Result<(), StartError>;

    /// Does all I/O there is to do, a bounded amount.
    fn turn<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        launch: &mut L,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        now: Instant,
    );

    /// Waits for something to do until a deadline, and does it.
    fn wait<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        launch: &mut L,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        wake: Instant,
    );

    /// Begins to end: no further worker, and the one there is has until the deadline.
    fn close<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
        deadline: Instant,
    );

    /// Returns how the process has ended after [`close`](Self::close); `None` inside where there
    /// was no process, and outside while it has not ended.
    fn closed(&self) -> Option<Option<Ended>>;

    /// Listens no more to a worker that does not keep the protocol.
    fn break_off(&mut self);

    /// Returns when the next turn is due at the latest.
    fn deadline<Tag, const SLOTS: usize, const BYTES: usize>(
        &self,
        caller: &Caller<Tag, SLOTS, BYTES>,
    ) -> Instant;

    /// Returns whether requests are run, or will be again.
    fn is_running(&self) -> bool;

    /// Returns the descriptor for event loops.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Returns the number of the process, if there is one.
    fn pid(&self) -> Option<i32>;

    /// Returns the words of the worker that has the requests.
    fn words(&self) -> Option<Words<'_>>;

    /// Returns what is to be told beside outcomes.
    fn pending(&mut self) -> &mut Pending;

    /// Returns whether there is something to tell beside outcomes.
    fn has_pending(&self) -> bool;
}
