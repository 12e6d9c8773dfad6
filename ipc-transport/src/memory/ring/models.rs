//! loom models of one track: `cargo xtask loom` tries every interleaving of two threads.
//!
//! Sleeps have no deadline here, so a lost wake-up is a deadlock, which loom reports. Limits: loom
//! never lets a load see a later store. So it cannot notice a copy out of the ring that is delayed
//! until the bytes are overwritten; the release in [`Cursor::publish`] forbids that. It treats
//! `SeqCst` accesses as weaker than they are; the ring has none. The number of preemptions is
//! bounded.

use core::sync::atomic::Ordering::Relaxed;

use std::vec::Vec;

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::consumer::{Consumer, Next};
use super::cursor::{Asleep, Cursor};
use super::producer::Producer;
use super::track::Track;
use crate::memory::words::AtomicU32;

/// Twice as many bytes as fit, so that each side waits for the other.
const BYTES: u8 = 128;

/// How a side sleeps.
#[derive(Clone, Copy)]
enum Way {
    OnWord,
    OnSocket,
    /// On the word until a timeout, and then at the socket.
    OnWordFirst,
}

/// The places where a side sleeps: the word, like futex(2), and the socket with its bells.
struct Bed {
    bells: Mutex<usize>,
    changed: Condvar,
}

impl Bed {
    fn new() -> Self {
        Self { bells: Mutex::new(0), changed: Condvar::new() }
    }

    /// As in futex(2), no wake-up can come between the comparison and the sleep.
    fn sleep_on(&self, word: &AtomicU32, value: u32) {
        let bells = self.bells.lock().unwrap();
        if word.load(Relaxed) == value {
            drop(self.changed.wait(bells).unwrap());
        }
    }

    fn sleep_at_socket(&self) {
        let mut bells = self.bells.lock().unwrap();
        while *bells == 0 {
            bells = self.changed.wait(bells).unwrap();
        }
        *bells = 0;
    }

    fn wake(&self, asleep: Asleep) {
        if asleep != Asleep::No {
            *self.bells.lock().unwrap() += usize::from(asleep == Asleep::OnSocket);
            self.changed.notify_one();
        }
    }

    /// Sleeps until the other side moves on from a position.
    fn sleep(&self, cursor: Cursor<'_>, position: u32, way: Way) {
        match way {
            Way::OnWord => {
                if let Some(word) = cursor.sleep(position, Asleep::OnWord) {
                    self.sleep_on(cursor.word(), word);
                }
            }
            Way::OnSocket => {
                if cursor.sleep(position, Asleep::OnSocket).is_some() {
                    self.sleep_at_socket();
                }
            }
            Way::OnWordFirst => {
                if cursor.sleep(position, Asleep::OnWord).is_some() {
                    self.sleep(cursor, position, Way::OnSocket);
                }
            }
        }
    }
}

/// The shared words, and where each side sleeps.
struct Both {
    words: Vec<AtomicU32>,
    writer: Bed,
    reader: Bed,
}

impl Both {
    fn new() -> Self {
        Self {
            words: (0..Track::page_len(0)).map(|_| AtomicU32::new(0)).collect(),
            writer: Bed::new(),
            reader: Bed::new(),
        }
    }

    fn track(&self) -> Track<'_> {
        Track::of(&self.words, true).unwrap()
    }

    fn write(&self, way: Way) {
        let (producer, track) = (Producer::new(), self.track());
        let bytes: Vec<u8> = (0..BYTES).collect();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match producer.put(track, &[rest], false).unwrap() {
                Some(put) => {
                    self.reader.wake(put.asleep);
                    rest = &rest[put.len..];
                }
                None => self.writer.sleep(track.tail, producer.tail(), way),
            }
        }
    }

    fn read(&self, way: Way) {
        let (mut consumer, track) = (Consumer::new(), self.track());
        let mut next = 0;
        while next < BYTES {
            if consumer.next(track).unwrap() == Some(Next::Bytes) {
                let mut space = [0; 64];
                let (len, asleep) = consumer.take(track, &mut space);
                self.writer.wake(asleep);
                for byte in &space[..len] {
                    assert_eq!(*byte, next);
                    next += 1;
                }
            } else {
                self.reader.sleep(track.head, consumer.end().unwrap(), way);
            }
        }
    }
}

fn all_bytes_arrive(writer: Way, reader: Way) {
    loom::model(move || {
        let both = Arc::new(Both::new());
        let other = Arc::clone(&both);
        let thread = thread::spawn(move || other.write(writer));
        both.read(reader);
        thread.join().unwrap();
    });
}

/// The socket has room for one message. The reader publishes its tail after each that it takes.
#[test]
fn a_writer_that_waits_for_room_in_the_socket_sends_all_messages() {
    loom::model(|| {
        let both = Arc::new((Both::new(), Mutex::new(false)));
        let other = Arc::clone(&both);
        let thread = thread::spawn(move || {
            let (both, is_full) = &*other;
            let send = || !std::mem::replace(&mut *is_full.lock().unwrap(), true);
            let tail = both.track().tail;
            for _ in 0..2 {
                while !send() {
                    let is_armed = tail.sleep(tail.position(), Asleep::OnSocket).is_some();
                    if send() {
                        break;
                    }
                    assert!(is_armed, "the position does not change here");
                    both.writer.sleep_at_socket();
                }
                both.reader.wake(Asleep::OnSocket);
            }
        });
        let (both, is_full) = &*both;
        let mut taken = 0;
        while taken < 2 {
            both.reader.sleep_at_socket();
            taken += usize::from(std::mem::take(&mut *is_full.lock().unwrap()));
            both.writer.wake(Consumer::new().publish(both.track()));
        }
        thread.join().unwrap();
    });
}

#[test]
fn two_that_sleep_on_the_words_get_all_bytes() {
    all_bytes_arrive(Way::OnWord, Way::OnWord);
}

#[test]
fn two_that_sleep_at_the_socket_get_all_bytes() {
    all_bytes_arrive(Way::OnSocket, Way::OnSocket);
}

#[test]
fn a_reader_that_goes_from_the_word_to_the_socket_gets_all_bytes() {
    all_bytes_arrive(Way::OnWord, Way::OnWordFirst);
}
