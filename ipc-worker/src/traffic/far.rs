//! The worker's side of a run: its handler and its end of the connection.

use core::cell::RefCell;
use std::panic::resume_unwind;

use ipc_transport::{
    Faults, Faulty, Fds, LoopbackEnd, PassFds, Received, Transport, TransportError,
};
use rustix::fd::{AsFd, BorrowedFd};

use super::WIRE;
use super::near::World;
use crate::handler::{Handler, Reply, Request};
use crate::refusal::Refusal;
use crate::server::reply_capacity;

pub(super) type Shared<'w, 'l, const SLOTS: usize, const BYTES: usize> =
    &'w RefCell<World<'l, SLOTS, BYTES>>;

/// How a process that was killed in its handler unwinds.
pub(super) struct Killed;

/// The worker's handler. Main continues while it runs.
pub(super) struct Work<'w, 'l, const SLOTS: usize, const BYTES: usize>(
    pub(super) Shared<'w, 'l, SLOTS, BYTES>,
);

impl<const SLOTS: usize, const BYTES: usize> Handler for Work<'_, '_, SLOTS, BYTES> {
    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        let number = u32::from_le_bytes(*request.bytes().first_chunk().unwrap());
        let mut fd_count = 0;
        while request.take_fd().is_some() {
            fd_count += 1;
        }
        let mut world = self.0.borrow_mut();
        world.main.model.begin(number, fd_count);
        world.check_order(request.header.id());
        if world.main.random.one_in(4) {
            drop(world);
            let flushed = request.flush(|| self.settle());
            world = self.0.borrow_mut();
            if flushed.is_err() {
                let is_heard = world.link.is_some();
                world.main.model.end(number, false, is_heard);
            }
            flushed?;
        }
        while world.main.random.one_in(2) {
            world.step();
        }
        while world.main.random.one_in(2) {
            let noted = world.main.model.note(number);
            let len = world.main.random.len(BYTES / 4);
            drop(world);
            let bytes = [&number.to_le_bytes()[..], &[9; BYTES][..len]].concat();
            let is_sent = request.note(noted, &bytes);
            world = self.0.borrow_mut();
            world.main.model.noted(is_sent);
        }
        world.is_killed |= world.main.is_stormy && world.main.random.one_in(3);
        if world.is_killed {
            drop(world);
            resume_unwind(std::boxed::Box::new(Killed));
        }
        let is_refused = world.main.random.one_in(8);
        let fd_count = u8::try_from(world.main.random.len(3)).unwrap();
        let fd_count = fd_count * u8::from(world.main.random.one_in(3));
        let is_done = !is_refused && world.main.model.allows(number, fd_count);
        let is_heard = world.link.is_some();
        world.main.model.end(number, is_done, is_heard);
        if is_refused {
            return Err(Refusal::new(5, "no"));
        }
        reply.put(&number.to_le_bytes())?;
        reply.put(&[fd_count])?;
        for _ in 0..world.main.random.len(reply_capacity(BYTES) - 5) {
            reply.put(&[8])?;
        }
        for _ in 0..fd_count {
            reply.put_fd(world.main.token.as_fd().try_clone_to_owned().unwrap())?;
        }
        assert!(is_done, "a descriptor that the call does not allow");
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Refusal> {
        let main = &mut *self.0.borrow_mut().main;
        if main.random.one_in(100) {
            return Err(Refusal::new(5, "no"));
        }
        main.model.settle();
        Ok(())
    }
}

/// The worker's end. Where it would block, main takes steps.
pub(super) struct Line<'w, 'l, const SLOTS: usize, const BYTES: usize> {
    pub(super) world: Shared<'w, 'l, SLOTS, BYTES>,
    pub(super) end: Faulty<LoopbackEnd<'l, WIRE>>,
}

impl<const SLOTS: usize, const BYTES: usize> Line<'_, '_, SLOTS, BYTES> {
    /// Makes a blocking call.
    fn wait<T>(
        &mut self,
        mut call: impl FnMut(&mut Faulty<LoopbackEnd<'_, WIRE>>) -> Result<Option<T>, TransportError>,
    ) -> Result<Option<T>, TransportError> {
        loop {
            if self.world.borrow().is_killed {
                return Err(Faults::ERROR);
            }
            if let Some(answer) = call(&mut self.end)? {
                return Ok(Some(answer));
            }
            let mut world = self.world.borrow_mut();
            if world.is_over() {
                world.give_up();
            }
            world.step();
        }
    }
}

impl<const SLOTS: usize, const BYTES: usize> Transport for Line<'_, '_, SLOTS, BYTES> {
    fn send(&mut self, pieces: &[&[u8]]) -> Result<Option<usize>, TransportError> {
        self.wait(|end| end.send(pieces))
    }

    fn receive(&mut self, space: &mut [u8]) -> Result<Option<usize>, TransportError> {
        self.wait(|end| end.receive(space))
    }
}

impl<const SLOTS: usize, const BYTES: usize> PassFds for Line<'_, '_, SLOTS, BYTES> {
    fn send_with(
        &mut self,
        pieces: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Option<usize>, TransportError> {
        self.wait(|end| end.send_with(pieces, fds))
    }

    fn receive_with(
        &mut self,
        space: &mut [u8],
        fds: &mut Fds<'_>,
    ) -> Result<Option<Received>, TransportError> {
        self.wait(|end| end.receive_with(space, fds))
    }
}
