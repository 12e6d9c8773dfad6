//! A process that holds the child's end and follows orders.

use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_barrier::{
    Barrier, Child, ChildEnd, End, Ended, Fork, Lane, ParentEnd, PeerAbort, Role, Unmet, exit, fork,
};
use ipc_tests::forked::{end_of, soon};
use ipc_transport::{Errno, Instant, Interest, Watched, wait};

pub(crate) const ABORTED: Unmet = Unmet::Aborted(None);
pub(crate) const TEXT: &str = "mount of the root file system, which is so long that — it is cut";
pub(crate) const CUT: &str = "mount of the root file system, which is so long ";

/// How often an end waits when it lingers.
pub(crate) const LINGERS: usize = 10;

/// Waits several times until the wait times out.
pub(crate) fn linger<R: Role, L: Lane>(end: &mut End<R, L>) {
    for _ in 0..LINGERS {
        // Not zero, which would not sleep.
        let passed = Instant::from_nanoseconds(1);
        assert_eq!(end.wait_abort_until(passed), None);
    }
}

/// An order to the other process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Order {
    Place,
    Sync,
    WaitNext,
    WaitPeerAbort,
    Abort,
    Fail,
    /// Waits, and compares the reason with the expected one.
    ReadReason,
    Drop,
    /// Places twenty tokens without answering.
    PlaceTwenty,
    /// Places tokens for ever.
    Flood,
    /// Leaves everything it holds to another process, which does nothing.
    Fork,
    Exit,
}

const ORDERS: [Order; 12] = [
    Order::Place,
    Order::Sync,
    Order::WaitNext,
    Order::WaitPeerAbort,
    Order::Abort,
    Order::Fail,
    Order::ReadReason,
    Order::Drop,
    Order::PlaceTwenty,
    Order::Flood,
    Order::Fork,
    Order::Exit,
];

/// A process that holds the child's end and follows orders.
pub(crate) struct Peer {
    pub(crate) process: Child,
    pub(crate) line: UnixStream,
}

impl Peer {
    pub(crate) fn tell(&mut self, order: Order) {
        self.line.write_all(&[order as u8]).unwrap();
    }

    pub(crate) fn answer(&mut self) -> u8 {
        let mut answer = [0];
        self.line.read_exact(&mut answer).unwrap();
        answer[0]
    }

    pub(crate) fn does(&mut self, order: Order) -> char {
        self.tell(order);
        char::from(self.answer())
    }

    pub(crate) fn exits(&mut self) {
        self.tell(Order::Exit);
        assert_eq!(end_of(&mut self.process), Ended::Exited(7));
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.process.pid()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

pub(crate) fn pair<L: Lane>() -> (ParentEnd<L>, Peer) {
    let barrier = Barrier::<L>::open().unwrap();
    let (line, theirs) = UnixStream::pair().unwrap();
    line.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    match fork().unwrap() {
        Fork::Child(_guard) => {
            drop(line);
            obey(barrier.into_child(), theirs);
            exit(0);
        }
        Fork::Parent(process) => (barrier.into_parent(), Peer { process, line }),
    }
}

fn obey<L: Lane>(mut end: ChildEnd<L>, mut line: UnixStream) {
    let mut order = [0];
    while line.read(&mut order).unwrap() == 1 {
        let answer = match ORDERS[usize::from(order[0])] {
            Order::Place => yes(end.place().is_ok()),
            Order::Sync => name(end.sync_until(soon())),
            Order::WaitNext => name(end.wait_next_until(soon())),
            Order::WaitPeerAbort => told(end.wait_abort_until(soon())),
            Order::Abort => yes(end.abort()),
            Order::Fail => {
                end.fail("7", &Errno(libc::ENOSPC), TEXT);
                b'+'
            }
            Order::ReadReason => {
                let Err(Unmet::Aborted(Some(reason))) = end.wait_next_until(soon()) else {
                    panic!("no reason");
                };
                assert_eq!(reason.to_string(), "stage 9: parent: EACCES (13)");
                b'+'
            }
            Order::Drop => {
                drop(end);
                line.write_all(b"+").unwrap();
                _ = line.read(&mut order);
                return;
            }
            Order::PlaceTwenty => {
                for _ in 0..20 {
                    assert!(end.place().is_ok());
                }
                continue;
            }
            Order::Flood => {
                line.write_all(b"+").unwrap();
                while end.place().is_ok() {}
                exit(1);
            }
            Order::Fork => {
                let own = rustix::process::getpid();
                if let Fork::Child(_guard) = fork().unwrap() {
                    while rustix::process::getppid() == Some(own) {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    // Until the controller ends.
                    _ = line.read(&mut order);
                    exit(0);
                }
                b'+'
            }
            Order::Exit => exit(7),
        };
        line.write_all(&[answer]).unwrap();
    }
}

const fn yes(yes: bool) -> u8 {
    if yes { b'y' } else { b'n' }
}

pub(crate) fn name(outcome: Result<(), Unmet>) -> u8 {
    match outcome {
        Ok(()) => b'+',
        Err(Unmet::Aborted(None)) => b'a',
        Err(Unmet::Aborted(Some(_))) => b'r',
        Err(Unmet::Gone) => b'g',
        Err(_) => b't',
    }
}

fn told(abort: Option<PeerAbort>) -> u8 {
    match abort {
        None => b't',
        Some(PeerAbort::Aborted(None)) => b'a',
        Some(PeerAbort::Aborted(Some(_))) => b'r',
        Some(PeerAbort::Gone) => b'g',
    }
}

pub(crate) fn milliseconds(count: u64) -> Instant {
    Instant::now() + Duration::from_millis(count)
}

pub(crate) fn is_readable(fd: BorrowedFd<'_>, deadline: Instant) -> bool {
    wait(&mut [Watched::new(fd, Interest::Input)], Some(deadline)).unwrap()
}
