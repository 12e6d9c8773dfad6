//! The worker's tests, run with workers started by exec: the same handler, in this program started
//! again.

#[path = "../worker/handler.rs"]
mod forked;

pub(crate) use forked::*;
use ipc_tests::around::start_self;
use ipc_worker::{Launch, Worker};

pub(crate) fn worker() -> Worker<u32, impl Launch> {
    Worker::<u32, _>::start(start_self().unwrap()).unwrap()
}

pub(crate) fn lending() -> Worker<u32, impl Launch> {
    Worker::<u32, _>::start(start_self().unwrap().blocks::<2>(BLOCK)).unwrap()
}
