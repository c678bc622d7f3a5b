//! The recording states and the one table by which they change.
//!
//! A state belongs to a *copy* (see [`crate::copy`]): a segment, or a gathered call, at one place. It is
//! stored as its code and shown by its name; codes are never reused. Every change in the project goes
//! through [`RecordingState::apply`]; what the table does not list is [`Impossible`], which the caller counts
//! and reports and which changes nothing.
//!
//! ```text
//!  segment copies                                call copies
//!
//!  incomplete ──hold, hang-up──► partial          complete ◄────────── gathered ──────────► complete-…
//!      ├──internal────► partial-internal-error       │  ▲                (6, 7, 8, 26)
//!      └──upstream────► partial-external-error       │  └── gathered again ── partial… ◄── continued
//!  …-internal-error-respondent                       ├─► copy-pending ─► copy
//!      ├──hold, hang-up──► (stays)                   └─► move-pending ─► delete (origin) + move (archive)
//!      ├──internal────► partial-internal-error
//!      └──upstream────► …-external-error-respondent
//!  any that ended ──gathered elsewhere──► delete, delete-internal-error
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! states {
    ($($(#[$doc:meta])* $code:literal $variant:ident $name:literal),+ $(,)?) => {
        /// The state of a copy.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum RecordingState { $($(#[$doc])* $variant = $code),+ }

        impl RecordingState {
            /// All states, by code.
            pub const ALL: [Self; 32] = [$(Self::$variant),+];

            /// The name that API, UI, CLI and logs show.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

states! {
    /// Recording goes on, and this server was the first choice.
    0 Incomplete "incomplete",
    /// The segment ended normally; the call has or may have others.
    1 Partial "partial",
    /// Ended by a failure inside the record servers: process, file system, disk.
    2 PartialInternalError "partial-internal-error",
    /// Ended by an upstream failure: gateway, trunk, phone, communications manager, media time-out.
    3 PartialExternalError "partial-external-error",
    /// A segment of the server that answered another record server's failure; stays after hold or hang-up.
    4 PartialInternalErrorRespondent "partial-internal-error-respondent",
    /// A respondent's segment that an upstream failure ended.
    5 PartialExternalErrorRespondent "partial-external-error-respondent",
    /// Every segment of the call is gathered here, no failure.
    6 Complete "complete",
    /// Gathered, with an upstream failure on the way.
    7 CompleteExternalError "complete-external-error",
    /// Gathered by the respondent: a record server failed on the way.
    8 CompleteInternalErrorRespondent "complete-internal-error-respondent",
    /// Gathered elsewhere, to be purged here.
    9 Delete "delete",
    /// Gathered elsewhere, of a call with an internal error, to be purged here.
    10 DeleteInternalError "delete-internal-error",
    /// To be copied to an archive.
    11 CompleteCopyPending "complete-copy-pending",
    /// Copied to an archive.
    12 CompleteCopy "complete-copy",
    /// To be moved to an archive.
    13 CompleteMovePending "complete-move-pending",
    /// The copy that a move made.
    14 CompleteMove "complete-move",
    /// What remains at the origin after a move.
    15 CompleteDelete "complete-delete",
    /// As 11, of a call in state 8.
    16 CompleteIerCopyPending "complete-IER-copy-pending",
    /// As 12, of a call in state 8.
    17 CompleteIerCopy "complete-IER-copy",
    /// As 13, of a call in state 8.
    18 CompleteIerMovePending "complete-IER-move-pending",
    /// As 14, of a call in state 8.
    19 CompleteIerMove "complete-IER-move",
    /// As 15, of a call in state 8.
    20 CompleteIerDelete "complete-IER-delete",
    /// As 11, of a call in state 7.
    21 CompleteEeCopyPending "complete-EE-copy-pending",
    /// As 12, of a call in state 7.
    22 CompleteEeCopy "complete-EE-copy",
    /// As 13, of a call in state 7.
    23 CompleteEeMovePending "complete-EE-move-pending",
    /// As 14, of a call in state 7.
    24 CompleteEeMove "complete-EE-move",
    /// As 15, of a call in state 7.
    25 CompleteEeDelete "complete-EE-delete",
    /// Gathered; a record server failed and nobody could take over.
    26 CompleteInternalError "complete-internal-error",
    /// As 11, of a call in state 26.
    27 CompleteIeCopyPending "complete-IE-copy-pending",
    /// As 12, of a call in state 26.
    28 CompleteIeCopy "complete-IE-copy",
    /// As 13, of a call in state 26.
    29 CompleteIeMovePending "complete-IE-move-pending",
    /// As 14, of a call in state 26.
    30 CompleteIeMove "complete-IE-move",
    /// As 15, of a call in state 26.
    31 CompleteIeDelete "complete-IE-delete",
}

/// How the gathering of a call came out: internal outranks external.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Outcome {
    /// No failure on the way.
    NoFailure,
    /// An upstream failure on the way.
    External,
    /// A record server failed and nobody took over.
    Internal,
    /// A record server failed and another took over.
    InternalRespondent,
}

/// What can happen to a copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transition {
    /// The segment ended by hold, transfer, hang-up or stop.
    EndedNormally,
    /// The segment ended by a failure inside the record servers.
    EndedByInternalError,
    /// The segment ended by an upstream failure.
    EndedByUpstreamError,
    /// Every segment of the call is here.
    Gathered(Outcome),
    /// The gathered call turned out to go on.
    Continued,
    /// The call is gathered elsewhere and verified there.
    GatheredElsewhere(ElsewhereOutcome),
    /// A copy in an archive is wanted.
    CopyRequested,
    /// A verified copy is in an archive.
    Copied,
    /// A move to an archive is wanted.
    MoveRequested,
    /// A verified copy is in an archive, this one may go.
    Moved,
    /// The pending archive step is given up; the call stays where it is.
    ArchiveAbandoned,
}

/// Which kind of call was gathered elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ElsewhereOutcome {
    /// A call without internal error.
    WithoutInternalError,
    /// A call with an internal error on the way.
    WithInternalError,
}

use Outcome::{External, Internal, InternalRespondent, NoFailure};
use RecordingState as S;
use Transition as T;

const GONE: Transition = T::GatheredElsewhere(ElsewhereOutcome::WithoutInternalError);
const GONE_IE: Transition = T::GatheredElsewhere(ElsewhereOutcome::WithInternalError);

/// The whole table: from, what happens, to. What is not in it is impossible.
pub const TRANSITIONS: &[(RecordingState, Transition, RecordingState)] = &[
    // A live segment ends.
    (S::Incomplete, T::EndedNormally, S::Partial),
    (S::Incomplete, T::EndedByInternalError, S::PartialInternalError),
    (S::Incomplete, T::EndedByUpstreamError, S::PartialExternalError),
    (S::PartialInternalErrorRespondent, T::EndedNormally, S::PartialInternalErrorRespondent),
    (S::PartialInternalErrorRespondent, T::EndedByInternalError, S::PartialInternalError),
    (S::PartialInternalErrorRespondent, T::EndedByUpstreamError, S::PartialExternalErrorRespondent),
    // A call that had been taken back is gathered again. A copy with a failure cannot lose it.
    (S::Partial, T::Gathered(NoFailure), S::Complete),
    (S::Partial, T::Gathered(External), S::CompleteExternalError),
    (S::Partial, T::Gathered(InternalRespondent), S::CompleteInternalErrorRespondent),
    (S::Partial, T::Gathered(Internal), S::CompleteInternalError),
    (S::PartialExternalError, T::Gathered(External), S::CompleteExternalError),
    (S::PartialExternalError, T::Gathered(InternalRespondent), S::CompleteInternalErrorRespondent),
    (S::PartialExternalError, T::Gathered(Internal), S::CompleteInternalError),
    (S::PartialInternalError, T::Gathered(InternalRespondent), S::CompleteInternalErrorRespondent),
    (S::PartialInternalError, T::Gathered(Internal), S::CompleteInternalError),
    (S::PartialInternalErrorRespondent, T::Gathered(InternalRespondent), S::CompleteInternalErrorRespondent),
    (S::PartialExternalErrorRespondent, T::Gathered(InternalRespondent), S::CompleteInternalErrorRespondent),
    // A gathered call goes on after all: back to what it is without its last segments.
    (S::Complete, T::Continued, S::Partial),
    (S::CompleteExternalError, T::Continued, S::PartialExternalError),
    (S::CompleteInternalErrorRespondent, T::Continued, S::PartialInternalErrorRespondent),
    (S::CompleteInternalError, T::Continued, S::PartialInternalError),
    // Gathered elsewhere: what ended here may be purged.
    (S::Partial, GONE, S::Delete),
    (S::Partial, GONE_IE, S::DeleteInternalError),
    (S::PartialExternalError, GONE, S::Delete),
    (S::PartialExternalError, GONE_IE, S::DeleteInternalError),
    (S::PartialInternalError, GONE_IE, S::DeleteInternalError),
    (S::PartialInternalErrorRespondent, GONE_IE, S::DeleteInternalError),
    (S::PartialExternalErrorRespondent, GONE_IE, S::DeleteInternalError),
    // Archive steps, once for each kind of gathered call.
    (S::Complete, T::CopyRequested, S::CompleteCopyPending),
    (S::CompleteCopyPending, T::Copied, S::CompleteCopy),
    (S::CompleteCopyPending, T::ArchiveAbandoned, S::Complete),
    (S::CompleteCopy, T::CopyRequested, S::CompleteCopyPending),
    (S::Complete, T::MoveRequested, S::CompleteMovePending),
    (S::CompleteCopy, T::MoveRequested, S::CompleteMovePending),
    (S::CompleteMovePending, T::Moved, S::CompleteDelete),
    (S::CompleteMovePending, T::ArchiveAbandoned, S::Complete),
    (S::CompleteInternalErrorRespondent, T::CopyRequested, S::CompleteIerCopyPending),
    (S::CompleteIerCopyPending, T::Copied, S::CompleteIerCopy),
    (S::CompleteIerCopyPending, T::ArchiveAbandoned, S::CompleteInternalErrorRespondent),
    (S::CompleteIerCopy, T::CopyRequested, S::CompleteIerCopyPending),
    (S::CompleteInternalErrorRespondent, T::MoveRequested, S::CompleteIerMovePending),
    (S::CompleteIerCopy, T::MoveRequested, S::CompleteIerMovePending),
    (S::CompleteIerMovePending, T::Moved, S::CompleteIerDelete),
    (S::CompleteIerMovePending, T::ArchiveAbandoned, S::CompleteInternalErrorRespondent),
    (S::CompleteExternalError, T::CopyRequested, S::CompleteEeCopyPending),
    (S::CompleteEeCopyPending, T::Copied, S::CompleteEeCopy),
    (S::CompleteEeCopyPending, T::ArchiveAbandoned, S::CompleteExternalError),
    (S::CompleteEeCopy, T::CopyRequested, S::CompleteEeCopyPending),
    (S::CompleteExternalError, T::MoveRequested, S::CompleteEeMovePending),
    (S::CompleteEeCopy, T::MoveRequested, S::CompleteEeMovePending),
    (S::CompleteEeMovePending, T::Moved, S::CompleteEeDelete),
    (S::CompleteEeMovePending, T::ArchiveAbandoned, S::CompleteExternalError),
    (S::CompleteInternalError, T::CopyRequested, S::CompleteIeCopyPending),
    (S::CompleteIeCopyPending, T::Copied, S::CompleteIeCopy),
    (S::CompleteIeCopyPending, T::ArchiveAbandoned, S::CompleteInternalError),
    (S::CompleteIeCopy, T::CopyRequested, S::CompleteIeCopyPending),
    (S::CompleteInternalError, T::MoveRequested, S::CompleteIeMovePending),
    (S::CompleteIeCopy, T::MoveRequested, S::CompleteIeMovePending),
    (S::CompleteIeMovePending, T::Moved, S::CompleteIeDelete),
    (S::CompleteIeMovePending, T::ArchiveAbandoned, S::CompleteInternalError),
];

/// A transition that the table does not list. The state stays as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a copy in state '{from}' cannot take the transition '{transition}'")]
pub struct Impossible {
    /// The state that it is in, and stays in.
    pub from: RecordingState,
    /// What was asked for.
    pub transition: Transition,
}

impl RecordingState {
    /// The state of a segment's copy from its first moment.
    #[must_use]
    pub const fn begin(respondent: Respondent) -> Self {
        match respondent {
            Respondent::No => Self::Incomplete,
            Respondent::Yes => Self::PartialInternalErrorRespondent,
        }
    }

    /// The state of a call's copy from the moment that it is gathered at a place.
    #[must_use]
    pub const fn gathered(outcome: Outcome) -> Self {
        match outcome {
            NoFailure => Self::Complete,
            External => Self::CompleteExternalError,
            InternalRespondent => Self::CompleteInternalErrorRespondent,
            Internal => Self::CompleteInternalError,
        }
    }

    /// The state of the copy that appears in the archive when this pending step is carried out, if one is
    /// pending: `complete-copy` for a copy, `complete-move` for a move, of the same kind of call.
    #[must_use]
    pub const fn archived(self) -> Option<Self> {
        Some(match self {
            Self::CompleteCopyPending => Self::CompleteCopy,
            Self::CompleteMovePending => Self::CompleteMove,
            Self::CompleteIerCopyPending => Self::CompleteIerCopy,
            Self::CompleteIerMovePending => Self::CompleteIerMove,
            Self::CompleteEeCopyPending => Self::CompleteEeCopy,
            Self::CompleteEeMovePending => Self::CompleteEeMove,
            Self::CompleteIeCopyPending => Self::CompleteIeCopy,
            Self::CompleteIeMovePending => Self::CompleteIeMove,
            _ => return None,
        })
    }

    /// The one way a state changes.
    pub fn apply(self, transition: Transition) -> Result<Self, Impossible> {
        TRANSITIONS
            .iter()
            .find(|(from, what, _)| *from == self && *what == transition)
            .map(|(_, _, to)| *to)
            .ok_or(Impossible { from: self, transition })
    }

    /// The code that is stored.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The state with a code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Whether this is the state of a gathered call (6–8, 26 and their archive steps) that is still there.
    #[must_use]
    pub const fn is_gathered(self) -> bool {
        !matches!(self.code(), 0..=5 | 9 | 10 | 15 | 20 | 25 | 31)
    }

    /// Whether this is a state of a segment's copy that says how the segment stands or ended.
    #[must_use]
    pub const fn is_segment(self) -> bool {
        self.code() <= 5
    }

    /// What a copy in this state says about failures on the way, if it says anything.
    #[must_use]
    pub const fn outcome(self) -> Option<Outcome> {
        Some(match self.code() {
            1 | 6 | 11..=15 => NoFailure,
            3 | 7 | 21..=25 => External,
            2 | 26..=31 => Internal,
            4 | 5 | 8 | 16..=20 => InternalRespondent,
            _ => return None,
        })
    }
}

/// Whether a segment answers another record server's failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Respondent {
    /// The first choice.
    #[default]
    No,
    /// It took over.
    Yes,
}

impl fmt::Display for RecordingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Text that names no recording state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no recording state; `callspool states` lists them")]
pub struct UnknownState(String);

impl FromStr for RecordingState {
    type Err = UnknownState;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.name().eq_ignore_ascii_case(s))
            .ok_or_else(|| UnknownState(s.to_owned()))
    }
}

