//! A loopback's bytes where there are no descriptors: nothing rides on them.

/// Nothing.
#[derive(Debug)]
pub(crate) struct Riders;

impl Riders {
    pub(crate) const fn new() -> Self {
        Self
    }

    pub(crate) const fn drop_before(&mut self, _position: u64) {}
}
