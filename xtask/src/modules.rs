//! The files of a crate, found by following `mod` declarations from lib.rs on.

#![expect(clippy::indexing_slicing, reason = "the file numbers come from this module")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use syn::{Expr, ExprLit, Item, ItemMod, Lit, Meta};

use crate::{failure::Failure, source::Source};

/// The modules of a crate; the first is its root.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
    pub(crate) modules: Vec<Module>,
}

/// A source file.
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) source: Source,
    /// Compiled in tests only.
    pub(crate) is_test: bool,
}

/// A module that is compiled outside tests: a file, or a part of one.
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) parent: Option<usize>,
    /// Its index in [`Tree::files`].
    pub(crate) file: usize,
    /// Its items, except tests and modules.
    pub(crate) items: Vec<Item>,
}

/// Where a module is declared, and where the files of its children are.
struct Place<'a> {
    file: usize,
    module: Option<usize>,
    folder: &'a Path,
    is_test: bool,
}

impl Tree {
    /// Reads the crate whose folder this is. A file below `src` that no `mod` names is an error.
    pub(crate) fn read(package: &Path) -> Result<Self, Failure> {
        let src = package.join("src");
        let mut tree = Self { files: Vec::new(), modules: Vec::new() };
        let place = Place { file: 0, module: None, folder: &src, is_test: false };
        tree.read_file(src.join("lib.rs"), "crate", &place)?;
        let read: BTreeSet<&PathBuf> = tree.files.iter().map(|file| &file.path).collect();
        match rust_files(&src)?.iter().find(|path| !read.contains(path)) {
            None => Ok(tree),
            Some(path) => {
                Err(Failure::Failed(format!("no module names the file {}", path.display())))
            }
        }
    }

    /// Returns the path of a file below `src`.
    pub(crate) fn name(&self, file: usize) -> String {
        let path = &self.files[file].path;
        let src = parent(&self.files[0].path);
        path.strip_prefix(src).unwrap_or(path).display().to_string()
    }

    /// Reads a file that is declared in `place`; its children are in the place's folder.
    fn read_file(&mut self, path: PathBuf, name: &str, place: &Place<'_>) -> Result<(), Failure> {
        let (source, items) = Source::read(&path)?;
        let is_test = place.is_test || source.is_test();
        let file = self.files.len();
        self.files.push(File { path, source, is_test });
        self.read_module(name, items, &Place { file, is_test, ..*place })
    }

    /// Takes a module's items, and reads the modules that it declares.
    fn read_module(
        &mut self,
        name: &str,
        items: Vec<Item>,
        place: &Place<'_>,
    ) -> Result<(), Failure> {
        let (mut code, mut declared) = (Vec::new(), Vec::new());
        for item in items {
            let is_test = place.is_test || !self.files[place.file].source.is_code(&item);
            match item {
                Item::Mod(item) => declared.push((item, is_test)),
                _ if is_test => {}
                _ => code.push(item),
            }
        }
        let mut module = None;
        if !place.is_test {
            module = Some(self.modules.len());
            let (name, parent) = (name.to_owned(), place.module);
            self.modules.push(Module { name, parent, file: place.file, items: code });
        }
        for (declared, is_test) in declared {
            self.read_child(declared, &Place { module, is_test, ..*place })?;
        }
        Ok(())
    }

    /// Reads a module that is declared in `place`.
    fn read_child(&mut self, declared: ItemMod, place: &Place<'_>) -> Result<(), Failure> {
        let name = declared.ident.to_string();
        let name = name.trim_start_matches("r#");
        if let Some((_, items)) = declared.content {
            let folder = place.folder.join(name);
            return self.read_module(name, items, &Place { folder: &folder, ..*place });
        }
        let (path, folder) = match path_attribute(&declared) {
            Some(path) => {
                let here = parent(&self.files[place.file].path);
                let path = here.join(path);
                let folder = parent(&path).to_owned();
                (path, folder)
            }
            None => {
                let folder = place.folder.join(name);
                let beside = folder.with_extension("rs");
                let path = if beside.is_file() { beside } else { folder.join("mod.rs") };
                (path, folder)
            }
        };
        self.read_file(path, name, &Place { folder: &folder, ..*place })
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Returns the value of `#[path = "…"]`.
fn path_attribute(module: &ItemMod) -> Option<String> {
    module.attrs.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(path), .. }) => Some(path.value()),
            _ => None,
        },
        _ => None,
    })
}

/// Lists the Rust files below a folder.
fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failure = || Failure::of("list the files of a crate");
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failure())? {
        let path = entry.map_err(failure())?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
pub(crate) mod tests {
    use tempfile::TempDir;

    use super::*;

    /// Writes a crate for the tests: each file with its path below `src`.
    pub(crate) fn package(files: &[(&str, &str)]) -> TempDir {
        let package = TempDir::new().unwrap();
        for (path, text) in files {
            let path = package.path().join("src").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        package
    }

    fn read(files: &[(&str, &str)]) -> Result<Vec<(String, bool)>, Failure> {
        let package = package(files);
        let tree = Tree::read(package.path())?;
        let tests = tree.files.iter().map(|file| file.is_test);
        Ok(tests.enumerate().map(|(file, is_test)| (tree.name(file), is_test)).collect())
    }

    #[test]
    fn files_are_found_as_rustc_finds_them() {
        let files = [
            ("lib.rs", "mod a;\nmod b { mod c; }\n#[path = \"other.rs\"]\nmod d;\nmod e;"),
            ("a.rs", "mod f;"),
            ("a/f.rs", ""),
            ("b/c.rs", ""),
            ("other.rs", ""),
            ("e/mod.rs", ""),
        ];
        let names = ["lib.rs", "a.rs", "a/f.rs", "b/c.rs", "other.rs", "e/mod.rs"];
        assert_eq!(read(&files).unwrap(), names.map(|name| (name.to_owned(), false)));
    }

    #[test]
    fn files_below_a_test_module_are_for_tests() {
        let files = [
            ("lib.rs", "#[cfg(test)]\nmod a;\n#[cfg(test)]\nmod b { mod c; }"),
            ("a.rs", "mod d;"),
            ("a/d.rs", ""),
            ("b/c.rs", ""),
        ];
        let tests: Vec<String> = read(&files)
            .unwrap()
            .into_iter()
            .filter_map(|(name, is_test)| is_test.then_some(name))
            .collect();
        assert_eq!(tests, ["a.rs", "a/d.rs", "b/c.rs"]);
    }

    #[test]
    fn file_that_no_module_names_is_an_error() {
        let error = read(&[("lib.rs", "mod a;"), ("a.rs", ""), ("b.rs", "")]).unwrap_err();
        assert!(error.to_string().contains("src/b.rs"), "{error}");
    }
}
