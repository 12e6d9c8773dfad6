//! The longest arguments and results, if they are known at compile time.

use core::marker::PhantomData;

use ipc_frame::{Header, MaxLen, Postcard};

use crate::server::reply_capacity;

/// Finds the longest encoding of a type, if it is known. The constant of the type itself takes
/// precedence over the trait's, which every type has.
#[derive(Debug)]
pub struct Longest<T>(PhantomData<T>);

impl<T> Longest<T>
where
    Postcard<T>: MaxLen,
{
    /// Bytes of the longest value.
    pub const BYTES: Option<usize> = Some(<Postcard<T> as MaxLen>::MAX_LEN);
}

/// The fallback of [`Longest`].
pub trait Unbounded {
    /// The longest value is not known.
    const BYTES: Option<usize> = None;
}

impl<T> Unbounded for Longest<T> {}

/// Returns whether the longest arguments fit in a worker of `bytes` bytes in each direction, if
/// they are known.
#[must_use]
pub const fn args_fit(args: &[Option<usize>], bytes: usize) -> bool {
    let (mut rest, mut sum) = (args, 0_usize);
    while let Some((first, after)) = rest.split_first() {
        match first {
            Some(len) => sum = sum.saturating_add(*len),
            None => return true,
        }
        rest = after;
    }
    sum <= bytes - Header::SIZE
}

/// Returns whether the longest result fits in a worker of `bytes` bytes in each direction, if it is
/// known.
#[must_use]
pub const fn result_fits(result: Option<usize>, bytes: usize) -> bool {
    match result {
        Some(len) => len <= reply_capacity(bytes),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_without_a_longest_value_has_no_length() {
        assert_eq!(<Longest<(u8, u64)>>::BYTES, Some(11));
        assert_eq!(<Longest<()>>::BYTES, Some(0));
        assert_eq!(<Longest<&str>>::BYTES, None);
    }

    #[test]
    fn what_is_known_is_checked_to_the_byte() {
        assert!(args_fit(&[], 256) && args_fit(&[Some(200), Some(32)], 256));
        assert!(!args_fit(&[Some(200), Some(33)], 256));
        assert!(args_fit(&[Some(300), None], 256));
        assert!(result_fits(Some(104), 256));
        assert!(!result_fits(Some(105), 256));
        assert!(result_fits(None, 256));
    }
}
