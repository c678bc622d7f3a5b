//! The same facts in whatever form: elements in any order, values as attributes or elements, any namespace,
//! prefix and case of names, any zone of times. And whatever is damaged, with all that is written read again.

use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::escape::{escape, unescape};
use quick_xml::events::{BytesStart, Event};
use sip::siprec::{
    Association, CommunicationSession, Group, KeyValues, Participant, Recorded, RecordingMetadata,
    StreamAssociation, StreamInfo, View, read, write,
};

/// The documents that are well-formed.
const DOCUMENTS: [&str; 12] = [
    include_str!("documents/cube.xml"),
    include_str!("documents/cube-bye.xml"),
    include_str!("documents/oracle.xml"),
    include_str!("documents/audiocodes.xml"),
    include_str!("documents/ribbon.xml"),
    include_str!("documents/broadworks.xml"),
    include_str!("documents/metaswitch.xml"),
    include_str!("documents/avaya-sbce.xml"),
    include_str!("documents/avaya-sm.xml"),
    include_str!("documents/freeswitch.xml"),
    include_str!("documents/sems.xml"),
    include_str!("documents/netsapiens.xml"),
];

#[derive(Debug, Clone, Default)]
struct Node {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Node>,
}

/// A well-formed document, names without prefixes.
fn parse(text: &str) -> Node {
    let mut reader = Reader::from_str(text);
    let mut open = vec![Node::default()];
    let local = |name: &str| name.rsplit(':').next().unwrap().to_owned();
    let node = |start: &BytesStart<'_>| Node {
        name: local(start.name().as_ref()),
        attributes: start
            .attributes()
            .map(Result::unwrap)
            .filter(|a| !a.key.as_ref().starts_with("xml"))
            .map(|a| (local(a.key.as_ref()), unescape(&a.value).unwrap().into_owned()))
            .collect(),
        ..Node::default()
    };
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => open.push(node(&start)),
            Event::Empty(start) => open.last_mut().unwrap().children.push(node(&start)),
            Event::End(_) => {
                let done = open.pop().unwrap();
                open.last_mut().unwrap().children.push(done);
            }
            Event::Text(text) => open.last_mut().unwrap().text += text.trim(),
            Event::GeneralRef(entity) => {
                open.last_mut().unwrap().text += &unescape(&format!("&{};", &*entity)).unwrap();
            }
            Event::Eof => return open.pop().unwrap().children.pop().unwrap(),
            _ => {}
        }
    }
}

/// Choices, one after the other; others made of them when they are used up.
struct Choices(Vec<u8>, usize);

impl Choices {
    fn next(&mut self, of: usize) -> usize {
        self.1 += 1;
        (usize::from(self.0[self.1 % self.0.len()]) + self.1 / self.0.len()) % of
    }
}

/// Fields that are an attribute in one dialect and an element in another.
const FIELDS: [&str; 16] = [
    "id",
    "group_id",
    "session_id",
    "participant_id",
    "stream_id",
    "session",
    "group",
    "group-ref",
    "label",
    "mode",
    "aor",
    "datamode",
    "start-time",
    "associate-time",
    "send",
    "recv",
];

/// Elements under which these are fields.
const HOLDERS: [&str; 10] = [
    "recording",
    "recording_metadata",
    "group",
    "session",
    "participant",
    "nameID",
    "stream",
    "participantsessionassoc",
    "participantstreamassoc",
    "sessionrecordingassoc",
];

