//! The orders to a side, and its answers.

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Sync,
    SyncNext,
    Next,
    PeerAbort,
    PlaceAndSync,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    /// Until a deadline that only a hang can miss.
    Until,
    /// Until a deadline that has passed.
    Past,
    Try,
}

/// An order to a side. Kills are done by the controller itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Move on to the next barrier, and take its role with the order that follows.
    Next(How),
    Place,
    Abort,
    Fail,
    /// Create the descriptor for an event loop and arm it, which changes no answer.
    Watch,
    /// Wait several times for the peer's end, until each wait times out.
    Linger,
    Wait(Wait, Form),
    Drop,
    Exit,
    Exec,
}

/// How the next end is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct How {
    /// With a pidfd, if it is the parent's end.
    pub(super) pidfd: bool,
}

/// Asks the side to send [`BEGUN`] before a call that must wait.
const MARK: u8 = 0x80;

/// The byte that a side sends before a call that must wait.
pub(super) const BEGUN: u8 = b'!';

const WAITS: [Wait; 5] =
    [Wait::Sync, Wait::SyncNext, Wait::Next, Wait::PeerAbort, Wait::PlaceAndSync];
const FORMS: [Form; 4] = [Form::Plain, Form::Until, Form::Past, Form::Try];

impl Order {
    /// All orders, sorted by code.
    pub(super) fn all() -> Vec<Self> {
        let next = [false, true].map(|pidfd| Self::Next(How { pidfd }));
        let plain = [Self::Place, Self::Abort, Self::Fail, Self::Watch, Self::Linger];
        let ends = [Self::Drop, Self::Exit, Self::Exec];
        let waits = WAITS.iter().flat_map(|&wait| FORMS.map(|form| Self::Wait(wait, form)));
        next.into_iter().chain(plain).chain(ends).chain(waits).collect()
    }

    pub(super) fn code(self, is_to_wait: bool) -> u8 {
        let code = Self::all().iter().position(|&order| order == self).unwrap();
        u8::try_from(code).unwrap() | if is_to_wait { MARK } else { 0 }
    }

    pub(super) fn from_code(code: u8) -> (Self, bool) {
        (Self::all()[usize::from(code & !MARK)], code & MARK != 0)
    }
}

/// The result of a call, and the end's state afterwards.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    /// `y` and `n`; `+` for met, `t` for timed out or not yet, `a` for aborted, `r` for aborted
    /// with a reason, `g` for gone.
    pub(super) kind: u8,
    /// The stage of the reason.
    pub(super) stage: u8,
    pub(super) has_aborted: bool,
    pub(super) has_ended: bool,
}

impl Answer {
    pub(super) const LEN: usize = 4;
    /// The answer to an order that is not a call.
    pub(super) const DONE: Self =
        Self { kind: b'y', stage: 0, has_aborted: false, has_ended: false };

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        [self.kind, self.stage, u8::from(self.has_aborted), u8::from(self.has_ended)]
    }

    pub(super) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let [kind, stage, has_aborted, has_ended] = bytes;
        Self { kind, stage, has_aborted: has_aborted != 0, has_ended: has_ended != 0 }
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", char::from(self.kind))?;
        if self.kind == b'r' {
            write!(f, "{}", self.stage)?;
        }
        let has_aborted = if self.has_aborted { ", has aborted" } else { "" };
        write!(f, "{has_aborted}{}", if self.has_ended { ", has ended" } else { "" })
    }
}
