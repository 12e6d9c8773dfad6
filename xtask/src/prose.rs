//! `cargo xtask prose`: finds turns of phrase that are hard to read.

mod phrases;
mod tests;
mod text;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use lexopt::Arg::{Long, Short};

use crate::{failure::Failure, workspace::Workspace};
use phrases::{PHRASES, Phrase};
use text::{Word, without_code, words};

const HELP: &str = "\
Finds turns of phrase to avoid in everything that people read: documents, comments, help and error
messages. Prints where each is, and what to write instead. The phrases are in
xtask/src/prose/phrases.rs.

Usage: cargo xtask prose [OPTIONS]

Options:
      --files    print the number in each file instead of the places
      --list     only print the phrases and what to write instead
  -h, --help     print this help

Exit codes: 0 no phrase was found, 1 one was found or a file cannot be read, 2 wrong arguments";

/// Folders that are not searched: generated files and other people's texts.
const SKIPPED_FOLDERS: [&str; 7] =
    [".git", "target", "corpus", "artifacts", "coverage", "mutants.out", PHRASES_FOLDER];
const SKIPPED_FILES: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", "Cargo.lock"];
/// The folder that lists the phrases, which is not searched.
const PHRASES_FOLDER: &str = "prose";

/// Which results to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Print {
    Places,
    Files,
}

/// Runs the verb.
pub(crate) fn run(mut args: lexopt::Parser) -> Result<(), Failure> {
    let mut print = Print::Places;
    while let Some(arg) = args.next()? {
        match arg {
            Long("help") | Short('h') => {
                println!("{HELP}");
                return Ok(());
            }
            Long("list") => {
                PHRASES.iter().for_each(|Phrase { words, instead, .. }| {
                    println!("{words}: {instead}");
                });
                return Ok(());
            }
            Long("files") => print = Print::Files,
            other => return Err(other.unexpected().into()),
        }
    }
    search(&Workspace::find()?, print)
}

/// Searches everything, and prints where each phrase is.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    search(workspace, Print::Places)
}

fn search(workspace: &Workspace, print: Print) -> Result<(), Failure> {
    let root = workspace.root();
    let mut paths = Vec::new();
    collect(root, &mut paths).map_err(Failure::of("list the files"))?;
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let bytes = fs::read(&path).map_err(Failure::of(&format!("read {name}")))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let text = if name.ends_with(".rs") { without_code(&text) } else { text };
        found.extend(find(&words(&text)).into_iter().map(|it| Found { file: name.clone(), ..it }));
    }
    report(&found, print)
}

/// A phrase and its place.
struct Found {
    file: String,
    line: usize,
    phrase: &'static Phrase,
    /// The words as written.
    written: String,
}

/// Lists the files below a folder.
fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_one_of = |names: &[&str]| names.iter().any(|known| name == *known);
        let kind = entry.file_type()?;
        if kind.is_dir() && !is_one_of(&SKIPPED_FOLDERS) {
            collect(&entry.path(), paths)?;
        } else if kind.is_file() && !is_one_of(&SKIPPED_FILES) {
            paths.push(entry.path());
        }
    }
    Ok(())
}

/// Finds all phrases.
fn find(words: &[Word]) -> Vec<Found> {
    let mut by_first: HashMap<&str, Vec<&'static Phrase>> = HashMap::new();
    for phrase in PHRASES {
        let (firsts, _) = phrase.words.split_once(' ').unwrap_or((phrase.words, ""));
        firsts.split('|').for_each(|first| by_first.entry(first).or_default().push(phrase));
    }
    let at = |(index, word): (usize, &Word)| {
        let phrases = by_first.get(word.text.as_str()).into_iter().flatten();
        phrases.filter_map(|phrase| found_at(words, index, phrase)).collect::<Vec<_>>()
    };
    words.iter().enumerate().flat_map(at).collect()
}

fn found_at(words: &[Word], index: usize, phrase: &'static Phrase) -> Option<Found> {
    let len = phrase.words.split(' ').count();
    let found = words.get(index..index + len)?;
    let is_one_of = |word: &Word, any: &str| any.split('|').any(|one| one == word.text);
    let are_these =
        found.iter().zip(phrase.words.split(' ')).all(|(word, any)| is_one_of(word, any));
    let [first, rest @ ..] = found else { return None };
    if !are_these || rest.iter().any(|word| !word.goes_on) {
        return None;
    }
    let [after, before] = phrase.unless;
    let previous = index.checked_sub(1).and_then(|index| words.get(index));
    let next = words.get(index + len).filter(|word| word.goes_on);
    let is_plain = previous.is_some_and(|word| first.goes_on && is_one_of(word, after))
        || next.is_some_and(|word| is_one_of(word, before));
    let written: Vec<&str> = found.iter().map(|word| word.text.as_str()).collect();
    let found = Found { file: String::new(), line: first.line, phrase, written: written.join(" ") };
    (!is_plain).then_some(found)
}

/// Prints the results, and fails if there are any.
fn report(found: &[Found], print: Print) -> Result<(), Failure> {
    if print == Print::Files {
        for group in found.chunk_by(|one, other| one.file == other.file) {
            let file = group.first().map_or("", |first| &first.file);
            println!("{:5}  {file}", group.len());
        }
    } else {
        for Found { file, line, phrase, written } in found {
            println!("{file}:{line}: \"{written}\": {}", phrase.instead);
        }
    }
    match found.len() {
        0 => Ok(()),
        count => {
            let how = "say it in plainer words, as shown above";
            Err(Failure::Failed(format!("phrases to avoid, found {count} times: {how}")))
        }
    }
}