fn vary(node: &mut Node, choices: &mut Choices) {
    for child in &mut node.children {
        vary(child, choices);
    }
    if node.name.ends_with("-time") {
        node.text = zone(&node.text, choices);
    }
    if HOLDERS.contains(&node.name.as_str()) {
        for (name, value) in std::mem::take(&mut node.attributes) {
            let is_field = FIELDS.contains(&name.as_str()) && !value.is_empty();
            if is_field && choices.next(3) == 0 {
                node.children.push(Node { name, text: value, ..Node::default() });
            } else {
                node.attributes.push((name, value));
            }
        }
        for child in std::mem::take(&mut node.children) {
            let is_field = FIELDS.contains(&child.name.as_str())
                && child.children.is_empty()
                && child.attributes.is_empty()
                && !child.text.is_empty()
                && node.attributes.iter().all(|(name, _)| *name != child.name);
            if is_field && choices.next(3) == 0 {
                node.attributes.push((child.name, child.text));
            } else {
                node.children.push(child);
            }
        }
    }
    for i in 1..node.children.len() {
        node.children.swap(i, choices.next(i + 1));
    }
    for i in 1..node.attributes.len() {
        node.attributes.swap(i, choices.next(i + 1));
    }
    if HOLDERS.contains(&node.name.as_str()) || FIELDS.contains(&node.name.as_str()) {
        node.name = match choices.next(4) {
            0 => node.name.to_ascii_uppercase(),
            1 => node.name.replace(['-', '_'], ""),
            _ => node.name.clone(),
        };
    }
}

/// The same moment.
fn zone(text: &str, choices: &mut Choices) -> String {
    let plain = text.trim_end_matches("+0000").trim_end_matches('Z');
    if let Some((time, "00")) = plain.rsplit_once("-04:") {
        return format!("{time}{}", ["-04:00", "-0400", "-04"][choices.next(3)]);
    }
    let fraction = if plain.contains('.') { "" } else { ["", ".0", ".000000"][choices.next(3)] };
    let zone = ["", "Z", "+00:00", "+0000", "z", "-0000"][choices.next(6)];
    format!("{plain}{fraction}{zone}")
}

fn serialize(node: &Node, prefix: &str, space: &str, xml: &mut String) {
    *xml += &format!("<{prefix}{}", node.name);
    if !space.is_empty() {
        let attribute = prefix.trim_end_matches(':');
        let colon = if attribute.is_empty() { "" } else { ":" };
        *xml += &format!(" xmlns{colon}{attribute}='{space}'");
    }
    for (name, value) in &node.attributes {
        *xml += &format!(" {name}=\"{}\"", escape(value));
    }
    *xml += &format!(">{}", escape(&node.text));
    for child in &node.children {
        serialize(child, prefix, "", xml);
    }
    *xml += &format!("</{prefix}{}>\r\n", node.name);
}

/// The order of lists is the document's.
fn sorted(mut m: RecordingMetadata) -> RecordingMetadata {
    m.groups.sort_by(|a, b| a.id.cmp(&b.id));
    m.sessions.sort_by(|a, b| a.id.cmp(&b.id));
    m.participants.sort_by(|a, b| a.id.cmp(&b.id));
    m.participants.iter_mut().for_each(|p| sort(&mut p.extensions));
    m.streams.sort_by(|a, b| a.id.cmp(&b.id));
    m.associations.sort_by(|a, b| a.participant.cmp(&b.participant));
    m.stream_associations.sort_by(|a, b| a.participant.cmp(&b.participant));
    for a in &mut m.stream_associations {
        a.sends.sort();
        a.receives.sort();
    }
    m.recorded.sort_by(|a, b| a.session.cmp(&b.session));
    sort(&mut m.extensions);
    m
}

fn sort(values: &mut KeyValues) {
    let all = values.clone();
    let mut sorted: Vec<_> = all.iter().collect();
    sorted.sort_unstable();
    *values = sorted.into_iter().collect();
}

fn id() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9+/=:<>&\"' é-]{0,20}[a-z]".prop_map(|s| s.trim().to_owned())
}

/// Without spaces: where ids are compared, white space in them is none.
fn token() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9+/:<>&\"'é-]{0,20}[a-z]"
}

type Times = (Option<model::WallTime>, Option<model::WallTime>);

fn times() -> impl Strategy<Value = Times> {
    let time = || prop::option::of((0..4_000_000_000_000_i64).prop_map(model::WallTime::from_millis));
    (time(), time())
}

