//! The byte pattern of port 19: at stream offset `n` stands `(n + n / 251) mod 256`. 251 is prime,
//! so no piece of the stream that is shifted, lost or repeated looks right.

/// Fills `buffer` with the pattern from stream offset `offset` on.
pub(crate) fn fill(buffer: &mut [u8], offset: u64) {
    let (mut row, mut column) = (offset / 251, offset % 251);
    for byte in buffer {
        // `n + n / 251` with `n = 251 * row + column`.
        *byte = row.wrapping_mul(252).wrapping_add(column) as u8;
        column += 1;
        if column == 251 {
            (row, column) = (row + 1, 0);
        }
    }
}
