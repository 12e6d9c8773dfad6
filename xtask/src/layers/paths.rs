//! The paths in a stream of tokens.

use proc_macro2::{Delimiter, Ident, Spacing, TokenTree};

/// A path of two names or more, such as `crate::a::B`; a glob ends with the module's name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spelled {
    pub(crate) names: Vec<String>,
    pub(crate) line: usize,
    /// Begins with `$`, as in the body of a macro.
    pub(crate) from_macro: bool,
}

/// Finds the paths in tokens and in their groups. `code` returns the tokens of a group that count.
pub(crate) fn paths(
    tokens: &[TokenTree],
    code: &impl Fn(&proc_macro2::Group) -> Vec<TokenTree>,
) -> Vec<Spelled> {
    let mut found = Vec::new();
    let mut place = 0;
    while let Some(token) = tokens.get(place) {
        let before = tokens.get(..place).unwrap_or_default();
        match token {
            TokenTree::Ident(first)
                if is_double_colon(tokens, place + 1) && !ends_with_double_colon(before) =>
            {
                let mut reader = Reader { tokens, place, code, found: &mut found };
                let from_macro = before.last().is_some_and(|token| is_punct(token, '$'));
                reader.path(&Start { names: Vec::new(), line: line(first), from_macro });
                place = reader.place;
            }
            TokenTree::Group(group) => {
                let inner = code(group);
                if !is_visibility(group.delimiter(), &inner) {
                    found.extend(paths(&inner, code));
                }
                place += 1;
            }
            _ => place += 1,
        }
    }
    found
}

/// What a path inherits from the `use` group around it.
struct Start {
    names: Vec<String>,
    line: usize,
    from_macro: bool,
}

struct Reader<'a, F> {
    tokens: &'a [TokenTree],
    place: usize,
    code: &'a F,
    found: &'a mut Vec<Spelled>,
}

impl<F: Fn(&proc_macro2::Group) -> Vec<TokenTree>> Reader<'_, F> {
    /// Reads one path from its first name on, with its nested groups.
    fn path(&mut self, start: &Start) {
        let mut names = start.names.clone();
        loop {
            match self.tokens.get(self.place) {
                Some(TokenTree::Ident(name)) => {
                    // In a group, `self` is the module itself.
                    if names.is_empty() || name != "self" {
                        names.push(name.to_string().trim_start_matches("r#").to_owned());
                    }
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    self.place += 1;
                    return self.group(&(self.code)(group), names, start.from_macro);
                }
                _ => break,
            }
            self.place += 1;
            if !is_double_colon(self.tokens, self.place) {
                break;
            }
            self.place += 2;
        }
        self.found.push(Spelled { names, line: start.line, from_macro: start.from_macro });
    }

    /// Reads the branches of a `use`, which commas separate.
    fn group(&mut self, tokens: &[TokenTree], names: Vec<String>, from_macro: bool) {
        for branch in tokens.split(|token| is_punct(token, ',')) {
            let Some(first) = branch.first() else { continue };
            let line = first.span().start().line;
            let (code, found) = (self.code, &mut *self.found);
            let mut reader = Reader { tokens: branch, place: 0, code, found };
            reader.path(&Start { names: names.clone(), line, from_macro });
        }
    }
}

fn line(name: &Ident) -> usize {
    name.span().start().line
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

fn is_double_colon(tokens: &[TokenTree], place: usize) -> bool {
    match tokens.get(place..place + 2) {
        Some([TokenTree::Punct(first), second]) => {
            first.as_char() == ':' && first.spacing() == Spacing::Joint && is_punct(second, ':')
        }
        _ => false,
    }
}

fn ends_with_double_colon(tokens: &[TokenTree]) -> bool {
    tokens.len().checked_sub(2).is_some_and(|place| is_double_colon(tokens, place))
}

/// Returns whether a group is that of `pub(in crate::a)`, which imports nothing.
fn is_visibility(delimiter: Delimiter, inner: &[TokenTree]) -> bool {
    let begins_with_in = matches!(inner.first(), Some(TokenTree::Ident(name)) if name == "in");
    delimiter == Delimiter::Parenthesis && begins_with_in
}

#[cfg(test)]
mod tests {
    use proc_macro2::{Group, TokenStream};

    use super::*;

    fn found(text: &str) -> Vec<String> {
        let tokens: Vec<TokenTree> = text.parse::<TokenStream>().unwrap().into_iter().collect();
        let code = |group: &Group| group.stream().into_iter().collect();
        paths(&tokens, &code).into_iter().map(|path| path.names.join("::")).collect()
    }

    #[test]
    fn branches_of_a_use_are_whole_paths() {
        let text = "use crate::{a::B, c::{self, D as E, f::*}, g};";
        assert_eq!(
            found(text),
            ["crate::a::B", "crate::c", "crate::c::D", "crate::c::f", "crate::g"]
        );
        assert_eq!(found("pub use super::super::a::B as C;"), ["super::super::a::B"]);
    }

    #[test]
    fn paths_are_found_in_types_calls_and_macros() {
        assert_eq!(found("fn f(a: crate::A<super::B>) {}"), ["crate::A", "super::B"]);
        assert_eq!(found("let a = m!(\"{}\", crate::a::f::<B>());"), ["crate::a::f"]);
        assert_eq!(
            found("<A as super::b::C>::d(self::e::F { g: 1 })"),
            ["super::b::C", "self::e::F"]
        );
    }

    #[test]
    fn visibility_is_no_path() {
        assert_eq!(found("pub(in crate::a) struct B(pub(crate) C);"), Vec::<String>::new());
    }

    #[test]
    fn path_after_the_crate_of_a_macro_is_marked() {
        let tokens: Vec<TokenTree> =
            "$crate::a!(crate::B)".parse::<TokenStream>().unwrap().into_iter().collect();
        let found = paths(&tokens, &|group: &Group| group.stream().into_iter().collect());
        let marks: Vec<bool> = found.iter().map(|path| path.from_macro).collect();
        assert_eq!(marks, [true, false]);
    }
}
