//! What both sides map: a word of the page lane for each direction, and a place for each side's
//! reason.

use core::sync::atomic::AtomicU32;

use ipc_transport::{SharedPage, SystemError};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::lane::Broken;
use crate::reason;

/// Which side an end is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Parent,
    Child,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Parent => Self::Child,
            Self::Child => Self::Parent,
        }
    }

    /// Its place where the parent comes first.
    const fn index(self) -> usize {
        match self {
            Self::Parent => 0,
            Self::Child => 1,
        }
    }
}

/// Words of a line of the processor's cache.
const LINE: usize = 16;
/// The words that are added to come first, both on one line: a side takes a token and gives its own
/// while it has that line, which so goes there and back once in a round, and not twice.
const REASONS: usize = LINE;
const WORDS: usize = REASONS + 2 * reason::WORDS;

const _: () = assert!(reason::WORDS.is_multiple_of(LINE), "each reason begins a line");

/// The memory of a barrier. Whatever the peer may have written in it is input.
#[derive(Debug)]
pub struct Memory {
    page: SharedPage,
    /// What the memory is of, where it has to outlive an exec.
    file: Option<OwnedFd>,
}

impl Memory {
    pub(crate) const fn new(page: SharedPage, file: Option<OwnedFd>) -> Self {
        Self { page, file }
    }

    /// Maps memory that goes with the processes, and at an exec.
    pub(crate) fn anonymous() -> Result<Self, SystemError> {
        Ok(Self::new(SharedPage::new(WORDS)?, None))
    }

    /// Maps memory that the program after an exec can map again.
    pub(crate) fn with_file() -> Result<Self, SystemError> {
        let (page, file) = SharedPage::with_file(WORDS)?;
        Ok(Self::new(page, Some(file)))
    }

    /// Maps the memory of a barrier that was made before an exec.
    pub(crate) fn map(file: BorrowedFd<'_>) -> Result<SharedPage, SystemError> {
        SharedPage::of_file(file, WORDS)
    }

    pub(crate) fn file(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// The word that a side adds to and the other takes from.
    #[inline]
    pub(crate) fn word(&self, from: Side) -> Result<&AtomicU32, Broken> {
        self.page.words().get(from.index()).ok_or(Broken)
    }

    /// The words of a side's reason.
    pub(crate) fn reason(&self, of: Side) -> &[AtomicU32] {
        let start = REASONS + of.index() * reason::WORDS;
        self.page.words().get(start..start + reason::WORDS).unwrap_or_default()
    }
}