prop_compose! {
    fn document()(
        complete: bool,
        groups in prop::collection::btree_map(token(), times(), 0..2),
        sessions in prop::collection::btree_map(token(), (prop::option::of(token()), prop::collection::btree_set(token(), 0..3), times(), prop::option::of(id())), 1..3),
        people in prop::collection::btree_map(token(), prop::collection::btree_map(id(), prop::option::of(id()), 0..3), 0..4),
        streams in prop::collection::btree_map(token(), (prop::option::of(id()), prop::option::of(token())), 0..4),
        voices in prop::collection::vec((token(), prop::collection::vec(token(), 0..3), prop::collection::vec(token(), 0..3), times()), 0..4),
        left in prop::collection::vec((token(), prop::option::of(token()), times()), 0..3),
        recorded in prop::collection::vec((token(), times()), 0..2),
    ) -> RecordingMetadata {
        RecordingMetadata {
            complete,
            groups: groups.into_iter().map(|(id, (associated, disassociated))| Group { id, associated, disassociated }).collect(),
            sessions: sessions.into_iter().map(|(id, (group, sip, (start_time, stop_time), reason))| CommunicationSession { id, group, sip_session_ids: sip.into_iter().collect(), start_time, stop_time, reason }).collect(),
            participants: people.into_iter().map(|(id, aors)| Participant { id, aors: aors.into_iter().collect(), extensions: KeyValues::new() }).collect(),
            streams: streams.into_iter().map(|(id, (label, session))| StreamInfo { id, label, session, mode: None }).collect(),
            stream_associations: voices.into_iter().map(|(participant, sends, receives, (associated, disassociated))| StreamAssociation { participant, sends, receives, associated, disassociated }).collect(),
            associations: left.into_iter().map(|(participant, session, (associated, disassociated))| Association { participant, session, associated, disassociated }).collect(),
            recorded: recorded.into_iter().map(|(session, (associated, disassociated))| Recorded { session, associated, disassociated }).collect(),
            ..RecordingMetadata::default()
        }
    }
}

proptest! {
    #[test]
    fn any_form_of_a_document_reads_the_same(
        which in 0..DOCUMENTS.len(),
        choices in prop::collection::vec(any::<u8>(), 64..65),
        prefix in prop::sample::select(&["", "tns:", "rec:", "x-1:"][..]),
        space in prop::sample::select(&["urn:ietf:params:xml:ns:recording:1", "urn:ietf:params:xml:ns:recording", "urn:ietf:params:xml:ns:siprec", "http://vendor.example/x"][..]),
    ) {
        let mut node = parse(DOCUMENTS[which]);
        vary(&mut node, &mut Choices(choices, 0));
        let mut xml = String::from("<?xml version='1.0'?>");
        serialize(&node, prefix, space, &mut xml);
        let (expected, found) = (read(DOCUMENTS[which].as_bytes()).unwrap(), read(xml.as_bytes()).unwrap());
        prop_assert_eq!(sorted(found), sorted(expected), "{}", xml);
    }

    #[test]
    fn what_is_written_is_read(metadata in document()) {
        prop_assert_eq!(read(write(&metadata).as_bytes()), Ok(metadata));
    }

    #[test]
    fn what_is_damaged_is_survived(
        which in 0..DOCUMENTS.len(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = DOCUMENTS[which].as_bytes().to_vec();
        for (at, byte) in cuts {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut view = View::new();
        for bytes in [&bytes[..], &bytes[..end.index(bytes.len())]] {
            if let Ok(read) = read(bytes) {
                let _ = view.take(read);
            }
        }
    }

    /// The first error is not the end: what stands before and behind it is read.
    #[test]
    fn a_tag_that_is_broken_costs_no_more_than_itself(at in any::<prop::sample::Index>(), junk in "[<>&\"'=/ a-z]{1,6}") {
        let stops: Vec<usize> = DOCUMENTS[0].match_indices("\n    <").map(|(i, _)| i).collect();
        let stop = stops[at.index(stops.len())];
        let (head, tail) = DOCUMENTS[0].split_at_checked(stop).unwrap();
        let found = read(format!("{head}{junk}{tail}").as_bytes()).unwrap();
        let whole = read(DOCUMENTS[0].as_bytes()).unwrap();
        prop_assert!(found.participants.len() + 1 >= whole.participants.len(), "{junk}");
        prop_assert!(found.streams.len() + 1 >= whole.streams.len(), "{junk}");
    }
}
