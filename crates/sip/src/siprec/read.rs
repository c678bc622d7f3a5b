//! What a document says, from the tree of its elements.

use super::tree::{Node, Siblings, grow};
use super::values::{self, Ids, STATES};
use super::{
    Association, CommunicationSession, Group, KeyValues, MetadataError, Participant, Recorded,
    RecordingMetadata, StreamAssociation, StreamInfo,
};
use super::{mend, time::time};

/// 256 KiB, as much as a SIP message may be.
pub(super) const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// A conference of more is recorded all the same; the rest of its lists is not read.
pub(super) const ENTRIES_MAX: usize = 256;
/// Streams of one participant in one association: far more than m-lines are taken.
const STREAMS_MAX: usize = 64;
/// References to streams in a document: a conference of 256 in which each sends two streams and hears two.
const REFERENCES_MAX: usize = 4 * ENTRIES_MAX;

const GROUP_ID: [&str; 2] = ["groupid", "id"];
const SESSION_ID: [&str; 2] = ["sessionid", "id"];
const PARTICIPANT_ID: [&str; 2] = ["participantid", "id"];
const STREAM_ID: [&str; 2] = ["streamid", "id"];
/// A reference to a session, where `id` is something else's.
const OF_SESSION: [&str; 3] = ["sessionid", "session", "sessionref"];
const OF_PARTICIPANT: [&str; 3] = ["participantid", "participant", "participantref"];
const OF_GROUP: [&str; 3] = ["groupref", "groupid", "group"];
const START: [&str; 2] = ["starttime", "associatetime"];
const STOP: [&str; 3] = ["stoptime", "endtime", "disassociatetime"];
const ASSOCIATED: [&str; 1] = ["associatetime"];
const DISASSOCIATED: [&str; 1] = ["disassociatetime"];
/// A participant's, in RFC 7865 and in the drafts.
const CAME: [&str; 2] = ["associatetime", "starttime"];
const WENT: [&str; 3] = ["disassociatetime", "stoptime", "endtime"];

/// Words in the names of elements that say only that something is an extension.
const WRAPPERS: [&str; 3] = ["extension", "metadata", "param"];
/// Elements that are a key with its value.
const PAIRS: [&str; 5] = ["param", "parameter", "property", "attribute", "entry"];

/// Reads a document, or what of it can be read.
///
/// # Errors
/// When it has nothing at all that RFC 7865 knows, is too long, or asks for metadata.
pub fn read(bytes: &[u8]) -> Result<RecordingMetadata, MetadataError> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(MetadataError::TooLong(bytes.len()));
    }
    let text = mend::decode(bytes);
    let text = text.trim_start_matches('\u{feff}');
    let mended;
    let mut tree = grow(text);
    if tree.is_damaged || tree.is_odd {
        let (text, is_mended) = mend::mend(text);
        mended = text;
        tree = grow(&mended);
        tree.is_damaged |= is_mended;
    }
    if tree.roots().any(|root| root.name == "requestsnapshot") {
        return Err(MetadataError::Asks);
    }
    let mut reading = Reading::default();
    reading.found.is_damaged = tree.is_damaged;
    reading.gather(tree.roots(), &Place::Document);
    reading.finish();
    let found = reading.found;
    let is_empty = found.groups.is_empty()
        && found.sessions.is_empty()
        && found.participants.is_empty()
        && found.streams.is_empty()
        && found.associations.is_empty()
        && found.stream_associations.is_empty()
        && found.recorded.is_empty();
    if is_empty { Err(MetadataError::Empty) } else { Ok(found) }
}

#[derive(Default)]
struct Reading {
    found: RecordingMetadata,
    /// Participants and streams that have no id in the document.
    nameless: (Vec<String>, usize),
    /// [Marks](mark) of the key-values of the document, then of those of each participant.
    marks: Vec<Vec<u32>>,
}

/// Where an element stands, as far as it matters to what RFC 7865 does not know.
enum Place {
    /// Among the elements of RFC 7865, in no participant.
    Document,
    /// In a participant, by its place in the list; none where that has no room for it.
    Participant(Option<usize>),
}

