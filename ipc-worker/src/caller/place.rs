//! Creates main's side in place, so that its size needs no stack.

#![expect(unsafe_code, reason = "fields are written one by one into uninitialized memory")]

use core::mem::MaybeUninit;

use ipc_transport::{Inbox, Outbox};

use super::{Caller, Last};
use crate::ledger::Table;

impl<Tag, const SLOTS: usize, const BYTES: usize> Caller<Tag, SLOTS, BYTES> {
    /// Initializes an empty caller in this memory.
    pub(crate) fn init(place: &mut MaybeUninit<Self>) {
        let caller = place.as_mut_ptr();
        // SAFETY: the pointer is to memory of this type, so the field lies within it.
        let table = unsafe { &raw mut (*caller).table };
        // SAFETY: uninitialized memory is valid as a `MaybeUninit`, and nothing else refers to it.
        Table::<Tag, SLOTS>::init(unsafe { &mut *table.cast() });
        // SAFETY: as for the table.
        let outbox = unsafe { &raw mut (*caller).outbox };
        // SAFETY: as for the table.
        Outbox::<BYTES, SLOTS>::init(unsafe { &mut *outbox.cast() });
        // SAFETY: as for the table.
        let inbox = unsafe { &raw mut (*caller).inbox };
        // SAFETY: as for the table.
        Inbox::<BYTES>::init(unsafe { &mut *inbox.cast() });
        // SAFETY: as for the table.
        let last = unsafe { &raw mut (*caller).last };
        // SAFETY: this is aligned memory of this type, with nothing in it to drop.
        unsafe { last.write(Last::new()) };
    }
}