impl Serialize for RecordingState {
    fn serialize<Z: Serializer>(&self, s: Z) -> Result<Z::Ok, Z::Error> {
        s.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for RecordingState {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Transition {
    /// Everything that can happen, for tables and tests.
    pub const ALL: [Self; 15] = [
        T::EndedNormally,
        T::EndedByInternalError,
        T::EndedByUpstreamError,
        T::Gathered(NoFailure),
        T::Gathered(External),
        T::Gathered(Internal),
        T::Gathered(InternalRespondent),
        T::Continued,
        GONE,
        GONE_IE,
        T::CopyRequested,
        T::Copied,
        T::MoveRequested,
        T::Moved,
        T::ArchiveAbandoned,
    ];

    /// The name that logs and docs show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            T::EndedNormally => "ended normally",
            T::EndedByInternalError => "ended by internal error",
            T::EndedByUpstreamError => "ended by upstream error",
            T::Gathered(NoFailure) => "gathered",
            T::Gathered(External) => "gathered with external error",
            T::Gathered(Internal) => "gathered with internal error",
            T::Gathered(InternalRespondent) => "gathered with respondent",
            T::Continued => "continued",
            GONE => "gathered elsewhere",
            GONE_IE => "gathered elsewhere with internal error",
            T::CopyRequested => "copy requested",
            T::Copied => "copied",
            T::MoveRequested => "move requested",
            T::Moved => "moved",
            T::ArchiveAbandoned => "archive step abandoned",
        }
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The states and the table as Markdown: what `callspool states --markdown` prints and
/// `docs/recording-states.md` holds.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from("| code | state | after | becomes |\n| ---: | --- | --- | --- |\n");
    for state in RecordingState::ALL {
        let rows: Vec<_> = TRANSITIONS.iter().filter(|(from, ..)| *from == state).collect();
        if rows.is_empty() {
            out.push_str(&format!("| {} | `{state}` | | |\n", state.code()));
        }
        for (i, (_, what, to)) in rows.into_iter().enumerate() {
            let head = if i == 0 { format!("{} | `{state}`", state.code()) } else { " | ".to_owned() };
            out.push_str(&format!("| {head} | {what} | {} `{to}` |\n", to.code()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
    use proptest::{collection, sample};

    #[test]
    fn codes_and_names_are_unique_and_round_trip() {
        for (code, state) in RecordingState::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(state.code()), code);
            assert_eq!(RecordingState::from_code(state.code()), Some(state));
            assert_eq!(state.name().parse(), Ok(state));
        }
        assert_eq!(RecordingState::from_code(32), None);
    }

    #[test]
    fn the_table_is_a_function() {
        for (i, (from, what, _)) in TRANSITIONS.iter().enumerate() {
            let again = TRANSITIONS.iter().skip(i + 1).any(|(f, w, _)| f == from && w == what);
            assert!(!again, "{from} + {what} stands twice");
        }
    }

    #[test]
    fn every_state_is_reached() {
        let begins = [S::Incomplete, S::PartialInternalErrorRespondent];
        let gathered = [NoFailure, External, Internal, InternalRespondent].map(S::gathered);
        let archived: Vec<_> = S::ALL.into_iter().filter_map(S::archived).collect();
        for state in S::ALL {
            let reached = begins.contains(&state)
                || gathered.contains(&state)
                || archived.contains(&state)
                || TRANSITIONS.iter().any(|(_, _, to)| *to == state);
            assert!(reached, "nothing leads to {state}");
        }
    }

    #[test]
    fn a_failure_is_never_forgotten() {
        for (from, what, to) in TRANSITIONS {
            let (Some(before), Some(after)) = (from.outcome(), to.outcome()) else { continue };
            // A respondent that fails in its turn is an internal error like any other.
            let takeover_failed = *what == T::EndedByInternalError;
            assert!(after >= before || takeover_failed, "{from} + {what} -> {to} forgets a failure");
        }
    }

    #[test]
    fn archive_steps_keep_the_kind_of_call() {
        for (from, what, to) in TRANSITIONS {
            if from.is_gathered() && *what != T::Continued {
                assert_eq!(from.outcome(), to.outcome(), "{from} + {what} -> {to}");
            }
        }
        for state in S::ALL {
            if let Some(archived) = state.archived() {
                assert_eq!(archived.outcome(), state.outcome());
                assert!(archived.is_gathered());
            }
        }
    }

    proptest! {
        #[test]
        fn any_history_stays_inside_the_table(steps in collection::vec(sample::select(&Transition::ALL[..]), 0..40)) {
            let mut state = S::begin(Respondent::No);
            for what in steps {
                match state.apply(what) {
                    Ok(next) => {
                        prop_assert!(TRANSITIONS.contains(&(state, what, next)));
                        state = next;
                    }
                    Err(refused) => {
                        prop_assert_eq!(refused, Impossible { from: state, transition: what });
                    }
                }
            }
        }
    }
}
