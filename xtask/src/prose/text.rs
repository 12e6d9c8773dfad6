//! The words of a file's prose, each with its line.

use std::{ops::Range, str::FromStr as _};

use proc_macro2::{TokenStream, TokenTree};

/// A word in lower case.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) line: usize,
    /// It follows the previous word directly: only white space or a comment's line break is between
    /// them.
    pub(super) goes_on: bool,
}

/// The placeholder for code, which is not searched: neither a letter nor white space.
const CODE: &str = "\0";

/// Returns the words of a text.
pub(super) fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut goes_on = false;
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        let text = ["//!", "///", "//", "#", "*", ">"]
            .into_iter()
            .find_map(|mark| text.strip_prefix(mark))
            .unwrap_or(text);
        // A string continues on the next line.
        let text = text.strip_suffix('\\').unwrap_or(text);
        goes_on &= !text.trim().is_empty();
        for piece in text.split_inclusive(|letter: char| !is_of_word(letter)) {
            let word = piece.trim_end_matches(|letter| !is_of_word(letter));
            if !word.is_empty() {
                words.push(Word { text: word.to_lowercase(), line, goes_on });
                goes_on = true;
            }
            goes_on &= piece[word.len()..].trim().is_empty();
        }
    }
    words
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '\''
}

/// Returns the text of a Rust file with everything except comments and strings blanked out;
/// unchanged if it is not Rust.
pub(super) fn without_code(text: &str) -> String {
    let mut code = Vec::new();
    if let Ok(tokens) = TokenStream::from_str(text) {
        collect(tokens, text, &mut code);
    }
    let mut rest = text.to_owned();
    code.sort_by_key(|range: &Range<usize>| range.start);
    for range in code.into_iter().rev() {
        rest.replace_range(range, CODE);
    }
    rest
}

/// Collects the places of names and punctuation. Tokens that the text does not have at their place
/// come from a doc comment, which is kept.
fn collect(tokens: TokenStream, text: &str, code: &mut Vec<Range<usize>>) {
    for token in tokens {
        let written = match &token {
            TokenTree::Group(group) => {
                collect(group.stream(), text, code);
                continue;
            }
            TokenTree::Ident(ident) => ident.to_string(),
            TokenTree::Punct(punct) => punct.to_string(),
            TokenTree::Literal(_) => continue,
        };
        let range = token.span().byte_range();
        if text.get(range.clone()) == Some(&written) {
            code.push(range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the words, with a bar before each word that does not follow directly.
    fn read(text: &str) -> String {
        let word = |word: Word| format!("{}{}", if word.goes_on { " " } else { "|" }, word.text);
        words(text).into_iter().map(word).collect()
    }

    #[test]
    fn words_go_on_over_white_space_and_lines_of_a_comment() {
        assert_eq!(read("One two,  three"), "|one two|three");
        assert_eq!(read("/// one\n    /// two\n///\n/// three"), "|one two|three");
        assert_eq!(read("\"one \\\n  two\""), "|one two");
        assert_eq!(read("one\n\ntwo `three` four's"), "|one|two|three|four's");
        assert_eq!(words("a\nb")[1].line, 2);
    }

    #[test]
    fn code_is_not_read() {
        let text = "//! one\nfn two() {\n    let a = \"three\"; // four\n    /* five */\n}\n/// six\nstruct S;";
        assert_eq!(read(&without_code(text)), "|one|three|four|five|six");
    }
}
