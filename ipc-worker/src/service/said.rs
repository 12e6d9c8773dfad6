//! What a method's declaration says besides its types.

use ipc_frame::MAX_FDS;

use crate::call::Call;
use crate::ledger::Again;

/// The words after a method's result, one field each. The compiler rejects unknown words, repeated
/// words and contradictions.
///
/// ```
/// ipc_worker::service! { mod disk { 1 => fn sync(), again UntilDone, tries 2, slow; } }
/// # fn main() {}
/// ```
/// These do not compile: an unknown policy, a policy that does not repeat, a repeated word, both
/// paces.
/// ```compile_fail,E0599
/// ipc_worker::service! { mod disk { 1 => fn sync(), again UntilDon, tries 2, slow; } }
/// # fn main() {}
/// ```
/// ```compile_fail,E0080
/// ipc_worker::service! { mod disk { 1 => fn sync(), again IfNotBegun, tries 2, slow; } }
/// # fn main() {}
/// ```
/// ```compile_fail,E0062
/// ipc_worker::service! { mod disk { 1 => fn sync(), again UntilDone, again Never, slow; } }
/// # fn main() {}
/// ```
/// ```compile_fail,E0080
/// ipc_worker::service! { mod disk { 1 => fn sync(), again UntilDone, tries 2, quick, slow; } }
/// # fn main() {}
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// `again UntilDone`: the resend policy.
    pub again: Option<Again>,
    /// `tries 5`: how often a call may begin.
    pub tries: Option<u8>,
    /// `quick`: takes less than 100 µs.
    pub quick: Option<()>,
    /// `slow`: may take longer.
    pub slow: Option<()>,
}

impl Said {
    /// No word.
    pub const NOTHING: Self = Self { again: None, tries: None, quick: None, slow: None };

    /// Returns whether the method is quick, if the declaration says so.
    #[must_use]
    pub const fn is_quick(self) -> Option<bool> {
        match (self.quick, self.slow) {
            (None, None) => None,
            (quick, slow) => {
                assert!(quick.is_some() != slow.is_some(), "a method is `quick` or `slow`");
                Some(quick.is_some())
            }
        }
    }

    /// Returns a call to the method without its arguments. Its reply may carry `reply_fds`
    /// descriptors.
    #[must_use]
    pub const fn call(self, method: u16, reply_fds: usize) -> Call<'static> {
        assert!(reply_fds <= MAX_FDS as usize, "a reply carries at most 253 descriptors");
        let [low, high, ..] = reply_fds.to_le_bytes();
        let mut call = Call::new(method, &[]).reply_fds(u16::from_le_bytes([low, high]));
        if let Some(again) = self.again {
            call = call.again(again);
        }
        if let Some(tries) = self.tries {
            let may_repeat = matches!(call.again, Again::UntilDone | Again::UntilAnswered);
            assert!(may_repeat, "`tries` needs `again UntilDone` or `again UntilAnswered`");
            call = call.tries(tries);
        }
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_the_calls_and_nothing_else_changes() {
        let plain = Call::new(7, &[]);
        let call = Said { quick: Some(()), ..Said::NOTHING }.call(7, 0);
        let found = (call.method, call.again, call.tries, call.reply_fds);
        assert_eq!(found, (7, plain.again, plain.tries, 0));
        let (again, tries) = (Some(Again::UntilAnswered), Some(5));
        let call = Said { again, tries, ..Said::NOTHING }.call(8, 253);
        let found = (call.method, call.again, call.tries, call.reply_fds);
        assert_eq!(found, (8, Again::UntilAnswered, 5, 253));
    }

    #[test]
    fn only_quick_and_slow_say_how_long_a_method_takes() {
        let said = Said { again: Some(Again::Never), ..Said::NOTHING };
        let (quick, slow) = (Said { quick: Some(()), ..said }, Said { slow: Some(()), ..said });
        let found = (said.is_quick(), quick.is_quick(), slow.is_quick());
        assert_eq!(found, (None, Some(true), Some(false)));
    }
}
