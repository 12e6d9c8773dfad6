//! The scenario that is walked: a start, two requests, one of them with a descriptor, a one-way, a
//! note, a death, a restart, and a stop with a request in flight. All system calls between the
//! marks are made by the crates.

use ipc_tests::over::{self, Over};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use ipc_worker::{
    Again, Call, Ended, Event, Exec, Fork, GiveUp, Handler, How, Instant, Launch, Outcome, Refusal,
    Reply, Request, Restart, Start, StartError, SystemError, Worker,
};

use crate::record::{Record, Told, map};
use crate::tracer::{begin, end};

/// The requests' numbers: method, tag and index in the record.
pub(crate) const PLAIN: u16 = 0;
pub(crate) const FILE: u16 = 1;
pub(crate) const ONE_WAY: u16 = 2;
pub(crate) const NOTING: u16 = 3;
/// The first worker that runs it exits.
pub(crate) const DEADLY: u16 = 4;
/// In flight when the worker is stopped.
pub(crate) const LAST: u16 = 5;

/// The status of the worker that exits.
pub(crate) const EXIT: i32 = 3;

/// The status of a worker that takes itself for another main.
const SECOND_MAIN: i32 = 99;

/// How often [`DEADLY`] may begin.
pub(crate) const TRIES: u8 = 3;

const SLOTS: usize = 4;
const BYTES: usize = 1024;
const TEXT: &[u8] = b"some bytes";
const RESTART: Restart = Restart::STANDARD.delay(Duration::from_millis(1)).limit(6);

/// How to start a worker.
pub(crate) trait Starts {
    type Launch: Launch;

    fn start(
        path: &'static [&'static CStr],
        record: &'static Record,
    ) -> Result<Start<Self::Launch>, SystemError>;
}

/// Started by fork.
pub(crate) struct Forked;

impl Starts for Forked {
    type Launch = Fork<Writer, Over>;

    fn start(
        _: &'static [&'static CStr],
        record: &'static Record,
    ) -> Result<Start<Self::Launch>, SystemError> {
        Ok(over::fork(Writer(record)))
    }
}

/// Started by exec of this program; its second argument is the record's path.
pub(crate) struct Program;

impl Starts for Program {
    type Launch = Exec<'static, Over>;

    fn start(
        path: &'static [&'static CStr],
        _: &'static Record,
    ) -> Result<Start<Self::Launch>, SystemError> {
        Ok(ipc_tests::around::start_self()?.args(path))
    }
}

/// Serves if this process is a worker. If it was started as one but does not serve, it takes itself
/// for another main.
pub(crate) fn serve_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    let is_one = arguments.next().is_some_and(|first| first.as_bytes().starts_with(b"ipc-worker:"));
    if ipc_worker::is_worker() {
        over::serve::<_, SLOTS, BYTES>(|| {
            let path = arguments.next().unwrap_or_default();
            Ok(Writer(map(path.as_ref())?))
        });
    }
    if is_one {
        ipc_barrier::exit(SECOND_MAIN);
    }
}

/// Records what it begins and what it ends.
pub(crate) struct Writer(&'static Record);

impl Handler for Writer {
    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        let fate = &self.0.fates[usize::from(request.method())];
        let before = fate.begun.up();
        match request.method() {
            FILE => reply.put_fd(request.take_fd().ok_or(Refusal::WRONG_FDS)?)?,
            NOTING => _ = request.note(NOTING, TEXT),
            DEADLY if before == 0 => ipc_barrier::exit(EXIT),
            _ => {}
        }
        reply.put(request.bytes())?;
        fate.ended.up();
        Ok(())
    }

    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [].into_iter()
    }
}

/// Time limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) ready: Duration,
    pub(crate) call: Duration,
}

/// For runs in which only a hang is late.
pub(crate) const PATIENT: Pace =
    Pace { ready: Duration::from_secs(20), call: Duration::from_secs(20) };

/// For runs in which calls fail for ever, so that deadlines often pass.
pub(crate) const HURRIED: Pace =
    Pace { ready: Duration::from_millis(500), call: Duration::from_millis(300) };

/// Runs the scenario as main.
pub(crate) fn play<S: Starts>(path: &Path, record: &'static Record, pace: Pace) {
    let file = ipc_tests::fds::file();
    // Main's part of the scenario must not allocate.
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let path: &[&CStr] = Box::leak(Box::new([&*Box::leak(path.into_boxed_c_str())]));
    begin();
    Play { record, pace, file }.all::<S>(path);
    end();
    record.finished.up();
}

