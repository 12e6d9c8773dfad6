//! The two processes: what they do with their ends, and how the controller talks to them.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use ipc_barrier::{Barrier, Child, End, Fork, Lane, MeetError, PeerAbort, Role, Unmet, exit, fork};
use ipc_tests::around::proc;
use ipc_tests::forked::{end_of, forked, soon};
use ipc_transport::{Errno, Instant};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use super::order::{Answer, BEGUN, Form, How, Order, Wait};
use super::rules::{CHILD, PARENT, stage_of};
use crate::peer::{LINGERS, is_readable};

/// A deadline that has passed; unlike zero, it still sleeps.
const PASSED: Instant = Instant::from_nanoseconds(1);

/// The controller's handles for the two processes.
pub(super) struct Sides {
    lines: [UnixStream; 2],
    parent: Child,
    child: Pid,
    pidfd_of_child: OwnedFd,
}

impl Sides {
    /// Starts a parent with `barriers` barriers; it forks a child that has the same ones.
    pub(super) fn start<L: Lane>(barriers: usize) -> Self {
        let (lines, theirs): (Vec<_>, Vec<_>) = (0..2).map(|_| UnixStream::pair().unwrap()).unzip();
        let mut lines: [UnixStream; 2] = lines.try_into().unwrap();
        let theirs: [UnixStream; 2] = theirs.try_into().unwrap();
        let parent = forked(move || both::<L>(barriers, theirs));
        for line in &lines {
            line.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        let mut child = [0; 4];
        lines[PARENT].read_exact(&mut child).unwrap();
        let child = Pid::from_raw(i32::from_ne_bytes(child)).unwrap();
        let pidfd_of_child = rustix::process::pidfd_open(child, PidfdFlags::empty()).unwrap();
        Self { lines, parent, child, pidfd_of_child }
    }

    pub(super) fn tell(&mut self, side: usize, order: Order, is_to_wait: bool) {
        self.lines[side].write_all(&[order.code(is_to_wait)]).unwrap();
    }

    /// Waits for an answer; fails if none comes.
    pub(super) fn answer(&mut self, side: usize) -> Result<Answer, String> {
        let mut bytes = [0; Answer::LEN];
        match self.lines[side].read_exact(&mut bytes) {
            Ok(()) => Ok(Answer::from_bytes(bytes)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err("it hangs".into()),
            Err(error) => Err(format!("the process is gone: {error}")),
        }
    }

    /// Waits until the side has begun a call that must wait.
    pub(super) fn has_begun(&mut self, side: usize) -> Result<(), String> {
        let mut byte = [0];
        self.lines[side].read_exact(&mut byte).map_err(|error| error.to_string())?;
        if byte == [BEGUN] { Ok(()) } else { Err("it answered before the call".into()) }
    }

    /// Waits until the side sleeps in its call; returns false if it has answered.
    pub(super) fn is_asleep(&mut self, side: usize) -> Result<bool, String> {
        let limit = soon();
        let has_answered = |line: &UnixStream| is_readable(line.as_fd(), PASSED);
        while !has_answered(&self.lines[side]) {
            if self.state(side) == 'S' {
                return Ok(!has_answered(&self.lines[side]));
            }
            if Instant::now() > limit {
                return Err("it neither answered nor slept".into());
            }
            std::thread::yield_now();
        }
        Ok(false)
    }

    /// Waits until the side has become another program, which echoes its input.
    pub(super) fn has_executed(&mut self, side: usize) -> Result<(), String> {
        self.lines[side].write_all(b"x").map_err(|error| error.to_string())?;
        let mut byte = [0];
        self.lines[side].read_exact(&mut byte).map_err(|error| error.to_string())
    }

    /// Waits until the process has ended, so that all its descriptors are closed.
    pub(super) fn has_ended(&mut self, side: usize) {
        if side == PARENT {
            end_of(&mut self.parent);
        } else {
            assert!(is_readable(self.pidfd_of_child.as_fd(), soon()), "it does not end");
        }
    }

    pub(super) fn kill(&mut self, side: usize) {
        if side == PARENT {
            self.parent.kill().unwrap();
        } else {
            _ = rustix::process::pidfd_send_signal(&self.pidfd_of_child, Signal::KILL);
        }
        self.has_ended(side);
    }

    /// Ends both processes and reaps them; the child may have a new parent by now.
    pub(super) fn end(mut self) {
        self.kill(CHILD);
        self.kill(PARENT);
        let child = WaitId::PidFd(self.pidfd_of_child.as_fd());
        _ = rustix::process::waitid(child, WaitIdOptions::EXITED);
    }

    fn state(&self, side: usize) -> char {
        let pid = if side == PARENT { self.parent.pid() } else { self.child.as_raw_pid() };
        let stat = std::fs::read_to_string(proc(&format!("{pid}/stat"))).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('?')
    }
}

/// The parent's process: creates the barriers and forks the child.
fn both<L: Lane>(count: usize, lines: [UnixStream; 2]) {
    let barriers: Vec<_> = (0..count).map(|_| Barrier::<L>::open().unwrap()).collect();
    let [mut line, other] = lines;
    match fork().unwrap() {
        Fork::Child(_guard) => {
            drop(line);
            obey(other, barriers, stage_of(CHILD), |barrier, _| barrier.into_child());
            exit(0);
        }
        Fork::Parent(child) => {
            drop(other);
            line.write_all(&child.pid().to_ne_bytes()).unwrap();
            obey(line, barriers, stage_of(PARENT), |barrier, how| {
                let end = barrier.into_parent();
                if how.pidfd { end.watching(&child).unwrap() } else { end }
            });
        }
    }
}

/// What a side holds of its current barrier.
#[expect(clippy::large_enum_variant, reason = "only two exist")]
enum Part<R, L> {
    Barrier(Barrier<L>, How),
    End(End<R, L>),
    Nothing,
}

/// Follows orders until no more come.
fn obey<R: Role, L: Lane>(
    mut line: UnixStream,
    barriers: Vec<Barrier<L>>,
    stage: u8,
    take_role: impl Fn(Barrier<L>, How) -> End<R, L>,
) {
    let mut barriers = barriers.into_iter();
    let mut part = Part::Nothing;
    let mut code = [0];
    while line.read(&mut code).unwrap() == 1 {
        let (order, is_to_wait) = Order::from_code(code[0]);
        match order {
            Order::Exit => exit(0),
            Order::Exec => execute(&line),
            Order::Next(how) => part = Part::Barrier(barriers.next().unwrap(), how),
            Order::Drop => part = Part::Nothing,
            Order::Place
            | Order::Abort
            | Order::Fail
            | Order::Watch
            | Order::Linger
            | Order::Wait(..) => {
                let mut end = match part {
                    Part::Barrier(barrier, how) => take_role(barrier, how),
                    Part::End(end) => end,
                    Part::Nothing => panic!("{order:?} without an end"),
                };
                if is_to_wait {
                    line.write_all(&[BEGUN]).unwrap();
                }
                let answer = call(&mut end, order, stage);
                line.write_all(&answer.to_bytes()).unwrap();
                part = Part::End(end);
                continue;
            }
        }
        line.write_all(&Answer::DONE.to_bytes()).unwrap();
    }
}

/// Becomes a program that echoes its input.
fn execute(line: &UnixStream) -> ! {
    let mut cat = Command::new("cat");
    cat.stdin(OwnedFd::from(line.try_clone().unwrap()));
    cat.stdout(OwnedFd::from(line.try_clone().unwrap()));
    panic!("cat: {}", cat.exec());
}

fn call<R: Role, L: Lane>(end: &mut End<R, L>, order: Order, stage: u8) -> Answer {
    let (kind, stage) = match order {
        Order::Place => (yes(end.place().is_ok()), 0),
        Order::Abort => (yes(end.abort()), 0),
        Order::Fail => {
            end.fail(stage, &errno(stage), &text(stage));
            // `fail` returns nothing; the abort is still posted only once.
            (yes(end.abort()), 0)
        }
        Order::Watch => {
            end.watch().unwrap();
            end.arm();
            (b'y', 0)
        }
        Order::Linger => {
            let outcomes = [(); LINGERS].map(|()| waited(end, Wait::PeerAbort, Form::Past));
            name(outcomes[LINGERS - 1])
        }
        Order::Wait(wait, form) => name(waited(end, wait, form)),
        Order::Next(_) | Order::Drop | Order::Exit | Order::Exec => panic!("not a call"),
    };
    let has_aborted = end.has_aborted();
    Answer { kind, stage, has_aborted, has_ended: has_aborted || end.peer_abort().is_some() }
}

fn waited<R: Role, L: Lane>(end: &mut End<R, L>, wait: Wait, form: Form) -> Result<(), Unmet> {
    let looked = |met: Result<bool, Unmet>| match met {
        Ok(true) => Ok(()),
        Ok(false) => Err(Unmet::TimedOut),
        Err(unmet) => Err(unmet),
    };
    match (wait, form) {
        (Wait::Sync, Form::Plain) => end.sync(),
        (Wait::Sync, Form::Until) => end.sync_until(soon()),
        (Wait::Sync, Form::Past) => end.sync_until(PASSED),
        (Wait::Sync, Form::Try) => looked(end.try_sync()),
        (Wait::SyncNext, Form::Plain) => end.sync_next(),
        (Wait::SyncNext, Form::Until) => end.sync_next_until(soon()),
        (Wait::SyncNext, Form::Past) => end.sync_next_until(PASSED),
        (Wait::SyncNext, Form::Try) => looked(end.try_sync_next()),
        (Wait::Next, Form::Plain) => end.wait_next(),
        (Wait::Next, Form::Until) => end.wait_next_until(soon()),
        (Wait::Next, Form::Past) => end.wait_next_until(PASSED),
        (Wait::Next, Form::Try) => looked(end.try_wait_next()),
        (Wait::PeerAbort, Form::Plain) => told(Some(end.wait_abort())),
        (Wait::PeerAbort, Form::Until) => told(end.wait_abort_until(soon())),
        (Wait::PeerAbort, Form::Past) => told(end.wait_abort_until(PASSED)),
        (Wait::PeerAbort, Form::Try) => told(end.try_wait_abort()),
        (Wait::PlaceAndSync, Form::Plain) => met(end.place_and_sync()),
        (Wait::PlaceAndSync, Form::Until) => met(end.place_and_sync_until(soon())),
        // It has no `try_` form.
        (Wait::PlaceAndSync, Form::Past | Form::Try) => met(end.place_and_sync_until(PASSED)),
    }
}

fn met(met: Result<(), MeetError>) -> Result<(), Unmet> {
    met.map_err(|error| match error {
        MeetError::Ended(unmet) | MeetError::Unmet(unmet) => unmet,
        other => panic!("{other}"),
    })
}

fn told(abort: Option<PeerAbort>) -> Result<(), Unmet> {
    Err(abort.map_or(Unmet::TimedOut, Unmet::from))
}

const fn yes(yes: bool) -> u8 {
    if yes { b'y' } else { b'n' }
}

fn name(outcome: Result<(), Unmet>) -> (u8, u8) {
    match outcome {
        Ok(()) => (b'+', 0),
        Err(Unmet::Aborted(None)) => (b'a', 0),
        Err(Unmet::Aborted(Some(reason))) => {
            let stage = reason.stage.as_str().parse().unwrap();
            assert_eq!((reason.errno, reason.text.as_str()), (errno(stage), &*text(stage)));
            (b'r', stage)
        }
        Err(Unmet::Gone) => (b'g', 0),
        Err(_) => (b't', 0),
    }
}

fn errno(stage: u8) -> Errno {
    Errno(100 + i32::from(stage))
}

fn text(stage: u8) -> String {
    format!("the stage with the number {stage}")
}
