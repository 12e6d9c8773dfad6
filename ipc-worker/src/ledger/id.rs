//! The id that matches an answer to its request.

/// Identifies an accepted request until its outcome is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    pub(super) slot: u16,
    pub(super) generation: u32,
}

impl RequestId {
    /// Bits of a shared word for the state of a request.
    pub(super) const STATE_BITS: u32 = 3;
    /// Generations wrap at this number, which the other bits of a shared word can hold.
    pub(super) const GENERATIONS: u32 = 1 << (u32::BITS - Self::STATE_BITS);

    /// Returns its slot. No two requests have the same one at the same time.
    pub(crate) const fn slot(self) -> u16 {
        self.slot
    }

    /// Returns the id as it is sent in a frame.
    #[inline]
    pub(crate) fn to_wire(self) -> u64 {
        u64::from(self.slot) | u64::from(self.generation) << u32::BITS
    }

    /// Reads an id that a peer sent. Its slot may not exist.
    #[inline]
    pub(crate) fn from_wire(id: u64) -> Option<Self> {
        let slot = u16::try_from(id & u64::from(u32::MAX)).ok()?;
        let generation = u32::try_from(id >> u32::BITS).ok()?;
        (generation < Self::GENERATIONS).then_some(Self { slot, generation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_the_wire_and_forged_ones_are_refused() {
        let id = RequestId { slot: 3, generation: 0x1fff_ffff };
        assert_eq!(RequestId::from_wire(id.to_wire()), Some(id));
        assert_eq!(RequestId::from_wire(0x1_0000), None);
        assert_eq!(RequestId::from_wire(u64::MAX), None);
        assert_eq!(RequestId::from_wire(u64::from(RequestId::GENERATIONS) << 32), None);
    }
}
