//! The code of one method of a typed service: main's module, and the types of the worker's
//! function. [`service!`](crate::service) generates one of each.

pub use rustix::fd::BorrowedFd as Fd;

use crate::event::{BadReply, ReplyView};

/// A reply that is borrowed for its own lifetime, so that a borrowing result has a single lifetime.
pub type ReplyRef<'a> = &'a ReplyView<'a>;

/// Refuses a reply with descriptors to a method that returns none.
///
/// # Errors
/// [`BadReply::Fds`].
pub fn without_fds(reply: &ReplyView<'_>) -> Result<(), BadReply> {
    match reply.fd_count() {
        0 => Ok(()),
        got => Err(BadReply::Fds { expected: 0, got }),
    }
}

/// Generates one method's part of [`service!`](crate::service). Not part of the public API.
///
/// There are two entry points. `@served` is the return type of the method's function. `@request`
/// generates the module: it takes the arguments one by one, until `@method`.
#[doc(hidden)]
#[macro_export]
macro_rules! service_method {
    // A method without a result returns `()`.
    (@request [$number:literal $method:ident [] $said:tt] $($args:tt)*) => {
        $crate::service_method!(@request [$number $method [()] $said] $($args)*);
    };

    // Whether the function takes the request itself.
    (@request [$($method:tt)*] request: &Request<'_> $(, $($args:tt)*)?) => {
        $crate::service_method!(@args [$($method)* [request]] [] $($($args)*)?);
    };
    (@request [$($method:tt)*] $($args:tt)*) => {
        $crate::service_method!(@args [$($method)* []] [] $($args)*);
    };

    // The arguments, one by one. References are passed unchanged. `fds` stands for descriptors.
    (@args $method:tt $done:tt fds: [$fd:ty; $count:expr] $(,)?) => {
        $crate::service_method!(@method $method $done [fds] $count);
    };
    (@args $method:tt [$($done:tt)*] $name:ident: &$type:ty $(, $($rest:tt)*)?) => {
        $crate::service_method!(@args $method [$($done)* $name: &$type, &$type;] $($($rest)*)?);
    };
    (@args $method:tt [$($done:tt)*] $name:ident: $type:ty $(, $($rest:tt)*)?) => {
        $crate::service_method!(@args $method [$($done)* $name: &$type, $type;] $($($rest)*)?);
    };
    (@args $method:tt $done:tt) => {
        $crate::service_method!(@method $method $done [] 0);
    };

    // The contents of the method's module.
    (
        @method [$number:literal $method:ident $result:tt [$($word:ident $said:tt)*]
            [$($request:ident)?]]
        [$($name:ident: $lent:ty, $type:ty;)*] [$($fds:ident)?] $count:expr
    ) => {
        /// The method's number.
        pub const METHOD: u16 = $number;

        /// Whether the method is declared quick or slow. `None` if it is declared neither.
        pub const IS_QUICK: ::core::option::Option<bool> = SAID.is_quick();

        const SAID: $crate::service::said::Said = $crate::service::said::Said {
            $($word: ::core::option::Option::Some($said),)*
            ..$crate::service::said::Said::NOTHING
        };
        const CALL: $crate::Call<'static> =
            SAID.call(METHOD, $crate::service_method!(@reply_fds $result));

        /// Returns the arguments of one call, to set more than [`call`] does.
        pub const fn args<'fds>(
            $($name: $lent,)*
            $($fds: [$crate::service::method::Fd<'fds>; $count],)?
        ) -> $crate::Args<'fds, impl $crate::Encode, { $count }> {
            let message = $crate::Postcard(($($name,)*));
            let _lent: [$crate::service::method::Fd<'fds>; 0] = [];
            $(let _lent = $fds;)?
            $crate::Args::new(CALL, message, _lent)
        }

        /// Calls the method as `Worker::try_call` does: accepted at once or not at all. If the
        /// longest arguments and the longest result are known, the compiler checks that they fit.
        ///
        /// # Errors
        /// The request was not accepted. The error returns the tag and the reason.
        pub fn call<
            CallersTag,
            WorkersLaunch: $crate::Launch,
            const WORKERS_SLOTS: usize,
            const WORKERS_BYTES: usize,
        >(
            worker: &mut $crate::Worker<
                CallersTag,
                WorkersLaunch,
                WORKERS_SLOTS,
                WORKERS_BYTES,
            >,
            $($name: $lent,)*
            $($fds: [$crate::service::method::Fd<'_>; $count],)?
            tag: CallersTag,
        ) -> ::core::result::Result<$crate::RequestId, $crate::NotTaken<CallersTag>> {
            const {
                use $crate::service::longest::Unbounded as _;
                let args = &[$(<$crate::service::longest::Longest<$type>>::BYTES),*];
                let result = $crate::service_method!(@longest $result);
                ::core::assert!(
                    $crate::service::longest::args_fit(args, WORKERS_BYTES),
                    "the longest arguments fit in a request: BYTES - 24"
                );
                ::core::assert!(
                    $crate::service::longest::result_fits(result, WORKERS_BYTES),
                    "the longest result fits in a reply: BYTES / 2 - 24"
                );
            };
            worker.try_call(args($($name,)* $($fds)?).call(), tag)
        }

        $crate::service_method!(@result $result);

        pub(super) fn serve(
            serve: &mut impl super::Serve,
            request: &mut $crate::Request<'_>,
            reply: &mut $crate::Reply<'_>,
        ) -> ::core::result::Result<(), $crate::Refusal> {
            let $crate::Postcard(($($name,)*)): $crate::Postcard<($($type,)*)> =
                request.message()?;
            let _fds = request.take_fds::<{ $count }>()?;
            $(let $fds = _fds;)?
            $(let $request = &*request;)?
            let result = serve.$method($($request,)? $($name,)* $($fds)?)?;
            $crate::service_method!(@reply $result reply, result)
        }
    };

    // What a method returns: nothing, a result, or a result and descriptors.
    (@served $($result:ty)?) => {
        ::core::result::Result<($($result)?), $crate::Refusal>
    };
    (@served $result:ty, $fds:expr) => {
        ::core::result::Result<($result, [$crate::fd::OwnedFd; $fds]), $crate::Refusal>
    };

    // How many descriptors a reply carries.
    (@reply_fds [$result:ty $(, $fds:expr)?]) => {
        0 $(+ $fds)?
    };

    (@longest [$result:ty $(, $fds:expr)?]) => {
        <$crate::service::longest::Longest<$result>>::BYTES
    };

    (@result [$result:ty]) => {
        /// Decodes the result of a reply, from which it may borrow.
        ///
        /// # Errors
        /// The reply is not a valid result of this method.
        pub fn result(
            reply: $crate::service::method::ReplyRef<'_>,
        ) -> ::core::result::Result<$result, $crate::BadReply> {
            let $crate::Postcard(result) = reply.message()?;
            $crate::service::method::without_fds(reply)?;
            ::core::result::Result::Ok(result)
        }
    };
    (@result [$result:ty, $fds:expr]) => {
        /// Decodes the result of a reply, from which it may borrow, and takes its descriptors.
        ///
        /// # Errors
        /// The reply is not a valid result of this method.
        pub fn result(
            mut reply: $crate::ReplyView<'_>,
        ) -> ::core::result::Result<($result, [$crate::fd::OwnedFd; $fds]), $crate::BadReply> {
            let $crate::Postcard(result) = reply.message()?;
            ::core::result::Result::Ok((result, reply.take_fds()?))
        }
    };

    (@reply [$result:ty] $reply:ident, $value:ident) => {
        $reply.put_message(&$crate::Postcard($value))
    };
    (@reply [$result:ty, $fds:expr] $reply:ident, $value:ident) => {{
        $reply.put_message(&$crate::Postcard($value.0))?;
        for fd in $value.1 {
            $reply.put_fd(fd)?;
        }
        ::core::result::Result::Ok(())
    }};
}
