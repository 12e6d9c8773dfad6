//! The launch by fork: the worker is a copy of main.

use core::marker::PhantomData;

use ipc_barrier::process::{Fork as Side, ForkError, block_signals};
use ipc_transport::{Instant, SharedPage, Stream};

use super::child;
use super::launch::Launch;
use super::medium::{Medium, OverSocket};
use super::shared::Shared;
use super::state::{Policy, Process, SLICE};
use crate::blocks::{Lend, NoBlocks};
use crate::caller::Caller;
use crate::handler::Handler;
use crate::start_error::StartError;

/// Runs the handler in a forked process; see [`Start::fork`](crate::Start::fork).
#[derive(Debug)]
pub struct Fork<H, M = OverSocket, B = NoBlocks> {
    pub(crate) handler: H,
    pub(crate) by: fn() -> Result<Side, ForkError>,
    pub(crate) medium: PhantomData<M>,
    pub(crate) blocks: B,
}

impl<H> Fork<H> {
    pub(crate) const fn new(by: fn() -> Result<Side, ForkError>, handler: H) -> Self {
        Self { handler, by, medium: PhantomData, blocks: NoBlocks }
    }
}

impl<H: Handler, M: Medium, B: Lend> Launch for Fork<H, M, B> {
    type Medium = M;
    type Blocks = B;

    /// Main has both ends of a stream and a pidfd. The child needs two more.
    const DESCRIPTORS: usize = 5;

    fn blocks(&self) -> &B {
        &self.blocks
    }

    fn blocks_mut(&mut self) -> &mut B {
        &mut self.blocks
    }

    fn begin<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        policy: &Policy,
        _deadline: Instant,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
    ) -> Result<Option<Process>, StartError> {
        let (mut stream, theirs) = Stream::pair()?;
        stream.pass_rights(false);
        stream.set_receive_timeout(SLICE)?;
        let page = SharedPage::new(Shared::len::<M>(SLOTS, BYTES))?;
        let shared = Shared::of(page.words(), Shared::len_alone(SLOTS));
        caller.offer_all(shared.words);
        // Main's signal handlers must not run in the child before it has reset them.
        let blocked = block_signals()?;
        match (self.by)()? {
            Side::Parent(child) => {
                drop(blocked);
                Ok(Some(Process::new(child, stream, page, Shared::len_alone(SLOTS))))
            }
            Side::Child(guard) => {
                // The child reuses main's buffers: the kernel copies only the pages that are
                // written.
                let Caller { inbox, outbox, .. } = caller;
                inbox.forget();
                outbox.forget();
                let [_, worker] = M::ENDS;
                let (medium, spin) = (worker(), policy.patience);
                let blocks = self.blocks.view();
                let given =
                    child::Given { stream: theirs, shared, medium, blocks, spin, inbox, outbox };
                // The guard stops a panic from unwinding past here.
                let _guard = guard;
                given.serve(|stream| child::set_up(stream, &mut self.handler))
            }
        }
    }
}
