//! Why a side gave up: written where the other side can read it after the writer's death.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use ipc_frame::Text;
use ipc_transport::{Errno, SharedPage};

/// Bytes of text in a reason.
const TEXT: usize = 48;
/// Words of one side's place: a mark, the stage, the number, the text's length, the text.
const WORDS: usize = 4 + TEXT / 4;
const WRITTEN: u32 = 1;

/// At which step of its set-up a side is; the numbers are the program's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage(pub u16);

/// What a side that failed tells the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The step that failed.
    pub stage: Stage,
    /// The kernel's number; zero where the failure was none of the kernel's.
    pub errno: Errno,
    /// What failed, at most 48 bytes.
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

/// Which of the two places in the page is whose.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Parent,
    Child,
}

/// The page in which both sides may leave a reason.
#[derive(Debug)]
pub(crate) struct Reasons(SharedPage);

impl Reasons {
    pub(crate) fn new() -> Result<Self, ipc_transport::SystemError> {
        SharedPage::new(2 * WORDS).map(Self)
    }

    /// Leaves a reason. The abortion is posted after it, so that whoever sees that reads all of
    /// this; the mark's release pairs with the acquire in [`read`](Self::read).
    pub(crate) fn write(&self, place: Place, reason: &Reason) {
        let Some((mark, rest)) = self.place(place).split_first() else {
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
    pub(crate) fn read(&self, place: Place) -> Option<Reason> {
        let [mark, stage, errno, len, letters @ ..] = self.place(place) else {
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

    fn place(&self, place: Place) -> &[AtomicU32] {
        let start = match place {
            Place::Parent => 0,
            Place::Child => WORDS,
        };
        self.0.words().get(start..start + WORDS).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_is_read_as_written() {
        let reasons = Reasons::new().unwrap();
        assert_eq!(reasons.read(Place::Child), None);
        let reason =
            Reason { stage: Stage(3), errno: Errno(-1), text: Text::new("pivot_root of ünï") };
        reasons.write(Place::Child, &reason);
        assert_eq!(reasons.read(Place::Child), Some(reason));
        assert_eq!(reasons.read(Place::Parent), None);
    }

    #[test]
    fn whatever_the_peer_wrote_reading_it_is_harmless() {
        let reasons = Reasons::new().unwrap();
        for word in reasons.0.words() {
            word.store(u32::MAX, Ordering::Relaxed);
        }
        assert_eq!(reasons.read(Place::Parent), None, "the mark is not ours");
        reasons.place(Place::Parent)[0].store(WRITTEN, Ordering::Relaxed);
        let reason = reasons.read(Place::Parent).unwrap();
        assert_eq!((reason.stage, reason.text.as_str()), (Stage(u16::MAX), ""));
    }
}
