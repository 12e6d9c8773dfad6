//! The parts of a program's file.

use std::{collections::BTreeMap, fs, path::Path};

use elf::{
    ElfBytes,
    abi::{SHF_ALLOC, SHF_WRITE, SHT_NOBITS, STT_FUNC},
    endian::AnyEndian,
};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Bytes of a program's file, and of its sections in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) file: u64,
    /// Code and read-only data.
    pub(super) text: u64,
    /// Writable data.
    pub(super) data: u64,
    /// Memory that starts as zeros.
    pub(super) bss: u64,
}

impl Sizes {
    pub(super) fn of(path: &Path) -> Result<Self, Failure> {
        let bytes = read(path)?;
        let file = parse(path, &bytes)?;
        let mut sizes = Self { file: bytes.len() as u64, ..Self::default() };
        for section in file.section_headers().into_iter().flatten() {
            let has = |flag: u32| section.sh_flags & u64::from(flag) != 0;
            if !has(SHF_ALLOC) {
                continue;
            }
            if section.sh_type == SHT_NOBITS {
                sizes.bss += section.sh_size;
            } else if has(SHF_WRITE) {
                sizes.data += section.sh_size;
            } else {
                sizes.text += section.sh_size;
            }
        }
        Ok(sizes)
    }

    pub(super) fn json(self) -> Value {
        let Self { file, text, data, bss } = self;
        json!({ "file": file, "text": text, "data": data, "bss": bss })
    }
}

/// Returns the functions of an unstripped program, the largest first. Functions with the same name
/// are added up.
pub(super) fn functions(path: &Path) -> Result<Vec<(String, u64)>, Failure> {
    let bytes = read(path)?;
    let file = parse(path, &bytes)?;
    let mut sizes = BTreeMap::<String, u64>::new();
    let symbols = file.symbol_table().ok().flatten();
    let (symbols, names) =
        symbols.ok_or_else(|| Failure::Failed(format!("{} has no symbols", path.display())))?;
    for symbol in symbols.iter().filter(|symbol| symbol.st_symtype() == STT_FUNC) {
        let name = names.get(symbol.st_name as usize).unwrap_or("?");
        let name = format!("{:#}", rustc_demangle::demangle(name));
        *sizes.entry(name).or_default() += symbol.st_size;
    }
    let mut functions: Vec<_> = sizes.into_iter().collect();
    functions.sort_by(|(name, size), (other, others)| others.cmp(size).then(name.cmp(other)));
    Ok(functions)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(Failure::of(&format!("read {}", path.display())))
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<ElfBytes<'a, AnyEndian>, Failure> {
    ElfBytes::minimal_parse(bytes)
        .map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_read_as_it_is() {
        let path = std::env::current_exe().unwrap();
        let sizes = Sizes::of(&path).unwrap();
        assert_eq!(sizes.file, fs::metadata(&path).unwrap().len());
        assert!(sizes.text > 100_000 && sizes.text + sizes.data < sizes.file, "{sizes:?}");
        let functions = functions(&path).unwrap();
        let this = "::this_program_is_read_as_it_is";
        assert!(functions.iter().any(|(name, size)| name.ends_with(this) && *size > 0));
        assert!(functions.windows(2).all(|two| two[0].1 >= two[1].1));
    }

    #[test]
    fn what_is_no_program_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Sizes::of(file.path()).is_err());
    }
}
