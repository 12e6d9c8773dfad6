//! The launch by fork: the worker is a copy of main.

use ipc_barrier::process::{Child, Fork as Side, ForkError};

use super::child;
use super::state::Processes;
use super::spawn::{Given, Spawn};
use crate::caller::Caller;
use crate::handler::Handler;
use crate::launch::Launch;
use crate::start_error::StartError;

/// Runs the handler in a forked process: see [`Start::fork`](crate::Start::fork).
#[derive(Debug)]
pub struct Fork<H> {
    handler: H,
    by: fn() -> Result<Side, ForkError>,
}

impl<H> Fork<H> {
    pub(crate) const fn by(by: fn() -> Result<Side, ForkError>, handler: H) -> Self {
        Self { handler, by }
    }
}

impl<H: Handler> Launch for Fork<H> {
    type Runner = Processes;
}

impl<H: Handler> Spawn for Fork<H> {
    fn spawn<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        given: Given<'_>,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
    ) -> Result<Child, StartError> {
        match (self.by)()? {
            Side::Parent(child) => Ok(child),
            Side::Child(guard) => child::run(guard, given, &mut self.handler, caller),
        }
    }
}
