//! The barrier between two real processes, statement by statement.

#![expect(
    unsafe_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and breaks descriptors on purpose"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use ipc_barrier::{Barrier, Child, ChildEnd, Ended, Fork, ParentEnd, Stage, Unmet, exit, fork};
use ipc_tests::forked::{end_of, forked, soon};
use ipc_tests::storm::Storm;
use ipc_tests::{cases, fds};
use ipc_transport::{Errno, Instant, Interest, Watched, wait};

const ABORTED: Unmet = Unmet::Aborted(None);
const TEXT: &str = "mount of the root file system, which is so long that — it is cut";
const CUT: &str = "mount of the root file system, which is so long ";

/// What the other process is told to do with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Order {
    Place,
    Sync,
    WaitNext,
    WaitAbortion,
    Abort,
    Fail,
    /// Waits, and compares the reason with the expected one.
    ReadReason,
    Drop,
    /// Places without end.
    Flood,
    Exit,
}

const ORDERS: [Order; 10] = [
    Order::Place,
    Order::Sync,
    Order::WaitNext,
    Order::WaitAbortion,
    Order::Abort,
    Order::Fail,
    Order::ReadReason,
    Order::Drop,
    Order::Flood,
    Order::Exit,
];

/// The child's end, in the hands of a process that does as it is told.
struct Peer {
    process: Child,
    line: UnixStream,
}

impl Peer {
    fn tell(&mut self, order: Order) {
        self.line.write_all(&[order as u8]).unwrap();
    }

    fn answer(&mut self) -> u8 {
        let mut answer = [0];
        self.line.read_exact(&mut answer).unwrap();
        answer[0]
    }

    fn does(&mut self, order: Order) -> char {
        self.tell(order);
        char::from(self.answer())
    }

