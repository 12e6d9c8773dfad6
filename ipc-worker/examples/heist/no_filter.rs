//! For big-endian machines, which seccompiler does not support.

use ipc_barrier::process::Instruction;
use ipc_worker::Reason;

/// Fails, because no filter can be created here.
pub(crate) fn filter() -> Result<Vec<Instruction>, Reason> {
    let how = std::io::Error::other("seccompiler does not support big-endian machines");
    Err(Reason::from_error("filter", &how, ""))
}
