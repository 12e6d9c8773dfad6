//! Fields of a fixed width at offsets that are known when the code is compiled.

/// Reads a field. The offsets come from a table, never from a peer, so that there are as many
/// bytes.
#[inline]
pub(crate) fn take<const WIDTH: usize>(bytes: &[u8], at: usize) -> [u8; WIDTH] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; WIDTH])
}

/// Writes a field; see [`take`].
#[inline]
pub(crate) fn put<const WIDTH: usize>(bytes: &mut [u8], at: usize, field: [u8; WIDTH]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = field;
    }
}
