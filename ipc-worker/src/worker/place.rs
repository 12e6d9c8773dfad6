//! Starting a worker, by value or in place.

#![expect(unsafe_code, reason = "a worker is made field by field in memory that holds none yet")]

use core::mem::MaybeUninit;

use super::Worker;
use crate::caller::Caller;
use crate::process::{Launch, Life, Medium};
use crate::refusal::Refusal;
use crate::server::reply_capacity;
use crate::start::Start;
use crate::start_error::StartError;

impl<Tag, L: Launch, const SLOTS: usize, const BYTES: usize> Worker<Tag, L, SLOTS, BYTES> {
    /// Starts a worker and waits until it is ready: its process is made and set up, and has said
    /// so. The worker lies on the stack for a moment, with all of its buffers; for a large one see
    /// [`start_in`](Self::start_in).
    ///
    /// # Errors
    /// A failure of the child's set-up or of [`Handler::prepare`](crate::Handler::prepare) arrives
    /// with its stage and number; see [`StartError`]. No process is left then.
    pub fn start(start: Start<L>) -> Result<Self, StartError> {
        let mut place = MaybeUninit::uninit();
        Self::start_in(&mut place, start)?;
        // SAFETY: `start_in` has made a worker there, and nothing refers to it any more.
        Ok(unsafe { place.assume_init() })
    }

    /// Starts a worker as [`start`](Self::start) does, in memory of the caller's: a `static`, a
    /// `Box`, a field. However large `SLOTS` and `BYTES` are, 16 KiB of stack are enough for main
    /// and for the child, beside what the handler needs.
    ///
    /// Nobody drops what is in a `MaybeUninit`: stop the worker, or drop it in place.
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
    /// As [`start`](Self::start); the memory holds nothing then.
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
        // SAFETY: memory that may be anything is a `MaybeUninit`, and nothing else refers to it.
        Life::init(unsafe { &mut *life.cast() }, policy, L::DESCRIPTORS)?;
        // SAFETY: as for the life.
        let caller = unsafe { &raw mut (*worker).main.caller };
        // SAFETY: as for the life.
        Caller::<Tag, SLOTS, BYTES>::init(unsafe { &mut *caller.cast() });
        // SAFETY: as for the life.
        let at_launch = unsafe { &raw mut (*worker).main.launch };
        // SAFETY: the field lies within the memory, and holds nothing to be dropped.
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
