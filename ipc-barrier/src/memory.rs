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
}

/// Words from one side's part to the other's: whole lines of the processor's cache.
const STRIDE: usize = 64;
/// Where in its part a side's reason lies; its outgoing word lies first, on a line of its own.
const REASON: usize = 16;
const WORDS: usize = 2 * STRIDE;

const _: () = assert!(REASON + reason::WORDS <= STRIDE, "a reason fits in its side's part");

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
        self.part(from).first().ok_or(Broken)
    }

    /// The words of a side's reason.
    pub(crate) fn reason(&self, of: Side) -> &[AtomicU32] {
        self.part(of).get(REASON..REASON + reason::WORDS).unwrap_or_default()
    }

    #[inline]
    fn part(&self, of: Side) -> &[AtomicU32] {
        let start = match of {
            Side::Parent => 0,
            Side::Child => STRIDE,
        };
        self.page.words().get(start..start + STRIDE).unwrap_or_default()
    }
}
