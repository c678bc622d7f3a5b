//! Why a segment ended, from how its dialog ended. Nothing here decides; it translates.

use model::{EndReason, Failure};
use sip::{EndCause, ReasonView, RequestInfo};

/// Q.850 causes of a normal end: 16 normal clearing, 17 user busy, 18 no user responding, 19 no answer,
/// 21 call rejected, 31 normal, unspecified.
const NORMAL_Q850: [u16; 6] = [16, 17, 18, 19, 21, 31];

/// The end reason of a live segment whose dialog ended by `cause`, with the request that ended it.
pub(crate) fn end_reason(cause: EndCause, request: Option<&RequestInfo>) -> EndReason {
    match cause {
        EndCause::Bye => match request.and_then(failure_in) {
            Some(text) => EndReason::Upstream(Failure::ByeReason(text)),
            None => EndReason::HangUp,
        },
        EndCause::Cancelled => EndReason::HangUp,
        EndCause::Local => EndReason::Stop,
        EndCause::SessionExpired => EndReason::Upstream(Failure::SessionExpired),
        EndCause::AckTimeout => dialog("no ACK for our 200"),
        EndCause::RequestTimeout => dialog("no answer to a request of ours"),
        EndCause::TransportFailed => dialog("the transport failed"),
    }
}

fn dialog(what: &str) -> EndReason {
    EndReason::Upstream(Failure::Dialog(what.to_owned()))
}

/// The failure that a BYE names in its Reason headers (RFC 3326), as text.
fn failure_in(bye: &RequestInfo) -> Option<String> {
    bye.reasons.iter().find(|r| is_failure(r)).map(|r| {
        let cause = r.cause.map(|c| format!(" {c}")).unwrap_or_default();
        let text = r.text.as_deref().map(|t| format!(" {t}")).unwrap_or_default();
        format!("{}{cause}{text}", r.protocol)
    })
}

/// A SIP status of 400 and more, a request terminated by CANCEL apart; a Q.850 cause that is not a normal end.
fn is_failure(reason: &ReasonView) -> bool {
    let Some(cause) = reason.cause else { return false };
    if reason.protocol.eq_ignore_ascii_case("SIP") {
        cause >= 400 && cause != 487
    } else if reason.protocol.eq_ignore_ascii_case("Q.850") {
        cause != 0 && !NORMAL_Q850.contains(&cause)
    } else {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_are_failures() {
        let view =
            |protocol: &str, cause: Option<u16>| ReasonView { protocol: protocol.into(), cause, text: None };
        for (protocol, cause, failure) in [
            ("Q.850", Some(16), false),
            ("q.850", Some(38), true),
            ("Q.850", Some(127), true),
            ("SIP", Some(200), false),
            ("sip", Some(503), true),
            ("SIP", Some(487), false),
            ("SIP", None, false),
            ("preemption", Some(1), false),
        ] {
            assert_eq!(is_failure(&view(protocol, cause)), failure, "{protocol} {cause:?}");
        }
    }
}
