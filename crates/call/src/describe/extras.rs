//! Key-values of a call that nobody but its phone system knows the meaning of: what vendors put into metadata, and
//! what a request says of recording awareness. Calls are found by them.

use model::CallData;
use model::call::EXTRA_MAX;
use sip::RequestInfo;
use sip::siprec::{RecordingMetadata, SessionState};

/// Octets of a value; what is longer is in the raw metadata.
const VALUE_BYTES_MAX: usize = 1_024;

/// What metadata say beyond RFC 7865: `siprec.KEY` of the call, `siprec.N.KEY` of its party N, counted from 1; and
/// the times, the reason and the state that the client gives its session.
pub(super) fn of_metadata(data: &mut CallData, known: &RecordingMetadata) {
    if let Some(session) = known.session() {
        let times = [("start-time", session.start_time), ("stop-time", session.stop_time)];
        for (key, time) in times {
            if let Some(time) = time {
                put(data, &format!("siprec.{key}"), &time.to_string());
            }
        }
        if let Some(reason) = &session.reason {
            put(data, "siprec.reason", reason);
        }
    }
    if let Some(state) = known.state {
        let state = match state {
            SessionState::Active => "active",
            SessionState::Held => "held",
            SessionState::Paused => "paused",
        };
        put(data, "siprec.recording-state", state);
    }
    let mut named = String::new();
    for (key, value) in known.extensions.iter() {
        named.clear();
        named.push_str("siprec.");
        named.push_str(key);
        put(data, &named, value);
    }
    for participant in &known.participants {
        let of = data.parties.iter().position(|p| p.participant.as_ref() == Some(&participant.id));
        let Some(place) = of else { continue };
        for (key, value) in participant.extensions.iter() {
            put(data, &format!("siprec.{}.{key}", place + 1), value);
        }
    }
}

/// What a peer that is aware of recording wishes and shows (RFC 7866 section 6.3): a recorder has nothing to do about
/// either, for a client that records has decided. `recordpref` is noted; `record-aware` where the option tag is said.
pub(super) fn of_request(data: &mut CallData, request: &RequestInfo) {
    let is_aware = |tag: &String| tag.eq_ignore_ascii_case("record-aware");
    if request.supported.iter().chain(&request.require).any(is_aware) {
        put(data, "record-aware", "yes");
    }
    let Some(sdp) = request.sdp() else { return };
    let lines = sdp.bytes.split(|b| matches!(b, b'\r' | b'\n'));
    let wished = lines.filter_map(|line| line.strip_prefix(b"a=recordpref:")).next();
    if let Some(wish) = wished.and_then(|wish| std::str::from_utf8(wish).ok()) {
        put(data, "recordpref", wish);
    }
}

/// Participants that a call has no place for, as many as this document names.
pub(super) fn left_out(data: &mut CallData, count: usize) {
    if count > 0 {
        put(data, "parties-left-out", &count.to_string());
    }
}

fn put(data: &mut CallData, key: &str, value: &str) {
    let value = value.trim();
    let mut end = value.len().min(VALUE_BYTES_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let value = value.get(..end).unwrap_or_default();
    if value.is_empty() {
        return;
    }
    let has_room = data.extra.len() < EXTRA_MAX;
    // Metadata that come again mostly say the same.
    match data.extra.get_mut(key) {
        Some(known) if known == value => {}
        Some(known) => value.clone_into(known),
        None if has_room => _ = data.extra.insert(key.to_owned(), value.to_owned()),
        None => {}
    }
}
