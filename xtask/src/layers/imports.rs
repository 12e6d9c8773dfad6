//! Finds which files of a crate use names that another file defines.

#![expect(clippy::indexing_slicing, reason = "the numbers of modules and files come from the tree")]

use std::collections::BTreeMap;

use proc_macro2::Group;
use quote::ToTokens as _;
use syn::{Item, ItemMacro, UseTree};

use super::paths::{Spelled, paths};
use crate::modules::{Module, Tree};

/// One file uses a name from another.
pub(crate) struct Import {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) line: usize,
    pub(crate) path: String,
}

/// Returns the imports between the files of a crate.
pub(crate) fn imports(tree: &Tree) -> Vec<Import> {
    let names = Names::of(tree);
    let mut imports = Vec::new();
    for (number, module) in tree.modules.iter().enumerate() {
        for Spelled { names: path, line, .. } in spelled(tree, module) {
            let from = module.file;
            let to = names.files(number, &path).into_iter().filter(|to| *to != from);
            imports.extend(to.map(|to| Import { from, to, line, path: path.join("::") }));
        }
    }
    imports
}

/// Returns the paths in a module's code, except those that a macro's callers resolve.
fn spelled(tree: &Tree, module: &Module) -> Vec<Spelled> {
    let source = &tree.files[module.file].source;
    let mut found = Vec::new();
    for item in &module.items {
        let tokens = source.code(item.to_token_stream());
        let is_macro = matches!(item, Item::Macro(ItemMacro { ident: Some(_), .. }));
        let paths = paths(&tokens, &|group: &Group| source.code(group.stream()));
        found.extend(paths.into_iter().filter(|path| path.from_macro || !is_macro));
    }
    found
}

/// How many renamed imports are followed, since they may form a cycle.
const HOPS: usize = 16;
const ROOT: usize = 0;

/// What the names in a crate mean.
struct Names<'a> {
    tree: &'a Tree,
    /// The children of each module. If a `cfg` chooses between two, both have the same name.
    children: Vec<BTreeMap<&'a str, Vec<usize>>>,
    /// The imports of each module: the local name, and the full path.
    imported: Vec<BTreeMap<String, Vec<String>>>,
    /// The files of the macros at the crate's root.
    macros: BTreeMap<String, usize>,
}

impl<'a> Names<'a> {
    fn of(tree: &'a Tree) -> Self {
        let mut children = vec![BTreeMap::<_, Vec<usize>>::new(); tree.modules.len()];
        for (number, module) in tree.modules.iter().enumerate() {
            if let Some(parent) = module.parent {
                children[parent].entry(module.name.as_str()).or_default().push(number);
            }
        }
        let imported = tree.modules.iter().map(imported).collect();
        let macros = tree.modules.iter().flat_map(exported_macros).collect();
        Self { tree, children, imported, macros }
    }

    /// Returns the files that a path in a module leads to; empty if it leaves the crate.
    fn files(&self, module: usize, path: &[String]) -> Vec<usize> {
        match self.walk(module, path, HOPS) {
            Some((reached, [name, rest @ ..])) if reached == [ROOT] => self.face(name, rest),
            Some((reached, _)) => self.files_of(&reached),
            None => Vec::new(),
        }
    }

    fn files_of(&self, modules: &[usize]) -> Vec<usize> {
        modules.iter().map(|&module| self.tree.modules[module].file).collect()
    }

    /// Returns the files that define a name in lib.rs, or lib.rs itself if they cannot be found.
    fn face(&self, name: &str, rest: &[String]) -> Vec<usize> {
        if let Some(path) = self.imported[ROOT].get(name) {
            return self.definition(ROOT, &[path, rest].concat(), HOPS);
        }
        let file = self.macros.get(name).copied();
        vec![file.unwrap_or(self.tree.modules[ROOT].file)]
    }

    /// Follows re-exports to the files that define the target of the path.
    fn definition(&self, module: usize, path: &[String], hops: usize) -> Vec<usize> {
        let Some((reached, rest)) = self.walk(module, path, hops) else { return Vec::new() };
        if let ([only], [name, rest @ ..], 1..) = (reached.as_slice(), rest, hops) {
            if let Some(path) = self.imported[*only].get(name) {
                return self.definition(*only, &[path, rest].concat(), hops - 1);
            }
        }
        self.files_of(&reached)
    }

    /// Follows a path as far as it names modules. Returns these modules and the rest of the path;
    /// `None` if it does not begin in this crate.
    fn walk<'p>(
        &self,
        module: usize,
        path: &'p [String],
        hops: usize,
    ) -> Option<(Vec<usize>, &'p [String])> {
        let [first, rest @ ..] = path else { return None };
        let (mut reached, mut rest) = match first.as_str() {
            "crate" => (vec![ROOT], rest),
            "self" => (vec![module], rest),
            "super" => (vec![self.tree.modules[module].parent?], rest),
            _ => (self.relative(module, first, hops)?, rest),
        };
        while let [name, after @ ..] = rest {
            let next = if name == "super" {
                reached.iter().filter_map(|&module| self.tree.modules[module].parent).collect()
            } else {
                self.children_of(&reached, name)
            };
            if next.is_empty() {
                break;
            }
            (reached, rest) = (next, after);
        }
        Some((reached, rest))
    }

    fn children_of(&self, modules: &[usize], name: &str) -> Vec<usize> {
        modules
            .iter()
            .filter_map(|&module| self.children[module].get(name))
            .flatten()
            .copied()
            .collect()
    }

    /// Returns the module of that name that is a child of this module or is imported here.
    fn relative(&self, module: usize, name: &str, hops: usize) -> Option<Vec<usize>> {
        let children = self.children_of(&[module], name);
        if !children.is_empty() {
            return Some(children);
        }
        let path = self.imported[module].get(name)?;
        match self.walk(module, path, hops.checked_sub(1)?)? {
            (reached, []) => Some(reached),
            _ => None,
        }
    }
}

fn imported(module: &Module) -> BTreeMap<String, Vec<String>> {
    let mut names = BTreeMap::new();
    for item in &module.items {
        if let Item::Use(item) = item {
            flatten(&item.tree, &[], &mut names);
        }
    }
    names
}

/// Splits a `use` into the names that it imports, each with its full path.
fn flatten(tree: &UseTree, before: &[String], names: &mut BTreeMap<String, Vec<String>>) {
    let path = |name: &syn::Ident| {
        let itself = name == "self" && !before.is_empty();
        let name = (!itself).then(|| name.to_string());
        before.iter().cloned().chain(name).collect::<Vec<String>>()
    };
    match tree {
        UseTree::Path(tree) => flatten(&tree.tree, &path(&tree.ident), names),
        UseTree::Name(tree) => {
            let path = path(&tree.ident);
            if let Some(name) = path.last() {
                names.insert(name.clone(), path);
            }
        }
        UseTree::Rename(tree) => {
            names.insert(tree.rename.to_string(), path(&tree.ident));
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, names)),
        _ => {}
    }
}

fn exported_macros(module: &Module) -> Vec<(String, usize)> {
    let name = |item: &Item| match item {
        Item::Macro(ItemMacro { attrs, ident: Some(name), .. })
            if attrs.iter().any(|attribute| attribute.path().is_ident("macro_export")) =>
        {
            Some((name.to_string(), module.file))
        }
        _ => None,
    };
    module.items.iter().filter_map(name).collect()
}