    fn exits(&mut self) {
        self.tell(Order::Exit);
        assert_eq!(end_of(&mut self.process), Ended::Exited(7));
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.process.pid()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

fn pair() -> (ParentEnd, Peer) {
    let barrier = Barrier::new().unwrap();
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

fn obey(mut end: ChildEnd, mut line: UnixStream) {
    let mut order = [0];
    while line.read(&mut order).unwrap() == 1 {
        let answer = match ORDERS[usize::from(order[0])] {
            Order::Place => yes(end.place()),
            Order::Sync => name(end.sync_until(soon())),
            Order::WaitNext => name(end.wait_next_until(soon())),
            Order::WaitAbortion => name(Err(end.wait_abortion_until(soon()))),
            Order::Abort => yes(end.abort()),
            Order::Fail => {
                end.fail(Stage(7), Errno(libc::ENOSPC), TEXT);
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
            Order::Flood => {
                line.write_all(b"+").unwrap();
                while end.place() {}
                exit(1);
            }
            Order::Exit => exit(7),
        };
        line.write_all(&[answer]).unwrap();
    }
}

const fn yes(yes: bool) -> u8 {
    if yes { b'y' } else { b'n' }
}

fn name(outcome: Result<(), Unmet>) -> u8 {
    match outcome {
        Ok(()) => b'+',
        Err(Unmet::Aborted(None)) => b'a',
        Err(Unmet::Aborted(Some(_))) => b'r',
        Err(Unmet::Gone) => b'g',
        Err(Unmet::TimedOut) => b't',
    }
}

fn milliseconds(count: u64) -> Instant {
    Instant::now() + Duration::from_millis(count)
}

fn is_readable(fd: BorrowedFd<'_>, deadline: Instant) -> bool {
    wait(&mut [Watched::new(fd, Interest::Input)], Some(deadline)).unwrap()
}

fn sync_is_met_once_every_token_is_answered() {
    let (mut end, mut peer) = pair();
    assert!(end.place() && end.place());
    assert_eq!(end.try_sync(), Ok(false));
    peer.does(Order::Place);
    assert_eq!(end.try_sync(), Ok(false), "one of two is answered");
    assert_eq!(end.sync_until(milliseconds(20)), Err(Unmet::TimedOut));
    peer.does(Order::Place);
    assert_eq!(end.sync_until(soon()), Ok(()));
    assert_eq!(peer.does(Order::Sync), '+', "and the other way round");
    assert_eq!(end.try_sync(), Ok(true), "it stays met");
}

fn a_peer_that_is_ahead_has_answered_beforehand() {
    let (mut end, mut peer) = pair();
    peer.does(Order::Place);
    peer.does(Order::Place);
    assert_eq!(end.wait_next_until(soon()), Ok(()));
    for _ in 0..2 {
        assert!(end.place());
        assert_eq!(end.sync(), Ok(()));
    }
    end.place();
    assert_eq!(end.try_sync(), Ok(false));
}

fn sync_with_nothing_unanswered_makes_no_wait_and_takes_no_look() {
    let (mut end, mut peer) = pair();
    assert_eq!((end.sync(), end.sync_next()), (Ok(()), Ok(())));
    peer.does(Order::Abort);
    assert_eq!((end.sync(), end.sync_next()), (Ok(()), Ok(())), "the abortion is not known yet");
    assert!(end.place());
    assert_eq!(end.wait_next_until(soon()), Err(ABORTED));
    assert_eq!((end.sync(), end.sync_next()), (Err(ABORTED), Err(ABORTED)));
}

fn sync_next_waits_for_one_answer() {
    let (mut end, mut peer) = pair();
    for _ in 0..3 {
        end.place();
    }
    assert_eq!(end.try_sync_next(), Ok(false));
    peer.does(Order::Place);
    assert_eq!(end.sync_next_until(soon()), Ok(()));
    assert_eq!(end.try_sync_next(), Ok(false));
    peer.does(Order::Place);
    peer.does(Order::Place);
    assert_eq!(end.try_sync_next(), Ok(true));
    assert_eq!(end.sync(), Ok(()));
}

fn two_tokens_in_one_drain_meet_one_wait_next() {
    let (mut end, mut peer) = pair();
    peer.does(Order::Place);
    peer.does(Order::Place);
    assert_eq!(end.wait_next_until(soon()), Ok(()));
    assert_eq!(end.try_wait_next(), Ok(false));
    peer.does(Order::Place);
    assert_eq!(end.try_wait_next(), Ok(true));
}

fn wait_next_is_not_met_by_places_of_its_own_side() {
    let (mut end, mut peer) = pair();
    for _ in 0..5 {
        end.place();
    }
    assert_eq!(end.try_wait_next(), Ok(false));
    assert_eq!(end.wait_next_until(milliseconds(20)), Err(Unmet::TimedOut));
    peer.does(Order::Place);
    assert_eq!(end.wait_next_until(soon()), Ok(()));
    assert_eq!(peer.does(Order::WaitNext), '+', "all five came");
}

fn an_abortion_supersedes_tokens_that_are_unread() {
    for wait_for_sync in [false, true] {
        let (mut end, mut peer) = pair();
        end.place();
        peer.does(Order::Place);
        peer.does(Order::Place);
        assert_eq!(peer.does(Order::Abort), 'y');
        let outcome = if wait_for_sync { end.sync() } else { end.wait_next() };
        assert_eq!(outcome, Err(ABORTED));
        assert!(!end.place());
        assert!(!end.abort(), "the peer is known to have aborted");
    }
}

fn tokens_drained_before_an_abortion_still_count() {
    let (mut end, mut peer) = pair();
    end.place();
    peer.does(Order::Place);
    assert_eq!(end.wait_next_until(soon()), Ok(()));
    peer.does(Order::Abort);
    assert_eq!(end.sync(), Ok(()));
}

fn an_abortion_of_ones_own_ends_every_wait_but_the_one_for_the_peers() {
    let (mut end, mut peer) = pair();
    peer.does(Order::Place);
    assert!(end.abort(), "nothing is known of the peer");
    for _ in 0..10 {
        assert!(end.abort(), "it is posted once, and again is no harm");
    }
    assert!(end.has_aborted() && !end.place());
    assert_eq!(end.sync(), Err(ABORTED));
    assert_eq!(end.wait_next(), Err(ABORTED));
    assert_eq!(end.try_wait_abortion(), None, "the peer's token is swallowed");
    assert_eq!(end.wait_abortion_until(milliseconds(20)), Unmet::TimedOut);
    assert_eq!(peer.does(Order::WaitNext), 'a');
    assert_eq!(peer.does(Order::WaitAbortion), 'a');
    assert_eq!(peer.does(Order::Abort), 'n');
    assert_eq!(end.wait_abortion(), ABORTED);
}

fn wait_abortion_swallows_tokens_and_tells_how_the_peer_ended() {
    let (mut end, mut peer) = pair();
    for _ in 0..3 {
        peer.does(Order::Place);
    }
    assert_eq!(end.try_wait_abortion(), None);
    assert_eq!(end.try_wait_next(), Ok(false), "swallowed");
    peer.does(Order::Place);
    peer.exits();
    assert_eq!(end.wait_abortion(), Unmet::Gone);
    assert_eq!(end.try_wait_abortion(), Some(Unmet::Gone));
    assert!(!end.has_aborted());
}

fn an_exit_queues_behind_the_tokens() {
    let (mut end, mut peer) = pair();
    end.place();
    end.place();
    peer.does(Order::Place);
    peer.does(Order::Place);
    peer.exits();
    assert!(end.place(), "the death is not noticed yet");
    assert_eq!(end.sync_next(), Ok(()));
    assert_eq!(end.sync(), Err(Unmet::Gone), "two of three were answered");
    assert!(!end.place());
    assert!(!end.abort());
}

/// The tokens of a child that exits at once, seen by a parent that is already waiting or not.
fn no_token_is_lost_to_an_exit_in_two_thousand_races() {
    for round in 0..2_000 {
        let barrier = Barrier::new().unwrap();
        let tokens = round % 3 + 1;
        let mut child = match fork().unwrap() {
            Fork::Child(_guard) => {
                let mut end = barrier.into_child();
                for _ in 0..tokens {
                    end.place();
                }
                exit(0);
            }
            Fork::Parent(child) => child,
        };
        let mut end = barrier.into_parent();
        if round % 2 == 0 {
            end = end.watching(&child).unwrap();
        }
        for _ in 0..tokens {
            assert!(end.place());
        }
        assert_eq!(end.sync_until(soon()), Ok(()), "round {round}");
        assert_eq!(end.wait_next_until(soon()), Err(Unmet::Gone), "round {round}");
        assert_eq!(end_of(&mut child), Ended::Exited(0));
    }
}

/// As above, with the two events so close that a wrong order of looking would show.
fn no_token_is_lost_to_a_dropped_end_in_many_races() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    for _ in 0..20 {
        let mut barriers: Vec<Barrier> = (0..40).map(|_| Barrier::new().unwrap()).collect();
        let mut child = match fork().unwrap() {
            Fork::Child(_guard) => {
                let ends: Vec<ChildEnd> = barriers.drain(..).map(Barrier::into_child).collect();
                for mut end in ends {
                    (&theirs).read_exact(&mut [0]).unwrap();
                    end.place();
                    drop(end);
                }
                exit(0);
            }
            Fork::Parent(child) => child,
        };
        let ends: Vec<ParentEnd> = barriers.drain(..).map(Barrier::into_parent).collect();
        for mut end in ends {
            ours.write_all(b"x").unwrap();
            assert_eq!(end.wait_next_until(soon()), Ok(()));
            assert_eq!(end.wait_next_until(soon()), Err(Unmet::Gone));
        }
        assert_eq!(end_of(&mut child), Ended::Exited(0));
    }
}

fn dropping_an_end_is_gone_for_the_other_side() {
    let (mut end, mut peer) = pair();
    peer.does(Order::Drop);
    assert_eq!(end.wait_next_until(soon()), Err(Unmet::Gone));
    let (mut end, mut peer) = pair();
    peer.tell(Order::WaitNext);
    std::thread::sleep(Duration::from_millis(20));
    end.place();
    assert_eq!(peer.answer(), b'+');
    drop(end);
    assert_eq!(peer.does(Order::WaitNext), 'g');
    assert_eq!(peer.does(Order::WaitAbortion), 'g');
}

fn an_exec_is_gone_though_the_process_lives_on() {
    let barrier = Barrier::new().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            let mut end = barrier.into_child();
            end.place();
            let error = Command::new("sleep").arg("600").exec();
            panic!("sleep: {error}");
        }
        Fork::Parent(child) => child,
    };
    let mut end = barrier.into_parent().watching(&child).unwrap();
    assert_eq!(end.wait_next_until(soon()), Ok(()));
    assert_eq!(end.wait_next_until(soon()), Err(Unmet::Gone));
    assert_eq!(child.try_wait(), None);
    child.kill().unwrap();
    assert_eq!(end_of(&mut child), Ended::Killed(9));
}

fn a_third_process_that_drops_its_copy_has_no_effect() {
    let barrier = Barrier::new().unwrap();
    let (mut line, thirds) = UnixStream::pair().unwrap();
    let mut third = match fork().unwrap() {
        Fork::Child(_guard) => {
            (&thirds).read_exact(&mut [0]).unwrap();
            drop(barrier);
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            let mut end = barrier.into_child();
            // Two answers, the second of which comes after the third process has ended.
            assert!(end.place());
            assert_eq!(end.place_and_sync_until(soon()), Ok(()));
            assert_eq!(end.wait_abortion_until(soon()), Unmet::Gone);
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    let mut end = barrier.into_parent();
    assert_eq!(end.place_and_sync_until(soon()), Ok(()));
    line.write_all(b"x").unwrap();
    assert_eq!(end_of(&mut third), Ended::Exited(0));
    assert_eq!(end.try_wait_abortion(), None);
    assert!(end.place());
    drop(end);
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

fn a_reason_reaches_the_other_side_both_ways() {
    let (mut end, mut peer) = pair();
    peer.does(Order::Place);
    peer.does(Order::Fail);
    let Err(Unmet::Aborted(Some(reason))) = end.wait_next_until(soon()) else {
        panic!("no reason");
    };
    assert_eq!((reason.stage, reason.errno), (Stage(7), Errno(libc::ENOSPC)));
    assert_eq!(reason.text.as_str(), CUT);
    assert_eq!(end.sync(), Err(Unmet::Aborted(Some(reason))), "and again");
    peer.exits();
    assert_eq!(end.wait_abortion(), Unmet::Aborted(Some(reason)), "also after its death");

    let (mut end, mut peer) = pair();
    end.fail(Stage(9), Errno(libc::EACCES), "parent");
    assert!(end.has_aborted());
    assert_eq!(peer.does(Order::ReadReason), '+');
    assert_eq!(peer.does(Order::WaitAbortion), 'r');
}

fn both_sides_may_fail_and_each_reads_the_others_reason() {
    let (mut end, mut peer) = pair();
    end.fail(Stage(9), Errno(libc::EACCES), "parent");
    peer.does(Order::Fail);
    let Unmet::Aborted(Some(reason)) = end.wait_abortion_until(soon()) else {
        panic!("no reason");
    };
    assert_eq!(reason.stage, Stage(7));
}

fn a_reason_after_an_abortion_changes_nothing() {
    let (mut end, mut peer) = pair();
    peer.does(Order::Abort);
    peer.does(Order::Fail);
    assert_eq!(end.wait_next_until(soon()), Err(ABORTED));
    end.abort();
    end.fail(Stage(9), Errno(libc::EACCES), "parent");
    assert_eq!(peer.does(Order::WaitAbortion), 'a');
}

fn signals_fail_nothing_and_prolong_nothing() {
    const ROUNDS: usize = 3_000;
    let barrier = Barrier::new().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            let mut end = barrier.into_child();
            let storm = Storm::begin(Duration::from_micros(70));
            for _ in 0..ROUNDS {
                assert_eq!(end.place_and_sync_until(soon()), Ok(()));
            }
            assert!(Storm::signals() > 10);
            assert_eq!(end.wait_abortion_until(soon()), Unmet::Gone);
            drop(storm);
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    let mut end = barrier.into_parent().watching(&child).unwrap();
    let _storm = Storm::begin(Duration::from_micros(110));
    for _ in 0..ROUNDS {
        assert_eq!(end.place_and_sync_until(soon()), Ok(()));
    }
    let begin = Instant::now();
    let before = Storm::signals();
    assert_eq!(end.wait_next_until(milliseconds(200)), Err(Unmet::TimedOut));
    assert_eq!(child.wait_until(milliseconds(200)).ok(), None);
    let time = Instant::now().since(begin);
    assert!(time >= Duration::from_millis(400) && time < Duration::from_secs(10), "{time:?}");
    assert!(Storm::signals() > before + 50, "{} signals", Storm::signals() - before);
    assert_eq!(end.try_wait_next(), Ok(false));
    drop(end);
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

fn a_child_that_dies_before_it_took_its_role_is_noticed() {
    let barrier = Barrier::new().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => exit(3),
        Fork::Parent(child) => child,
    };
    let mut end = barrier.into_parent();
    assert_eq!(end.wait_next_until(soon()), Err(Unmet::Gone));
    assert_eq!(end_of(&mut child), Ended::Exited(3));
}

fn a_parent_that_dies_before_it_took_its_role_is_noticed() {
    let (mut report, other) = UnixStream::pair().unwrap();
    report.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut parent = forked(|| {
        let barrier = Barrier::new().unwrap();
        match fork().unwrap() {
            Fork::Child(_guard) => {
                let mut end = barrier.into_child();
                let answer = name(end.wait_next_until(soon()));
                (&other).write_all(&[answer]).unwrap();
                exit(0);
            }
            Fork::Parent(_child) => exit(4),
        }
    });
    drop(other);
    assert_eq!(end_of(&mut parent), Ended::Exited(4));
    let mut answer = [0];
    report.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [b'g']);
}

fn a_side_that_waits_before_the_other_took_its_role_is_served() {
    let barrier = Barrier::new().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            std::thread::sleep(Duration::from_millis(50));
            let mut end = barrier.into_child();
            assert_eq!(end.wait_next_until(soon()), Ok(()), "placed before the role was taken");
            end.place();
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    let mut end = barrier.into_parent().watching(&child).unwrap();
    assert_eq!(end.place_and_sync_until(soon()), Ok(()));
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

fn a_grandchild_that_holds_all_descriptors_hides_no_death_from_a_pidfd() {
    let (alive, theirs) = UnixStream::pair().unwrap();
    let barrier = Barrier::new().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            drop(alive);
            if let Fork::Child(_guard) = fork().unwrap() {
                // Until the case has ended.
                _ = (&theirs).read(&mut [0]);
                exit(0);
            }
            let mut end = barrier.into_child();
            end.place();
            end.place();
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    let mut blind = barrier.into_parent();
    assert_eq!(blind.wait_next_until(soon()), Ok(()));
    assert_eq!(end_of(&mut child), Ended::Exited(0));
    // A token may be left; after that the pipe shows nothing.
    _ = blind.try_wait_next();
    assert_eq!(blind.wait_next_until(milliseconds(50)), Err(Unmet::TimedOut));
    let watch = blind.watch().unwrap().as_raw_fd();
    let mut end = blind.watching(&child).unwrap();
    assert_eq!(end.watch().unwrap().as_raw_fd(), watch, "the same from then on");
    assert!(is_readable(end.watch().unwrap(), soon()), "also one made before");
    assert_eq!(end.wait_next_until(soon()), Err(Unmet::Gone));
    drop(alive);
}

fn tokens_before_a_death_that_a_pidfd_shows_are_counted() {
    let (alive, theirs) = UnixStream::pair().unwrap();
    for _ in 0..100 {
        let barrier = Barrier::new().unwrap();
        let mut child = match fork().unwrap() {
            Fork::Child(_guard) => {
                if let Fork::Child(_guard) = fork().unwrap() {
                    let own = theirs.as_fd().try_clone_to_owned().unwrap();
                    drop((alive, theirs));
                    _ = UnixStream::from(own).read(&mut [0]);
                    exit(0);
                }
                let mut end = barrier.into_child();
                end.place();
                exit(0);
            }
            Fork::Parent(child) => child,
        };
        let mut end = barrier.into_parent().watching(&child).unwrap();
        end.place();
        assert_eq!(end.sync_until(soon()), Ok(()));
        assert_eq!(end.wait_abortion_until(soon()), Unmet::Gone);
        assert_eq!(end_of(&mut child), Ended::Exited(0));
    }
}

/// Does to each descriptor of an end what `damage` does, and returns the answers of its waits.
fn damaged(damage: impl Fn(RawFd)) -> Vec<[Result<(), Unmet>; 3]> {
    let mut list = Vec::new();
    for which in 0..3 {
        let (mut end, mut peer) = pair();
        let fd = end.descriptors().nth(which).unwrap().as_raw_fd();
        damage(fd);
        end.place();
        let outcomes = [
            end.sync_until(milliseconds(100)),
            end.wait_next_until(milliseconds(100)),
            Err(end.wait_abortion_until(milliseconds(100))),
        ];
        if outcomes[0] == Err(ABORTED) {
            assert!(end.has_aborted() && !end.place() && !end.abort());
        }
        list.push(outcomes);
        // Its destructors would find numbers that are not theirs any more.
        std::mem::forget(end);
        peer.process.kill().unwrap();
    }
    list
}

fn broken_descriptors_are_an_abortion_of_both_sides() {
    let aborted = [Err(ABORTED); 3];
    let closed = damaged(|fd| {
        // SAFETY: the owner is forgotten after this.
        unsafe { libc::close(fd) };
    });
    assert_eq!(closed, [aborted; 3]);
    // What is no counter: its reads give nothing, zeroes, or errors.
    for path in ["/dev/null", "/dev/zero", "/"] {
        let file = File::open(path).unwrap();
        let replaced = damaged(|fd| replace(fd, file.as_fd()));
        assert_eq!(replaced[1], aborted, "{path}");
        // An end that cannot be seen any more leaves waits that run out of time.
        let timed_out = [Err(Unmet::TimedOut); 3];
        assert!(replaced[2] == timed_out || replaced[2] == aborted, "{path}: {replaced:?}");
    }
}

fn a_broken_pidfd_is_an_abortion_of_both_sides() {
    let (end, peer) = pair();
    let before = fds::open();
    let mut end = end.watching(&peer.process).unwrap();
    let pidfd = fds::open().into_iter().find(|fd| !before.contains(fd)).unwrap();
    // SAFETY: the owner is forgotten below.
    unsafe { libc::close(pidfd) };
    assert_eq!(end.wait_next_until(soon()), Err(ABORTED));
    assert!(end.has_aborted());
    std::mem::forget(end);
}

fn replace(fd: RawFd, by: BorrowedFd<'_>) {
    // SAFETY: the number's owner is forgotten by those who call this, or lives on.
    assert_eq!(unsafe { libc::dup2(by.as_raw_fd(), fd) }, fd);
}

fn an_until_form_runs_out_at_its_deadline_and_may_be_waited_on_again() {
    let (mut end, mut peer) = pair();
    end.place();
    for wait in [
        ParentEnd::sync_until,
        ParentEnd::sync_next_until,
        ParentEnd::wait_next_until,
        |end: &mut ParentEnd, deadline| Err(end.wait_abortion_until(deadline)),
    ] {
        let deadline = milliseconds(30);
        assert_eq!(wait(&mut end, deadline), Err(Unmet::TimedOut));
        assert!(Instant::now() >= deadline, "it returned early");
        let passed = Instant::from_nanoseconds(1);
        assert_eq!(wait(&mut end, passed), Err(Unmet::TimedOut));
    }
    peer.does(Order::Place);
    let passed = Instant::from_nanoseconds(1);
    assert_eq!(end.wait_next_until(passed), Ok(()), "what is there counts at any time");
    assert_eq!(end.sync_until(Instant::NEVER), Ok(()));
    assert!(!end.has_aborted());
}

fn try_forms_never_wait() {
    let (mut end, peer) = pair();
    peer.signal(rustix::process::Signal::STOP);
    end.place();
    let before = voluntary_switches();
    for _ in 0..2_000 {
        assert_eq!(end.try_sync(), Ok(false));
        assert_eq!(end.try_sync_next(), Ok(false));
        assert_eq!(end.try_wait_next(), Ok(false));
        assert_eq!(end.try_wait_abortion(), None);
    }
    assert_eq!(voluntary_switches(), before, "it has slept");
    peer.signal(rustix::process::Signal::KILL);
    assert_eq!(end.wait_abortion_until(soon()), Unmet::Gone);
    assert_eq!(end.try_sync(), Err(Unmet::Gone));
}

fn voluntary_switches() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt")).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}

fn a_peer_that_places_without_end_holds_no_wait_past_its_deadline() {
    let (mut end, mut peer) = pair();
    peer.does(Order::Flood);
    assert_eq!(end.wait_next_until(soon()), Ok(()));
    for _ in 0..100 {
        assert_eq!(end.try_wait_abortion(), None);
    }
    let begin = Instant::now();
    assert_eq!(end.wait_abortion_until(milliseconds(100)), Unmet::TimedOut);
    let time = Instant::now().since(begin);
    assert!(time >= Duration::from_millis(100) && time < Duration::from_secs(10), "{time:?}");
    peer.process.kill().unwrap();
    assert_eq!(end.wait_abortion_until(soon()), Unmet::Gone);
}

/// A file of ones in the counter's place: a peer that has always placed again.
fn repro_a_look_takes_a_bounded_number_of_drains() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&1_u64.to_ne_bytes().repeat(10_000)).unwrap();
    let (mut end, _peer) = pair();
    replace(end.descriptors().nth(1).unwrap().as_raw_fd(), file.as_fd());
    let read = || rustix::fs::tell(&file).unwrap();
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
    assert_eq!(end.try_wait_abortion(), None);
    assert!(read() <= 4 * 8, "one look read {} times", read() / 8);
    let before = read();
    assert_eq!(end.wait_abortion_until(Instant::from_nanoseconds(1)), Unmet::TimedOut);
    assert!(read() <= before + 4 * 8, "one look read {} times", (read() - before) / 8);
}

fn the_watched_descriptor_is_readable_on_token_abortion_and_death() {
    for order in [Order::Place, Order::Abort, Order::Fail, Order::Drop, Order::Exit] {
        let (mut end, mut peer) = pair();
        let watch = end.watch().unwrap().as_raw_fd();
        assert_eq!(end.watch().unwrap().as_raw_fd(), watch, "the same from then on");
        assert!(!is_readable(end.watch().unwrap(), milliseconds(5)), "{order:?}: too early");
        end.place();
        assert!(!is_readable(end.watch().unwrap(), milliseconds(5)), "by its own token");
        if order == Order::Exit {
            peer.exits();
        } else {
            peer.does(order);
        }
        assert!(is_readable(end.watch().unwrap(), soon()), "{order:?}");
        let outcome = end.try_wait_next();
        match order {
            Order::Place => assert_eq!(outcome, Ok(true)),
            Order::Drop | Order::Exit => assert_eq!(outcome, Err(Unmet::Gone)),
            _ => assert!(matches!(outcome, Err(Unmet::Aborted(_)))),
        }
        let again = is_readable(end.watch().unwrap(), milliseconds(5));
        let is_gone = matches!(order, Order::Drop | Order::Exit);
        assert_eq!(again, is_gone, "{order:?}: drained, only an end stays");
    }
}

fn with_standard_streams_closed_no_descriptor_lands_there() {
    for fd in 0..3 {
        // SAFETY: this case uses none of the three afterwards.
        unsafe { libc::close(fd) };
    }
    let (end, mut peer) = pair();
    // The line of the case itself lies there; nothing else does.
    let line: Vec<RawFd> = fds::open().into_iter().filter(|&fd| fd < 3).collect();
    let mut end = end.watching(&peer.process).unwrap();
    end.watch().unwrap();
    let pidfd = peer.process.pidfd().map_or(3, |fd| fd.as_raw_fd());
    let low: Vec<RawFd> = fds::open().into_iter().filter(|&fd| fd < 3).collect();
    assert_eq!(low, line);
    assert_eq!(low, [peer.line.as_raw_fd()]);
    assert!(pidfd > 2 && end.descriptors().all(|fd| fd.as_raw_fd() > 2));
    end.place();
    assert_eq!(peer.does(Order::Place), 'y');
    assert_eq!(end.sync_until(soon()), Ok(()));
}

fn every_descriptor_is_closed_on_exec() {
    let before = fds::open();
    let barrier = Barrier::new().unwrap();
    let child = forked(|| exit(0));
    assert_cloexec(&before);
    let mut end = barrier.into_parent().watching(&child).unwrap();
    end.watch().unwrap();
    assert_cloexec(&before);
}

fn assert_cloexec(but: &[RawFd]) {
    for fd in fds::open().into_iter().filter(|fd| !but.contains(fd)) {
        // SAFETY: the flags of a number are asked for, nothing else.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC, "{fd}");
    }
}

fn many_barriers_leave_no_descriptor_and_no_memory() {
    let maps = || std::fs::read_to_string("/proc/self/maps").unwrap().matches("/dev/zero").count();
    drop(Barrier::new().unwrap());
    let (open, mapped) = (fds::open(), maps());
    for round in 0..200 {
        let barrier = Barrier::new().unwrap();
        if round % 10 == 0 {
            let (mut end, mut peer) = pair();
            peer.does(Order::Place);
            end = if round % 20 == 0 { end.watching(&peer.process).unwrap() } else { end };
            end.watch().unwrap();
            assert_eq!(end.wait_next_until(soon()), Ok(()));
            peer.exits();
        }
        match round % 3 {
            0 => drop(barrier.into_parent()),
            1 => drop(barrier.into_child()),
            _ => drop(barrier),
        }
    }
    assert_eq!((fds::open(), maps()), (open, mapped));
    assert!(fds::children().is_empty());
}

fn a_barrier_that_cannot_be_opened_leaves_nothing_open() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Some(64);
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
    let null = File::open("/dev/null").unwrap();
    let mut hoard = Vec::new();
    while let Ok(fd) = null.try_clone() {
        hoard.push(fd);
    }
    for room in 0..4 {
        let error = Barrier::new().unwrap_err();
        assert_eq!(error.errno.0, libc::EMFILE, "{error}");
        let reopened: Vec<File> = std::iter::from_fn(|| null.try_clone().ok()).collect();
        assert_eq!(reopened.len(), room, "what was opened until then is closed");
        drop(reopened);
        hoard.pop();
    }
    Barrier::new().unwrap();
}

cases! {
    sync_is_met_once_every_token_is_answered,
    a_peer_that_is_ahead_has_answered_beforehand,
    sync_with_nothing_unanswered_makes_no_wait_and_takes_no_look,
    sync_next_waits_for_one_answer,
    two_tokens_in_one_drain_meet_one_wait_next,
    wait_next_is_not_met_by_places_of_its_own_side,
    an_abortion_supersedes_tokens_that_are_unread,
    tokens_drained_before_an_abortion_still_count,
    an_abortion_of_ones_own_ends_every_wait_but_the_one_for_the_peers,
    wait_abortion_swallows_tokens_and_tells_how_the_peer_ended,
    an_exit_queues_behind_the_tokens,
    no_token_is_lost_to_an_exit_in_two_thousand_races,
    no_token_is_lost_to_a_dropped_end_in_many_races,
    dropping_an_end_is_gone_for_the_other_side,
    an_exec_is_gone_though_the_process_lives_on,
    a_third_process_that_drops_its_copy_has_no_effect,
    a_reason_reaches_the_other_side_both_ways,
    both_sides_may_fail_and_each_reads_the_others_reason,
    a_reason_after_an_abortion_changes_nothing,
    signals_fail_nothing_and_prolong_nothing,
    a_child_that_dies_before_it_took_its_role_is_noticed,
    a_parent_that_dies_before_it_took_its_role_is_noticed,
    a_side_that_waits_before_the_other_took_its_role_is_served,
    a_grandchild_that_holds_all_descriptors_hides_no_death_from_a_pidfd,
    tokens_before_a_death_that_a_pidfd_shows_are_counted,
    broken_descriptors_are_an_abortion_of_both_sides,
    a_broken_pidfd_is_an_abortion_of_both_sides,
    an_until_form_runs_out_at_its_deadline_and_may_be_waited_on_again,
    try_forms_never_wait,
    a_peer_that_places_without_end_holds_no_wait_past_its_deadline,
    repro_a_look_takes_a_bounded_number_of_drains,
    the_watched_descriptor_is_readable_on_token_abortion_and_death,
    with_standard_streams_closed_no_descriptor_lands_there,
    every_descriptor_is_closed_on_exec,
    many_barriers_leave_no_descriptor_and_no_memory,
    a_barrier_that_cannot_be_opened_leaves_nothing_open,
}
