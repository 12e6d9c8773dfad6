//! The page shared with main, as a hostile worker finds it.

#![expect(unsafe_code, reason = "uses memory that another part of the process mapped")]

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use ipc_tests::around::proc;
use ipc_tests::random::Random;

use crate::{SLOTS, ring};

/// The state of a request whose handler runs, in the lowest bits of its word.
const RUNNING: u32 = 2;
const STATE_BITS: u32 = 3;

/// Words before the slots' words: the credit for notes.
const CREDIT: usize = 3;

/// The index of the ring's first word.
const RING: usize = (CREDIT + SLOTS).next_multiple_of(32);

/// Returns the words of the slots.
pub(crate) fn words() -> &'static [AtomicU32; SLOTS] {
    all().last_chunk().unwrap()
}

/// Returns the words of the ring, if there is one.
pub(crate) fn ring() -> &'static [AtomicU32; ring::LEN] {
    mapped::<{ RING + ring::LEN }>().last_chunk().unwrap()
}

fn all() -> &'static [AtomicU32; CREDIT + SLOTS] {
    mapped()
}

fn mapped<const LEN: usize>() -> &'static [AtomicU32; LEN] {
    shared().next().unwrap().first_chunk().unwrap()
}

/// Returns the words of the largest shared mapping.
pub(crate) fn largest() -> &'static [AtomicU32] {
    shared().max_by_key(|words| words.len()).unwrap()
}

/// Finds shared mappings by their names in /proc, after a fork and after an exec.
fn shared() -> impl Iterator<Item = &'static [AtomicU32]> {
    let maps = std::fs::read_to_string(proc("self/maps")).unwrap();
    let is_page = |line: &&str| {
        line.contains(" rw-s ") && ["ipc-page", "/dev/zero"].iter().any(|it| line.contains(it))
    };
    let ranges: Vec<_> = maps.lines().filter(is_page).map(range).collect();
    ranges.into_iter().map(|(start, end)| {
        let words = std::ptr::with_exposed_provenance::<AtomicU32>(start);
        // SAFETY: this range stays mapped while the process serves, and every access is atomic.
        unsafe { std::slice::from_raw_parts(words, (end - start) / size_of::<AtomicU32>()) }
    })
}

/// The addresses at the start of a line.
fn range(line: &str) -> (usize, usize) {
    let (start, rest) = line.split_once('-').unwrap();
    let end = rest.split_once(' ').unwrap().0;
    let address = |text| usize::from_str_radix(text, 16).unwrap();
    (address(start), address(end))
}

/// Returns the id of the request that the handler runs, as in frames.
pub(crate) fn own_id() -> u64 {
    let running = |word: &AtomicU32| word.load(Acquire) % (1 << STATE_BITS) == RUNNING;
    let slot = words().iter().position(running).unwrap();
    let generation = words()[slot].load(Acquire) >> STATE_BITS;
    u64::try_from(slot).unwrap() | u64::from(generation) << u32::BITS
}

/// Returns unused ids of the first generations.
pub(crate) fn unused_ids() -> impl Iterator<Item = u64> {
    let first = |word: &AtomicU32| match word.load(Acquire) {
        0 => 0,
        used => (used >> STATE_BITS) + 1,
    };
    let slots = (0..).zip(words()).map(move |(slot, word)| (slot, first(word)));
    slots.flat_map(|(slot, first)| {
        (first..first + 4).map(move |generation| slot | u64::from(generation) << u32::BITS)
    })
}

/// Returns the word of the request that the handler runs.
pub(crate) fn own_word() -> &'static AtomicU32 {
    &words()[usize::try_from(own_id() % (1 << u32::BITS)).unwrap()]
}

/// Writes random words at random places for ever: any state of any generation.
pub(crate) fn scribble(seed: u64) -> ! {
    let (words, mut random) = (all(), Random::seeded(seed));
    loop {
        let word = &words[random.below(words.len())];
        let value = match random.below(4) {
            // Another state of the current request, or of the one before or after it.
            0 => word.load(Relaxed) ^ 7,
            1 => word.load(Relaxed) ^ 3,
            2 => word.load(Relaxed).wrapping_add(1 << STATE_BITS),
            _ => u32::try_from(random.next() >> u32::BITS).unwrap(),
        };
        word.store(value, Relaxed);
        std::thread::sleep(std::time::Duration::from_micros(20));
    }
}
