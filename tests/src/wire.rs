//! Frames as they stand on the wire, also such as no sender of ours would write.

use ipc_frame::{Header, Kind};

/// Returns a request with its payload; of its descriptors the count and the sequence are given.
pub fn frame(id: u64, fds: (u16, u32), payload: &[u8]) -> Vec<u8> {
    let header = Header {
        len: u32::try_from(payload.len()).expect("a payload of a test is short"),
        fd_count: fds.0,
        fd_sequence: fds.1,
        ..Header::new(Kind::Request, 1, id)
    };
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}
