//! The result of the image's test, read from the console (`init.sh`, `count.awk`).

/// The first line: the kernel has started init.
pub(crate) const BOOTED: &str = "self-test: init runs";
const PASSED: &str = "self-test: passed";
const FAILED: &str = "self-test: failed: ";

/// Returns why the test failed, if it did. A machine that ends without a verdict has failed.
pub(crate) fn read(lines: &[String]) -> Result<(), String> {
    let reasons: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix(FAILED)).collect();
    if !reasons.is_empty() {
        return Err(reasons.join("\n  "));
    }
    match lines.iter().any(|line| line == PASSED) {
        true => Ok(()),
        false => Err("the machine ended without a verdict".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(lines: &[&str]) -> Result<(), String> {
        read(&lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn test_has_passed_if_it_says_so() {
        assert_eq!(verdict(&[BOOTED, "stderr: x", PASSED, "reboot: Restarting system"]), Ok(()));
    }

    #[test]
    fn one_failure_outweighs_the_rest() {
        let lines = [BOOTED, "self-test: failed: one", PASSED, "self-test: failed: two"];
        assert_eq!(verdict(&lines), Err("one\n  two".to_owned()));
    }

    #[test]
    fn panic_or_garbled_verdict_is_a_failure() {
        for lines in [&[][..], &[BOOTED, "Kernel panic"], &["self-test: passed?"], &["passed"]] {
            assert_eq!(verdict(lines), Err("the machine ended without a verdict".to_owned()));
        }
    }
}
