//! One process per row and its peers, killed if it does not end in time.

use std::io::{PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ipc_barrier::{Ended, Fork, exit, fork};
use ipc_tests::counting::Counting;
use ipc_tests::speed::{Figures, Pair, Plan, summary};
use ipc_transport::{Interest, Watched, wait};
use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal, setpgid};

use crate::contender::{Contender, floor, subject};
use crate::cpus::{Cpus, pin};
use crate::options::Effort;

/// How much longer than planned a row may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A block may end after each of these parts.
const PARTS: usize = 8;

/// Operations done before measuring.
const WARM_UP: usize = 320;

/// What a row's process measured.
pub(crate) struct Measured {
    pub(crate) figures: Figures,
    pub(crate) allocations: f64,
}

/// Measures a row in its own process. Returns `None` if that fails, with the reason on stderr.
pub(crate) fn measure(plan: &Plan, effort: &Effort, cpus: Cpus) -> Option<Measured> {
    let (mut results, sender) = pipe().expect("pipe");
    let blocks = effort.block * u32::try_from(2 * effort.pairs).unwrap_or(u32::MAX);
    let deadline = ipc_transport::Instant::now() + blocks + PATIENCE;
    let mut child = match fork().expect("this process has one thread") {
        Fork::Child(_guard) => {
            drop(results);
            die_with_parent();
            _ = setpgid(None, None);
            report(&pairs(plan, effort, cpus), sender);
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    drop(sender);
    // The row's process writes once, when it has finished.
    let is_done = wait(&mut [Watched::new(results.as_fd(), Interest::Input)], Some(deadline));
    if !is_done.is_ok_and(|is_done| is_done) {
        eprintln!("timed out: {plan}");
    }
    let ended = child.wait_until(ipc_transport::Instant::now() + Duration::from_secs(1));
    // The peers are in the row's process group.
    if let Some(group) = Pid::from_raw(child.pid()) {
        _ = kill_process_group(group, Signal::KILL);
    }
    if !matches!(ended, Some(Ended::Exited(0))) {
        _ = child.kill();
        _ = child.wait_until(ipc_transport::Instant::now() + Duration::from_secs(1));
        eprintln!("the row's process {ended:?}: {plan}");
        return None;
    }
    let mut text = String::new();
    results.read_to_string(&mut text).ok()?;
    parsed(&text)
}

/// Asks the kernel to kill this process when its parent ends.
pub(crate) fn die_with_parent() {
    _ = set_parent_process_death_signal(Some(Signal::KILL));
}

struct Pairs {
    figures: Figures,
    allocations: f64,
}

/// Runs blocks of the subject and of the floor in turn, and alternates which goes first.
fn pairs(plan: &Plan, effort: &Effort, cpus: Cpus) -> Pairs {
    let (own_cpu, peer_cpu) = cpus.of(plan.cpus);
    pin(own_cpu);
    let (mut subject, mut floor) = (subject(plan, peer_cpu), floor(plan, peer_cpu));
    let subject_block = operations_in(effort.block, &mut *subject);
    let floor_block = operations_in(effort.block, &mut *floor);
    let allocations = allocations(&mut *subject, subject_block);
    let mut pairs = Vec::with_capacity(effort.pairs);
    for number in 0..effort.pairs {
        let mut pair = Pair {
            subject: Vec::with_capacity(subject_block),
            floor: Vec::with_capacity(floor_block),
        };
        if number % 2 == 0 {
            run_block(&mut *subject, subject_block, effort.block, &mut pair.subject);
            run_block(&mut *floor, floor_block, effort.block, &mut pair.floor);
        } else {
            run_block(&mut *floor, floor_block, effort.block, &mut pair.floor);
            run_block(&mut *subject, subject_block, effort.block, &mut pair.subject);
        }
        pairs.push(pair);
    }
    let figures = summary(&pairs, plan.is_throughput()).expect("no block is empty");
    Pairs { figures, allocations }
}

/// Runs `operations` operations, or fewer if they exceed the block's time: on two processors the
/// same work may take twenty times as long at one moment as at another.
fn run_block(
    contender: &mut dyn Contender,
    operations: usize,
    block: Duration,
    times: &mut Vec<u64>,
) {
    let begin = Instant::now();
    let part = (operations / PARTS).next_multiple_of(32);
    for _ in 0..operations.div_ceil(part) {
        contender.run(part, times);
        if begin.elapsed() > block {
            return;
        }
    }
}

/// Warms up, and returns how many operations fill about one block.
fn operations_in(block: Duration, contender: &mut dyn Contender) -> usize {
    let mut times = Vec::with_capacity(WARM_UP);
    contender.run(WARM_UP, &mut times);
    times.clear();
    let begin = Instant::now();
    contender.run(WARM_UP, &mut times);
    let one = begin.elapsed().as_nanos() / WARM_UP as u128;
    usize::try_from(block.as_nanos() / one.max(1)).unwrap_or(usize::MAX).clamp(32, 100_000)
}

/// Allocations per operation, both sides together.
#[expect(clippy::cast_precision_loss, reason = "counts of thousands")]
fn allocations(subject: &mut dyn Contender, operations: usize) -> f64 {
    let mut times = Vec::with_capacity(operations);
    let peer = subject.peer_allocations();
    let own = Counting::count();
    subject.run(operations, &mut times);
    let own = Counting::count() - own;
    let peer = subject.peer_allocations() - peer;
    (own + peer) as f64 / operations as f64
}

fn report(pairs: &Pairs, mut sender: PipeWriter) {
    let Figures { median_us, p99_us, floor_median_us, ratio, quartiles, range, pairs: count } =
        pairs.figures;
    let (lower, upper) = quartiles;
    let (least, most) = range;
    let allocations = pairs.allocations;
    let text = format!(
        "{median_us} {p99_us} {floor_median_us} {ratio} {lower} {upper} {least} {most} \
         {allocations} {count}"
    );
    sender.write_all(text.as_bytes()).expect("the bench reads");
}

fn parsed(text: &str) -> Option<Measured> {
    let mut words = text.split(' ');
    let mut next = || words.next()?.parse::<f64>().ok();
    let (median_us, p99_us, floor_median_us) = (next()?, next()?, next()?);
    let (ratio, quartiles, range) = (next()?, (next()?, next()?), (next()?, next()?));
    let allocations = next()?;
    let pairs = words.next()?.parse().ok()?;
    let figures = Figures { median_us, p99_us, floor_median_us, ratio, quartiles, range, pairs };
    Some(Measured { figures, allocations })
}
