//! Reading SIPREC metadata, tolerantly.
//!
//! One pass over the events of the XML reader with the path of open elements beside it. Entries are made when
//! their element begins, so that a document that is cut short gives what it had.

use model::WallTime;
use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

use super::{Association, MetadataError, Participant, RecordingMetadata, StreamInfo};

/// 256 KiB, as much as a SIP message may be.
pub(super) const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// A conference of more is recorded all the same; the rest of its list is not read.
const ENTRIES_MAX: usize = 256;
/// RFC 7865 nests four deep; vendors' extensions some more.
const DEPTH_MAX: usize = 24;
/// Names and ids are short; what is longer is cut.
const TEXT_BYTES_MAX: usize = 1024;

/// Reads a document, or what of it can be read.
///
/// # Errors
/// When it has no session, participant or stream at all, or is too long.
pub fn read(bytes: &[u8]) -> Result<RecordingMetadata, MetadataError> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(MetadataError::TooLong(bytes.len()));
    }
    let text = String::from_utf8_lossy(bytes);
    let mut document = Document::default();
    document.read(text.trim_start_matches('\u{feff}'));
    let found = document.found;
    let is_empty = found.session_id.is_none() && found.participants.is_empty() && found.streams.is_empty();
    if is_empty { Err(MetadataError::Empty) } else { Ok(found) }
}

#[derive(Default)]
struct Document {
    found: RecordingMetadata,
    path: Vec<Element>,
}

struct Element {
    /// Local name in lower case: dialects differ in prefix and case.
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
}

