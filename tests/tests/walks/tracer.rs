//! Runs the scenario under ptrace(2), and acts at one of its system calls.

#![expect(unsafe_code, reason = "marks, signals and waiting for any process through libc")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ipc_barrier::{Fork, exit, fork};
use ipc_tests::around::proc;
use ipc_tests::ptrace::{
    CONTINUE, Call, EXIT_KILL, POKE_USER, SETOPTIONS, SYSCALL, TRACE_FORKS, TRACE_SYSCALLS_APART,
    be_traced, look, trace, wait,
};

/// Anything longer counts as a hang.
const LIMIT: Duration = Duration::from_secs(60);

/// Main's exit status if tracing is not allowed.
const UNABLE: i32 = 77;

/// Offsets of a call's number and of its result in the registers of x86_64, in bytes.
const NUMBER: usize = 15 * 8;
const RESULT: usize = 10 * 8;

/// The ptrace event of an exec.
const EVENT_EXEC: i32 = 4;

/// The side whose system calls are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Main,
    /// All workers, one after the other.
    Worker,
}

/// Chooses an error by a call's number.
pub(crate) type Errno = dyn Fn(libc::c_long) -> Option<i32>;

/// What to do at a system call.
pub(crate) enum Act<'a> {
    Nothing,
    /// Kill the process before the call is made.
    KillBefore,
    /// Kill it as soon as the call is made.
    KillAfter,
    /// Make the call fail with the error chosen by its number, if any.
    Fail(&'a Errno),
    /// The same for all later calls with that number by this side.
    FailFromThenOn(&'a Errno),
}

/// A point of a walk.
pub(crate) struct Point<'a> {
    pub(crate) side: Side,
    /// The index of the call.
    pub(crate) index: usize,
    pub(crate) act: Act<'a>,
}

impl Point<'_> {
    /// Whether a process is killed at this point. A program that was just loaded may be killed too,
    /// but its calls do not fail.
    pub(crate) fn kills(&self) -> bool {
        matches!(self.act, Act::KillBefore | Act::KillAfter)
    }
}

/// What was seen of a run.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The calls of the walked side, up to the point.
    pub(crate) calls: Vec<libc::c_long>,
    /// Whether the act was done there.
    pub(crate) acted: bool,
    /// Wait statuses (waitpid(2)), by process.
    pub(crate) main: i32,
    pub(crate) workers: BTreeMap<i32, i32>,
    /// Open files before and after the scenario.
    before: Vec<String>,
    pub(crate) left_open: Vec<String>,
    /// Main's children after the scenario.
    pub(crate) children: Vec<String>,
    pub(crate) hung: bool,
    /// Whether tracing is not allowed here.
    pub(crate) unable: bool,
}

/// Tells the tracer that the scenario begins.
pub(crate) fn begin() {
    mark(libc::SIGUSR1);
}

/// Tells the tracer that the scenario has ended.
pub(crate) fn end() {
    mark(libc::SIGUSR2);
}

fn mark(signal: i32) {
    // SAFETY: the tracer suppresses the signal.
    unsafe {
        libc::syscall(libc::SYS_tgkill, std::process::id(), std::process::id(), signal);
    }
}

/// Prepares this process: it adopts orphans, and a timer interrupts its waits.
pub(crate) fn prepare() {
    extern "C" fn wake(_: i32) {}
    let handler: extern "C" fn(i32) = wake;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    // SAFETY: all zeroes is a valid action; a handler is stored in it.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    // SAFETY: the kernel only reads the action; the handler does nothing.
    unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    let second = libc::timeval { tv_sec: 1, tv_usec: 0 };
    let timer = libc::itimerval { it_interval: second, it_value: second };
    // SAFETY: the kernel only reads the timer.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

/// A traced process.
#[derive(Clone, Copy, Debug, Default)]
struct Traced {
    /// The result to give the current call.
    answer: Option<i32>,
    /// It is killed after the current call.
    dies: bool,
    /// It was just executed: its calls are the loader's and std's.
    loads: bool,
}

struct Tracer<'a> {
    point: &'a Point<'a>,
    main: i32,
    traced: BTreeMap<i32, Traced>,
    /// The scenario has begun and has not ended.
    plays: bool,
    /// The call that must fail every time, and its error.
    failing: Option<(libc::c_long, i32)>,
    seen: Seen,
}

/// Runs main and everything it leaves behind until all processes end.
pub(crate) fn run(point: &Point<'_>, main: impl FnOnce()) -> Seen {
    let main = match fork().expect("there is one thread") {
        Fork::Child(_guard) => {
            if !be_traced() {
                exit(UNABLE);
            }
            main();
            exit(0)
        }
        Fork::Parent(child) => child.pid(),
    };
    let options = TRACE_SYSCALLS_APART | TRACE_FORKS | EXIT_KILL;
    if !libc::WIFSTOPPED(wait(main)) || trace(SETOPTIONS, main, 0, options) != 0 {
        return Seen { unable: true, ..Seen::default() };
    }
    let traced = BTreeMap::from([(main, Traced::default())]);
    let (failing, seen) = (None, Seen::default());
    let mut tracer = Tracer { point, main, traced, plays: false, failing, seen };
    tracer.go_on(main, 0);
    tracer.follow();
    tracer.seen
}

