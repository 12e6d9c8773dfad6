//! The fingerprint of a service's declaration.

/// Hashes the source text of the methods (64-bit FNV-1a). Ignores white space, which compilers
/// print differently.
#[must_use]
pub const fn fingerprint(methods: &[&str]) -> u64 {
    let (mut hash, mut methods) = (0xcbf2_9ce4_8422_2325, methods);
    while let Some((method, others)) = methods.split_first() {
        let mut text = method.as_bytes();
        while let Some((&byte, rest)) = text.split_first() {
            if !byte.is_ascii_whitespace() {
                hash ^= u64::from_le_bytes([byte, 0, 0, 0, 0, 0, 0, 0]);
                hash = hash.wrapping_mul(0x100_0000_01b3);
            }
            text = rest;
        }
        methods = others;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn a_fingerprint_is_fnv_1a() {
        // The vectors of draft-eastlake-fnv.
        assert_eq!(fingerprint(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(&["a"]), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fingerprint(&["foo", "bar"]), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn spaces_do_not_change_a_fingerprint() {
        let written = fingerprint(&["1 => fn put(at: u64, line: Line<'_>) -> (u8, 2);"]);
        let dense = "1=>fn put(at:u64,line:Line<'_>)->(u8,2);";
        let wide = "1 => fn put (\n\tat : u64,\n    line : Line < '_ >\n) -> (u8, 2) ;";
        assert_eq!([dense, wide].map(|same| fingerprint(&[same])), [written; 2]);
        assert_ne!(fingerprint(&["1 => fn put(at: u64, line: Line<'_>) -> (u8, 1);"]), written);
    }
}
