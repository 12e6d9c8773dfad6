//! Where a side leaves its reason: words of memory that the other side can read after the writer's
//! death.

use core::iter::{from_fn, once, repeat_n};
use core::sync::atomic::{AtomicU32, Ordering};

use ipc_frame::Text;
use ipc_transport::Errno;

use crate::process::{NAME, Reason, TEXT};

/// Words of one side's place: a mark, the number, and both texts, which end at a zero byte or where
/// their room ends; rounded up to whole cache lines.
pub(crate) const WORDS: usize = 32;
const WRITTEN: u32 = 1;

const _: () =
    assert!(2 + (NAME + TEXT) / 4 <= WORDS && NAME.is_multiple_of(4) && TEXT.is_multiple_of(4));

/// Leaves a reason in a side's place. The abort is posted after it, so the side that sees the abort
/// reads all of the reason; the mark's release pairs with the acquire in [`read`].
pub(crate) fn write(place: &[AtomicU32], reason: &Reason) {
    let Some((mark, rest)) = place.split_first() else {
        return;
    };
    let errno = u32::from_ne_bytes(reason.errno.0.to_ne_bytes());
    let name = words(reason.stage.as_str(), NAME);
    let values = once(errno).chain(name).chain(words(reason.text.as_str(), TEXT));
    for (word, value) in rest.iter().zip(values) {
        word.store(value, Ordering::Relaxed);
    }
    mark.store(WRITTEN, Ordering::Release);
}

fn words(text: &str, room: usize) -> impl Iterator<Item = u32> {
    let mut bytes = text.bytes().chain(repeat_n(0, room - text.len().min(room)));
    from_fn(move || {
        let word = [bytes.next()?, bytes.next()?, bytes.next()?, bytes.next()?];
        Some(u32::from_ne_bytes(word))
    })
}

/// Reads the peer's place. Whatever the peer wrote, the result is well formed.
pub(crate) fn read(place: &[AtomicU32]) -> Option<Reason> {
    let [mark, errno, rest @ ..] = place else {
        return None;
    };
    let (name, rest) = rest.split_at_checked(NAME / 4)?;
    if mark.load(Ordering::Acquire) != WRITTEN {
        return None;
    }
    let errno = Errno(i32::from_ne_bytes(errno.load(Ordering::Relaxed).to_ne_bytes()));
    let stage = text::<NAME>(name);
    Some(Reason::new(stage.as_str(), errno, text::<TEXT>(rest).as_str()))
}

fn text<const LEN: usize>(words: &[AtomicU32]) -> Text<LEN> {
    let mut bytes = [0; LEN];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
    }
    Text::from_bytes(bytes.split(|&byte| byte == 0).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Stage;

    fn place() -> [AtomicU32; WORDS] {
        core::array::from_fn(|_| AtomicU32::new(0))
    }

    #[test]
    fn a_reason_is_read_as_written() {
        let place = place();
        assert_eq!(read(&place), None);
        let stages = ["", "a", "ünï", "a name of twenty one"].map(Stage::from);
        for stage in stages.into_iter().chain([0, 3, u16::MAX].map(Stage::from)) {
            let long = "x".repeat(TEXT);
            for (errno, text) in [(-1, "pivot_root of ünï"), (i32::MAX, ""), (0, long.as_str())] {
                let reason = Reason::new(stage, Errno(errno), text);
                write(&place, &reason);
                assert_eq!(read(&place), Some(reason));
            }
        }
    }

    #[test]
    fn whatever_the_peer_wrote_reading_it_is_harmless() {
        let place = place();
        for word in &place {
            word.store(u32::MAX, Ordering::Relaxed);
        }
        assert_eq!(read(&place), None, "the mark is not ours");
        place[0].store(WRITTEN, Ordering::Relaxed);
        assert_eq!(read(&place), Some(Reason::new("", Errno(-1), "")));
    }
}
