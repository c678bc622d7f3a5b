//! Writing SIPREC metadata in the form of RFC 7865: what a recording client of ours sends, and what tests send.

use std::fmt::Write;

use model::WallTime;
use quick_xml::escape::escape;

use super::{CommunicationSession, NAMESPACE, RecordingMetadata, StreamInfo};

/// The document, its elements in the order of the schema (RFC 7865 section 9). Ids and names are escaped;
/// extensions, states and modes are no part of it and are not written, nor are notes on damage.
#[must_use]
pub fn write(metadata: &RecordingMetadata) -> String {
    let mut xml =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<recording xmlns=\"{NAMESPACE}\">\r\n");
    // Writing to a String cannot fail.
    let _ = write_body(metadata, &mut xml);
    xml.push_str("</recording>\r\n");
    xml
}

fn write_body(metadata: &RecordingMetadata, xml: &mut String) -> std::fmt::Result {
    let mode = if metadata.complete { "complete" } else { "partial" };
    writeln!(xml, "<datamode>{mode}</datamode>\r")?;
    for group in &metadata.groups {
        write!(xml, "<group group_id=\"{}\">", escape(&group.id))?;
        write_times(xml, group.associated, group.disassociated)?;
        writeln!(xml, "</group>\r")?;
    }
    for session in &metadata.sessions {
        write_session(session, xml)?;
    }
    for participant in &metadata.participants {
        writeln!(xml, "<participant participant_id=\"{}\">\r", escape(&participant.id))?;
        for (aor, name) in &participant.aors {
            write!(xml, "<nameID aor=\"{}\">", escape(aor))?;
            if let Some(name) = name {
                write!(xml, "<name>{}</name>", escape(name))?;
            }
            writeln!(xml, "</nameID>\r")?;
        }
        writeln!(xml, "</participant>\r")?;
    }
    for stream in &metadata.streams {
        write_stream(stream, xml)?;
    }
    write_associations(metadata, xml)
}

fn write_session(session: &CommunicationSession, xml: &mut String) -> std::fmt::Result {
    writeln!(xml, "<session session_id=\"{}\">\r", escape(&session.id))?;
    for id in &session.sip_session_ids {
        writeln!(xml, "<sipSessionID>{}</sipSessionID>\r", escape(id))?;
    }
    if let Some(group) = &session.group {
        writeln!(xml, "<group-ref>{}</group-ref>\r", escape(group))?;
    }
    if let Some(reason) = &session.reason {
        writeln!(xml, "<reason>{}</reason>\r", escape(reason))?;
    }
    write_time(xml, "start-time", session.start_time)?;
    write_time(xml, "stop-time", session.stop_time)?;
    writeln!(xml, "</session>\r")
}

fn write_stream(stream: &StreamInfo, xml: &mut String) -> std::fmt::Result {
    write!(xml, "<stream stream_id=\"{}\"", escape(&stream.id))?;
    if let Some(session) = &stream.session {
        write!(xml, " session_id=\"{}\"", escape(session))?;
    }
    let label = stream.label.as_deref().unwrap_or_default();
    writeln!(xml, "><label>{}</label></stream>\r", escape(label))
}

fn write_associations(metadata: &RecordingMetadata, xml: &mut String) -> std::fmt::Result {
    for recorded in &metadata.recorded {
        write!(xml, "<sessionrecordingassoc session_id=\"{}\">", escape(&recorded.session))?;
        write_times(xml, recorded.associated, recorded.disassociated)?;
        writeln!(xml, "</sessionrecordingassoc>\r")?;
    }
    for association in &metadata.associations {
        write!(xml, "<participantsessionassoc participant_id=\"{}\"", escape(&association.participant))?;
        if let Some(session) = &association.session {
            write!(xml, " session_id=\"{}\"", escape(session))?;
        }
        write!(xml, ">")?;
        write_times(xml, association.associated, association.disassociated)?;
        writeln!(xml, "</participantsessionassoc>\r")?;
    }
    for association in &metadata.stream_associations {
        write!(xml, "<participantstreamassoc participant_id=\"{}\">", escape(&association.participant))?;
        write_times(xml, association.associated, association.disassociated)?;
        for stream in &association.sends {
            write!(xml, "<send>{}</send>", escape(stream))?;
        }
        for stream in &association.receives {
            write!(xml, "<recv>{}</recv>", escape(stream))?;
        }
        writeln!(xml, "</participantstreamassoc>\r")?;
    }
    Ok(())
}

fn write_times(xml: &mut String, since: Option<WallTime>, until: Option<WallTime>) -> std::fmt::Result {
    write_time(xml, "associate-time", since)?;
    write_time(xml, "disassociate-time", until)
}

fn write_time(xml: &mut String, tag: &str, time: Option<WallTime>) -> std::fmt::Result {
    match time {
        Some(time) => write!(xml, "<{tag}>{time}</{tag}>"),
        None => Ok(()),
    }
}
