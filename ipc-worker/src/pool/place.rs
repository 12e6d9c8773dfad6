//! Starting a pool, by value or in place.

#![expect(unsafe_code, reason = "workers are made one by one in memory that holds none yet")]

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
    /// Starts the workers, one after the other, and waits until each is ready. `make` says how, by
    /// the worker's number from 0. The pool lies on the stack for a moment, with all of its buffers;
    /// for a large one see [`start_in`](Self::start_in).
    ///
    /// # Errors
    /// As [`Worker::start`], for the first that does not start. No process is left then.
    pub fn start(
        make: impl FnMut(usize) -> Result<Start<L>, SystemError>,
    ) -> Result<Self, StartError> {
        let mut place = MaybeUninit::uninit();
        Self::start_in(&mut place, make)?;
        // SAFETY: `start_in` has made a pool there, and nothing refers to it any more.
        Ok(unsafe { place.assume_init() })
    }

    /// Starts a pool as [`start`](Self::start) does, in memory of the caller's; see
    /// [`Worker::start_in`].
    ///
    /// # Errors
    /// As [`start`](Self::start); the memory holds nothing then.
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
        // SAFETY: memory that may be anything is a list of `MaybeUninit`, and nothing else refers to
        // it.
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
        // SAFETY: the field lies within the memory, and holds nothing to be dropped.
        unsafe { at_epoll.write(epoll) };
        // SAFETY: as for the workers.
        let depth = unsafe { &raw mut (*pool).depth };
        // SAFETY: as for the epoll.
        unsafe { depth.write(SLOTS) };
        // SAFETY: as for the workers.
        let next = unsafe { &raw mut (*pool).next };
        // SAFETY: as for the epoll.
        unsafe { next.write(0) };
        // SAFETY: every field was written.
        Ok(unsafe { place.assume_init_mut() })
    }
}

/// Workers that are started; dropping it drops them.
struct Started<'a, Tag, L: Launch, const N: usize, const SLOTS: usize, const BYTES: usize> {
    slots: &'a mut [MaybeUninit<Worker<Tag, L, SLOTS, BYTES>>; N],
    count: usize,
}

impl<Tag, L: Launch, const N: usize, const SLOTS: usize, const BYTES: usize> Drop
    for Started<'_, Tag, L, N, SLOTS, BYTES>
{
    fn drop(&mut self) {
        for slot in self.slots.iter_mut().take(self.count) {
            // SAFETY: the first so many were started, and nothing refers to them any more.
            unsafe { slot.assume_init_drop() };
        }
    }
}
