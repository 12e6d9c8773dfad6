//! `cargo xtask api`: the public API of each crate, compared with the one on file.

use std::{collections::BTreeSet, fs, path::PathBuf};

use crate::{
    failure::Failure,
    lines::LIMITS,
    steps::{self, Step},
    tools,
    workspace::Workspace,
};

const HELP: &str = "\
Compares the public API of each crate, with all features, with xtask/api/CRATE.txt, so that every
change is noticed. Needs nightly Rust and cargo-public-api, and is skipped without them.

Usage: cargo xtask api [OPTIONS]

Options:
      --write    write the files instead
  -h, --help     print this help

Exit codes: 0 each API matches its file or the run was skipped, 1 an API differs or the run failed,
2 wrong arguments";

/// The folder of the API files.
const FOLDER: &str = "xtask/api";

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    let Some(writes) = steps::flag(args, HELP, "write")? else { return Ok(()) };
    let workspace = Workspace::find()?;
    let step = if writes { step_that(&workspace, write) } else { step(&workspace) };
    steps::run(&workspace, vec![step])
}

/// Returns the step that compares the APIs, or says why it cannot run here.
pub(crate) fn step(workspace: &Workspace) -> Step {
    if LIMITS.iter().all(|(name, _)| !file(workspace, name).exists()) {
        let why = "public API: xtask/api is empty (write it with: cargo xtask api --write)";
        return Step::skip(NAME, why);
    }
    step_that(workspace, compare)
}

const NAME: &str = "public API";

fn step_that(workspace: &Workspace, act: fn(&Workspace) -> Result<(), Failure>) -> Step {
    if !tools::has_nightly(workspace, None) {
        return Step::skip(NAME, "public API (install with: rustup toolchain install nightly)");
    }
    if !tools::has_nightly(workspace, Some("public-api")) {
        let why = "public API (install with: cargo install --locked cargo-public-api)";
        return Step::skip(NAME, why);
    }
    Step::call(NAME, act)
}

fn write(workspace: &Workspace) -> Result<(), Failure> {
    fs::create_dir_all(workspace.root().join(FOLDER)).map_err(Failure::of("make xtask/api"))?;
    LIMITS.iter().try_for_each(|(name, _)| {
        let api = api(workspace, name)?;
        fs::write(file(workspace, name), api).map_err(Failure::of("write a file in xtask/api"))
    })
}

fn compare(workspace: &Workspace) -> Result<(), Failure> {
    let mut changed = Vec::new();
    for (name, _) in LIMITS {
        let known = fs::read_to_string(file(workspace, name))
            .map_err(Failure::of(&format!("read {FOLDER}/{name}.txt")))?;
        let difference = difference(&known, &api(workspace, name)?);
        if !difference.is_empty() {
            println!("{name}:\n{difference}");
            changed.push(name);
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "the public API of {} has changed, as shown above; if it should, write the change into \
         CHANGELOG.md and run `cargo xtask api --write`",
        changed.join(", ")
    )))
}

fn file(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.root().join(FOLDER).join(format!("{name}.txt"))
}

/// Returns the crate's public items, one per line, without the impls that every type gets.
fn api(workspace: &Workspace, name: &str) -> Result<String, Failure> {
    let args = ["public-api", "--color=never", "-ss", "--all-features", "--package", name];
    let mut command = tools::nightly(workspace, &args);
    println!("$ {}", steps::shown(&command));
    tools::output(&mut command)
        .ok_or_else(|| Failure::Failed(format!("`{}` failed: run it", steps::shown(&command))))
}

/// Returns the lines that only one of the two has: `-` for the first, `+` for the second.
fn difference(known: &str, now: &str) -> String {
    let [known, now]: [BTreeSet<&str>; 2] = [known, now].map(|text| text.lines().collect());
    let gone = known.difference(&now).map(|line| format!("- {line}\n"));
    let new = now.difference(&known).map(|line| format!("+ {line}\n"));
    gone.chain(new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_has_the_lines_of_one_side() {
        assert_eq!(difference("a\nb\nc\n", "a\nc\nd\n"), "- b\n+ d\n");
        assert_eq!(difference("a\n", "a\n"), "");
    }
}
