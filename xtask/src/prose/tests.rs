//! Phrases that must be found, and plain English that must not.
#![cfg(test)]

use super::*;

fn found(text: &str) -> Vec<(String, usize)> {
    find(&words(text)).into_iter().map(|it| (it.written, it.line)).collect()
}

#[test]
fn phrases_are_found_also_over_two_lines() {
    let text = "/// The bytes are what\n/// stands in a file, whoever\n/// wrote it. One\n/// may.";
    let expected = [("stands in", 2), ("whoever", 2), ("one may", 3)];
    assert_eq!(found(text), expected.map(|(text, line)| (text.to_owned(), line)));
}

#[test]
fn plain_english_is_not_found() {
    let plain = [
        "This is no longer so, and there is no more.",
        "The next one may be sent; that one can.",
        "It stands in for a file.",
        "Is it? No.",
        "People who read this; a user who may.",
        "It is, no doubt, standard input and output.",
    ];
    for text in plain {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn a_phrase_that_is_found_fails() {
    let found = |text: &str| report(&find(&words(text)), Print::Files).is_err();
    assert!(found("An abortion overtakes."));
    assert!(!found("An abort overtakes."));
}
