//! Creates a table in place, so that its slots need no stack.

#![expect(unsafe_code, reason = "slots are written one by one into uninitialized memory")]

use core::mem::MaybeUninit;

use super::{Slot, State, Summary, Table};

impl<Tag, const SLOTS: usize> Table<Tag, SLOTS> {
    /// Initializes an empty table in this memory.
    pub(crate) fn init(place: &mut MaybeUninit<Self>) {
        const { assert!(SLOTS > 0 && SLOTS <= u16::MAX as usize, "1 to 65,535 slots") };
        let table = place.as_mut_ptr();
        // SAFETY: the pointer is to memory of this type, so the field lies within it.
        let slots: *mut Slot<Tag> = unsafe { &raw mut (*table).slots }.cast();
        for slot in (0..).take(SLOTS) {
            // SAFETY: the array has `SLOTS` elements, and this is one of them.
            let place = unsafe { slots.add(slot.into()) };
            let free = Slot { generation: 0, next: slot + 1, state: State::Free, tag: None };
            // SAFETY: this is aligned memory of a slot, with nothing in it to drop.
            unsafe { place.write(free) };
        }
        // SAFETY: as for `slots`.
        let summary = unsafe { &raw mut (*table).summary };
        // SAFETY: as for a slot.
        unsafe { summary.write(Summary::default()) };
    }
}

#[cfg(test)]
impl<Tag, const SLOTS: usize> Table<Tag, SLOTS> {
    pub(crate) fn boxed() -> std::boxed::Box<Self> {
        let mut table = std::boxed::Box::new_uninit();
        Self::init(&mut table);
        // SAFETY: `init` has written every field.
        unsafe { table.assume_init() }
    }

    fn count(&self, is_counted: impl Fn(&State) -> bool) -> usize {
        self.slots.iter().filter(|slot| is_counted(&slot.state)).count()
    }

    pub(crate) fn under_way(&self) -> usize {
        self.count(|state| matches!(state, State::UnderWay(_)))
    }

    pub(crate) fn ended(&self) -> usize {
        self.count(|state| matches!(state, State::Ended(..)))
    }
}
