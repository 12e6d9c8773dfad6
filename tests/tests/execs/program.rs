//! What this program does as a worker, selected by its second argument.

use ipc_tests::around::start_self;
use ipc_tests::over;
use ipc_worker::{Errno, Handler, Identity, Reason, Refusal, Reply, Request, StartError, Worker};
use rustix::fd::BorrowedFd;

use crate::handler::handle;

pub(crate) const OTHER: Identity =
    Identity { build: "tests 7", service: "echo", fingerprint: 0x1234 };

/// A handler with an identity; on request its `prepare` fails.
struct Named {
    is_ready: bool,
}

impl Handler for Named {
    fn prepare(&mut self) -> Result<(), Reason> {
        if self.is_ready { Ok(()) } else { Err(std::io::Error::from_raw_os_error(13).into()) }
    }

    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        handle(request, reply)
    }

    fn identity(&self) -> Identity {
        OTHER
    }

    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [].into_iter()
    }
}

/// Serves if this process is a worker, or was started by hand as one.
pub(crate) fn serve_if_asked() {
    let word = std::env::args().nth(2).unwrap_or_default();
    if !ipc_worker::is_worker() && word != "by-hand" {
        return;
    }
    match word.as_str() {
        "slots" => over::serve::<_, 63, 32768>(|| Ok(handle)),
        "many-slots" => over::serve::<_, 5000, 32768>(|| Ok(handle)),
        "bytes" => over::serve::<_, 64, 4096>(|| Ok(handle)),
        "named" => over::serve::<_, 64, 32768>(|| Ok(Named { is_ready: true })),
        "unprepared" => over::serve::<_, 64, 32768>(|| Ok(Named { is_ready: false })),
        "unmade" => over::serve::<_, 64, 32768>(|| {
            let error = Reason::new("parser", Errno(libc::ENOENT), "the tables");
            if error.errno.0 == 0 { Ok(handle) } else { Err(error) }
        }),
        "nests" => {
            let nested = Worker::<u32, _>::start(start_self().unwrap()).map(|_| ());
            over::serve::<_, 64, 32768>(|| {
                // From here on it may have its own workers.
                let own = Worker::<u32, _>::start(start_self()?);
                match (nested, own) {
                    (Err(StartError::System(error)), Ok(_)) => Err(error.into()),
                    _ => Ok(handle),
                }
            })
        }
        "panics" => over::serve::<_, 64, 32768>(|| {
            assert_eq!(std::env::args().count(), 0, "on purpose");
            Ok(handle)
        }),
        _ => over::serve::<_, 64, 32768>(|| Ok(crate::surroundings::look)),
    }
}
