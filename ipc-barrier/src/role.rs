//! Which side an end is of, as types.

use crate::memory::Side;

/// Marks the parent's [`End`](crate::End).
#[derive(Debug)]
pub enum ParentSide {}

/// Marks the child's [`End`](crate::End).
#[derive(Debug)]
pub enum ChildSide {}

/// Which side an [`End`](crate::End) is of: [`ParentSide`] or [`ChildSide`].
pub trait Role: Sealed {}

/// What a role stands for.
pub trait Sealed {
    const SIDE: Side;
}

impl Role for ParentSide {}
impl Sealed for ParentSide {
    const SIDE: Side = Side::Parent;
}

impl Role for ChildSide {}
impl Sealed for ChildSide {
    const SIDE: Side = Side::Child;
}
