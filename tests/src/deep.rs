//! How much the tests do: as much as fits before every commit, or what `cargo xtask deep` asks for.

/// The environment variable that asks for more.
const DEEP: &str = "IPC_TESTS_DEEP";

/// Returns whether the long form of the tests is asked for.
pub fn is_asked_for() -> bool {
    std::env::var_os(DEEP).is_some()
}

/// Returns the first number, or the second in the long form of the tests.
pub fn or(short: usize, deep: usize) -> usize {
    if is_asked_for() { deep } else { short }
}
