//! iceoryx2: publish and subscribe each way, with samples read and written in place. A sleeping
//! reader waits for an event; a polling one needs none.

use std::time::Duration;

use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::sample::Sample;
use rustix::fd::OwnedFd;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::contender::{Contender, Peer, Task, Trouble, spins, split};
use crate::echo::arrived;
use crate::message::{Message, Service, kind};
use crate::work::{IN_FLIGHT, ONE_WAYS, Work};

type Bytes = Sample<ipc::Service, [u8], ()>;

pub(crate) fn events(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    start(task, Reader::Sleeps)
}

pub(crate) fn polling(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    spins(task)?;
    start(task, Reader::Polls)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    Sleeps,
    Polls,
}

fn start(task: Task, reader: Reader) -> Result<Box<dyn Contender>, Trouble> {
    match task.work {
        Work::Fds { .. } => return Err(Trouble::LeftOut("passes no descriptors")),
        Work::Kill => return Err(Trouble::LeftOut("a sleeping reader does not learn of a death")),
        Work::Meet | Work::Large { .. } => return Err(Trouble::Elsewhere),
        _ => {}
    }
    let name = format!("ipc-peers-{}-{}", std::process::id(), fastrand::u64(..));
    let (ready, is_ready) = pipe_with(PipeFlags::CLOEXEC)?;
    let serve_as = |ready: OwnedFd| {
        let ports = Ports::open(&name, ["back", "there"], task.work, reader)?;
        rustix::io::write(&ready, &[0])?;
        ports.serve(task.work)
    };
    let (ready, peer) = split(task, ready, is_ready, serve_as)?;
    let ports = Ports::open(&name, ["there", "back"], task.work, reader)?;
    // Samples published before the peer subscribes would be lost.
    rustix::io::read(&ready, &mut [0_u8])?;
    let message = Message::new(task.work.size());
    Ok(Box::new(Iceoryx { ports, work: task.work, message, peer }))
}

/// One side.
struct Ports {
    publisher: Publisher<ipc::Service, [u8], ()>,
    subscriber: Subscriber<ipc::Service, [u8], ()>,
    events: Option<(Notifier<ipc::Service>, Listener<ipc::Service>)>,
    _node: Node<ipc::Service>,
}

impl Ports {
    fn open(
        name: &str,
        [outgoing, incoming]: [&str; 2],
        work: Work,
        reader: Reader,
    ) -> Result<Self, Trouble> {
        set_log_level(LogLevel::Error);
        let node = NodeBuilder::new().create::<ipc::Service>()?;
        let samples = |way: &str| -> Result<_, Trouble> {
            let name = format!("{name}/{way}").as_str().try_into()?;
            let builder = node.service_builder(&name).publish_subscribe::<[u8]>();
            let builder = builder.subscriber_max_buffer_size(work.in_round() + 1);
            Ok(builder.enable_safe_overflow(false).open_or_create()?)
        };
        let publisher = samples(outgoing)?
            .publisher_builder()
            .initial_max_slice_len(work.size())
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?;
        let subscriber = samples(incoming)?.subscriber_builder().create()?;
        let event = |way: &str| -> Result<_, Trouble> {
            let name = format!("{name}/{way}").as_str().try_into()?;
            Ok(node.service_builder(&name).event().open_or_create()?)
        };
        let events = match reader {
            Reader::Polls => None,
            Reader::Sleeps => Some((
                event(outgoing)?.notifier_builder().create()?,
                event(incoming)?.listener_builder().create()?,
            )),
        };
        Ok(Self { publisher, subscriber, events, _node: node })
    }

    fn publish(&self, message: &[u8]) -> Result<(), Trouble> {
        self.publisher.loan_slice_uninit(message.len())?.write_from_slice(message).send()?;
        Ok(())
    }

    fn notify(&self) -> Result<(), Trouble> {
        if let Some((notifier, _)) = &self.events {
            notifier.notify()?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Bytes, Trouble> {
        loop {
            if let Some(sample) = self.subscriber.receive()? {
                return Ok(sample);
            }
            match &mut self.events {
                None => std::hint::spin_loop(),
                Some((_, listener)) => {
                    listener.blocking_wait(|_| ())?;
                }
            }
        }
    }

    /// Answers every pending sample, then notifies once.
    fn serve(mut self, work: Work) -> Result<(), Trouble> {
        let mut service = Service::new(work.size());
        loop {
            let mut next = Some(self.receive()?);
            while let Some(sample) = next {
                if sample[0] == STOP {
                    return Ok(());
                }
                if let Some(reply) = service.answer(&sample)? {
                    self.publish(&reply)?;
                }
                drop(sample);
                next = self.subscriber.receive()?;
            }
            self.notify()?;
        }
    }
}

/// The kind of the last message: the peer exits and removes its files.
const STOP: u8 = 255;

struct Iceoryx {
    ports: Ports,
    work: Work,
    message: Message,
    peer: Peer,
}

impl Iceoryx {
    fn reply(&mut self, number: u64) -> Result<(), Trouble> {
        let sample = self.ports.receive()?;
        self.message.check(&sample, number)
    }
}

impl Contender for Iceoryx {
    fn round(&mut self) -> Result<(), Trouble> {
        if let Work::OneWay { .. } = self.work {
            for _ in 0..ONE_WAYS {
                self.ports.publish(self.message.next(kind::ONE_WAY))?;
            }
            self.ports.publish(self.message.next(kind::COUNT))?;
            self.ports.notify()?;
            return self.reply(arrived(&self.message));
        }
        let count = if let Work::InFlight { .. } = self.work { IN_FLIGHT } else { 1 };
        let first = self.message.number() + 1;
        for _ in 0..count {
            self.ports.publish(self.message.next(kind::ECHO))?;
        }
        self.ports.notify()?;
        (first..=self.message.number()).try_for_each(|number| self.reply(number))
    }

    fn pid(&mut self) -> Option<i32> {
        Some(self.peer.pid())
    }
}

impl Drop for Iceoryx {
    fn drop(&mut self) {
        let told = self.ports.publish(self.message.next(STOP));
        if told.and_then(|()| self.ports.notify()).is_ok() {
            self.peer.ends_within(Duration::from_secs(1));
        }
    }
}