impl Document {
    fn read(&mut self, text: &str) {
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        config.allow_dangling_amp = true;
        loop {
            match reader.read_event() {
                Ok(Event::Start(start)) => self.open(&start),
                Ok(Event::Empty(start)) => {
                    self.open(&start);
                    self.close();
                }
                Ok(Event::End(end)) => self.close_named(&local_name(end.name().as_ref())),
                Ok(Event::Text(text)) => self.text(&text),
                Ok(Event::CData(text)) => self.text(&text),
                Ok(Event::GeneralRef(reference)) => {
                    let escaped = format!("&{};", &*reference);
                    let resolved = unescape(&escaped).map(String::from).unwrap_or(escaped.clone());
                    self.text(&resolved);
                }
                Ok(Event::Eof) => break,
                Ok(_) => {}
                Err(_) => {
                    self.found.is_damaged = true;
                    break;
                }
            }
        }
        self.found.is_damaged |= !self.path.is_empty();
        while !self.path.is_empty() {
            self.close();
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(element) = self.path.last_mut()
            && element.text.len() + text.len() <= TEXT_BYTES_MAX
        {
            element.text.push_str(text);
        }
    }

    fn open(&mut self, start: &BytesStart<'_>) {
        let name = local_name(start.name().as_ref());
        let mut attributes = Vec::new();
        let mut read = start.attributes();
        for attribute in read.with_checks(false).flatten().take(16) {
            let value: &str = &attribute.value;
            let value = unescape(value).map_or_else(|_| value.to_owned(), String::from);
            let key: &str = attribute.key.as_ref();
            if !key.starts_with("xmlns") {
                attributes.push((local_name(key), cut(value.trim())));
            }
        }
        if self.path.len() >= DEPTH_MAX {
            self.found.is_damaged = true;
            // Its end would close another: it takes the innermost place.
            self.path.pop();
        }
        self.path.push(Element { name, attributes, text: String::new() });
        self.opened();
    }

    /// An element has begun: its attributes are known.
    fn opened(&mut self) {
        let Some(element) = self.path.last() else { return };
        let found = &mut self.found;
        match element.name.as_str() {
            "session" => {
                found.session_id = found.session_id.take().or_else(|| element.id(&["session_id", "id"]));
            }
            "group" => {
                found.group_id = found.group_id.take().or_else(|| element.id(&["group_id", "id"]));
            }
            "participant" => {
                let id = element.id(&["participant_id", "id"]).unwrap_or_default();
                if found.participant(&id).is_none() {
                    add(
                        &mut found.participants,
                        Participant { id: id.clone(), ..Participant::default() },
                        &mut found.is_damaged,
                    );
                }
                if let Some(session) = element.id(&["session_id", "session"]) {
                    let association =
                        Association { participant: id, session: Some(session), ..Association::default() };
                    add(&mut found.associations, association, &mut found.is_damaged);
                }
            }
            "stream" => {
                let id = element.id(&["stream_id", "id"]).unwrap_or_default();
                let session = element.id(&["session_id", "session"]);
                add(&mut found.streams, StreamInfo { id, label: None, session }, &mut found.is_damaged);
            }
            "participantsessionassoc" => {
                let association = Association {
                    participant: element.id(&["participant_id", "participant"]).unwrap_or_default(),
                    session: element.id(&["session_id", "session"]),
                    ..Association::default()
                };
                add(&mut found.associations, association, &mut found.is_damaged);
            }
            "nameid" => {
                if let Some(aor) = element.id(&["aor", "uri"]) {
                    self.add_aor(aor);
                }
            }
            _ => {}
        }
    }

    fn add_aor(&mut self, aor: String) {
        let Some(id) = self.participant_above() else { return };
        let found = &mut self.found;
        if let Some(participant) = found.participants.iter_mut().find(|p| p.id == id)
            && !participant.aors.iter().any(|(known, _)| *known == aor)
        {
            add(&mut participant.aors, (aor, None), &mut found.is_damaged);
        }
    }

    /// Closes the innermost element of this name and what was left open in it; an end without a begin is
    /// passed over.
    fn close_named(&mut self, name: &str) {
        let Some(at) = self.path.iter().rposition(|element| element.name == name) else {
            self.found.is_damaged = true;
            return;
        };
        self.found.is_damaged |= at + 1 < self.path.len();
        while self.path.len() > at {
            self.close();
        }
    }

    /// The innermost element ends: its text is known.
    fn close(&mut self) {
        let Some(element) = self.path.pop() else { return };
        let text = cut(element.text.trim());
        let parent = self.path.last().map(|parent| parent.name.as_str()).unwrap_or_default();
        match (element.name.as_str(), parent) {
            ("datamode", _) => self.found.complete = text.eq_ignore_ascii_case("complete"),
            ("sipsessionid", _) if !text.is_empty() => {
                add(&mut self.found.sip_session_ids, text, &mut self.found.is_damaged);
            }
            ("start-time", "session") => self.found.start_time = time(&text).or(self.found.start_time),
            ("stop-time" | "end-time", "session") => {
                self.found.stop_time = time(&text).or(self.found.stop_time)
            }
            ("group-ref", _) if self.found.group_id.is_none() => self.found.group_id = Some(text),
            ("label", "stream") => {
                if let Some(stream) = self.found.streams.last_mut() {
                    stream.label = Some(text).filter(|label| !label.is_empty());
                }
            }
            ("name", _) if !text.is_empty() => self.name_aor(text),
            ("aor", _) if !text.is_empty() => self.add_aor(text),
            ("send" | "recv" | "receive", _) if !text.is_empty() => {
                let Some(participant) = self.participant_above() else { return };
                let found = &mut self.found;
                let pairs = if element.name == "send" { &mut found.sends } else { &mut found.receives };
                add(pairs, (participant, text), &mut found.is_damaged);
            }
            ("associate-time", "participantsessionassoc" | "participant") => {
                if let Some(last) = self.found.associations.last_mut() {
                    last.associated = time(&text).or(last.associated);
                }
            }
            ("disassociate-time", "participantsessionassoc" | "participant") => {
                if let Some(last) = self.found.associations.last_mut() {
                    last.disassociated = time(&text).or(last.disassociated);
                }
            }
            (known, _) if KNOWN.contains(&known) => {}
            _ => self.extension(&element, text),
        }
    }

    fn name_aor(&mut self, name: String) {
        let Some(id) = self.participant_above() else { return };
        if let Some(participant) = self.found.participants.iter_mut().find(|p| p.id == id)
            && let Some((_, known)) = participant.aors.last_mut()
            && known.is_none()
        {
            *known = Some(name);
        }
    }

    /// What RFC 7865 does not know is kept by name, with the participant that it stands in.
    fn extension(&mut self, element: &Element, text: String) {
        let id = self.participant_above();
        let found = &mut self.found;
        let participant = id.and_then(|id| found.participants.iter_mut().find(|p| p.id == id));
        let list = participant.map_or(&mut found.extensions, |participant| &mut participant.extensions);
        if !text.is_empty() {
            add(list, (element.name.clone(), text), &mut found.is_damaged);
        }
        for (name, value) in &element.attributes {
            add(list, (format!("{}.{name}", element.name), value.clone()), &mut found.is_damaged);
        }
    }

    /// The id of the participant that the path is in.
    fn participant_above(&self) -> Option<String> {
        self.path.iter().rev().find_map(|element| match element.name.as_str() {
            "participant" => Some(element.id(&["participant_id", "id"]).unwrap_or_default()),
            "participantstreamassoc" => element.id(&["participant_id", "participant", "id"]),
            _ => None,
        })
    }
}

/// Elements of RFC 7865 whose own text says nothing, or nothing that is kept.
const KNOWN: [&str; 20] = [
    "recording",
    "recording_metadata",
    "session",
    "group",
    "participant",
    "nameid",
    "name",
    "aor",
    "stream",
    "label",
    "participantsessionassoc",
    "participantstreamassoc",
    "sessionrecordingassoc",
    "associate-time",
    "disassociate-time",
    "start-time",
    "stop-time",
    "group-ref",
    "send",
    "recv",
];

impl Element {
    /// The first of these attributes that is there and not empty.
    fn id(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| {
            let (_, value) = self.attributes.iter().find(|(n, _)| n == name)?;
            (!value.is_empty()).then(|| value.clone())
        })
    }
}

fn add<T>(list: &mut Vec<T>, entry: T, is_damaged: &mut bool) {
    if list.len() < ENTRIES_MAX {
        list.push(entry);
    } else {
        *is_damaged = true;
    }
}

fn local_name(name: &str) -> String {
    cut(name.rsplit(':').next().unwrap_or(name)).to_ascii_lowercase()
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// RFC 3339, also as some clients write it: without a zone (taken as UTC), or with one that lacks its colon.
fn time(text: &str) -> Option<WallTime> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    if let Some((head, zone)) = text.len().checked_sub(5).and_then(|at| text.split_at_checked(at))
        && zone.starts_with(['+', '-'])
        && zone.bytes().skip(1).all(|b| b.is_ascii_digit())
    {
        let (hours, minutes) = zone.split_at_checked(3)?;
        return format!("{head}{hours}:{minutes}").parse().ok();
    }
    format!("{text}Z").parse().ok()
}
