//! The two sides of a ring. Between their calls, a hostile peer writes anything anywhere.

#![no_main]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use libfuzzer_sys::fuzz_target;

#[path = "../../../ipc-transport/src/memory"]
#[allow(dead_code, reason = "the transport uses all of it")]
mod memory {
    mod copy;
    pub(crate) mod ring {
        mod bytes;
        pub(crate) mod consumer;
        pub(crate) mod cursor;
        pub(crate) mod producer;
        pub(crate) mod track;
    }
    pub(crate) mod words;
}

use memory::ring::consumer::{Consumer, Next};
use memory::ring::cursor::{Asleep, Cursor};
use memory::ring::producer::Producer;
use memory::ring::track::Track;

/// Small, so that positions soon wrap around the ring.
const BYTES: usize = 64;

/// The tail's word, and the first word of the data.
const TAIL: usize = 32;
const DATA: usize = 64;

fuzz_target!(|input: &[u8]| {
    let words: Vec<_> = (0..Track::page_len(BYTES)).map(|_| AtomicU32::new(0)).collect();
    let mut run = Run::of(&words);
    for step in input.chunks_exact(5) {
        let [what, a, b, c, d] = *step else { return };
        let value = u32::from_le_bytes([a, b, c, d]);
        match what % 8 {
            0 | 1 => run.put(a, b, c & 1 != 0),
            2 | 3 => run.take(usize::from(a)),
            4 => run.reader_sleeps(a),
            5 => run.writer_sleeps(a),
            // Harmless: this wakes a side that is awake.
            6 => _ = words[if a & 1 == 0 { 0 } else { TAIL }].fetch_or(value >> 30, Relaxed),
            _ => {
                let place = [0, TAIL, DATA + usize::from(what >> 4)][usize::from(what >> 3) % 3];
                // Plausible values find more.
                let value = if d & 1 == 0 { u32::from(a) } else { value };
                words[place].store(value, Relaxed);
                run.is_harmed = true;
            }
        }
    }
});

struct Run<'a> {
    track: Track<'a>,
    producer: Producer,
    consumer: Consumer,
    /// The writer's calls: their bytes, and whether they carried descriptors.
    calls: VecDeque<(Vec<u8>, bool)>,
    next_byte: u8,
    /// The peer wrote a word that an honest side would not write.
    is_harmed: bool,
}

impl<'a> Run<'a> {
    fn of(words: &'a [AtomicU32]) -> Self {
        let track = Track::of(words, true).unwrap();
        let (producer, consumer) = (Producer::new(), Consumer::new());
        Self { track, producer, consumer, calls: VecDeque::new(), next_byte: 0, is_harmed: false }
    }

    fn put(&mut self, len: u8, cut: u8, with_fds: bool) {
        let offer: Vec<u8> = (0..len).map(|place| self.next_byte.wrapping_add(place)).collect();
        let (one, other) = offer.split_at(offer.len().min(usize::from(cut)));
        match self.producer.put(self.track, &[one, other], with_fds) {
            Ok(Some(put)) => {
                assert!(put.len > 0 && put.len <= offer.len().min(BYTES - 8));
                self.next_byte = self.next_byte.wrapping_add(put.len as u8);
                self.calls.push_back((offer[..put.len].to_vec(), with_fds));
            }
            Ok(None) => {
                let is_full = matches!(self.producer.room(self.track, 1), Ok(0));
                assert!(offer.is_empty() || is_full);
            }
            Err(_) => assert!(self.is_harmed),
        }
    }

    fn take(&mut self, len: usize) {
        let next = self.consumer.next(self.track);
        assert!(self.is_harmed || next.map(|next| next.is_some()) == Ok(!self.calls.is_empty()));
        assert_eq!(self.consumer.next(self.track), next, "asked again");
        assert!(self.consumer.waiting(self.track) <= BYTES);
        let mut space = [0xee; 300];
        let mut len = len;
        if next == Ok(Some(Next::WithFds)) {
            len = len.min(self.consumer.fetched());
            let first = self.calls.front_mut().map(|(_, with_fds)| std::mem::take(with_fds));
            assert!(self.is_harmed || first == Some(true));
        }
        let (taken, _) = self.consumer.take(self.track, &mut space[..len]);
        assert!(taken <= len.min(2 * BYTES), "what was left, and once around the ring");
        assert!(space[len..].iter().all(|byte| *byte == 0xee), "beyond the space");
        if !self.is_harmed {
            assert_eq!(space[..taken], self.expected(len));
        }
    }

    /// The bytes before the next descriptors.
    fn expected(&mut self, len: usize) -> Vec<u8> {
        let mut expected = Vec::new();
        while let Some((bytes, false)) = self.calls.front_mut() {
            let count = bytes.len().min(len - expected.len());
            expected.extend(bytes.drain(..count));
            if !bytes.is_empty() {
                break;
            }
            self.calls.pop_front();
        }
        expected
    }

    fn reader_sleeps(&self, how: u8) {
        if let Some(end) = self.consumer.end() {
            self.sleeps(self.track.head, end, how);
        }
    }

    fn writer_sleeps(&self, how: u8) {
        self.sleeps(self.track.tail, self.producer.tail(), how);
    }

    /// The next publish reports a side that sleeps at the published position.
    fn sleeps(&self, cursor: Cursor<'_>, position: u32, how: u8) {
        let how = [Asleep::No, Asleep::OnWord, Asleep::OnSocket][usize::from(how) % 3];
        let is_there = cursor.position() == position;
        let slept = cursor.sleep(position, how);
        assert_eq!(slept.is_some(), is_there);
        assert!(slept.is_none_or(|word| word == cursor.word().load(Relaxed)));
        if is_there {
            assert_eq!(cursor.publish(position), how);
        }
    }
}
