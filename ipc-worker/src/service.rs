//! Typed services: declared once, with main's stub and the worker's dispatch made from it.

use core::marker::PhantomData;

use ipc_frame::{Bounded, Encode, Header, Postcard};
use rustix::fd::BorrowedFd;

use crate::call::Call;
use crate::event::{BadReply, ReplyView};
use crate::serve::reply_capacity;

pub use rustix::fd::BorrowedFd as Fd;

/// The arguments of one call to a method of a [`service!`](crate::service), borrowed until it
/// is made.
///
/// Its [`call`](Self::call) is an ordinary [`Call`], for which everything else is said: how
/// long it may take, whether it may be sent again, and whether main waits for it.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a, M, const FDS: usize> {
    method: u16,
    message: M,
    fds: [BorrowedFd<'a>; FDS],
}

impl<'a, M: Encode, const FDS: usize> Args<'a, M, FDS> {
    #[doc(hidden)]
    pub const fn new(method: u16, message: M, fds: [BorrowedFd<'a>; FDS]) -> Self {
        Self { method, message, fds }
    }

    /// Returns the call, still to be given a deadline or a word on being sent again.
    pub fn call(&self) -> Call<'_> {
        Call::message(self.method, &self.message).fds(&self.fds)
    }
}

/// Finds the longest form of a type, where one is known: the constant of the type itself comes
/// before that of the trait, which every type has.
pub struct Longest<T>(PhantomData<T>);

impl<T> Longest<T>
where
    Postcard<T>: Bounded,
{
    /// Bytes of the longest value.
    pub const BYTES: Option<usize> = Some(<Postcard<T> as Bounded>::MAX_LEN);
}

/// What [`Longest`] falls back to.
pub trait Unbounded {
    /// No longest value is known.
    const BYTES: Option<usize> = None;
}

impl<T> Unbounded for Longest<T> {}

/// The longest arguments of a method, and its longest result, in so far as they are known.
pub struct Lengths {
    /// Those of the arguments, one by one.
    pub args: &'static [Option<usize>],
    /// That of the result.
    pub result: Option<usize>,
}

impl Lengths {
    /// Whether all arguments fit in a worker of `bytes` bytes each way.
    pub const fn args_fit(&self, bytes: usize) -> bool {
        let (mut rest, mut sum) = (self.args, 0_usize);
        while let Some((first, after)) = rest.split_first() {
            match first {
                Some(len) => sum = sum.saturating_add(*len),
                None => return true,
            }
            rest = after;
        }
        sum <= bytes - Header::SIZE
    }

    /// Whether every result fits in a worker of `bytes` bytes each way.
    pub const fn result_fits(&self, bytes: usize) -> bool {
        match self.result {
            Some(len) => len <= reply_capacity(bytes),
            None => true,
        }
    }
}

/// Refuses a reply with descriptors to a method that gives none.
///
/// # Errors
/// [`BadReply::Fds`].
pub fn without_fds(reply: &ReplyView<'_>) -> Result<(), BadReply> {
    match reply.fd_count() {
        0 => Ok(()),
        got => Err(BadReply::Fds { expected: 0, got }),
    }
}

