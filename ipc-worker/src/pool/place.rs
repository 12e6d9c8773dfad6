//! Starts a pool, by value or in place.

#![expect(unsafe_code, reason = "workers are created one by one in uninitialized memory")]

use core::mem::MaybeUninit;

use ipc_transport::{SystemError, above_stdio};
use rustix::event::epoll;
use rustix::fd::AsFd;

use super::Pool;
use crate::process::Launch;
use crate::start::Start;
use crate::start_error::StartError;
use crate::worker::Worker;

impl<Tag, L: Launch, const N: usize, const SLOTS: usize, const BYTES: usize>
    Pool<Tag, L, N, SLOTS, BYTES>
{
    /// Starts the workers one by one, and waits until each is ready. `make` gets the worker's
    /// index, and returns how to start it. The pool and its buffers lie on the stack for a moment;
    /// for a large one use [`start_in`](Self::start_in).
    ///
    /// # Errors
    /// As [`Worker::start`], for the first worker that does not start. No process is left.
    pub fn start(
        make: impl FnMut(usize) -> Result<Start<L>, SystemError>,
    ) -> Result<Self, StartError> {
        let mut place = MaybeUninit::uninit();
        Self::start_in(&mut place, make)?;
        // SAFETY: `start_in` initialized a pool there, and nothing refers to it any more.
        Ok(unsafe { place.assume_init() })
    }

    /// Starts a pool as [`start`](Self::start) does, in memory that the caller provides; see
    /// [`Worker::start_in`].
    ///
    /// # Errors
    /// As [`start`](Self::start). The memory stays uninitialized.
    pub fn start_in(
        place: &mut MaybeUninit<Self>,
        mut make: impl FnMut(usize) -> Result<Start<L>, SystemError>,
    ) -> Result<&mut Self, StartError> {
        const { assert!(N > 0, "a pool has a worker") };
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(SystemError::of("epoll_create1"))?;
        let epoll = above_stdio(epoll)?;
        let pool = place.as_mut_ptr();
        // SAFETY: the pointer is to memory of this type, so the field lies within it.
        let workers = unsafe { &raw mut (*pool).workers };
        // SAFETY: uninitialized memory is valid as an array of `MaybeUninit`, and nothing else
        // refers to it.
        let slots =
            unsafe { &mut *workers.cast::<[MaybeUninit<Worker<Tag, L, SLOTS, BYTES>>; N]>() };
        let mut started = Started { slots, count: 0 };
        for index in 0..N {
            let start = make(index)?;
            if let Some(slot) = started.slots.get_mut(index) {
                let worker = Worker::start_in(slot, start)?;
                started.count += 1;
                Self::watch(&epoll, worker.as_fd(), index)?;
            }
        }
        core::mem::forget(started);
        // SAFETY: as for the workers.
        let at_epoll = unsafe { &raw mut (*pool).epoll };
        // SAFETY: the field lies within the memory, with nothing in it to drop.
        unsafe { at_epoll.write(epoll) };
        // SAFETY: as for the workers.
        let depth = unsafe { &raw mut (*pool).depth };
        // SAFETY: as for `epoll`.
        unsafe { depth.write(SLOTS) };
        // SAFETY: as for the workers.
        let next = unsafe { &raw mut (*pool).next };
        // SAFETY: as for `epoll`.
        unsafe { next.write(0) };
        // SAFETY: every field was written.
        Ok(unsafe { place.assume_init_mut() })
    }
}

/// The workers that have started. Dropping this drops them.
struct Started<'a, Tag, L: Launch, const N: usize, const SLOTS: usize, const BYTES: usize> {
    slots: &'a mut [MaybeUninit<Worker<Tag, L, SLOTS, BYTES>>; N],
    count: usize,
}

impl<Tag, L: Launch, const N: usize, const SLOTS: usize, const BYTES: usize> Drop
    for Started<'_, Tag, L, N, SLOTS, BYTES>
{
    fn drop(&mut self) {
        for slot in self.slots.iter_mut().take(self.count) {
            // SAFETY: the first `count` slots are initialized, and nothing refers to them any more.
            unsafe { slot.assume_init_drop() };
        }
    }
}
