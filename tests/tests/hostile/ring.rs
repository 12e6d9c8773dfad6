//! The ring shared with main, written to by a hostile worker without the transport. The transport's
//! next chunk would overwrite what is written here, so a lie is the worker's last message.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use ipc_tests::fds;
use ipc_transport::RingEnd;

use crate::{BYTES, page};

/// The length of the ring in words, and the indices of the words that the worker writes.
pub(crate) const LEN: usize = RingEnd::page_len(BYTES);
const HEAD: usize = LEN / 2;
const TAIL: usize = HEAD + 32;
const DATA: usize = HEAD + 64;

const CAPACITY: u32 = 4096;
const WITH_FDS: u32 = 1 << 31;
/// Marks a message that carries descriptors.
pub(crate) const FDS: u8 = 1 << 7;

const _: () = assert!(CAPACITY as usize == BYTES && LEN == 2 * (64 + BYTES / 4));

/// Writes a chunk and announces it.
pub(crate) fn write(bytes: &[u8], with_fds: bool) {
    let words = page::ring();
    let head = head();
    let len = u32::try_from(bytes.len()).unwrap();
    let end = head.wrapping_add(8 + len).next_multiple_of(8);
    while end.wrapping_sub(words[TAIL].load(Acquire) & !7) > CAPACITY {
        std::thread::yield_now();
    }
    write_word(head, if with_fds { len | WITH_FDS } else { len });
    for (place, piece) in (head + 8..).step_by(4).zip(bytes.chunks(4)) {
        let mut word = [0; 4];
        word[..piece.len()].copy_from_slice(piece);
        write_word(place, u32::from_ne_bytes(word));
    }
    go_on(end);
}

/// Announces a chunk of 16 bytes with a wrong length.
pub(crate) fn write_len(len: u32) {
    let head = head();
    write_word(head, len);
    go_on(head + 16);
}

/// Advances the head by `len` bytes without writing any.
pub(crate) fn skip(len: u32) {
    go_on(head().wrapping_add(len));
}

/// Sends bytes over the socket.
pub(crate) fn say(bytes: &[u8]) {
    if rustix::io::write(fds::own_socket(), bytes).is_err() {
        ipc_barrier::exit(0);
    }
}

fn head() -> u32 {
    page::ring()[HEAD].load(Relaxed) & !7
}

fn write_word(position: u32, value: u32) {
    let place = usize::try_from(position % CAPACITY).unwrap() / 4;
    page::ring()[DATA + place].store(value, Release);
}

fn go_on(position: u32) {
    let word: &AtomicU32 = &page::ring()[HEAD];
    word.swap(position, AcqRel);
    // Whether main waits on the socket or not.
    say(b"b");
}
