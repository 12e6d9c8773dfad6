//! The steps of a set-up.

use core::fmt;

use ipc_frame::Text;

/// Bytes of a stage's name.
pub(crate) const NAME: usize = 20;

/// A step of a set-up, by a name of at most 20 bytes or a number of the program's choice. A longer
/// name is cut at a character; a number is kept as its digits.
///
/// ```
/// use ipc_barrier::Stage;
///
/// assert_eq!(Stage::from(3).to_string(), "stage 3");
/// assert_eq!(Stage::from("pivot_root").to_string(), "stage pivot_root");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage(Text<NAME>);

impl Stage {
    /// Returns the name, or the digits of the number.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<&str> for Stage {
    fn from(name: &str) -> Self {
        Self(Text::new(name))
    }
}

impl From<u16> for Stage {
    fn from(number: u16) -> Self {
        let mut digits = [0; 5];
        for (digit, power) in digits.iter_mut().zip([10_000, 1_000, 100, 10, 1]) {
            *digit = b'0' + u8::try_from(number / power % 10).unwrap_or(0);
        }
        let zeros = digits.iter().take(4).take_while(|&&digit| digit == b'0').count();
        Self(Text::from_bytes(digits.get(zeros..).unwrap_or_default()))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stage {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_name_is_cut_at_a_character() {
        assert_eq!(Stage::from("a name of nineteen €").as_str(), "a name of nineteen ");
    }

    #[test]
    fn a_number_is_its_digits() {
        for number in [0, 7, 10, 409, 1_000, u16::MAX] {
            assert_eq!(Stage::from(number).as_str(), number.to_string());
        }
    }
}
