//! Fields of a fixed width at offsets that are known when the code is compiled.

#[expect(clippy::indexing_slicing, reason = "offsets come from a table, never from a peer")]
pub(crate) const fn take<const SIZE: usize, const WIDTH: usize>(
    bytes: &[u8; SIZE],
    at: usize,
) -> [u8; WIDTH] {
    let mut field = [0; WIDTH];
    let mut index = 0;
    while index < WIDTH {
        field[index] = bytes[at + index];
        index += 1;
    }
    field
}

#[expect(clippy::indexing_slicing, reason = "offsets come from a table, never from a peer")]
pub(crate) const fn put<const SIZE: usize, const WIDTH: usize>(
    bytes: &mut [u8; SIZE],
    at: usize,
    field: [u8; WIDTH],
) {
    let mut index = 0;
    while index < WIDTH {
        bytes[at + index] = field[index];
        index += 1;
    }
}
