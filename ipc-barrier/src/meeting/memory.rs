//! What both sides map: a word of the page lane for each direction, and a place for each side's
//! reason. A side is meant by its index, see [`Role`](super::role::Role).

use core::sync::atomic::AtomicU32;

use ipc_transport::{SharedPage, SystemError};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::place;

/// Where the places begin: on the second cache line. The words that are added to share the first:
/// a side takes a token and gives one while it has that line, which so travels there and back once
/// in a round, not twice.
const PLACES: usize = 16;
pub(crate) const WORDS: usize = PLACES + 2 * place::WORDS;

/// The memory of a barrier. Whatever the peer may have written in it is input.
#[derive(Debug)]
pub struct Memory {
    pub(crate) page: SharedPage,
    /// The file that the memory is of, where it has to outlive an exec.
    pub(crate) file: Option<OwnedFd>,
}

impl Memory {
    /// Maps memory that is gone when its processes end or call exec.
    pub(crate) fn anonymous() -> Result<Self, SystemError> {
        Ok(Self { page: SharedPage::new(WORDS)?, file: None })
    }

    /// Maps memory that the program after an exec can map again.
    pub(crate) fn with_file() -> Result<Self, SystemError> {
        let (page, file) = SharedPage::with_file(WORDS)?;
        Ok(Self { page, file: Some(file) })
    }

    pub(crate) fn file(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// The word that a side adds to and the other takes from.
    #[inline]
    pub(crate) fn word(&self, of: usize) -> Option<&AtomicU32> {
        self.page.words().get(of)
    }

    /// The place for a side's reason.
    pub(crate) fn place(&self, of: usize) -> &[AtomicU32] {
        let start = PLACES + of * place::WORDS;
        self.page.words().get(start..start + place::WORDS).unwrap_or_default()
    }
}
