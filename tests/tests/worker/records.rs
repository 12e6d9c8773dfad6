//! Records of the `log` crate in a worker.

use ipc_tests::over;
use ipc_worker::{
    Call, Event, Handler, Note, Reason, Refusal, Reply, Request, Start, Worker, log_notes,
};

use crate::handler::{Told, soon, turn_until};

const FEW: u16 = 1;
const MANY: u16 = 2;

/// Logs through the `log` crate, like libraries do.
struct Logs {
    is_worker: bool,
}

impl Handler for Logs {
    fn prepare(&mut self) -> Result<(), Reason> {
        assert_eq!(log_notes(log::LevelFilter::Info), self.is_worker);
        log::error!("too early");
        Ok(())
    }

    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        match request.method() {
            FEW => {
                log::warn!(target: "disk", "slow: {} ms", 7);
                log::debug!("not of this level");
                log::error!(target: &"é".repeat(50), "{}{}", "é".repeat(500), 'x');
            }
            MANY => (0..100).for_each(|number| log::info!("line {number}")),
            _ => return Err(Refusal::UNKNOWN_METHOD),
        }
        reply.put(request.bytes())
    }
}

pub(crate) fn records_of_the_log_crate_are_notes_with_level_target_and_text() {
    let start = over::fork(Logs { is_worker: true });
    let mut worker = Worker::<u32, _, 8, 4096>::start(start).unwrap();
    assert!(!log::log_enabled!(log::Level::Error), "main's own logger is left alone");
    let mut records = Vec::new();
    let mut lines = |event: Event<'_, u32>| match event {
        Event::Note { tag: None, note } => {
            assert_eq!(note.number(), Note::RECORD);
            let [target, text] = [note.target(), note.text()].map(str::to_owned);
            records.push((note.level().unwrap(), target, text));
        }
        event => assert!(matches!(event, Event::Done { .. }), "{event:?}"),
    };
    worker.call_until(Call::new(FEW, &[]), 1, soon(), &mut lines).unwrap();
    let (target, text) = ("é".repeat(32), "é".repeat(223));
    let expected = [
        (log::Level::Warn, "disk".to_owned(), "slow: 7 ms".to_owned()),
        (log::Level::Error, target, text),
    ];
    assert_eq!(records, expected);
    assert_eq!(worker.counters().notes_dropped, 1, "the record before it was ready");
}

pub(crate) fn a_worker_that_logs_as_fast_as_it_can_answers_every_request() {
    let mut worker =
        Worker::<u32, _, 8, 4096>::start(over::fork(Logs { is_worker: true })).unwrap();
    let (mut next, mut replies, mut lines) = (0, 0, 0);
    while replies < 500 {
        while next < 500 && worker.has_room() {
            worker.try_call(Call::new(MANY, &[]), next).unwrap();
            next += 1;
        }
        for told in turn_until(&mut worker, |list| !list.is_empty()) {
            match told {
                Told::Note(None, Note::RECORD, _) => lines += 1,
                told => {
                    assert_eq!(told, Told::Reply(replies, Vec::new()));
                    replies += 1;
                }
            }
        }
    }
    assert!(lines >= 16);
    assert_eq!(lines + worker.counters().notes_dropped, 500 * 100 + 1);
    // In line, main's logger handles the records.
    drop(Worker::<u32, _>::start(Start::inline(Logs { is_worker: false })).unwrap());
}
