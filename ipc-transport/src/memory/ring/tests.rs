//! Tests of one track: against a model, with wrapping positions, and with words from a hostile
//! peer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::vec::Vec;

use super::consumer::{Consumer, Next};
use super::cursor::Asleep;
use super::producer::Producer;
use super::track::{BrokenRing, Track};

const BYTES: usize = 64;

fn words() -> Vec<AtomicU32> {
    (0..Track::page_len(BYTES)).map(|_| AtomicU32::new(0)).collect()
}

fn track(words: &[AtomicU32]) -> Track<'_> {
    Track::of(words, true).unwrap()
}

/// Pseudo-random numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// Compares both sides with a model, byte by byte: bytes in order, and calls that had descriptors
/// separate from all others.
fn agrees_with_the_model(start: u32, seed: u64, steps: usize) {
    let words = words();
    let track = track(&words);
    let (producer, mut consumer) = (Producer::starting_at(start), Consumer::starting_at(start));
    track.head.publish(start);
    track.tail.publish(start);
    let mut numbers = Numbers(seed);
    // Each call: its bytes, and whether it had descriptors.
    let mut model: VecDeque<(Vec<u8>, bool)> = VecDeque::new();
    let mut next_byte = 0_u8;
    for _ in 0..steps {
        if numbers.below(2) == 0 {
            let offer: Vec<u8> = (0..numbers.below(80))
                .map(|offset| next_byte.wrapping_add(u8::try_from(offset).unwrap()))
                .collect();
            let (one, other) = offer.split_at(numbers.below(offer.len() + 1));
            let with_fds = numbers.below(3) == 0;
            let put = producer.put(track, &[one, other], with_fds).unwrap();
            let len = put.map_or(0, |put| put.len);
            assert!(len <= offer.len());
            assert!(len > 0 || offer.is_empty() || producer.room(track, 1) == Ok(0));
            if len > 0 {
                next_byte = next_byte.wrapping_add(u8::try_from(len).unwrap());
                model.push_back((offer[..len].to_vec(), with_fds));
            }
            continue;
        }
        let next = consumer.next(track).unwrap();
        assert_eq!(next.is_none(), model.is_empty());
        assert_eq!(consumer.is_empty(track), model.is_empty());
        let unfetched = model.iter().filter(|(_, with_fds)| *with_fds).count();
        let numbers_between = producer.number().wrapping_sub(consumer.number());
        assert_eq!(usize::from(numbers_between), unfetched);
        let unread: usize = model.iter().map(|(bytes, _)| bytes.len()).sum();
        assert!((unread..=BYTES).contains(&consumer.waiting(track)));
        let mut space = [0; 90];
        let mut limit = 1 + numbers.below(space.len() - 1);
        if next == Some(Next::WithFds) {
            let first = model.front_mut().unwrap();
            assert!(std::mem::take(&mut first.1));
            limit = limit.min(consumer.fetched());
        }
        let (taken, _) = consumer.take(track, &mut space[..limit]);
        let mut expected = Vec::new();
        while let Some((bytes, false)) = model.front_mut() {
            let len = bytes.len().min(limit - expected.len());
            expected.extend(bytes.drain(..len));
            if !bytes.is_empty() {
                break;
            }
            model.pop_front();
        }
        assert_eq!(space[..taken], expected);
    }
}

#[test]
fn what_goes_in_comes_out_as_a_model_says() {
    let steps = if cfg!(miri) { 300 } else { 20_000 };
    for (start, seed) in [(0, 1), (u32::MAX - 7, 2), (u32::MAX - 4095, 3), (1 << 31, 4)] {
        agrees_with_the_model(start, seed, steps);
    }
}

#[test]
fn going_on_tells_how_the_other_side_sleeps_and_sleeping_fails_where_it_has_gone_on() {
    let words = words();
    let track = track(&words);
    assert_eq!(track.head.publish(8), Asleep::No);
    assert_eq!(track.head.sleep(0, Asleep::OnWord), None, "it has gone on");
    let word = track.head.sleep(8, Asleep::OnWord).unwrap();
    assert_eq!(word, track.head.word().load(Relaxed), "what a futex compares");
    assert_eq!(track.head.sleep(8, Asleep::OnSocket), Some(8 | 2), "elsewhere now");
    assert_eq!(track.head.position(), 8);
    assert_eq!(track.head.publish(16), Asleep::OnSocket);
    assert_eq!(track.head.publish(24), Asleep::No, "woken once");
}

#[test]
fn cursors_and_lengths_that_cannot_be_are_told_and_read_nothing_out_of_bounds() {
    let words = words();
    let track = track(&words);
    let data = 64;
    for head in [72, 1 << 31, u32::MAX - 7] {
        words[0].store(head, Relaxed);
        assert_eq!(Consumer::new().next(track), Err(BrokenRing), "head {head}");
    }
    words[0].store(24, Relaxed);
    for len in [0, 17, 24, 1 << 30, u32::MAX, 1 << 31] {
        words[data].store(len, Relaxed);
        let mut consumer = Consumer::new();
        assert_eq!(consumer.next(track), Err(BrokenRing), "length {len:#x}");
        assert_eq!(consumer.take(track, &mut [0; 99]).0, 0);
    }
    words[data].store(16, Relaxed);
    assert_eq!(Consumer::new().next(track), Ok(Some(Next::Bytes)));
    for tail in [8, 1 << 31, u32::MAX - 71] {
        words[32].store(tail, Relaxed);
        assert_eq!(Producer::new().room(track, 1000), Err(BrokenRing), "tail {tail}");
    }
}

/// A peer that writes any value to any word at any time.
#[test]
fn random_words_end_in_an_error_or_in_bytes_and_never_in_a_panic() {
    let words = words();
    let track = track(&words);
    let mut numbers = Numbers(7);
    for _ in 0..if cfg!(miri) { 100 } else { 20_000 } {
        let (producer, mut consumer) = (Producer::new(), Consumer::new());
        for word in &words {
            word.store(0, Relaxed);
        }
        for _ in 0..20 {
            let place = [0, 32, 64 + numbers.below(16)][numbers.below(3)];
            let value = [numbers.below(200), numbers.below(1 << 31) * 2][numbers.below(2)];
            words[place].store(u32::try_from(value).unwrap_or(u32::MAX), Relaxed);
            _ = producer.put(track, &[&[1; 30]], false);
            let mut space = [0; 99];
            if let Ok(Some(next)) = consumer.next(track) {
                if next == Next::WithFds {
                    consumer.fetched();
                }
                assert!(consumer.take(track, &mut space).0 <= BYTES);
            }
        }
    }
}

#[test]
fn a_page_of_another_length_holds_no_tracks() {
    for len in [0, 1, 64, 128, 200] {
        let words: Vec<_> = (0..len).map(|_| AtomicU32::new(0)).collect();
        let tracks = [true, false].map(|is_first| Track::of(&words, is_first));
        assert!(tracks.iter().any(Option::is_none), "{len}");
    }
    assert_eq!([0, 64, 65, 4096].map(Track::page_len), [160, 160, 192, 2176]);
}
