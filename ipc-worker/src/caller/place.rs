//! Main's side made in place, which needs no stack however large it is.

#![expect(unsafe_code, reason = "fields are written one by one into memory that holds none yet")]

use core::mem::MaybeUninit;
use core::ptr::addr_of_mut;

use ipc_transport::{FdList, Inbox, Outbox};

use super::{Caller, Last};
use crate::counters::Counters;
use crate::ledger::Table;

impl<Tag, const SLOTS: usize, const BYTES: usize> Caller<Tag, SLOTS, BYTES> {
    /// Makes an empty caller in the memory given.
    pub(crate) fn init(place: &mut MaybeUninit<Self>) {
        let caller = place.as_mut_ptr();
        // SAFETY: the pointer is to memory of this type, so the field lies within it; memory that
        // may be anything is a `MaybeUninit`, and nothing else refers to it.
        Table::init(unsafe { &mut *addr_of_mut!((*caller).table).cast() });
        // SAFETY: as above.
        Outbox::init(unsafe { &mut *addr_of_mut!((*caller).outbox).cast() });
        // SAFETY: as above.
        Inbox::init(unsafe { &mut *addr_of_mut!((*caller).inbox).cast() });
        // SAFETY: the field lies within the memory, and holds nothing to be dropped.
        unsafe { addr_of_mut!((*caller).counters).write(Counters::default()) };
        let last = Last { id: None, frame: None, fds: FdList::new() };
        // SAFETY: as for the counters.
        unsafe { addr_of_mut!((*caller).last).write(last) };
    }
}
