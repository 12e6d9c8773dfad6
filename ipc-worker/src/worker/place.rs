//! Starts a worker, by value or in place.

#![expect(unsafe_code, reason = "a worker is created field by field in uninitialized memory")]

use core::mem::MaybeUninit;

use super::Worker;
use crate::caller::Caller;
use crate::process::{Launch, Life, Medium};
use crate::refusal::Refusal;
use crate::server::reply_capacity;
use crate::start::Start;
use crate::start_error::StartError;

impl<Tag, L: Launch, const SLOTS: usize, const BYTES: usize> Worker<Tag, L, SLOTS, BYTES> {
    /// Starts a worker and waits until it reports that it is ready. The worker and its buffers lie
    /// on the stack for a moment; for a large one use [`start_in`](Self::start_in).
    ///
    /// # Errors
    /// See [`StartError`]. If the child's set-up or [`Handler::prepare`](crate::Handler::prepare)
    /// failed, it contains the stage and errno. No process is left.
    pub fn start(start: Start<L>) -> Result<Self, StartError> {
        let mut place = MaybeUninit::uninit();
        Self::start_in(&mut place, start)?;
        // SAFETY: `start_in` initialized a worker there, and nothing refers to it any more.
        Ok(unsafe { place.assume_init() })
    }

    /// Starts a worker as [`start`](Self::start) does, in memory that the caller provides: a
    /// `static`, a `Box` or a field. 16 KiB of stack suffice for main and the child, for any
    /// `SLOTS` and `BYTES`, plus what the handler needs.
    ///
    /// A `MaybeUninit` is not dropped: stop the worker, or drop it in place.
    ///
    /// ```
    /// use ipc_worker::{Instant, Refusal, Reply, Request, Start, Worker};
    ///
    /// fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    ///     reply.put(request.bytes())
    /// }
    ///
    /// let mut place = Box::new_uninit();
    /// let worker = Worker::<u32, _, 1000, 4_194_304>::start_in(&mut place, Start::fork(handle))?;
    /// worker.stop(Instant::NEVER, |_| ());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`start`](Self::start). The memory stays uninitialized.
    pub fn start_in(
        place: &mut MaybeUninit<Self>,
        start: Start<L>,
    ) -> Result<&mut Self, StartError> {
        const { assert!(BYTES >= 256, "a worker has at least 256 bytes each way") };
        const { assert!(reply_capacity(BYTES) >= Refusal::SIZE, "a refusal fits in a reply") };
        let Start { launch, policy } = start;
        let worker = place.as_mut_ptr();
        // SAFETY: the pointer is to memory of this type, so the field lies within it.
        let life = unsafe { &raw mut (*worker).main.life };
        // SAFETY: uninitialized memory is valid as a `MaybeUninit`, and nothing else refers to it.
        Life::init(unsafe { &mut *life.cast() }, policy, L::DESCRIPTORS)?;
        // SAFETY: as for the life.
        let caller = unsafe { &raw mut (*worker).main.caller };
        // SAFETY: as for the life.
        Caller::<Tag, SLOTS, BYTES>::init(unsafe { &mut *caller.cast() });
        // SAFETY: as for the life.
        let at_launch = unsafe { &raw mut (*worker).main.launch };
        // SAFETY: the field lies within the memory, with nothing in it to drop.
        unsafe { at_launch.write(launch) };
        let [main, _] = L::Medium::ENDS;
        // SAFETY: as for the life.
        let medium = unsafe { &raw mut (*worker).main.medium };
        // SAFETY: as for the launch.
        unsafe { medium.write(main()) };
        // SAFETY: every field was written.
        let worker = unsafe { place.assume_init_mut() };
        if let Err(error) = worker.main.start() {
            // SAFETY: nothing refers to it any more.
            unsafe { core::ptr::drop_in_place(worker) };
            return Err(error);
        }
        Ok(worker)
    }
}
