//! Creates inboxes and outboxes in place that are too large for the stack.

#![expect(unsafe_code, reason = "values too large for the stack are written field by field")]

use core::mem::MaybeUninit;

use crate::joining::held::Held;
use crate::joining::inbox::{Inbox, Joins};
use crate::joining::outbox::Outbox;

impl<const BYTES: usize> Inbox<BYTES> {
    /// Creates an empty inbox in place, for a static or a box. The stack use does not depend on
    /// `BYTES`.
    ///
    /// ```
    /// use ipc_transport::Inbox;
    ///
    /// let mut slot = Box::<Inbox<1_000_000>>::new_uninit();
    /// let inbox = Inbox::init(&mut slot);
    /// assert!(!inbox.has_frame());
    /// ```
    pub fn init(slot: &mut MaybeUninit<Self>) -> &mut Self {
        let place = slot.as_mut_ptr();
        // SAFETY: the slot has room for the whole inbox.
        let decoder = unsafe { &raw mut (*place).decoder };
        // SAFETY: as above.
        let joined = unsafe { &raw mut (*place).joined };
        // SAFETY: the field is within the slot, and all zeros is an empty decoder.
        unsafe { decoder.write_bytes(0, 1) };
        // SAFETY: the field lies within the slot.
        unsafe { joined.write(Joins::new()) };
        // SAFETY: both fields were written.
        unsafe { slot.assume_init_mut() }
    }
}

impl<const BYTES: usize, const FRAMES: usize> Outbox<BYTES, FRAMES> {
    /// Creates an empty outbox in place, for a static or a box. The stack use does not depend on
    /// `BYTES` or `FRAMES`.
    pub fn init(slot: &mut MaybeUninit<Self>) -> &mut Self {
        let place = slot.as_mut_ptr();
        // SAFETY: the slot has room for the whole outbox.
        let queue = unsafe { &raw mut (*place).queue };
        // SAFETY: as above.
        let held = unsafe { &raw mut (*place).held };
        // SAFETY: the field is within the slot, and all zeros is an empty queue.
        unsafe { queue.write_bytes(0, 1) };
        // SAFETY: the field lies within the slot.
        unsafe { held.write(Held::new()) };
        // SAFETY: both fields were written.
        unsafe { slot.assume_init_mut() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;

    use ipc_frame::Header;

    use crate::Loopback;

    /// Large values would take miri too long.
    const BYTES: usize = if cfg!(miri) { 4096 } else { 8 << 20 };
    const FRAMES: usize = if cfg!(miri) { 64 } else { 100_000 };

    #[test]
    fn values_over_the_stack_are_made_in_place_and_work() {
        let small = std::thread::Builder::new().stack_size(64 << 10);
        let on_a_small_stack = || {
            let mut outbox = Box::<Outbox<BYTES, FRAMES>>::new_uninit();
            let mut inbox = Box::<Inbox<BYTES>>::new_uninit();
            let (outbox, inbox) = (Outbox::init(&mut outbox), Inbox::init(&mut inbox));
            let mut loopback = Box::new(Loopback::<64>::new());
            let (mut left, mut right) = loopback.ends();
            outbox.push(Header::request(1, 7), &[b"hello"]).unwrap();
            assert!(outbox.flush(&mut left).unwrap().complete);
            _ = inbox.receive(&mut right).unwrap();
            assert_eq!(inbox.advance().unwrap().unwrap().id(), 7);
            assert_eq!(inbox.current().payload, b"hello");
            outbox.retire_sent();
            assert!(!outbox.has_unsent());
        };
        small.spawn(on_a_small_stack).unwrap().join().unwrap();
    }
}