impl Tracer<'_> {
    /// Handles every process until all have ended.
    fn follow(&mut self) {
        let start = Instant::now();
        loop {
            let mut status = 0;
            // SAFETY: the kernel writes the status into the variable.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
            if pid > 0 {
                self.see(pid, status);
            } else if std::io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
                return;
            }
            if start.elapsed() > LIMIT && !self.seen.hung {
                self.seen.hung = true;
                self.traced.keys().for_each(|&pid| kill(pid));
            }
        }
    }

    fn see(&mut self, pid: i32, status: i32) {
        if !libc::WIFSTOPPED(status) {
            self.traced.remove(&pid);
            if pid == self.main {
                self.seen.main = status;
            } else {
                self.seen.workers.insert(pid, status);
            }
            return;
        }
        let is_new = !self.traced.contains_key(&pid);
        self.traced.entry(pid).or_default();
        let mut signal = 0;
        match libc::WSTOPSIG(status) {
            // An event.
            _ if status >> 16 != 0 => {
                let is_exec = status >> 16 == EVENT_EXEC;
                self.traced.entry(pid).or_default().loads |= is_exec;
            }
            stop if stop == libc::SIGTRAP | 0x80 => {
                if self.call(pid) {
                    return kill(pid);
                }
            }
            libc::SIGUSR1 if pid == self.main => {
                self.plays = true;
                self.seen.before = open(pid);
            }
            libc::SIGUSR2 if pid == self.main => self.end(),
            libc::SIGSTOP if is_new => {}
            other => signal = other,
        }
        self.go_on(pid, signal);
    }

    /// Continues a process, to its next call if that matters.
    fn go_on(&self, pid: i32, signal: i32) {
        let side = if pid == self.main { Side::Main } else { Side::Worker };
        let goes_on = matches!(self.point.act, Act::FailFromThenOn(_));
        let is_past = self.seen.calls.len() > self.point.index && !goes_on;
        let is_at_it = self.traced.get(&pid).is_some_and(|it| it.dies || it.answer.is_some());
        let matters = side == self.point.side && self.plays && (!is_past || is_at_it);
        let request = if matters { SYSCALL } else { CONTINUE };
        trace(request, pid, 0, signal.try_into().unwrap());
    }

    /// Acts at one end of a system call, and returns whether the process must die.
    fn call(&mut self, pid: i32) -> bool {
        let traced = self.traced.get_mut(&pid).unwrap();
        match look(pid) {
            // The mark at the end.
            Some(Call::Entered(libc::SYS_tgkill)) => false,
            Some(Call::Entered(number)) => {
                traced.loads &= number != libc::SYS_getppid;
                if traced.loads && !self.point.kills() {
                    return false;
                }
                if let Some((_, errno)) = self.failing.filter(|(it, _)| *it == number) {
                    traced.fail(pid, number, errno);
                }
                if self.seen.calls.len() > self.point.index {
                    return false;
                }
                self.seen.calls.push(number);
                if self.seen.calls.len() <= self.point.index {
                    return false;
                }
                self.seen.acted = true;
                match &self.point.act {
                    Act::Nothing => {}
                    Act::KillBefore => return true,
                    Act::KillAfter => traced.dies = true,
                    Act::Fail(choose) | Act::FailFromThenOn(choose) => {
                        let errno = choose(number);
                        self.seen.acted = errno.is_some();
                        errno.into_iter().for_each(|errno| traced.fail(pid, number, errno));
                        if matches!(self.point.act, Act::FailFromThenOn(_)) {
                            self.failing = errno.map(|errno| (number, errno));
                        }
                    }
                }
                false
            }
            Some(Call::Left(_)) => {
                if let Some(errno) = traced.answer.take() {
                    let answer = usize::MAX - usize::try_from(errno).unwrap() + 1;
                    trace(POKE_USER, pid, RESULT, answer);
                }
                traced.dies
            }
            None => false,
        }
    }

    fn end(&mut self) {
        self.plays = false;
        self.seen.left_open = open(self.main);
        self.seen.left_open.retain(|file| !self.seen.before.contains(file));
        let parent = format!("{}", self.main);
        for pid in self.traced.keys().chain(self.seen.workers.keys()) {
            let stat = std::fs::read_to_string(proc(&format!("{pid}/stat"))).unwrap_or_default();
            let fields: Vec<_> =
                stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
            if fields.get(1) == Some(&&*parent) {
                self.seen.children.push(format!("{pid} {}", fields[0]));
            }
        }
    }
}

impl Traced {
    /// Suppresses a call and makes it fail with an error. A close that fails still closes
    /// (close(2)).
    fn fail(&mut self, pid: i32, number: libc::c_long, errno: i32) {
        if number != libc::SYS_close {
            trace(POKE_USER, pid, NUMBER, usize::MAX);
        }
        self.answer = Some(errno);
    }
}

/// Returns the open files of a process with their numbers, sorted.
fn open(pid: i32) -> Vec<String> {
    let list = std::fs::read_dir(proc(&format!("{pid}/fd"))).unwrap();
    let mut open: Vec<_> = list
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let file = std::fs::read_link(&path).ok()?;
            Some(format!("{} {}", path.file_name()?.display(), file.display()))
        })
        .collect();
    open.sort();
    open
}

fn kill(pid: i32) {
    // SAFETY: no memory is involved; the process is not reaped yet.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}
