//! What happens to a call, and what a call wants done: the words between [`super::call::Call`] and its owner.

use model::{Mono, Protection};
use sip::EndCause;

use super::report::StreamReport;
use super::sdp::RemoteStream;

/// Something planned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Step {
    /// Hold the media.
    Hold,
    /// Go on.
    Resume,
    /// Hang up, or vanish.
    End,
    /// The final answer should have come.
    AnswerTimeout,
    /// The CANCEL should have ended it: it cannot even be sent to a peer that never said anything
    /// (RFC 3261 section 9.1).
    GiveUp,
}

/// What happens to a call.
#[derive(Debug)]
pub(super) enum CallInput {
    /// A 2xx.
    Accepted { status: u16, call_id: Option<String>, sdp: Option<Vec<u8>> },
    /// A final answer that is no 2xx.
    Refused { status: u16, reason: String, call_id: Option<String> },
    /// A re-INVITE of the peer, with or without an offer.
    Reoffered { sdp: Option<Vec<u8>> },
    /// The peer's answer to the offer in our 2xx.
    Confirmed { sdp: Option<Vec<u8>> },
    /// The session is over.
    Ended(EndCause),
    /// A stream has stopped sending.
    Paused,
    /// A stream is gone.
    Finished { index: usize, report: Box<StreamReport> },
    /// A step is due.
    Step(Step),
    /// The user wants to end.
    Interrupt,
}

/// What a call wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Do {
    /// Send a stream's media there.
    Start { index: usize, remote: Box<RemoteStream>, protection: Protection },
    /// Stop it; answered by `Paused`.
    Pause { index: usize },
    /// End it; answered by `Finished`.
    Finish { index: usize },
    /// Send a re-INVITE with this offer.
    Reinvite(String),
    /// Put this answer into the ACK.
    Ack(String),
    /// Accept the peer's re-INVITE with this.
    Accept(String),
    /// Refuse the peer's re-INVITE.
    Refuse(u16, &'static str),
    /// Hang up.
    Bye,
    /// Give up the INVITE.
    Cancel,
    /// Come back with this step.
    Later(Mono, Step),
    /// The call is over and its report final.
    Over,
}
