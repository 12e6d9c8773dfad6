//! The floors of the barrier: a word, futex(2), eventfd(2) and `pthread_barrier_t`, used bare and
//! without detecting a death.

#![expect(unsafe_code, reason = "a pthread_barrier_t in memory that processes share")]

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use ipc_barrier::Child;
use ipc_tests::speed::{Plan, Subject, With};
use ipc_transport::SharedPage;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::thread::futex;

use crate::meeting::{Means, Side};

/// Distance in words between the two directions: one cache line.
const STRIDE: usize = 16;

/// Set while a process waits on the word.
const WAITING: u32 = 1 << 31;

/// A word for each direction.
pub(crate) struct Futex {
    page: SharedPage,
    outgoing: usize,
    incoming: usize,
    /// Wakes only a waiter that has marked the word.
    marks: bool,
}

impl Futex {
    fn word(&self, index: usize) -> &AtomicU32 {
        self.page.words().get(index).unwrap()
    }
}

impl Means for Futex {
    type Parent = Self;
    type Child = Self;

    fn open(plan: &Plan) -> Self {
        let page = SharedPage::new(2 * STRIDE).unwrap();
        let marks = plan.subject == Subject::MarkedFutex;
        Self { page, outgoing: 0, incoming: STRIDE, marks }
    }

    fn into_parent(self, _: &Child, _: With) -> Self {
        self
    }

    fn into_child(self, _: With) -> Self {
        Self { outgoing: self.incoming, incoming: self.outgoing, ..self }
    }
}

impl Side for Futex {
    fn place(&mut self) {
        let word = self.word(self.outgoing);
        let is_marked = word.fetch_add(1, Ordering::AcqRel) & WAITING != 0;
        if is_marked {
            word.fetch_and(!WAITING, Ordering::AcqRel);
        }
        if is_marked || !self.marks {
            futex::wake(word, futex::Flags::empty(), 1).unwrap();
        }
    }

    fn wait(&mut self) -> bool {
        let word = self.word(self.incoming);
        loop {
            if word.load(Ordering::Relaxed) & !WAITING != 0 {
                return word.swap(0, Ordering::AcqRel) != 0;
            }
            let empty = if self.marks { WAITING } else { 0 };
            let marked = word.compare_exchange(0, empty, Ordering::AcqRel, Ordering::Relaxed);
            if matches!(marked, Ok(_) | Err(WAITING)) {
                match futex::wait(word, futex::Flags::empty(), empty, None) {
                    Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(error) => panic!("futex: {error}"),
                }
            }
        }
    }

    fn meet(&mut self) -> bool {
        self.place();
        self.wait()
    }
}

/// Two counters, one per direction, with blocking reads and writes.
pub(crate) struct RawEventfd {
    outgoing: OwnedFd,
    incoming: OwnedFd,
}

impl Means for RawEventfd {
    type Parent = Self;
    type Child = Self;

    fn open(_: &Plan) -> Self {
        let counter = || eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        Self { outgoing: counter(), incoming: counter() }
    }

    fn into_parent(self, _: &Child, _: With) -> Self {
        self
    }

    fn into_child(self, _: With) -> Self {
        Self { outgoing: self.incoming, incoming: self.outgoing }
    }
}

impl Side for RawEventfd {
    fn place(&mut self) {
        rustix::io::write(&self.outgoing, &1_u64.to_ne_bytes()).unwrap();
    }

    fn wait(&mut self) -> bool {
        rustix::io::read(&self.incoming, &mut [0; 8]).unwrap() == 8
    }

    fn meet(&mut self) -> bool {
        self.place();
        self.wait()
    }
}

/// The POSIX barrier, shared between processes (pthread_barrierattr_setpshared(3)).
pub(crate) struct Pthread(SharedPage);

impl Pthread {
    const fn barrier(&self) -> *mut libc::pthread_barrier_t {
        self.0.words().as_ptr().cast_mut().cast()
    }
}

impl Means for Pthread {
    type Parent = Self;
    type Child = Self;

    fn open(_: &Plan) -> Self {
        const { assert!(size_of::<libc::pthread_barrier_t>() <= 4096) };
        let made = Self(SharedPage::new(1024).unwrap());
        // SAFETY: all zeroes is a valid value, and the next call initializes it.
        let mut attributes: libc::pthread_barrierattr_t = unsafe { std::mem::zeroed() };
        // SAFETY: the call only writes to it.
        assert_eq!(unsafe { libc::pthread_barrierattr_init(&raw mut attributes) }, 0);
        let shared = libc::PTHREAD_PROCESS_SHARED;
        // SAFETY: it was initialized above.
        let set = unsafe { libc::pthread_barrierattr_setpshared(&raw mut attributes, shared) };
        assert_eq!(set, 0);
        // SAFETY: the page is mapped, aligned, and long enough, and outlives all use of it.
        let set = unsafe { libc::pthread_barrier_init(made.barrier(), &raw const attributes, 2) };
        assert_eq!(set, 0);
        made
    }

    fn into_parent(self, _: &Child, _: With) -> Self {
        self
    }

    fn into_child(self, _: With) -> Self {
        self
    }
}

impl Side for Pthread {
    fn place(&mut self) {
        panic!("a pthread barrier cannot place without waiting");
    }

    fn wait(&mut self) -> bool {
        panic!("a pthread barrier cannot wait without placing");
    }

    fn meet(&mut self) -> bool {
        // SAFETY: `open` initialized it, and the page stays mapped while `self` lives.
        let met = unsafe { libc::pthread_barrier_wait(self.barrier()) };
        met == 0 || met == libc::PTHREAD_BARRIER_SERIAL_THREAD
    }
}