struct Play {
    record: &'static Record,
    pace: Pace,
    file: OwnedFd,
}

impl Play {
    fn all<S: Starts>(&self, path: &'static [&'static CStr]) {
        let start = S::start(path, self.record).map_err(Into::into);
        let started = start.and_then(|start| {
            let start = start.restart(RESTART).ready_within(self.pace.ready);
            self.within(self.pace.ready, |_| Worker::start(start))
        });
        let mut worker: Worker<u16, _, SLOTS, BYTES> = match started {
            Ok(worker) => worker,
            Err(error) => {
                self.record.not_started.up();
                return self.count_unknown(error);
            }
        };
        self.record.started.up();
        self.call(&mut worker, Call::new(PLAIN, &[TEXT]));
        self.call(&mut worker, Call::new(FILE, &[TEXT]).fds(&[self.file.as_fd()]).reply_fds(1));
        let one_way = worker.try_send(Call::new(ONE_WAY, &[TEXT]));
        self.record.fates[usize::from(ONE_WAY)].taken.set(one_way.is_ok().into());
        self.call(&mut worker, Call::new(NOTING, &[TEXT]));
        self.call(&mut worker, Call::new(DEADLY, &[TEXT]).again(Again::UntilDone).tries(TRIES));
        let last = worker.try_call(Call::new(LAST, &[TEXT]), LAST);
        self.record.fates[usize::from(LAST)].taken.set(last.is_ok().into());
        let ended =
            self.within(self.pace.call, |until| worker.stop(until, |event| self.hear(event)));
        if ended == Some(Ended::Unknown) {
            self.record.unknown.up();
        }
        let counters = worker.counters();
        let lost = counters.one_ways_lost + counters.one_ways_expired + counters.one_ways_refused;
        self.record.one_ways_lost.set(lost.try_into().unwrap());
    }

    fn call<L: Launch>(&self, worker: &mut Worker<u16, L, SLOTS, BYTES>, call: Call<'_>) {
        let tag = call.method;
        let fate = &self.record.fates[usize::from(tag)];
        // Set first: the outcome is told within the call.
        fate.taken.set(1);
        let hear = |event: Event<'_, u16>| self.hear(event);
        if self.within(self.pace.call, |until| worker.call_until(call, tag, until, hear)).is_err() {
            fate.taken.set(0);
        }
    }

    fn count_unknown(&self, error: StartError) {
        if error == StartError::Died(Ended::Unknown) {
            self.record.unknown.up();
        }
    }

    /// Runs something with a deadline, and records how late it was.
    fn within<T>(&self, time: Duration, run: impl FnOnce(Instant) -> T) -> T {
        let deadline = Instant::now() + time;
        let result = run(deadline);
        let late = u32::try_from(Instant::now().since(deadline).as_millis()).unwrap();
        self.record.late_ms.set(late.max(self.record.late_ms.get()));
        result
    }

    fn hear(&self, event: Event<'_, u16>) {
        let record = self.record;
        match event {
            Event::Done { tag, outcome } => {
                record.fates[usize::from(tag)].tell(told(tag, outcome));
            }
            Event::Note { tag: Some(&NOTING), note } if note.bytes() == TEXT => {
                record.notes.up();
            }
            Event::Died(ended) => {
                record.deaths.up();
                if ended == Ended::Unknown {
                    record.unknown.up();
                }
            }
            Event::NotStarted(error) => self.count_unknown(error),
            Event::Started { .. } => _ = record.restarts.up(),
            Event::GaveUp(reason) => {
                record.gave_up.up();
                if let GiveUp::TooManyEnds { last: Some(error), .. } = reason {
                    self.count_unknown(error);
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

fn told(tag: u16, outcome: Outcome<'_>) -> Told {
    match outcome {
        Outcome::Reply(mut reply) => {
            let fds = reply.take_fds::<1>().is_ok() || reply.fds_lost().is_some();
            let is_whole = reply.bytes() == TEXT && fds == (tag == FILE);
            if is_whole { Told::Reply } else { Told::Wrong }
        }
        Outcome::Refused(_) => Told::Refused,
        Outcome::Unsendable(_) => Told::Unsendable,
        Outcome::Lost(lost) if lost.bytes() != TEXT => Told::Wrong,
        Outcome::Lost(lost) => match lost.how {
            How::NotBegun => Told::NotBegun,
            How::Running => Told::Running,
            _ => Told::Done,
        },
        Outcome::SetAside(_) => Told::SetAside,
        Outcome::DeadlinePassed => Told::Late,
        _ => Told::Wrong,
    }
}
