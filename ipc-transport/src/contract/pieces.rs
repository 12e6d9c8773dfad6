//! What one call takes of the pieces that are to be sent.

/// Most pieces that one call takes. Later pieces are left for the next call.
pub(crate) const PIECES: usize = 16;

/// Returns what one call takes of the pieces: at most `limit` bytes.
pub(crate) fn cut<'p>(pieces: &[&'p [u8]], limit: usize) -> impl Iterator<Item = &'p [u8]> {
    let mut rest = limit;
    let pieces = pieces.iter().filter(|piece| !piece.is_empty()).take(PIECES);
    pieces.map_while(move |piece| {
        let piece = piece.get(..rest).unwrap_or(piece);
        rest -= piece.len();
        (!piece.is_empty()).then_some(piece)
    })
}