/// Declares what a worker does for main: methods with their numbers, arguments and results.
///
/// TODO
#[macro_export]
macro_rules! service {
    (
        $(#[$attribute:meta])*
        $visible:vis mod $service:ident {
            $(
                $(#[$doc:meta])*
                $number:literal => fn $method:ident($($args:tt)*)
                    $(-> $result:ty $(, fds: [$fd:ty; $fd_count:expr])?)?;
            )+
        }
    ) => {
        $(#[$attribute])*
        $visible mod $service {
            #[allow(unused_imports)]
            use super::*;

            // Two methods with one number are an error here.
            const _: () = {
                #[allow(dead_code, non_camel_case_types)]
                #[repr(u16)]
                enum Number {
                    $($method = $number),+
                }
            };

            /// What the worker does for each method; [`Server`] makes a handler of it.
            pub trait Serve {
                /// Runs once in each new worker, before main is told that it is ready.
                ///
                /// # Errors
                /// A refusal makes the start fail.
                fn prepare(&mut self) -> ::core::result::Result<(), $crate::Refusal> {
                    ::core::result::Result::Ok(())
                }

                /// Runs once for each batch, before its replies are sent.
                ///
                /// # Errors
                /// A refusal ends the worker before the replies are sent.
                fn settle(&mut self) -> ::core::result::Result<(), $crate::Refusal> {
                    ::core::result::Result::Ok(())
                }

                $(
                    $(#[$doc])*
                    fn $method(
                        &mut self,
                        $($args)*
                    ) -> $crate::service!(@served $($result $(, [$fd; $fd_count])?)?);
                )+
            }

            /// Makes a handler of what serves.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct Server<S>(pub S);

            impl<S: Serve> $crate::Handler for Server<S> {
                fn prepare(&mut self) -> ::core::result::Result<(), $crate::Refusal> {
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
            }

            /// Answers one request by the method that it asks for; for handlers that do more
            /// than this service.
            ///
            /// # Errors
            /// The method's own refusals, and those for what is no request of this service.
            pub fn dispatch(
                serve: &mut impl Serve,
                request: &mut $crate::Request<'_>,
                reply: &mut $crate::Reply<'_>,
            ) -> ::core::result::Result<(), $crate::Refusal> {
                match request.method() {
                    $($number => $method::serve(serve, request, reply),)+
                    _ => ::core::result::Result::Err($crate::Refusal::UNKNOWN_METHOD),
                }
            }

            $(
                $(#[$doc])*
                pub mod $method {
                    #[allow(unused_imports)]
                    use super::*;

                    $crate::service!(
                        @args [$number $method [$($result $(, [$fd; $fd_count])?)?]] [] $($args)*
                    );
                }
            )+
        }
    };

    // The arguments one by one: those that are references are passed on as they are, and `fds`
    // stands for descriptors.
    (@args $method:tt $done:tt fds: [$fd:ty; $count:expr] $(,)?) => {
        $crate::service!(@method $method $done [fds] $count);
    };
    (@args $method:tt [$($done:tt)*] $name:ident: &$type:ty $(, $($rest:tt)*)?) => {
        $crate::service!(@args $method [$($done)* $name: &$type, &$type;] $($($rest)*)?);
    };
    (@args $method:tt [$($done:tt)*] $name:ident: $type:ty $(, $($rest:tt)*)?) => {
        $crate::service!(@args $method [$($done)* $name: &$type, $type;] $($($rest)*)?);
    };
    (@args $method:tt $done:tt) => {
        $crate::service!(@method $method $done [] 0);
    };

    // What stands in the method's own module.
    (
        @method [$number:literal $method:ident $result:tt]
        [$($name:ident: $lent:ty, $type:ty;)*] [$($fds:ident)?] $count:expr
    ) => {
        /// The method's number.
        #[allow(dead_code)]
        pub const METHOD: u16 = $number;

        #[allow(dead_code)]
        const LONGEST: $crate::service::Lengths = {
            #[allow(unused_imports)]
            use $crate::service::{Longest, Unbounded as _};
            $crate::service::Lengths {
                args: &[$(<Longest<$type>>::BYTES),*],
                result: $crate::service!(@longest $result),
            }
        };

        /// Gathers the arguments of one call, for which more is to be said than
        /// [`call`] does.
        #[allow(dead_code)]
        pub const fn args<'fds>(
            $($name: $lent,)*
            $($fds: [$crate::service::Fd<'fds>; $count],)?
        ) -> $crate::Args<'fds, impl $crate::Encode, { $count }> {
            $crate::Args::new(METHOD, $crate::Postcard(($($name,)*)), $crate::service!(@fds $($fds)?))
        }

        /// Calls the method as `Worker::try_call` does: taken at once or not at all. That the
        /// longest arguments and the longest result fit is checked when the program is compiled,
        /// where they are known.
        ///
        /// # Errors
        /// Not taken, and nothing half done: the tag is given back with the reason.
        #[allow(dead_code)]
        pub fn call<
            CallersTag,
            WorkersHandler: $crate::Handler,
            const WORKERS_SLOTS: usize,
            const WORKERS_BYTES: usize,
        >(
            worker: &mut $crate::Worker<
                CallersTag,
                WorkersHandler,
                WORKERS_SLOTS,
                WORKERS_BYTES,
            >,
            $($name: $lent,)*
            $($fds: [$crate::service::Fd<'_>; $count],)?
            tag: CallersTag,
        ) -> ::core::result::Result<$crate::RequestId, $crate::NotTaken<CallersTag>> {
            const {
                ::core::assert!(
                    LONGEST.args_fit(WORKERS_BYTES),
                    "the longest arguments fit in a request: BYTES - 24"
                );
                ::core::assert!(
                    LONGEST.result_fits(WORKERS_BYTES),
                    "the longest result fits in a reply: BYTES / 2 - 24"
                );
            };
            worker.try_call(args($($name,)* $($fds)?).call(), tag)
        }

        $crate::service!(@result $result);

        pub(super) fn serve(
            serve: &mut impl super::Serve,
            request: &mut $crate::Request<'_>,
            reply: &mut $crate::Reply<'_>,
        ) -> ::core::result::Result<(), $crate::Refusal> {
            let $crate::Postcard(($($name,)*)): $crate::Postcard<($($type,)*)> =
                request.message()?;
            let _fds = request.take_fds::<{ $count }>()?;
            $(let $fds = _fds;)?
            let result = serve.$method($($name,)* $($fds)?)?;
            $crate::service!(@reply $result reply, result)
        }
    };

    (@fds) => {
        []
    };
    (@fds $fds:ident) => {
        $fds
    };

    // What a method returns: nothing, a result, or a result and descriptors.
    (@served) => {
        ::core::result::Result<(), $crate::Refusal>
    };
    (@served $result:ty) => {
        ::core::result::Result<$result, $crate::Refusal>
    };
    (@served $result:ty, [$fd:ty; $count:expr]) => {
        ::core::result::Result<($result, [$fd; $count]), $crate::Refusal>
    };

    (@longest []) => {
        ::core::option::Option::Some(0)
    };
    (@longest [$result:ty $(, $($fds:tt)*)?]) => {
        <Longest<$result>>::BYTES
    };

    (@result []) => {
        $crate::service!(@result [()]);
    };
    (@result [$result:ty]) => {
        /// Reads the result from a reply, from which it may borrow.
        ///
        /// # Errors
        /// The reply is none to this method.
        #[allow(dead_code)]
        pub fn result<'reply>(
            reply: &'reply $crate::ReplyView<'reply>,
        ) -> ::core::result::Result<$result, $crate::BadReply> {
            let $crate::Postcard(result) = reply.message()?;
            $crate::service::without_fds(reply)?;
            ::core::result::Result::Ok(result)
        }
    };
    (@result [$result:ty, [$fd:ty; $count:expr]]) => {
        /// Reads the result from a reply, from which it may borrow, and takes its descriptors.
        ///
        /// # Errors
        /// The reply is none to this method.
        #[allow(dead_code)]
        pub fn result(
            mut reply: $crate::ReplyView<'_>,
        ) -> ::core::result::Result<($result, [$fd; $count]), $crate::BadReply> {
            let $crate::Postcard(result) = reply.message()?;
            ::core::result::Result::Ok((result, reply.take_fds()?))
        }
    };

    (@reply [$($result:ty)?] $reply:ident, $value:ident) => {
        $reply.put_message(&$crate::Postcard($value))
    };
    (@reply [$result:ty, [$fd:ty; $count:expr]] $reply:ident, $value:ident) => {{
        $reply.put_message(&$crate::Postcard($value.0))?;
        for fd in $value.1 {
            $reply.put_fd(fd)?;
        }
        ::core::result::Result::Ok(())
    }};
}
