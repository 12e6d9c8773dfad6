//! How soon a killed worker answers again, by fork and by exec, compared with a bare posix_spawn of
//! the same program, from a small parent and from a large one: `cargo xtask bench`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement fails by panicking")]

use std::io::{Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ipc_worker::{
    Call, Event, Launch, Outcome, Refusal, Reply, Request, Restart, Start, Worker, fd::AsFd,
};
use rustix::process::{Pid, Signal, kill_process};

/// Blocks per row; the rows take turns.
const ROUNDS: usize = 41;
const QUICK_ROUNDS: usize = 11;

/// Bytes that the large parent has written to.
const LARGE: usize = 512 << 20;

/// The argument for the process that measures from a large parent.
const PARENT: &str = "large-parent";
/// The argument for the bare program.
const BARE: &str = "bare";

fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    reply.put(request.bytes())
}

fn main() -> ExitCode {
    if ipc_worker::is_worker() {
        ipc_worker::serve::<_, 64, 32768>(|| Ok(handle));
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| args.iter().any(|arg| arg == word);
    if has(BARE) {
        answer();
        return ExitCode::SUCCESS;
    }
    let rounds = if has("--quick") { QUICK_ROUNDS } else { ROUNDS };
    if has(PARENT) {
        let mut memory = vec![0_u8; LARGE];
        memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        measure("512 MiB touched", rounds);
        std::hint::black_box(memory);
        return ExitCode::SUCCESS;
    }
    println!("a killed worker answers again: microseconds, the median of {rounds} blocks");
    println!("{:<16} {:<22} {:>8} {:>8}", "parent", "start", "median", "of bare");
    measure("small", rounds);
    let mut large = Command::new("/proc/self/exe");
    large.arg(PARENT).args(has("--quick").then_some("--quick"));
    let is_measured = large.status().is_ok_and(|status| status.success());
    if is_measured { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The bare program: it answers every byte with one byte.
fn answer() {
    let mut byte = [0];
    while std::io::stdin().read_exact(&mut byte).is_ok() {
        std::io::stdout().write_all(&byte).unwrap();
        std::io::stdout().flush().unwrap();
    }
}

/// A process that is killed and restarted until it answers.
trait Subject {
    fn again(&mut self);
}

struct Bare(Child);

impl Bare {
    fn start() -> Self {
        let mut program = Command::new("/proc/self/exe");
        let child = program.arg(BARE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut bare = Self(child.unwrap());
        bare.ask();
        bare
    }

    fn ask(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        self.0.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    }
}

impl Subject for Bare {
    fn again(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        *self = Self::start();
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

impl<L: Launch> Subject for Worker<u32, L> {
    fn again(&mut self) {
        let pid = self.pid().and_then(Pid::from_raw).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        let (mut is_answered, mut has_died) = (false, false);
        let deadline = ipc_worker::Instant::now() + Duration::from_secs(30);
        // The first request may have reached the killed worker; then it is sent again.
        let call = Call::new(1, &[b"x"]).again(ipc_worker::Again::UntilAnswered);
        let on_event = |event: Event<'_, u32>| match event {
            Event::Done { outcome: Outcome::Reply(_), .. } => is_answered = true,
            Event::Died(_) => has_died = true,
            Event::Started { .. } => {}
            other => panic!("{other:?}"),
        };
        self.call_until(call, 1, deadline, on_event).unwrap();
        assert!(is_answered && has_died, "the killed worker was replaced");
        std::hint::black_box(self.as_fd());
    }
}

fn measure(parent: &str, rounds: usize) {
    let restart = Restart::AT_ONCE;
    let fork = Start::fork(handle).restart(restart);
    let exec = Start::exec_self().unwrap().restart(restart);
    let (fork, exec) = (Worker::start(fork).unwrap(), Worker::start(exec).unwrap());
    let mut subjects: [(&str, Box<dyn Subject>, Vec<Duration>); 3] = [
        ("bare posix_spawn", Box::new(Bare::start()), Vec::new()),
        ("worker by exec", Box::new(exec), Vec::new()),
        ("worker by fork", Box::new(fork), Vec::new()),
    ];
    for _ in 0..rounds {
        for (_, subject, times) in &mut subjects {
            let begun = Instant::now();
            subject.again();
            times.push(begun.elapsed());
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e6
    };
    let mut bare = None;
    for (name, _, times) in &mut subjects {
        let median = median(times);
        let ratio = median / *bare.get_or_insert(median);
        println!("{parent:<16} {name:<22} {median:>8.0} {ratio:>8.2}");
    }
}