impl Reading {
    /// Takes elements that may be those of RFC 7865, or hold them.
    fn gather(&mut self, elements: Siblings<'_>, place: &Place) {
        // Participants first: what refers to one may stand before it.
        for element in elements.clone().filter(|e| e.name == "participant") {
            self.participant(element);
        }
        for element in elements {
            match &*element.name {
                "participant" => {}
                "recording" | "recordingmetadata" | "recordingsession" => self.root(element),
                "group" if element.has(&GROUP_ID) => self.group(element),
                "session" if element.has(&SESSION_ID) || element.has(&START) => self.session(element),
                "stream" => self.stream(element),
                "participantsessionassoc" => self.association(element),
                "participantstreamassoc" => self.stream_association(element),
                "sessionrecordingassoc" => self.recorded(element),
                _ if holds_known(element) => self.gather(element.children(), place),
                _ => self.extension(element, place, ""),
            }
        }
    }

    fn root(&mut self, element: Node<'_>) {
        if let Some(mode) = element.field(&["datamode"]) {
            self.found.complete = mode.eq_ignore_ascii_case("complete");
        }
        self.state(element);
        self.rest(element, &["datamode", "id"], &Place::Document);
    }

    fn group(&mut self, element: Node<'_>) {
        let group = Group {
            id: id(element, &GROUP_ID),
            associated: when(element, &ASSOCIATED),
            disassociated: when(element, &DISASSOCIATED),
        };
        if !group.id.is_empty() && self.found.groups.iter().all(|known| known.id != group.id) {
            add(&mut self.found.groups, group, ENTRIES_MAX, &mut self.found.is_damaged);
        }
        self.state(element);
        let known = ["groupid", "id", "recording", "associatetime", "disassociatetime"];
        self.rest(element, &known, &Place::Document);
    }

    fn session(&mut self, element: Node<'_>) {
        let mut sip_session_ids: Vec<String> = Vec::new();
        for value in element.values("sipsessionid") {
            let value = value.split_ascii_whitespace().collect();
            if !sip_session_ids.contains(&value) {
                add(&mut sip_session_ids, value, ENTRIES_MAX, &mut self.found.is_damaged);
            }
        }
        let read = CommunicationSession {
            id: id(element, &SESSION_ID),
            group: element.field(&OF_GROUP).map(str::to_owned),
            sip_session_ids,
            start_time: when(element, &START),
            stop_time: when(element, &STOP),
            reason: element.field(&["reason"]).map(str::to_owned),
        };
        match self.found.sessions.iter_mut().find(|known| known.id == read.id) {
            Some(known) => known.merge(read),
            None => add(&mut self.found.sessions, read, ENTRIES_MAX, &mut self.found.is_damaged),
        }
        self.state(element);
        let known = [
            "sessionid",
            "id",
            "sipsessionid",
            "groupref",
            "groupid",
            "group",
            "starttime",
            "stoptime",
            "endtime",
            "associatetime",
            "disassociatetime",
            "reason",
        ];
        self.rest(element, &known, &Place::Document);
    }

    fn participant(&mut self, element: Node<'_>) {
        let aors = aors(element, &mut self.found.is_damaged);
        let given = id(element, &PARTICIPANT_ID);
        let id = match (given.is_empty(), aors.first()) {
            (false, _) => given,
            (true, Some((aor, _))) if !aor.is_empty() => aor.clone(),
            (true, _) => format!("#{}", self.found.participants.len() + 1),
        };
        if element.field(&PARTICIPANT_ID).is_none() {
            self.nameless.0.push(id.clone());
        }
        match self.found.participants.iter_mut().find(|known| known.id == id) {
            Some(known) => {
                for aor in aors {
                    let is_new = known.aors.iter().all(|(uri, _)| *uri != aor.0);
                    if is_new {
                        add(&mut known.aors, aor, ENTRIES_MAX, &mut self.found.is_damaged);
                    }
                }
            }
            None => {
                let participant = Participant { id: id.clone(), aors, extensions: KeyValues::new() };
                add(&mut self.found.participants, participant, ENTRIES_MAX, &mut self.found.is_damaged);
            }
        }
        // The drafts put associations into the participant.
        if let Some(session) = element.field(&OF_SESSION) {
            self.associate(&id, Some(session.to_owned()), element);
        }
        let streams = |names: [&str; 2]| -> Vec<String> {
            names.iter().flat_map(|n| element.values(n)).take(STREAMS_MAX).map(str::to_owned).collect()
        };
        let (sends, receives) = (streams(["send", ""]), streams(["recv", "receive"]));
        if !sends.is_empty() || !receives.is_empty() {
            let participant = id.clone();
            self.associate_streams(StreamAssociation { participant, sends, receives, ..Default::default() });
        }
        let known = [
            "participantid",
            "id",
            "sessionid",
            "session",
            "sessionref",
            "nameid",
            "aor",
            "uri",
            "name",
            "displayname",
            "send",
            "recv",
            "receive",
            "associatetime",
            "disassociatetime",
            "starttime",
            "stoptime",
            "endtime",
        ];
        let place = self.found.participants.iter().position(|known| known.id == id);
        self.rest(element, &known, &Place::Participant(place));
    }

