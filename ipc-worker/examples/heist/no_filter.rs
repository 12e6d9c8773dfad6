//! Big-endian machines, for which seccompiler makes no filters.

use ipc_barrier::process::Instruction;
use ipc_worker::Reason;

/// Fails: nothing here can make one.
pub(crate) fn filter() -> Result<Vec<Instruction>, Reason> {
    let how = std::io::Error::other("seccompiler knows no big-endian machine");
    Err(Reason::from_error("filter", &how, ""))
}
