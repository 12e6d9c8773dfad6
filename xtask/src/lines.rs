//! `cargo xtask lines`: the lines of code of each crate, and their limits.

use std::{fmt::Write as _, path::Path};

use crate::{failure::Failure, modules::Tree, steps, workspace::Workspace};

const HELP: &str = "\
Counts the lines of code of each crate and compares them with the crate's limit. Blank lines,
comments, doc comments, code that is compiled in tests only, the laws of ipc-transport, and files
outside src do not count.

Usage: cargo xtask lines [OPTIONS]

Options:
      --files    also print the lines of each file
  -h, --help     print this help

Exit codes: 0 every crate is within its limit, 1 a crate is over its limit or a file cannot be read,
2 wrong arguments";

/// The crates, each with its limit of lines of code. A limit is hardly above the present count:
/// lower it when a crate gets smaller.
pub(crate) const LIMITS: [(&str, usize); 4] =
    [("ipc-frame", 873), ("ipc-transport", 3768), ("ipc-barrier", 2118), ("ipc-worker", 5439)];

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    let Some(files) = steps::flag(args, HELP, "files")? else { return Ok(()) };
    count(&Workspace::find()?, files)
}

/// Counts every crate, and prints the table.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    count(workspace, false)
}

fn count(workspace: &Workspace, files: bool) -> Result<(), Failure> {
    let crates: Vec<Crate> = LIMITS
        .iter()
        .map(|&(name, limit)| Crate::count(workspace, name, limit))
        .collect::<Result<_, _>>()?;
    print!("{}", table(&crates, files));
    let over: Vec<String> = crates.iter().filter_map(Crate::over).collect();
    if over.is_empty() { Ok(()) } else { Err(Failure::Failed(over.join("; "))) }
}

/// A crate and its count.
struct Crate {
    name: &'static str,
    limit: usize,
    /// Each file that is not for tests only: its path in the crate and its lines.
    files: Vec<(String, usize)>,
}

impl Crate {
    fn count(workspace: &Workspace, name: &'static str, limit: usize) -> Result<Self, Failure> {
        let package = workspace.root().join(name);
        let mut files = Vec::new();
        for file in Tree::read(&package)?.files.iter().filter(|file| !file.is_test) {
            let path = file.path.strip_prefix(&package).unwrap_or(&file.path);
            if is_laws(path) {
                continue;
            }
            let path = path.display();
            let lines = file.source.code_lines();
            let lines =
                lines.map_err(|error| Failure::Failed(format!("cannot read {path}: {error}")))?;
            files.push((path.to_string(), lines));
        }
        files.sort();
        Ok(Self { name, limit, files })
    }

    fn lines(&self) -> usize {
        self.files.iter().map(|(_, lines)| lines).sum()
    }

    /// Says by how much the crate is over its limit.
    fn over(&self) -> Option<String> {
        let lines = self.lines();
        let over = lines.checked_sub(self.limit).filter(|over| *over > 0)?;
        Some(format!("{} has {lines} lines of {}: {over} too many", self.name, self.limit))
    }
}

/// Returns whether a path in the crate is a file of the transport's laws. These are tests for other
/// crates, which no program links.
fn is_laws(path: &Path) -> bool {
    path.with_extension("").starts_with("src/laws")
}

fn table(crates: &[Crate], files: bool) -> String {
    let mut table = format!("{:32} {:>6} {:>6}\n", "crate", "lines", "limit");
    for each in crates {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "{:32} {:>6} {:>6}", each.name, each.lines(), each.limit);
        for (path, lines) in each.files.iter().filter(|_| files) {
            let _ = writeln!(table, "  {path:30} {lines:>6}");
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crate_of(lines: usize) -> Crate {
        let files = vec![("src/lib.rs".to_owned(), 10), ("src/rest.rs".to_owned(), lines - 10)];
        Crate { name: "ipc-frame", limit: 850, files }
    }

    #[test]
    fn crate_over_its_limit_says_by_how_much() {
        assert_eq!(crate_of(850).over(), None);
        let said = crate_of(853).over();
        assert_eq!(said.as_deref(), Some("ipc-frame has 853 lines of 850: 3 too many"));
    }

    #[test]
    fn table_shows_files_only_when_asked() {
        let crates = [crate_of(850)];
        assert!(!table(&crates, false).contains("src/rest.rs"));
        let row = format!("  {:30} {:>6}", "src/rest.rs", 840);
        assert!(table(&crates, true).contains(&row));
    }
}