    fn stream(&mut self, element: Node<'_>) {
        let id = id(element, &STREAM_ID);
        let text = |names: &[&str]| element.field(names).map(str::to_owned);
        let read = StreamInfo {
            label: text(&["label"]),
            session: text(&OF_SESSION),
            mode: element.field(&["mode"]).and_then(values::mode),
            id,
        };
        if read.id.is_empty() {
            self.nameless.1 += 1;
        }
        let known = self.found.streams.iter_mut().find(|known| known.id == read.id && !read.id.is_empty());
        match known {
            Some(known) => known.merge(read),
            None => add(&mut self.found.streams, read, ENTRIES_MAX, &mut self.found.is_damaged),
        }
        let known =
            ["streamid", "id", "label", "sessionid", "session", "sessionref", "mode", "associatetime"];
        self.rest(element, &known, &Place::Document);
    }

    fn association(&mut self, element: Node<'_>) {
        let participant = named_participant(element);
        self.associate(&participant, element.field(&OF_SESSION).map(str::to_owned), element);
        let known = [
            "participantid",
            "participant",
            "participantref",
            "id",
            "sessionid",
            "session",
            "sessionref",
            "associatetime",
            "disassociatetime",
        ];
        self.rest(element, &known, &Place::Document);
    }

    fn associate(&mut self, participant: &str, session: Option<String>, element: Node<'_>) {
        let association = Association {
            participant: participant.to_owned(),
            session,
            associated: when(element, &CAME),
            disassociated: when(element, &WENT),
        };
        add(&mut self.found.associations, association, ENTRIES_MAX, &mut self.found.is_damaged);
    }

    fn stream_association(&mut self, element: Node<'_>) {
        let mut association = StreamAssociation {
            participant: named_participant(element),
            associated: when(element, &ASSOCIATED),
            disassociated: when(element, &DISASSOCIATED),
            ..StreamAssociation::default()
        };
        let beside = element.field(&["streamid", "stream"]);
        let damaged = &mut self.found.is_damaged;
        for name in ["send", "recv", "receive"] {
            let list = if name == "send" { &mut association.sends } else { &mut association.receives };
            // A stream without an id is named by an element without a text.
            let empty = element.named(name).filter(|child| child.text.is_empty()).map(|_| "");
            for text in element.values(name).chain(empty) {
                // `<send>true</send>` beside `stream_id`.
                let stream = match (beside, text.to_ascii_lowercase().as_str()) {
                    (Some(_), "false" | "0") => continue,
                    (Some(beside), "true" | "1" | "yes" | "") => beside,
                    _ => text,
                };
                add(list, stream.to_owned(), STREAMS_MAX, damaged);
            }
        }
        if let (Some(stream), [], []) = (beside, &*association.sends, &*association.receives)
            && !element.has(&["send", "recv", "receive"])
        {
            association.sends.push(stream.to_owned());
        }
        self.associate_streams(association);
    }

    fn associate_streams(&mut self, association: StreamAssociation) {
        add(&mut self.found.stream_associations, association, ENTRIES_MAX, &mut self.found.is_damaged);
    }

    fn recorded(&mut self, element: Node<'_>) {
        let recorded = Recorded {
            session: id(element, &["sessionid", "session", "id"]),
            associated: when(element, &ASSOCIATED),
            disassociated: when(element, &DISASSOCIATED),
        };
        add(&mut self.found.recorded, recorded, ENTRIES_MAX, &mut self.found.is_damaged);
    }

    fn state(&mut self, element: Node<'_>) {
        let said = STATES.iter().flat_map(|name| element.values(name)).filter_map(values::state).max();
        self.found.state = self.found.state.max(said);
    }

