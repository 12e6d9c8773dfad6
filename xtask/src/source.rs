//! One source file, split into code, comments and tests.

use std::{collections::BTreeSet, fs, ops::Range, path::Path};

use proc_macro2::{LexError, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Attribute, Item, Meta,
    parse::{ParseStream, Parser as _},
    punctuated::Punctuated,
    spanned::Spanned as _,
    visit::{self, Visit},
};

use crate::failure::Failure;

/// A parsed source file.
pub(crate) struct Source {
    text: String,
    /// The byte ranges that only a test build compiles.
    tests: Vec<Range<usize>>,
    is_test: bool,
}

impl Source {
    /// Reads and parses a file, and also returns its items.
    pub(crate) fn read(path: &Path) -> Result<(Self, Vec<Item>), Failure> {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(Failure::of(&format!("read {shown}")))?;
        Self::parse(text).map_err(|error| {
            let line = error.span().start().line;
            Failure::Failed(format!("cannot parse {shown}, line {line}: {error}"))
        })
    }

    fn parse(text: String) -> Result<(Self, Vec<Item>), syn::Error> {
        let file = syn::parse_file(&text)?;
        let mut tests = Tests::default();
        tests.visit_file(&file);
        let is_test = file.attrs.iter().any(is_test_attribute);
        Ok((Self { text, tests: tests.found, is_test }, file.items))
    }

    /// Returns whether the whole file is compiled in tests only.
    pub(crate) fn is_test(&self) -> bool {
        self.is_test
    }

    /// Returns whether an item is compiled outside tests.
    pub(crate) fn is_code(&self, item: &Item) -> bool {
        !self.is_test && !self.is_in_tests(item.span())
    }

    /// Counts the lines that hold code outside tests: no blank lines, no comments.
    pub(crate) fn code_lines(&self) -> Result<usize, LexError> {
        let mut lines = BTreeSet::new();
        self.mark(self.text.parse()?, &mut lines);
        let blank = |number: &usize| {
            self.text.lines().nth(number - 1).is_none_or(|line| line.trim().is_empty())
        };
        lines.retain(|number| !blank(number));
        Ok(lines.len())
    }

    /// Returns the tokens that are code outside tests. Groups keep all their tokens.
    pub(crate) fn code(&self, tokens: TokenStream) -> Vec<TokenTree> {
        tokens.into_iter().filter(|token| self.counts(token)).collect()
    }

    fn mark(&self, tokens: TokenStream, lines: &mut BTreeSet<usize>) {
        for token in self.code(tokens) {
            if let TokenTree::Group(group) = token {
                lines.insert(group.span_open().start().line);
                lines.insert(group.span_close().end().line);
                self.mark(group.stream(), lines);
            } else {
                lines.extend(token.span().start().line..=token.span().end().line);
            }
        }
    }

    fn counts(&self, token: &TokenTree) -> bool {
        let span = token.span();
        // The lexer turns a doc comment into an attribute; its tokens have the comment's place.
        let text = self.text.get(span.byte_range().start..).unwrap_or_default();
        let is_comment = text.starts_with("//") || text.starts_with("/*");
        !is_comment && !self.is_in_tests(span)
    }

    fn is_in_tests(&self, span: Span) -> bool {
        let start = span.byte_range().start;
        self.tests.iter().any(|test| test.contains(&start))
    }
}

/// Finds what only a test build compiles.
#[derive(Default)]
struct Tests {
    found: Vec<Range<usize>>,
}

impl Tests {
    /// Records the node if it is for tests, and otherwise searches inside it.
    fn is_test(&mut self, node: &impl ToTokens) -> bool {
        let is_test = attributes(node).iter().any(is_test_attribute);
        if is_test {
            self.found.push(node.span().byte_range());
        }
        is_test
    }
}

/// Implements the visits to nodes that can have attributes.
macro_rules! visit_nodes {
    ($($visit:ident: $node:ident),* $(,)?) => {
        $(fn $visit(&mut self, node: &'ast syn::$node) {
            if !self.is_test(node) {
                visit::$visit(self, node);
            }
        })*
    };
}

impl<'ast> Visit<'ast> for Tests {
    visit_nodes! {
        visit_arm: Arm,
        visit_expr: Expr,
        visit_field: Field,
        visit_field_pat: FieldPat,
        visit_field_value: FieldValue,
        visit_foreign_item: ForeignItem,
        visit_impl_item: ImplItem,
        visit_item: Item,
        visit_stmt: Stmt,
        visit_trait_item: TraitItem,
        visit_variant: Variant,
    }
}

/// Returns the attributes before a node.
fn attributes(node: &impl ToTokens) -> Vec<Attribute> {
    let leading = |input: ParseStream<'_>| {
        let attributes = input.call(Attribute::parse_outer)?;
        input.parse::<TokenStream>()?;
        Ok(attributes)
    };
    leading.parse2(node.to_token_stream()).unwrap_or_default()
}

