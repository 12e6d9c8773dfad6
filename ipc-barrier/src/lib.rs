//! Placeholder of the layout; filled in by the commits that follow.