    /// What of an element of RFC 7865 is none of it.
    fn rest(&mut self, element: Node<'_>, known: &[&str], place: &Place) {
        for attribute in element.attributes().iter().filter(|a| !known.contains(&&*a.name)) {
            self.keep(place, "", &attribute.written, &attribute.value);
        }
        let is_known = |e: &Node<'_>| known.contains(&&*e.name);
        if element.children().any(|child| !is_known(&child)) {
            // The known ones are fields; the others may be anything.
            let others = element.children().filter(|child| !is_known(child));
            for child in others.clone().filter(|child| child.name == "participant") {
                self.participant(child);
            }
            for child in others.filter(|child| child.name != "participant") {
                self.gather(child.alone(), place);
            }
        }
    }

    /// Key-values of an element that RFC 7865 does not know. `above` is the element that it stands in, where that is
    /// unknown too and says more than that it is an extension.
    fn extension(&mut self, element: Node<'_>, place: &Place, above: &str) {
        let of_session = matches!(place, Place::Document) && above.is_empty();
        if of_session && STATES.contains(&&*element.name) {
            self.found.state = self.found.state.max(values::state(&element.text));
        }
        if let Some((key, value)) = pair(element) {
            return self.keep(place, above, &key, value);
        }
        if element.is_childless() {
            self.keep(place, above, &element.written, &element.text);
        }
        let is_wrapper = element.text.is_empty() && WRAPPERS.iter().any(|word| element.name.contains(word));
        let above = if is_wrapper { "" } else { &*element.written };
        if of_session && is_wrapper {
            self.state(element);
        }
        for attribute in element.attributes() {
            self.keep(place, above, &attribute.written, &attribute.value);
        }
        for child in element.children() {
            self.extension(child, place, above);
        }
    }

    /// Keeps a key-value that is new. Its key begins with what it stands in, where that says something.
    fn keep(&mut self, place: &Place, above: &str, key: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let mut named = String::with_capacity(above.len() + 1 + key.len());
        if !above.is_empty() {
            named.push_str(above);
            named.push('.');
        }
        named.push_str(key);
        let found = &mut self.found;
        let (at, list) = match place {
            Place::Participant(Some(at)) if *at < found.participants.len() => {
                (at + 1, found.participants.get_mut(*at))
            }
            Place::Participant(_) | Place::Document => (0, None),
        };
        let list = list.map_or(&mut found.extensions, |participant| &mut participant.extensions);
        // Nothing is compared with a list that takes no more: a document may name thousands.
        if list.len() >= ENTRIES_MAX {
            found.is_damaged = true;
            return;
        }
        if self.marks.len() <= at {
            self.marks.resize_with(at + 1, Vec::new);
        }
        let Some(marks) = self.marks.get_mut(at) else { return };
        let mark = mark(&named, value);
        let is_known = marks.contains(&mark) && list.iter().any(|known| known == (&named, value));
        if !is_known {
            marks.push(mark);
            found.is_damaged |= !list.push(&named, value);
        }
    }

    /// References in another form than what they refer to are made the same. One that names nothing means the only
    /// one without an id, where there is only one.
    fn finish(&mut self) {
        let found = &mut self.found;
        let participants = Ids::of(found.participants.iter().map(|p| p.id.as_str()));
        let participant = |id: &mut String| match (id.is_empty(), self.nameless.0.as_slice()) {
            (true, [only]) => id.clone_from(only),
            _ => _ = participants.rename(id),
        };
        found.associations.iter_mut().map(|a| &mut a.participant).for_each(participant);
        found.stream_associations.iter_mut().map(|a| &mut a.participant).for_each(participant);
        found.associations.retain(|a| !a.participant.is_empty());
        found.stream_associations.retain(|a| !a.participant.is_empty());
        let streams = Ids::of(found.streams.iter().map(|s| s.id.as_str()));
        let mut left = REFERENCES_MAX;
        for list in found.stream_associations.iter_mut().flat_map(|a| [&mut a.sends, &mut a.receives]) {
            list.retain(|id| !id.is_empty() || self.nameless.1 == 1);
            found.is_damaged |= list.len() > left;
            list.truncate(left);
            left -= list.len();
            list.iter_mut().for_each(|id| _ = streams.rename(id));
        }
        let sessions = Ids::of(found.sessions.iter().map(|s| s.id.as_str()));
        let session = |id: &mut String| _ = sessions.rename(id);
        found.associations.iter_mut().filter_map(|a| a.session.as_mut()).for_each(session);
        found.streams.iter_mut().filter_map(|s| s.session.as_mut()).for_each(session);
        found.recorded.iter_mut().map(|r| &mut r.session).for_each(session);
        // A dialog keeps them as long as it lasts, often a hundred: without room for twice as many.
        let lists = found.participants.iter_mut().map(|p| &mut p.extensions);
        lists.chain([&mut found.extensions]).for_each(KeyValues::shrink_to_fit);
    }
}

