//! Writing SIPREC metadata in the form of RFC 7865: what a recording client of ours sends, and what tests send.

use std::fmt::Write;

use model::WallTime;
use quick_xml::escape::escape;

use super::{NAMESPACE, RecordingMetadata};

/// The document. Ids and names are escaped; extensions and notes on damage are not written.
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
    if let Some(group) = &metadata.group_id {
        writeln!(xml, "<group group_id=\"{}\"/>\r", escape(group))?;
    }
    write_session(metadata, xml)?;
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
        write!(xml, "<stream stream_id=\"{}\"", escape(&stream.id))?;
        if let Some(session) = &stream.session {
            write!(xml, " session_id=\"{}\"", escape(session))?;
        }
        let label = stream.label.as_deref().unwrap_or_default();
        writeln!(xml, "><label>{}</label></stream>\r", escape(label))?;
    }
    for association in &metadata.associations {
        write!(xml, "<participantsessionassoc participant_id=\"{}\"", escape(&association.participant))?;
        if let Some(session) = &association.session {
            write!(xml, " session_id=\"{}\"", escape(session))?;
        }
        write!(xml, ">")?;
        write_time(xml, "associate-time", association.associated)?;
        write_time(xml, "disassociate-time", association.disassociated)?;
        writeln!(xml, "</participantsessionassoc>\r")?;
    }
    for (tag, pairs) in [("send", &metadata.sends), ("recv", &metadata.receives)] {
        for (participant, stream) in pairs {
            writeln!(
                xml,
                "<participantstreamassoc participant_id=\"{}\"><{tag}>{}</{tag}></participantstreamassoc>\r",
                escape(participant),
                escape(stream)
            )?;
        }
    }
    Ok(())
}

fn write_session(metadata: &RecordingMetadata, xml: &mut String) -> std::fmt::Result {
    let Some(session) = &metadata.session_id else { return Ok(()) };
    writeln!(xml, "<session session_id=\"{}\">\r", escape(session))?;
    for id in &metadata.sip_session_ids {
        writeln!(xml, "<sipSessionID>{}</sipSessionID>\r", escape(id))?;
    }
    if let Some(group) = &metadata.group_id {
        writeln!(xml, "<group-ref>{}</group-ref>\r", escape(group))?;
    }
    write_time(xml, "start-time", metadata.start_time)?;
    write_time(xml, "stop-time", metadata.stop_time)?;
    writeln!(xml, "</session>\r")
}

fn write_time(xml: &mut String, tag: &str, time: Option<WallTime>) -> std::fmt::Result {
    match time {
        Some(time) => write!(xml, "<{tag}>{time}</{tag}>"),
        None => Ok(()),
    }
}
