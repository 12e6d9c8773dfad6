//! Typed services: one declaration generates main's stub and the worker's dispatch.
//!
//! The items here other than the macro are for the generated code and not part of the public API.

mod args;
mod fingerprint;
pub mod longest;
pub mod method;
pub mod said;

pub use args::Args;
pub use fingerprint::fingerprint;

/// Declares what a worker does for main: methods with their numbers, arguments and results.
///
/// A service becomes a module. For main it contains one module per method; for the worker it
/// contains a trait `Serve` with one function per method. Arguments and results are serde types.
/// They are encoded with postcard directly into the worker's buffers, and may borrow from them.
/// Needs the feature `postcard`.
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
///     // Its type is `Worker<u32, Inline<disk::Server<Disk>>>`; forked, `Fork` for `Inline`.
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
/// # Declaring methods
/// Each method has a number that identifies it, a name, arguments and a result. The last argument
/// may be an array of descriptors. A result with descriptors is a tuple: `-> (u64, [OwnedFd; 1])`,
/// where `OwnedFd` must have no path. Two methods with the same number do not compile. The method
/// names `prepare`, `settle` and `descriptors` and the type names `Serve` and `Server` are
/// reserved. Attributes such as `#[cfg]` apply to everything generated for the method. A function
/// that needs the request, for [`is_cancelled`](crate::Request::is_cancelled) or
/// [`flush`](crate::Request::flush), takes `request: &Request<'_>` as its first argument; main's
/// side omits it. A service with more than 100 methods needs a higher `#![recursion_limit]`. A
/// method with descriptors in its result counts as two.
///
/// Words after the result describe the method's behaviour:
/// - `again` with a value of [`Again`](crate::Again), optionally followed by `tries` with a number:
///   the default resend policy of its calls; see [`Call::again`](crate::Call::again).
/// - `quick` or `slow`: whether it takes less than 100 µs, for
///   [`Handler::is_quick`](crate::Handler::is_quick). Without either word, the worker measures it.
///
/// ```
/// ipc_worker::service! { mod disk {
///     1 => fn put(at: u64, block: &str) -> u32, again UntilAnswered, tries 5, slow;
///     2 => fn len() -> u64, quick;
/// } }
/// # fn main() {}
/// ```
///
/// Unknown or contradictory words do not compile:
/// ```compile_fail,E0560
/// ipc_worker::service! { mod disk {
///     1 => fn put(at: u64, block: &str) -> u32, again UntilAnswered, tries 5, slow;
///     2 => fn len() -> u64, quik;
/// } }
/// # fn main() {}
/// ```
///
/// # For main
/// - `disk::append::call(&mut worker, &line, [fd], tag)` makes a call as
///   [`Worker::try_call`](crate::Worker::try_call) does. Arguments are passed by reference;
///   references are passed unchanged.
/// - `disk::append::args(&line, [fd]).call()` returns an ordinary [`Call`](crate::Call), on which a
///   deadline or another resend policy can be set, or which can be passed to
///   [`call_until`](crate::Worker::call_until). It allows its reply the number of descriptors that
///   the method returns.
/// - `disk::append::result(&reply)` decodes the result, which may borrow from the reply. If the
///   method returns descriptors, this consumes the reply: `disk::open::result(reply)`. A reply that
///   is not a valid result of the method is a [`BadReply`](crate::BadReply).
///
/// # For the worker
/// - `disk::Serve` is the trait that the program implements. Its `prepare`, `settle` and
///   `descriptors` are those of [`Handler`](crate::Handler), with the same defaults.
/// - `disk::Server(Disk)` turns it into a handler.
/// - `disk::dispatch(&mut disk, request, reply)` answers one request, for a handler that serves two
///   services, or more than a service. `disk::is_quick(number)` returns what the declaration says.
///
/// A request reaches the program's function only if it is valid. Arguments that do not decode are
/// refused with [`Refusal::MALFORMED`](crate::Refusal::MALFORMED), too many or too few descriptors
/// with [`WRONG_FDS`](crate::Refusal::WRONG_FDS), and undeclared numbers with
/// [`UNKNOWN_METHOD`](crate::Refusal::UNKNOWN_METHOD). A result that does not fit is answered with
/// [`REPLY_TOO_LONG`](crate::Refusal::REPLY_TOO_LONG), and one that cannot be encoded with
/// [`UNENCODABLE`](crate::Refusal::UNENCODABLE). In both cases the work was done.
///
/// # Sizes
/// A call whose arguments are too long for a request is rejected with
/// [`Why::TooLong`](crate::Why::TooLong). For types that implement postcard's `MaxSize`, `call`
/// checks the longest value at compile time. Numbers, arrays and tuples implement it. For your own
/// types, depend on `postcard` with its feature `experimental-derive` and add
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
/// serde encodes `&[u8]` and `Vec<u8>` byte by byte. For long data use `&str` or
/// `serde_bytes::Bytes`, which are copied as a whole, in the same format.
///
/// # Compatibility
/// A forked worker is the same program as main, so anything may change between versions. Take care
/// if main and worker may be different builds. Postcard is not self-describing: a changed argument,
/// result, field, enum order or number of descriptors needs a new method number. Only add methods,
/// and never reuse a number. A worker refuses a method that it does not know.
///
/// To refuse workers of another build, let main expect the service's `IDENTITY`:
/// `start.expects(&disk::IDENTITY)`. A worker sends its own when it starts. It contains the name
/// and version of the package that declares the service, the service's name, and a fingerprint. The
/// fingerprint covers the source text of the methods, in order: numbers, names, arguments and
/// results. It does not cover the words after the result, or the fields of types.
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

/// Generates the module of a [`service!`](crate::service). Not part of the public API.
///
/// `@methods` reads the methods one by one. It distinguishes a result with descriptors,
/// `-> (T, [OwnedFd; N])`, from other tuples, and turns it into `-> T => N`. `@module` generates
/// everything.
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

            // Two methods with the same number are an error here.
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

            /// What the worker does for each method. [`Server`] turns it into a handler.
            pub trait Serve {
                /// Runs once in each new worker, before main learns that it is ready.
                ///
                /// # Errors
                /// The start fails, and main gets the reason.
                fn prepare(&mut self) -> ::core::result::Result<(), $crate::Reason> {
                    ::core::result::Result::Ok(())
                }

                /// Runs once per batch, before its replies are sent.
                ///
                /// # Errors
                /// The worker exits before it sends the replies.
                fn settle(&mut self) -> ::core::result::Result<(), $crate::Refusal> {
                    ::core::result::Result::Ok(())
                }

                /// Lists the descriptors that it holds. A forked worker keeps them open.
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

            /// Turns an implementation of [`Serve`] into a handler.
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

            /// Returns whether the method with this number is declared quick or slow. `None` if it
            /// is declared neither.
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
            /// Refusals by the method itself, and those for invalid requests.
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
