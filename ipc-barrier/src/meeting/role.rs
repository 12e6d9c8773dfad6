//! Which side an end is of, as types.

/// Marks the parent's [`End`](crate::End).
#[derive(Debug)]
pub enum ParentSide {}

/// Marks the child's [`End`](crate::End).
#[derive(Debug)]
pub enum ChildSide {}

/// Which side an [`End`](crate::End) is of: [`ParentSide`] or [`ChildSide`].
pub trait Role: Sealed {}

impl<R: Sealed> Role for R {}

/// What a role means.
pub trait Sealed {
    /// Its place where both sides are listed.
    const INDEX: usize;
}

impl Sealed for ParentSide {
    const INDEX: usize = 0;
}

impl Sealed for ChildSide {
    const INDEX: usize = 1;
}
