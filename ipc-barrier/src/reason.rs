//! Why a side gave up: written where the other side can read it after the writer's death.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use ipc_frame::Text;
use ipc_transport::Errno;

/// Bytes of text in a reason.
const TEXT: usize = 48;
/// Words of one side's place: a mark, the stage, the number, the text's length, the text.
pub(crate) const WORDS: usize = 4 + TEXT / 4;
const WRITTEN: u32 = 1;

/// At which step of its set-up a side is; the numbers are the program's own. The barrier only
/// carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage(pub u16);

/// What a side that failed tells the other, by [`End::fail`](crate::End::fail). It is kept in
/// memory that both map, so that it can be read after the writer's death.
///
/// Whatever the peer has written, it is well formed: taken for what the peer says, not for true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The step that failed.
    pub stage: Stage,
    /// The kernel's number; zero where the failure was none of the kernel's.
    pub errno: Errno,
    /// What failed, at most 48 bytes of UTF-8; what was longer is cut.
    pub text: Text<TEXT>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno {
            Errno(0) => write!(f, "stage {}: {}", self.stage.0, self.text),
            errno => write!(f, "stage {}: {}: {errno}", self.stage.0, self.text),
        }
    }
}

/// Leaves a reason in a side's place. The abortion is posted after it, so that whoever sees that
/// reads all of this; the mark's release pairs with the acquire in [`read`].
pub(crate) fn write(place: &[AtomicU32], reason: &Reason) {
    let Some((mark, rest)) = place.split_first() else {
        return;
    };
    let text = reason.text.as_str().as_bytes();
    let numbers = [
        u32::from(reason.stage.0),
        u32::from_ne_bytes(reason.errno.0.to_ne_bytes()),
        u32::try_from(text.len()).unwrap_or(0),
    ];
    let letters = text.chunks(4).map(|chunk| {
        let mut bytes = [0; 4];
        for (byte, letter) in bytes.iter_mut().zip(chunk) {
            *byte = *letter;
        }
        u32::from_ne_bytes(bytes)
    });
    for (word, value) in rest.iter().zip(numbers.into_iter().chain(letters)) {
        word.store(value, Ordering::Relaxed);
    }
    mark.store(WRITTEN, Ordering::Release);
}

/// Reads what a peer may have left. Whatever it wrote, the result is well formed.
pub(crate) fn read(place: &[AtomicU32]) -> Option<Reason> {
    let [mark, stage, errno, len, letters @ ..] = place else {
        return None;
    };
    if mark.load(Ordering::Acquire) != WRITTEN {
        return None;
    }
    let mut text = [0; TEXT];
    for (bytes, word) in text.chunks_mut(4).zip(letters) {
        bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
    }
    let len = usize::try_from(len.load(Ordering::Relaxed)).unwrap_or(0);
    Some(Reason {
        stage: Stage(u16::try_from(stage.load(Ordering::Relaxed)).unwrap_or(u16::MAX)),
        errno: Errno(i32::from_ne_bytes(errno.load(Ordering::Relaxed).to_ne_bytes())),
        text: Text::from_bytes(text.get(..len).unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> [AtomicU32; WORDS] {
        core::array::from_fn(|_| AtomicU32::new(0))
    }

    #[test]
    fn reason_is_read_as_written() {
        let place = place();
        assert_eq!(read(&place), None);
        let reason =
            Reason { stage: Stage(3), errno: Errno(-1), text: Text::new("pivot_root of ünï") };
        write(&place, &reason);
        assert_eq!(read(&place), Some(reason));
    }

    #[test]
    fn whatever_the_peer_wrote_reading_it_is_harmless() {
        let place = place();
        for word in &place {
            word.store(u32::MAX, Ordering::Relaxed);
        }
        assert_eq!(read(&place), None, "the mark is not ours");
        place[0].store(WRITTEN, Ordering::Relaxed);
        let reason = read(&place).unwrap();
        assert_eq!((reason.stage, reason.text.as_str()), (Stage(u16::MAX), ""));
    }
}
