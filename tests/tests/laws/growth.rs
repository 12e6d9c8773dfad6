//! A process that serves hostile peers for a long time uses no more memory and descriptors than
//! before. Each case has a separate process, so that nothing else changes the figures.

use std::time::Duration;

use ipc_tests::fds::{self, file};
use ipc_tests::memory::Memory;
use ipc_transport::{Loopback, PassFds, Transport};

use crate::pairs::harmless;
use ipc_transport::laws::parts::Random;
use ipc_transport::laws::parts::{hostile, strays};

/// Connections after which buffers, heap and stack have reached their size.
const WARM_UP: usize = 200;
/// Connections after that, for each act of a hostile peer.
const ROUNDS: usize = 2_000;
/// How many pages the process may grow. The smallest leak, 32 bytes of heap in each round, would be
/// twice as much.
const PAGES: usize = 8;
/// The heap grows by this many pages at a time, touched or not.
const HEAP_STEP: usize = 34;

/// Runs many rounds and compares the process before and after.
fn grows_nothing(acts: usize, mut round: impl FnMut(usize)) {
    let mut run = |rounds: usize| (0..rounds * acts).for_each(&mut round);
    run(WARM_UP);
    _ = Memory::now();
    let (open, before) = (fds::open().len(), Memory::now());
    run(ROUNDS);
    let (after, open_after) = (Memory::now(), fds::open().len());
    assert_eq!(open_after, open);
    assert!(after.resident <= before.resident + PAGES, "{before:?} {after:?}");
    assert!(after.mapped <= before.mapped + HEAP_STEP, "{before:?} {after:?}");
}

/// Plays one act of a hostile peer without descriptors.
fn act<A: Transport, B: Transport>(number: usize, pair: (A, B), random: &mut Random) {
    match number % 4 {
        0 => _ = hostile::sends_random_bytes(pair, random),
        1 => hostile::forges_a_length(pair, 233 + random.number() % (u32::MAX - 232)),
        2 => hostile::sends_half_a_frame(pair, 1 + random.below(30), Duration::ZERO),
        _ => hostile::dies(pair, random.below(8)),
    }
}

/// Plays one act of a hostile peer with descriptors.
fn act_with<A: PassFds, B: PassFds>(number: usize, pair: (A, B), random: &mut Random) {
    let own = file();
    match number % 3 {
        0 => _ = strays::sends_random_bytes_and_descriptors(pair, random, &own),
        1 => strays::sends_253_with_each_call(pair, 1, &own),
        _ => strays::dies(pair, random.below(8), &own),
    }
}

pub(crate) fn hostile_peers_leave_no_memory<A: Transport, B: Transport>(pair: fn() -> (A, B)) {
    let mut random = Random(0x0bad_cafe);
    grows_nothing(4, |number| act(number, pair(), &mut random));
}

pub(crate) fn hostile_peers_with_descriptors_leave_no_memory<A: PassFds, B: PassFds>(
    pair: fn() -> (A, B),
) {
    let mut random = Random(0x0bad_cafe);
    grows_nothing(3, |number| act_with(number, pair(), &mut random));
}

/// The loopbacks of the laws are leaked; here one loopback serves all rounds.
pub(crate) fn hostile_ends_of_a_loopback_leave_no_memory() {
    let mut random = Random(0x0bad_cafe);
    let mut loopback = Loopback::<1000>::new();
    grows_nothing(4, |number| act(number, loopback.ends(), &mut random));
    grows_nothing(3, |number| act_with(number, loopback.ends(), &mut random));
    grows_nothing(4, |number| act(number, harmless(loopback.ends()), &mut random));
    grows_nothing(3, |number| act_with(number, harmless(loopback.ends()), &mut random));
}
