//! Clients that send numbered messages, and what the files must contain afterwards.

use std::collections::HashSet;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::daemon::Logd;
use crate::home::Home;

/// Threads that send until the daemon accepts no more.
pub(crate) struct Load {
    threads: Vec<JoinHandle<u32>>,
    len: usize,
}

impl Load {
    /// Starts clients that send messages of at least `len` bytes.
    pub(crate) fn start(logd: &Logd<'_>, clients: u32, len: usize) -> Self {
        let threads = (0..clients).map(|client| {
            let socket = logd.client();
            std::thread::spawn(move || {
                let is_sent = |number: &u32| {
                    // Long messages are slowed down: the disk itself is not under test.
                    let pause = Duration::from_millis(u64::from(len > 1000));
                    std::thread::sleep(pause);
                    socket.send(message(client, *number, len).as_bytes()).is_ok()
                };
                let sent = (0..).take_while(is_sent).count();
                u32::try_from(sent).unwrap()
            })
        });
        Self { threads: threads.collect(), len }
    }

    /// Waits for the clients, and returns how many messages of each were accepted.
    pub(crate) fn counts(self) -> Vec<u32> {
        self.threads.into_iter().map(|it| it.join().unwrap()).collect()
    }

    /// Checks that each accepted message is in the files once and complete, in its client's order.
    /// Messages reported as lost while running may be missing.
    pub(crate) fn check(self, home: &Home, said: &str) -> u64 {
        let len = self.len;
        let counts = self.counts();
        let lost = lost(said);
        let mut next = vec![0; counts.len()];
        for text in home.texts() {
            let (client, number) = numbers(&text);
            assert_eq!(text, message(client, number, len), "not as it was sent");
            let expected = &mut next[usize::try_from(client).unwrap()];
            while *expected < number {
                assert!(lost.contains(&(client, *expected)), "{client} {expected} is missing");
                *expected += 1;
            }
            assert_eq!(*expected, number, "client {client}: twice or out of order");
            *expected += 1;
        }
        for (client, (&count, next)) in (0..).zip(counts.iter().zip(next)) {
            let missing = (next..count).find(|&number| !lost.contains(&(client, number)));
            assert_eq!(missing, None, "client {client} sent {count}");
        }
        counts.into_iter().map(u64::from).sum()
    }
}

fn message(client: u32, number: u32, len: usize) -> String {
    let mut text = format!("load {client} {number} ");
    while text.len() < len {
        text.push(char::from(b'a' + u8::try_from((text.len() + text.len() / 26) % 26).unwrap()));
    }
    text
}

/// Returns the client and the number of a message.
pub(crate) fn numbers(text: &str) -> (u32, u32) {
    let mut words = text.strip_prefix("load ").unwrap().split(' ');
    let mut number = || words.next().unwrap().parse().unwrap();
    (number(), number())
}

/// Returns the messages reported as lost while running.
fn lost(said: &str) -> HashSet<(u32, u32)> {
    let names = said.lines().filter_map(|line| line.strip_prefix("logd: lost (running): "));
    names.map(numbers).collect()
}
