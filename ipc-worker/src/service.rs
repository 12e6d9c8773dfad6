//! Typed services: declared once, with main's stub and the worker's dispatch made from it.
//!
//! The items here beside the macro are for the code that it makes, and not part of the interface.

mod args;
mod fingerprint;
pub mod longest;
pub mod method;
pub mod said;

pub use args::Args;
pub use fingerprint::fingerprint;

/// Declares what a worker does for main: its methods with their numbers, arguments and results.
///
/// A service becomes a module with one module for each method, for main, and a trait `Serve` with
/// one function for each, for the worker. Arguments and results are any types of serde; they
/// are written in the postcard format, straight into the worker's buffers, and may borrow from
/// them. Needs the feature `postcard`.
///
/// ```
/// use std::fs::File;
/// use std::io::Write;
/// use std::os::fd::{AsFd, OwnedFd};
/// use ipc_worker::{Event, Instant, Outcome, Refusal, Start, Worker};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// pub struct Line<'a> {
///     number: u32,
///     text: &'a str,
/// }
///
/// ipc_worker::service! {
///     /// What the worker does for the daemon.
///     pub mod disk {
///         /// Appends a line and answers with its length.
///         1 => fn append(line: Line<'_>, fds: [OwnedFd; 1]) -> u64;
///         /// Opens a file for reading.
///         2 => fn open(path: &str) -> (u64, [OwnedFd; 1]);
///         3 => fn sync();
///     }
/// }
///
/// struct Disk;
///
/// impl disk::Serve for Disk {
///     fn append(&mut self, line: Line<'_>, [fd]: [OwnedFd; 1]) -> Result<u64, Refusal> {
///         let text = format!("{}: {}\n", line.number, line.text);
///         File::from(fd).write_all(text.as_bytes())?;
///         Ok(u64::try_from(text.len()).unwrap_or(u64::MAX))
///     }
///
///     fn open(&mut self, path: &str) -> Result<(u64, [OwnedFd; 1]), Refusal> {
///         let file = File::open(path)?;
///         Ok((file.metadata()?.len(), [file.into()]))
///     }
///
///     fn sync(&mut self) -> Result<(), Refusal> {
///         Ok(())
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     // Its type is `Worker<u32, Inline<disk::Server<Disk>>>`; by fork, `Fork` for `Inline`.
///     let mut worker = Worker::<u32, _>::start(Start::inline(disk::Server(Disk)))?;
///     let null = File::create("/dev/null")?;
///     let line = Line { number: 7, text: "hello" };
///     disk::append::call(&mut worker, &line, [null.as_fd()], 1)?;
///
///     worker.turn(Instant::now());
///     while let Some(event) = worker.next_event() {
///         let Event::Done { tag: 1, outcome: Outcome::Reply(reply) } = event else { continue };
///         assert_eq!(disk::append::result(&reply)?, 9);
///     }
///     Ok(())
/// }
/// ```
///
/// # What is declared
/// Each method has a number, by which it goes, a name, arguments, perhaps a number of descriptors
/// as the last of them, and a result. A result with descriptors is written as a tuple:
/// `-> (u64, [OwnedFd; 1])`, where `OwnedFd` has no path. Two methods with one number do not
/// compile. The names `prepare`, `settle` and `descriptors` are taken, and among types `Serve` and
/// `Server`. Attributes, such as `#[cfg]`, apply to all that is made of the method. A function that
/// needs its request, for [`is_cancelled`](crate::Request::is_cancelled) or
/// [`flush`](crate::Request::flush), has `request: &Request<'_>` as its first argument; main's side
/// does not have it. A service of more than 100 methods needs a higher `#![recursion_limit]`; a
/// method with descriptors in its result counts as two.
///
/// Words after the result say how the method behaves:
/// - `again` with a value of [`Again`](crate::Again), and perhaps `tries` with a number: how its
///   calls may be repeated, unless one [says otherwise](crate::Call::again).
/// - `quick` or `slow`: whether it takes less than 100 µs, for
///   [`Handler::is_quick`](crate::Handler::is_quick). Without a word the worker times it.
///
/// ```
/// ipc_worker::service! { mod disk {
///     1 => fn put(at: u64, block: &str) -> u32, again UntilAnswered, tries 5, slow;
///     2 => fn len() -> u64, quick;
/// } }
/// # fn main() {}
/// ```
///
/// Any other word, or words that contradict each other, do not compile:
/// ```compile_fail,E0560
/// ipc_worker::service! { mod disk {
///     1 => fn put(at: u64, block: &str) -> u32, again UntilAnswered, tries 5, slow;
///     2 => fn len() -> u64, quik;
/// } }
/// # fn main() {}
/// ```
///
/// # For main
/// - `disk::append::call(&mut worker, &line, [fd], tag)` calls as
///   [`Worker::try_call`](crate::Worker::try_call) does. Arguments are lent, references are passed
///   as they are.
/// - `disk::append::args(&line, [fd]).call()` is an ordinary [`Call`](crate::Call), which can be
///   given a deadline or another resend policy, or passed to
///   [`call_until`](crate::Worker::call_until). It allows its reply as many descriptors as the
///   method gives.
/// - `disk::append::result(&reply)` reads the result, which may borrow from the reply. Where
///   descriptors come with it, the reply is consumed: `disk::open::result(reply)`. A reply that is
///   not a valid result of the method is a [`BadReply`](crate::BadReply).
///
/// # For the worker
/// - `disk::Serve` is implemented by what does the work. Its `prepare`, `settle` and `descriptors`
///   are those of [`Handler`](crate::Handler), and have the same defaults.
/// - `disk::Server(Disk)` makes a handler of it.
/// - `disk::dispatch(&mut disk, request, reply)` answers one request, for a handler that serves
///   two services or does more. `disk::is_quick(number)` returns what the declaration says.
///
/// A request reaches the program's function only if it is valid. Arguments that do not decode are
/// refused with [`Refusal::MALFORMED`](crate::Refusal::MALFORMED), too many or too few descriptors
/// with [`WRONG_FDS`](crate::Refusal::WRONG_FDS), undeclared numbers with
/// [`UNKNOWN_METHOD`](crate::Refusal::UNKNOWN_METHOD). A result that does not fit becomes
/// [`REPLY_TOO_LONG`](crate::Refusal::REPLY_TOO_LONG), one that cannot be written
/// [`UNENCODABLE`](crate::Refusal::UNENCODABLE): the work was done then.
///
/// # Sizes
/// Arguments that are too long for a request are not taken:
/// [`Why::TooLong`](crate::Why::TooLong), with both numbers. For types that implement postcard's
/// `MaxSize`, `call` checks the longest value at compile time. Numbers, arrays and tuples implement
/// it. For a type of your own, depend on `postcard` with its feature `experimental-derive` and add
/// `#[derive(postcard::experimental::max_size::MaxSize)]`:
/// ```
/// # use ipc_worker::{Refusal, Reply, Request, Start, Worker};
/// ipc_worker::service! { mod disk { 1 => fn put(block: [u64; 32]); } }
///
/// # fn handle(_: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> { Ok(()) }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let start = Start::inline(handle);
/// let mut worker = Worker::<(), _, 4, 344>::start(start)?; // 24 of header, 320 more
/// disk::put::call(&mut worker, &[0; 32], ())?;
/// # Ok(())
/// # }
/// ```
///
/// ```compile_fail
/// # use ipc_worker::{Refusal, Reply, Request, Start, Worker};
/// ipc_worker::service! { mod disk { 1 => fn put(block: [u64; 32]); } }
///
/// # fn handle(_: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> { Ok(()) }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let start = Start::inline(handle);
/// let mut worker = Worker::<(), _, 4, 343>::start(start)?; // one byte less
/// disk::put::call(&mut worker, &[0; 32], ())?;
/// # Ok(())
/// # }
/// ```
///
/// A `&[u8]` or `Vec<u8>` goes byte by byte in serde. For long ones use `&str`, or
/// `serde_bytes::Bytes`, which are copied whole and read in the same format.
///
/// # What may be changed
/// A forked worker is the same program as its main, so anything may change between versions. If the
/// two programs may differ: postcard's bytes are not self-describing, so a changed argument,
/// result, field, order of an enum or count of descriptors needs a new number. Only add methods,
/// use each number once, and never reuse the number of a removed method. A worker refuses a method
/// that it does not know.
///
/// To refuse a worker of another build instead, let main expect the service's `IDENTITY`:
/// `start.expects(&disk::IDENTITY)`. A worker sends its own when it starts. It names the package
/// that declares the service, with its version, and the service. Its fingerprint covers the methods
/// as they are written, in their order: numbers, names, arguments and results, without the words
/// after them. The fields of a type are not part of it.
///
/// ```
/// ipc_worker::service! { mod disk {
///     1 => fn usage(path: &str) -> u64;
///     2 => fn files(path: &str) -> u64;
/// } }
/// # fn main() {}
/// ```
///
/// ```compile_fail,E0081
/// ipc_worker::service! { mod disk {
///     1 => fn usage(path: &str) -> u64;
///     1 => fn files(path: &str) -> u64;
/// } }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! service {
    (
        $(#[$attribute:meta])*
        $visible:vis mod $service:ident { $($methods:tt)+ }
    ) => {
        $crate::service_module!(@methods [$(#[$attribute])* $visible $service] [] $($methods)+);
    };
}

/// Makes the module of a [`service!`](crate::service). Not part of the interface.
///
/// `@methods` reads the methods one by one; a result with descriptors, `-> (T, [OwnedFd; N])`, is
/// told from other tuples and becomes `-> T => N`. `@module` makes all of it.
#[doc(hidden)]
#[macro_export]
macro_rules! service_module {
    (
        @methods $service:tt $done:tt
        $(#[$doc:meta])* $number:literal => fn $method:ident $args:tt
            -> ($result:ty, [OwnedFd; $fds:expr] $(,)?) $($rest:tt)*
    ) => {
        $crate::service_module!(@methods $service $done
            $(#[$doc])* $number => fn $method $args -> $result => $fds $($rest)*);
    };
    (
        @methods $service:tt [$($done:tt)*]
        $(#[$doc:meta])* $number:literal => fn $method:ident $args:tt
            $(-> $result:ty $(=> $fds:expr)?)?
            $(, $word:ident $($again:ident)? $($tries:literal)?)*;
        $($methods:tt)*
    ) => {
        $crate::service_module!(@methods $service [
            $($done)*
            [$(#[$doc])* $number $method $args [$($result $(, $fds)?)?]
                [$($word ($($crate::Again::$again)? $($tries)?))*]]
        ] $($methods)*);
    };
    (@methods $service:tt $methods:tt) => {
        $crate::service_module!(@module $service $methods);
    };

    (
        @module [$(#[$attribute:meta])* $visible:vis $service:ident] [$([
            $(#[$doc:meta])*
            $number:literal $method:ident ($($args:tt)*) [$($result:tt)*] $said:tt
        ])+]
    ) => {
        $(#[$attribute])*
        #[allow(dead_code, deprecated, unused_doc_comments, unused_imports)]
        #[allow(clippy::too_many_arguments)]
        $visible mod $service {
            use super::*;

            // Two methods with one number are an error here.
            const _: () = {
                #[allow(non_camel_case_types)]
                #[repr(u16)]
                enum Number {
                    $($(#[$doc])* $method = $number),+
                }
            };

            /// The build, the service's name and the fingerprint of its declaration.
            pub const IDENTITY: $crate::Identity = $crate::Identity {
                build: ::core::concat!(
                    ::core::env!("CARGO_PKG_NAME"),
                    " ",
                    ::core::env!("CARGO_PKG_VERSION")
                ),
                service: ::core::stringify!($service),
                fingerprint: $crate::service::fingerprint(&[$(
                    $(#[$doc])*
                    ::core::stringify!(
                        $number => fn $method($($args)*) -> ($($result)*);
                    ),
                )+]),
            };

            /// What the worker does for each method; [`Server`] makes a handler of it.
            pub trait Serve {
                /// Runs once in each new worker, before main is told that it is ready.
                ///
                /// # Errors
                /// A reason makes the start fail.
                fn prepare(&mut self) -> ::core::result::Result<(), $crate::Reason> {
                    ::core::result::Result::Ok(())
                }

                /// Runs once for each batch, before its replies are sent.
                ///
                /// # Errors
                /// A refusal ends the worker before the replies are sent.
                fn settle(&mut self) -> ::core::result::Result<(), $crate::Refusal> {
                    ::core::result::Result::Ok(())
                }

                /// Lists the descriptors that are held: a forked worker keeps them open.
                fn descriptors(
                    &self,
                ) -> impl ::core::iter::Iterator<Item = $crate::service::method::Fd<'_>> {
                    ::core::iter::IntoIterator::into_iter([])
                }

                $(
                    $(#[$doc])*
                    fn $method(
                        &mut self,
                        $($args)*
                    ) -> $crate::service_method!(@served $($result)*);
                )+
            }

            /// Makes a handler of what serves.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct Server<S>(pub S);

            impl<S: Serve> $crate::Handler for Server<S> {
                fn prepare(&mut self) -> ::core::result::Result<(), $crate::Reason> {
                    self.0.prepare()
                }

                fn handle(
                    &mut self,
                    request: &mut $crate::Request<'_>,
                    reply: &mut $crate::Reply<'_>,
                ) -> ::core::result::Result<(), $crate::Refusal> {
                    dispatch(&mut self.0, request, reply)
                }

                fn settle(&mut self) -> ::core::result::Result<(), $crate::Refusal> {
                    self.0.settle()
                }

                fn is_quick(&self, method: u16) -> ::core::option::Option<bool> {
                    is_quick(method)
                }

                fn identity(&self) -> $crate::Identity {
                    IDENTITY
                }

                fn descriptors(
                    &self,
                ) -> impl ::core::iter::Iterator<Item = $crate::service::method::Fd<'_>> {
                    self.0.descriptors()
                }
            }

            /// Returns whether the method of this number is quick; `None` if nothing says so.
            #[must_use]
            pub const fn is_quick(method: u16) -> ::core::option::Option<bool> {
                match method {
                    $($(#[$doc])* $number => $method::IS_QUICK,)+
                    _ => ::core::option::Option::None,
                }
            }

            /// Answers one request by its method, for handlers that do more than this service.
            ///
            /// # Errors
            /// The method's own refusals, and those for invalid requests.
            pub fn dispatch(
                serve: &mut impl Serve,
                request: &mut $crate::Request<'_>,
                reply: &mut $crate::Reply<'_>,
            ) -> ::core::result::Result<(), $crate::Refusal> {
                match request.method() {
                    $($(#[$doc])* $number => $method::serve(serve, request, reply),)+
                    _ => ::core::result::Result::Err($crate::Refusal::UNKNOWN_METHOD),
                }
            }

            $(
                $(#[$doc])*
                pub mod $method {
                    use super::*;

                    $crate::service_method!(
                        @request [$number $method [$($result)*] $said] $($args)*
                    );
                }
            )+
        }
    };
}
