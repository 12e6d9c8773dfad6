//! Programs for the image: they must be static and for the image's machine.

use std::{fs, path::Path};

use elf::{ElfBytes, abi::PT_INTERP, endian::AnyEndian};

use super::machine::Machine;
use crate::failure::Failure;

/// Reads a program.
///
/// # Errors
/// The file cannot be read, is for another machine or needs shared libraries.
pub(crate) fn read(path: &Path, machine: &Machine) -> Result<Vec<u8>, Failure> {
    let name = path.display();
    let program = fs::read(path).map_err(Failure::of(&format!("read {name}")))?;
    check(&program, machine).map_err(|why| Failure::Failed(format!("{name} {why}")))?;
    Ok(program)
}

fn check(program: &[u8], machine: &Machine) -> Result<(), String> {
    let file = ElfBytes::<AnyEndian>::minimal_parse(program)
        .map_err(|error| format!("is not an ELF file: {error}"))?;
    if file.ehdr.e_machine != machine.elf {
        return Err(format!("is not for {}", machine.name));
    }
    if file.segments().into_iter().flatten().any(|segment| segment.p_type == PT_INTERP) {
        return Err("is not static".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::machine::MACHINES, *};

    /// Offsets in the header of a 64-bit ELF file, and in its only program header (elf(5)).
    const MACHINE: usize = 18;
    const SEGMENT: usize = 64;

    /// Returns an ELF file that consists of headers only, with one segment of the given type.
    fn file(machine: u16, segment: u32) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[MACHINE..][..2].copy_from_slice(&machine.to_le_bytes());
        // The version, and the offset, size and count of the segments.
        file[20] = 1;
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[SEGMENT..][..4].copy_from_slice(&segment.to_le_bytes());
        file
    }

    #[test]
    fn static_program_for_the_machine_is_taken() {
        for machine in MACHINES {
            assert_eq!(check(&file(machine.elf, elf::abi::PT_LOAD), machine), Ok(()));
        }
    }

    #[test]
    fn other_programs_say_what_is_wrong() {
        let [x86, arm] = MACHINES;
        let is_not = |file: &[u8]| check(file, x86).unwrap_err();
        assert_eq!(is_not(&file(x86.elf, PT_INTERP)), "is not static");
        assert_eq!(is_not(&file(arm.elf, elf::abi::PT_LOAD)), "is not for x86_64");
        assert!(is_not(b"#!/bin/sh").starts_with("is not an ELF file: "));
    }
}
