//! ipc-worker: blocking calls, 32 in flight in a poll loop, one-way requests, and restarts.

#![expect(unsafe_code, reason = "a large worker is built in place")]

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{
    Again, Call, Event, Exec, Fork, Handler, Instant, Launch, Outcome, Patience, Reason, Refusal,
    Reply, Request, Restart, Start, Worker,
};

use crate::LARGE;
use crate::contender::{Contender, Task, Trouble, spins};
use crate::cpus::pin;
use crate::echo::arrived;
use crate::message::{Message, Service, kind};
use crate::work::{IN_FLIGHT, ONE_WAYS, Work};

const METHOD: u16 = 1;
const SLOTS: usize = 64;

/// Buffer bytes each way; a worker started by exec must use the same.
const SMALL: usize = 32_768;

/// Longer than any call takes.
const LONG: Duration = Duration::from_secs(60);

pub(crate) fn forked(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    by_fork(task, by(task).patience(Patience::SLEEP))
}

pub(crate) fn spinning(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    spins(task)?;
    by_fork(task, by(task).patience(Patience::SPIN))
}

pub(crate) fn ring_forked(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    by_fork(task, by(task).over_ring().patience(Patience::SLEEP))
}

pub(crate) fn ring_spinning(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    spins(task)?;
    by_fork(task, by(task).over_ring().patience(Patience::SPIN))
}

fn by(task: Task) -> Start<Fork<Answers>> {
    Start::fork(Answers::new(task))
}

fn by_fork<L: Launch + 'static>(
    task: Task,
    start: Start<L>,
) -> Result<Box<dyn Contender>, Trouble> {
    match task.work.size() * task.work.in_round() {
        size if size <= 8192 || !LARGE => Supervised::<L, SMALL>::start(task, start),
        ..=131_072 => Supervised::<L, 393_216>::start(task, start),
        _ => Supervised::<L, 12_582_912>::start(task, start),
    }
}

pub(crate) fn executed(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    if !matches!(task.work, Work::Spawn | Work::Kill) {
        return Err(Trouble::Elsewhere);
    }
    // Leaked: the worker uses it until this process exits.
    let cpu = CString::new(task.peer_cpu.to_string()).expect("digits have no NUL");
    let args = Box::leak(Box::new([&*Box::leak(cpu.into_boxed_c_str())]));
    Supervised::<Exec<'static>, SMALL>::start(task, Start::exec_self()?.args(args))
}

/// Serves, without returning, if this process was started as a worker.
pub(crate) fn serve_if_asked() {
    if ipc_worker::is_worker() {
        let cpu = std::env::args().next_back().and_then(|cpu| cpu.parse().ok()).unwrap_or(0);
        let task = Task { work: Work::Spawn, cpus: 1, peer_cpu: cpu };
        ipc_worker::serve::<_, SLOTS, SMALL>(|| Ok(Answers::new(task)));
    }
}

#[derive(Clone)]
struct Answers {
    cpu: usize,
    fds: usize,
    service: Service,
}

impl Answers {
    fn new(task: Task) -> Self {
        let fds = if let Work::Fds { count } = task.work { count } else { 0 };
        Self { cpu: task.peer_cpu, fds, service: Service::new(task.work.size()) }
    }
}

impl Handler for Answers {
    fn prepare(&mut self) -> Result<(), Reason> {
        pin(self.cpu);
        Ok(())
    }

    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        for _ in 0..self.fds {
            request.take_fd().ok_or(Refusal::WRONG_FDS)?;
        }
        match self.service.answer(request.bytes()) {
            Ok(Some(bytes)) => reply.put(&bytes),
            Ok(None) => Ok(()),
            Err(_) => Err(Refusal::MALFORMED),
        }
    }
}

struct Supervised<L: Launch, const BYTES: usize> {
    worker: Box<Worker<u64, L, SLOTS, BYTES>>,
    work: Work,
    message: Message,
    files: Vec<File>,
}

impl<L: Launch + 'static, const BYTES: usize> Supervised<L, BYTES> {
    fn start(task: Task, start: Start<L>) -> Result<Box<dyn Contender>, Trouble> {
        if matches!(task.work, Work::Meet | Work::Large { .. }) {
            return Err(Trouble::Elsewhere);
        }
        let mut place = Box::new_uninit();
        Worker::start_in(&mut place, start.restart(Restart::AT_ONCE))?;
        // SAFETY: `start_in` has just initialized it.
        let worker = unsafe { place.assume_init() };
        let count = if let Work::Fds { count } = task.work { count } else { 0 };
        let files = (0..count).map(|_| File::open("/dev/null")).collect::<Result<_, _>>()?;
        let message = Message::new(task.work.size());
        Ok(Box::new(Self { worker, work: task.work, message, files }))
    }

    /// Makes a call and waits for its reply.
    fn call(&mut self, kind: u8, number: fn(&Message) -> u64) -> Result<(), Trouble> {
        let Self { worker, message, files, .. } = self;
        let fds: Vec<BorrowedFd<'_>> = files.iter().map(File::as_fd).collect();
        message.next(kind);
        let pieces = [message.bytes()];
        let call = Call::new(METHOD, &pieces).fds(&fds).again(Again::UntilAnswered);
        let number = number(message);
        let mut checked = None;
        let deadline = Instant::now() + LONG;
        let on_event = |event: Event<'_, u64>| {
            if let Event::Done { outcome, .. } = event {
                checked = Some(check(&outcome, message, number));
            }
        };
        worker.call_until(call, number, deadline, on_event)?;
        checked.ok_or_else(|| Trouble::Failed("no outcome".into()))?
    }

    fn one_ways(&mut self) -> Result<(), Trouble> {
        for _ in 0..ONE_WAYS {
            let pieces = [self.message.next(kind::ONE_WAY)];
            let deadline = Instant::now() + LONG;
            self.worker.send_until(Call::new(METHOD, &pieces), deadline, |_| ())?;
        }
        self.call(kind::COUNT, arrived)
    }

    /// One round as an event loop in main would do it.
    fn in_a_poll_loop(&mut self) -> Result<(), Trouble> {
        let Self { worker, message, .. } = self;
        for _ in 0..IN_FLIGHT {
            message.next(kind::ECHO);
            let (pieces, number) = ([message.bytes()], message.number());
            worker.try_call(Call::new(METHOD, &pieces), number)?;
        }
        worker.turn(Instant::now());
        while worker.under_way() > 0 {
            let next = worker.next_deadline();
            wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], next)?;
            worker.turn(Instant::now());
            while let Some(event) = worker.next_event() {
                if let Event::Done { tag, outcome, .. } = event {
                    check(&outcome, message, tag)?;
                }
            }
        }
        Ok(())
    }
}

fn check(outcome: &Outcome<'_>, message: &Message, number: u64) -> Result<(), Trouble> {
    match outcome {
        Outcome::Reply(reply) => message.check(reply.bytes(), number),
        other => Err(Trouble::Failed(format!("{other:?}"))),
    }
}

impl<L: Launch + 'static, const BYTES: usize> Contender for Supervised<L, BYTES> {
    fn round(&mut self) -> Result<(), Trouble> {
        match self.work {
            Work::InFlight { .. } => self.in_a_poll_loop(),
            Work::OneWay { .. } => self.one_ways(),
            _ => self.call(kind::ECHO, Message::number),
        }
    }

    fn pid(&mut self) -> Option<i32> {
        self.worker.pid()
    }

    fn restarts(&self) -> bool {
        true
    }
}