/// The participant that an association names, as it came; empty where it names none.
fn named_participant(element: Node<'_>) -> String {
    element.field(&OF_PARTICIPANT).or_else(|| element.field(&["id"])).unwrap_or_default().to_owned()
}

/// A number that differs for nearly all key-values that differ: to find one among hundreds costs less this way than to
/// compare texts that mostly begin alike.
fn mark(key: &str, value: &str) -> u32 {
    /// FNV-1a of 64 bits.
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let mix = |mark: u64, word: u64| (mark ^ word).wrapping_mul(PRIME);
    let of_text = |mark: u64, text: &str| {
        let (words, rest) = text.as_bytes().as_chunks::<8>();
        let mark = words.iter().fold(mark, |mark, word| mix(mark, u64::from_le_bytes(*word)).rotate_left(29));
        let mark = rest.iter().fold(mark, |mark, byte| mix(mark, u64::from(*byte)));
        mix(mark, text.len() as u64)
    };
    // What is mixed last moves the upper half most.
    let mark = of_text(of_text(BASIS, key), value);
    u32::try_from(mark >> 32).unwrap_or_default()
}

/// `<param name="queue" value="sales"/>`, or with the value as text.
fn pair<'a>(element: Node<'a>) -> Option<(String, &'a str)> {
    let attribute =
        |names: [&str; 2]| element.attributes().iter().find(|a| names.contains(&&*a.name)).map(|a| &*a.value);
    if !element.is_childless() || !PAIRS.contains(&&*element.name) {
        return None;
    }
    let value = attribute(["value", "val"]).unwrap_or(element.text());
    attribute(["name", "key"]).filter(|key| !key.is_empty()).map(|key| (key.to_ascii_lowercase(), value))
}

/// Whether elements of RFC 7865 stand in one that it does not know: lists of drafts, envelopes of vendors.
fn holds_known(element: Node<'_>) -> bool {
    element.children().any(|child| match &*child.name {
        "participant" | "participantsessionassoc" | "participantstreamassoc" | "sessionrecordingassoc" => {
            true
        }
        "recording" | "recordingmetadata" => !child.is_childless(),
        "session" => child.has(&["sessionid"]),
        "stream" => child.has(&["streamid"]),
        _ => holds_known(child),
    })
}

/// The addresses of a participant with their names: in `nameID`, as attribute, element or text, or without it.
fn aors(element: Node<'_>, is_damaged: &mut bool) -> Vec<(String, Option<String>)> {
    let mut aors: Vec<(String, Option<String>)> = Vec::new();
    let mut nameless = None;
    for holder in element.named("nameid").chain(std::iter::once(element)) {
        let name = holder.field(&["name", "displayname"]).map(str::to_owned);
        let own = Some(&*holder.text).filter(|text| holder.name == "nameid" && text.contains(':'));
        let given = holder.values("aor").chain(holder.values("uri")).chain(own);
        let given: Vec<&str> = given.collect();
        if given.is_empty() {
            nameless = nameless.or(name);
            continue;
        }
        for aor in given {
            if aors.iter().all(|(known, _)| known != aor) {
                add(&mut aors, (aor.to_owned(), name.clone()), ENTRIES_MAX, is_damaged);
            }
        }
    }
    match (nameless, aors.first_mut()) {
        (Some(name), Some((_, of @ None))) => *of = Some(name),
        // Who has a name only is somebody all the same.
        (Some(name), None) => aors.push((String::new(), Some(name))),
        _ => {}
    }
    aors
}

fn id(element: Node<'_>, names: &[&str]) -> String {
    element.field(names).unwrap_or_default().to_owned()
}

fn when(element: Node<'_>, names: &[&str]) -> Option<model::WallTime> {
    names.iter().flat_map(|name| element.values(name)).find_map(time)
}

pub(super) fn add<T>(list: &mut Vec<T>, entry: T, max: usize, is_damaged: &mut bool) {
    if list.len() < max {
        list.push(entry);
    } else {
        *is_damaged = true;
    }
}
