//! Metadata as text: one line per fact.

use model::WallTime;
use sip::siprec::RecordingMetadata;

pub(crate) fn picture(m: &RecordingMetadata) -> String {
    let mut lines = Vec::new();
    let mode = if m.complete { "complete" } else { "partial" };
    let state = m.state.map(|state| format!(" {state:?}").to_lowercase()).unwrap_or_default();
    lines.push(format!("{mode}{state}{}", if m.is_damaged { " damaged" } else { "" }));
    for group in &m.groups {
        lines.push(format!("group {}{}", group.id, times(group.associated, group.disassociated)));
    }
    for session in &m.sessions {
        let group = session.group.as_ref().map(|id| format!(" of group {id}")).unwrap_or_default();
        let times = times(session.start_time, session.stop_time);
        lines.push(format!("session {}{group}{times}", session.id));
        lines.extend(session.sip_session_ids.iter().map(|id| format!("  known to SIP as {id}")));
        lines.extend(session.reason.iter().map(|reason| format!("  ended by {reason}")));
    }
    for participant in &m.participants {
        lines.push(format!("participant {}", participant.id));
        for (aor, name) in &participant.aors {
            let name = name.as_ref().map(|name| format!(" called {name}")).unwrap_or_default();
            lines.push(format!("  {aor}{name}"));
        }
        lines.extend(participant.extensions.iter().map(|(name, value)| format!("  {name} = {value}")));
    }
    for stream in &m.streams {
        let mode = stream.mode.map(|mode| format!(" {mode:?}").to_lowercase()).unwrap_or_default();
        lines.push(format!("stream {} label {}{mode}", stream.id, stream.label.as_deref().unwrap_or("-")));
    }
    for r in &m.recorded {
        lines.push(format!("session {} recorded{}", r.session, times(r.associated, r.disassociated)));
    }
    for a in &m.associations {
        let session = a.session.as_deref().unwrap_or("-");
        lines.push(format!("{} in {session}{}", a.participant, times(a.associated, a.disassociated)));
    }
    for a in &m.stream_associations {
        let part = times(a.associated, a.disassociated);
        lines.push(format!("{} sends {:?} hears {:?}{part}", a.participant, a.sends, a.receives));
    }
    lines.extend(m.extensions.iter().map(|(name, value)| format!("{name} = {value}")));
    lines.join("\n") + "\n"
}

fn times(since: Option<WallTime>, until: Option<WallTime>) -> String {
    let text = |word: &str, time: Option<WallTime>| time.map(|t| format!(" {word} {t}")).unwrap_or_default();
    text("from", since) + &text("until", until)
}
