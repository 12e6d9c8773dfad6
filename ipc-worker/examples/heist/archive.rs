//! Writes tar archives (tar(5), the POSIX form), for the demonstration and the test.

use std::iter::repeat_n;

/// The size of a header, and of the blocks that hold the contents.
const BLOCK: usize = 512;

/// Creates an archive of records: kind, name, link target, contents. Names are ASCII and have at
/// most 100 bytes.
pub(crate) fn archive(records: &[(char, &str, &str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for &(kind, name, link, contents) in records {
        let len = contents.len();
        let header = |sum: &str| {
            format!(
                "{name:\0<100}0000644\x000000000\x000000000\0{len:011o}\x0000000000000\0{sum}{kind}\
                 {link:\0<100}ustar\x0000{:\0<247}",
                ""
            )
        };
        // The checksum counts its own field as blanks.
        let sum: u32 = header("        ").bytes().map(u32::from).sum();
        archive.extend(header(&format!("{sum:06o}\0 ")).bytes());
        archive.extend(contents);
        archive.extend(repeat_n(0, len.next_multiple_of(BLOCK) - len));
    }
    archive.extend([0; 2 * BLOCK]);
    archive
}