/// Returns whether the attribute limits its item to test builds.
fn is_test_attribute(attribute: &Attribute) -> bool {
    match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => {
            list.parse_args::<Meta>().is_ok_and(|condition| needs_test(&condition))
        }
        _ => false,
    }
}

/// Returns whether the condition is true in test builds only.
fn needs_test(condition: &Meta) -> bool {
    let Meta::List(list) = condition else { return condition.path().is_ident("test") };
    let parse = Punctuated::<Meta, syn::Token![,]>::parse_terminated;
    let Ok(parts) = list.parse_args_with(parse) else { return false };
    if list.path.is_ident("all") {
        parts.iter().any(needs_test)
    } else {
        list.path.is_ident("any") && !parts.is_empty() && parts.iter().all(needs_test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> usize {
        Source::parse(text.to_owned()).unwrap().0.code_lines().unwrap()
    }

    #[test]
    fn blank_lines_and_comments_do_not_count() {
        assert_eq!(lines(""), 0);
        assert_eq!(lines("//! crate\n\n// line\n/// doc\nfn f() {} // after\n"), 1);
        assert_eq!(lines("/* a\n b */ fn f() {}\n/** doc\n of two lines */\nfn g() {\n}\n"), 3);
        assert_eq!(lines("/* a /* nested\n */ still\n a comment */\nfn f() {}\n"), 1);
        assert_eq!(lines("fn f() {\n    //! inner\n    /*! inner */\n    let _ = 1;\n}"), 3);
    }

    #[test]
    fn comment_signs_in_literals_are_code() {
        assert_eq!(lines("const A: &str = \"// no comment\";\nconst B: u8 = 1;"), 2);
        assert_eq!(lines("const A: &str = \"/* none\";\nconst B: &str = \"*/\";"), 2);
        assert_eq!(lines("const A: &str = r#\"// \" /* \"#;\nconst B: char = '\"';\n// \"\n"), 2);
        assert_eq!(lines("const A: &[u8] = br##\"\n// in it\n\n\"#\n\"##;\n"), 4);
        assert_eq!(lines("const C: char = '\\'';\nfn f<'a>(_: &'a str) {}\n/* ' */"), 2);
    }

    #[test]
    fn doc_written_as_an_attribute_is_code() {
        assert_eq!(lines("#[doc(alias = \"a\")]\n#[doc = include_str!(\"a\")]\nfn f() {}"), 3);
    }

    #[test]
    fn test_items_do_not_count_wherever_they_are() {
        assert_eq!(lines("#[cfg(test)]\nmod tests {\n    fn f() {}\n}\nfn g() {}"), 1);
        assert_eq!(lines("#[cfg(test)]\nuse a::{\n    b,\n};\n#[test]\nfn f() {}\nfn g() {}"), 1);
        assert_eq!(lines("impl A {\n    #[cfg(test)]\n    fn f() {\n    }\n}"), 2);
        assert_eq!(lines("struct A {\n    #[cfg(test)]\n    a: u8,\n    b: u8,\n}"), 4);
        assert_eq!(lines("enum A {\n    B,\n    #[cfg(test)]\n    C { d: u8 },\n}"), 4);
        assert_eq!(lines("fn f() {\n    #[cfg(test)]\n    let a = A {\n    };\n    g();\n}"), 3);
    }

    #[test]
    fn attributes_over_several_lines_belong_to_their_item() {
        let attribute = "#[cfg(\n    all(test, feature = \"a\")\n)]\n#[expect(\n    b\n)]\n";
        assert_eq!(lines(&format!("{attribute}const A: S = S {{\n    a: 1,\n}};\nfn f() {{}}")), 1);
        assert_eq!(lines("#[expect(\n    a,\n    reason = \"// b\"\n)]\nfn f() {}"), 5);
    }

    #[test]
    fn code_that_other_builds_have_too_counts() {
        assert_eq!(lines("#[cfg(any(feature = \"std\", test))]\nextern crate std;"), 2);
        assert_eq!(lines("#[cfg(not(test))]\nfn f() {}"), 2);
        assert_eq!(lines("#[cfg_attr(test, derive(Debug))]\nstruct A;"), 2);
        assert_eq!(lines("#[cfg(any(test, test))]\nfn f() {}"), 0);
    }

    #[test]
    fn macro_bodies_count_without_their_comments() {
        assert_eq!(lines("macro_rules! m {\n    // c\n    () => {\n        1\n    };\n}"), 5);
    }

    #[test]
    fn files_for_tests_say_so_at_their_head() {
        let is_test = |text: &str| Source::parse(text.to_owned()).unwrap().0.is_test();
        assert!(is_test("#![cfg(test)]\nfn f() {}"));
        assert!(!is_test("#![cfg(unix)]\nfn f() {}"));
    }
}
