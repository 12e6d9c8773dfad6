//! A hello of any bytes: refused, or written again as the same bytes; and two of them agree alike.

#![no_main]

use ipc_frame::{BuildId, Hello, HelloError, MAX_FDS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (ours, theirs) = input.split_at(input.len().min(Hello::SIZE));
    if let (Some(ours), Some(theirs)) = (decode(ours), decode(theirs)) {
        compare(&ours, &theirs);
    }
});

fn decode(payload: &[u8]) -> Option<Hello> {
    match Hello::decode(payload) {
        Ok(hello) => {
            assert_eq!(hello.encode(), payload);
            assert!(hello.limits.fd_count <= MAX_FDS);
            Some(hello)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

fn compare(ours: &Hello, theirs: &Hello) {
    let agreed = ours.agree(theirs);
    assert_eq!(agreed.ok(), theirs.agree(ours).ok());
    match agreed {
        Ok(agreed) => {
            for side in [ours, theirs] {
                assert!(agreed.payload_len <= side.limits.payload_len);
                assert!(agreed.fd_count <= side.limits.fd_count);
            }
        }
        Err(error) => {
            let (ours, theirs) = (ours.build, theirs.build);
            assert_eq!(error, HelloError::BuildMismatch { ours, theirs });
            assert!(ours != theirs && ours != BuildId::ANY && theirs != BuildId::ANY);
        }
    }
}
