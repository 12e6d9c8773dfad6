//! Headers as bytes, including ones that our code never sends. Depends on nothing: the fuzz targets
//! include this file.

/// The fields of a header as on the wire, valid or not.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawHeader {
    /// Announced payload bytes.
    pub len: u32,
    /// The kind's number.
    pub kind: u8,
    /// The flag bits.
    pub flags: u8,
    /// The method.
    pub method: u16,
    /// The id.
    pub id: u64,
    /// Announced descriptors.
    pub fd_count: u16,
    /// Descriptors allowed in the reply.
    pub reply_fds: u16,
    /// Descriptors announced before this frame.
    pub fd_sequence: u32,
}

impl RawHeader {
    /// Returns the encoded header.
    pub fn bytes(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4] = self.kind;
        bytes[5] = self.flags;
        bytes[6..8].copy_from_slice(&self.method.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.id.to_le_bytes());
        bytes[16..18].copy_from_slice(&self.fd_count.to_le_bytes());
        bytes[18..20].copy_from_slice(&self.reply_fds.to_le_bytes());
        bytes[20..].copy_from_slice(&self.fd_sequence.to_le_bytes());
        bytes
    }
}

/// Returns a request with its payload; the pair is its descriptor count and sequence.
pub fn frame(id: u64, (fd_count, fd_sequence): (u16, u32), payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a payload of a test is short");
    let header =
        RawHeader { len, kind: 1, method: 1, id, fd_count, fd_sequence, ..RawHeader::default() };
    [&header.bytes(), payload].concat()
}
