//! Orders that clients give in headers of INFO, re-INVITE and UPDATE.
//!
//! - `Record: off`, `Record: on` in INFO: the recording key of Yealink phones and of what imitates them.
//! - `X-AC-Action: start-siprec`, `stop-siprec`, `pause-siprec`, `resume-siprec`: AudioCodes.
//!
//! A body is never looked at: what digits an INFO carries is nobody's business here.

use model::PauseSource;
use sip::RequestInfo;

/// What a header asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    Start,
    Stop,
    Pause,
    Resume,
}

/// What a request asks for, and the words that it says it with. The header's value is one of the known ones, so
/// nothing else of the request gets into records.
pub(crate) fn read(request: &RequestInfo) -> Option<(Signal, PauseSource)> {
    let (signal, words) = vendor(request).or_else(|| key(request))?;
    let words = words.to_owned();
    let by = if request.method == "INFO" { PauseSource::Info(words) } else { PauseSource::Sip(words) };
    Some((signal, by))
}

fn vendor(request: &RequestInfo) -> Option<(Signal, &'static str)> {
    let value = request.header("X-AC-Action")?.split(';').next().unwrap_or_default().trim();
    [
        ("start-siprec", Signal::Start, "X-AC-Action: start-siprec"),
        ("stop-siprec", Signal::Stop, "X-AC-Action: stop-siprec"),
        ("pause-siprec", Signal::Pause, "X-AC-Action: pause-siprec"),
        ("resume-siprec", Signal::Resume, "X-AC-Action: resume-siprec"),
    ]
    .into_iter()
    .find(|(known, ..)| value.eq_ignore_ascii_case(known))
    .map(|(_, signal, words)| (signal, words))
}

/// The key of a phone pauses and resumes: `off` must not end the recording of a call for good.
fn key(request: &RequestInfo) -> Option<(Signal, &'static str)> {
    let value = request.header("Record").filter(|_| request.method == "INFO")?.trim();
    if value.eq_ignore_ascii_case("off") {
        Some((Signal::Pause, "Record: off"))
    } else if value.eq_ignore_ascii_case("on") {
        Some((Signal::Resume, "Record: on"))
    } else {
        None
    }
}
