//! The number that stands for a service's declaration.

/// Hashes the declarations of methods as they are written, without what is only layout: spaces, which
/// compilers set differently, and a comma before a closing bracket. FNV-1a with 64 bits.
#[must_use]
pub const fn fingerprint(methods: &[&str]) -> u64 {
    let (mut hash, mut comma) = (0xcbf2_9ce4_8422_2325, false);
    let mut methods = methods;
    while let Some((method, others)) = methods.split_first() {
        let mut text = method.as_bytes();
        while let Some((&byte, rest)) = text.split_first() {
            if !byte.is_ascii_whitespace() {
                if comma && !matches!(byte, b')' | b']' | b'}' | b'>') {
                    hash = fnv(hash, b',');
                }
                comma = byte == b',';
                if !comma {
                    hash = fnv(hash, byte);
                }
            }
            text = rest;
        }
        methods = others;
    }
    hash
}

const fn fnv(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from_le_bytes([byte, 0, 0, 0, 0, 0, 0, 0])).wrapping_mul(0x100_0000_01b3)
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
    fn layout_does_not_change_a_fingerprint() {
        let written = fingerprint(&["1 => fn put(at: u64, line: Line<'_>) -> (u8, [OwnedFd; 2]);"]);
        for same in [
            "1=>fn put(at:u64,line:Line<'_>)->(u8,[OwnedFd;2]);",
            "1 => fn put (\n    at : u64,\n    line : Line < '_ > ,\n) -> (u8, [OwnedFd ; 2],) ;",
        ] {
            assert_eq!(fingerprint(&[same]), written, "{same}");
        }
        for other in [
            "1 => fn put(at: u64 line: Line<'_>) -> (u8, [OwnedFd; 2]);",
            "1 => fn put(at: u64, line: Line<'_>) -> (u8, [OwnedFd; 1]);",
        ] {
            assert_ne!(fingerprint(&[other]), written, "{other}");
        }
    }
}
