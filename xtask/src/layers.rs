//! `cargo xtask layers`: finds files of a crate that import each other.

mod circles;
mod imports;
mod paths;

use std::path::Path;

use crate::{failure::Failure, lines::LIMITS, modules::Tree, steps, workspace::Workspace};
use circles::circles;
use imports::{Import, imports};

const HELP: &str = "\
Finds files of a crate that import each other, directly or through other files, and prints each
cycle with the lines that cause it. Every path that begins with crate, super, self, $crate or a
child module counts, in `use` and elsewhere. Code that is compiled in tests only does not count. A
name that lib.rs re-exports counts as an import of the file that defines it. A name that another
parent module re-exports counts as an import of that parent. Macros called without a path are not
seen.

Usage: cargo xtask layers

Options:
  -h, --help    print this help

Exit codes: 0 no cycle, 1 a cycle or an unreadable file, 2 wrong arguments";

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    if steps::only_help(args, HELP)? { Ok(()) } else { check(&Workspace::find()?) }
}

/// Checks each crate, and prints the cycles.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let mut count = 0;
    for (name, _) in LIMITS {
        let found = describe(&workspace.root().join(name))?;
        println!("{name}: {}", counted(found.len()));
        for circle in &found {
            println!("  {circle}");
        }
        count += found.len();
    }
    if count == 0 { Ok(()) } else { Err(Failure::Failed(counted(count))) }
}

fn counted(count: usize) -> String {
    match count {
        0 => "no cycle".into(),
        1 => "1 cycle of files that import each other".into(),
        _ => format!("{count} cycles of files that import each other"),
    }
}

/// Describes each cycle of a crate: its files, and below them the imports that cause it.
fn describe(package: &Path) -> Result<Vec<String>, Failure> {
    let tree = Tree::read(package)?;
    let imports = imports(&tree);
    let pairs = imports.iter().map(|import| (import.from, import.to)).collect();
    let describe = |circle: Vec<usize>| {
        let files: Vec<String> = circle.iter().map(|&file| tree.name(file)).collect();
        let mut text = files.join(" → ");
        for pair in circle.windows(2) {
            let by = |import: &&Import| pair == [import.from, import.to];
            if let Some(Import { from, line, path, .. }) = imports.iter().find(by) {
                text.push_str(&format!("\n      {}:{line} {path}", tree.name(*from)));
            }
        }
        text
    };
    Ok(circles(&pairs).into_iter().map(describe).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::tests::package;

    /// Returns the cycles without the lines that cause them.
    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let package = package(files);
        let circles = describe(package.path()).unwrap();
        circles.iter().filter_map(|circle| circle.lines().next()).map(str::to_owned).collect()
    }

    #[test]
    fn files_that_import_each_other_are_a_circle() {
        let lib = ("lib.rs", "mod a;\nmod b;");
        let a = ("a.rs", "use crate::b::B;\npub struct A;");
        let b = ("b.rs", "pub struct B;\nfn f() { let _ = crate::a::A; }");
        assert_eq!(found(&[lib, a, b]), ["a.rs → b.rs → a.rs"]);
        assert_eq!(found(&[lib, a, ("b.rs", "pub struct B;")]), Vec::<String>::new());
    }

    #[test]
    fn longer_circle_is_shown_whole() {
        let circle = [
            ("lib.rs", "mod a;\nmod b;\nmod c;"),
            ("a.rs", "use crate::b;"),
            ("b.rs", "use super::{c::C};"),
            ("c.rs", "use crate::{self as root, a::*};\npub struct C;"),
        ];
        assert!(found(&circle).contains(&"a.rs → b.rs → c.rs → a.rs".to_owned()));
    }

    #[test]
    fn name_in_the_face_belongs_to_the_file_that_defines_it() {
        let lib = ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B;");
        let a = ("a.rs", "use crate::B;\npub struct A;");
        assert_eq!(found(&[lib, a, ("b.rs", "pub struct B;")]), Vec::<String>::new());
        assert_eq!(found(&[lib, a, ("b.rs", "use crate::A;")]), ["a.rs → b.rs → a.rs"]);
    }

    #[test]
    fn name_defined_in_the_face_goes_through_it() {
        let lib = ("lib.rs", "mod a;\npub use a::A;\npub struct B;");
        assert_eq!(found(&[lib, ("a.rs", "use crate::B;")]), ["lib.rs → a.rs → lib.rs"]);
    }

    #[test]
    fn child_that_asks_its_parent_for_a_sibling_closes_a_circle() {
        let lib = ("lib.rs", "mod a;");
        let a = ("a.rs", "mod b;\nmod c;\npub use b::B;\npub use c::C;");
        let c = ("a/c.rs", "pub struct C;");
        let files = |b| [lib, a, ("a/b.rs", b), c];
        assert_eq!(found(&files("use super::C;")), ["a.rs → a/b.rs → a.rs"]);
        assert_eq!(found(&files("use super::c::C;")), Vec::<String>::new());
    }

    #[test]
    fn tests_and_other_crates_make_no_circle() {
        let lib = ("lib.rs", "mod a;\nmod b;\npub use other::O;\nuse ::b::C;");
        let a = ("a.rs", "use crate::{C, O, b::B};\npub struct A;");
        let test = "use other::a;\n#[cfg(test)]\nmod tests { use crate::a::A; }";
        assert_eq!(found(&[lib, a, ("b.rs", test)]), Vec::<String>::new());
    }

    #[test]
    fn macro_counts_by_what_it_names_of_its_own_crate() {
        let lib = ("lib.rs", "mod a;\nmod b;\npub use a::A;");
        let a = ("a.rs", "fn f() { crate::make!() }");
        let b = |path| format!("#[macro_export]\nmacro_rules! make {{ () => {{ {path} }} }}");
        assert_eq!(found(&[lib, a, ("b.rs", &b("$crate::A"))]), ["a.rs → b.rs → a.rs"]);
        assert_eq!(found(&[lib, a, ("b.rs", &b("super::a::A"))]), Vec::<String>::new());
    }
}
