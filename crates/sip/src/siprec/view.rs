//! What all documents of a recording session say together (RFC 7865 section 5.1): a complete one replaces what was
//! known, a partial one adds to it, and none at all leaves it.

use super::read::{DOCUMENT_BYTES_MAX, ENTRIES_MAX, add};
use super::values::Ids;
use super::{CommunicationSession, KeyValues, Participant, RecordingMetadata, StreamAssociation, StreamInfo};

/// Octets of text of all that is known: twice what a document may have.
const OCTETS_MAX: usize = 2 * DOCUMENT_BYTES_MAX;

/// See the module.
#[derive(Debug, Default)]
pub struct View {
    known: RecordingMetadata,
}

/// Why what is known is less than the client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// A document could not be read, or not all of it.
    Unreadable,
    /// An update refers to a participant, stream or session that nothing has told of.
    Unknown,
}

impl View {
    /// Nothing is known.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            known: RecordingMetadata {
                complete: false,
                state: None,
                groups: Vec::new(),
                sessions: Vec::new(),
                participants: Vec::new(),
                streams: Vec::new(),
                associations: Vec::new(),
                stream_associations: Vec::new(),
                recorded: Vec::new(),
                extensions: KeyValues::new(),
                is_damaged: false,
            },
        }
    }

    /// What is known.
    #[must_use]
    pub const fn known(&self) -> &RecordingMetadata {
        &self.known
    }

    /// Takes a document. Says what is missing, where something is.
    ///
    /// One that is damaged replaces nothing, even if it says that it is complete: what is missing in it may be what
    /// could not be read.
    pub fn take(&mut self, read: RecordingMetadata) -> Option<Lack> {
        let lack = read.is_damaged.then_some(Lack::Unreadable);
        if read.complete && !read.is_damaged {
            self.known = read;
            return None;
        }
        // Many small updates must not pile up what one document may not hold.
        if octets(&self.known) + octets(&read) > OCTETS_MAX {
            self.known.is_damaged = true;
            return Some(Lack::Unreadable);
        }
        let refers = self.add(read);
        lack.or(refers)
    }

    fn add(&mut self, mut update: RecordingMetadata) -> Option<Lack> {
        let known = &mut self.known;
        known.complete = false;
        known.is_damaged |= update.is_damaged;
        known.state = update.state.or(known.state);
        for group in update.groups {
            match known.groups.iter_mut().find(|g| g.id == group.id) {
                Some(same) => {
                    same.associated = group.associated.or(same.associated);
                    same.disassociated = group.disassociated.or(same.disassociated);
                }
                None => add(&mut known.groups, group, ENTRIES_MAX, &mut known.is_damaged),
            }
        }
        let ids = Ids::of(known.sessions.iter().map(|s| s.id.as_str()));
        for mut session in update.sessions {
            ids.rename(&mut session.id);
            match known.sessions.iter_mut().find(|s| s.id == session.id) {
                Some(same) => same.merge(session),
                None => add(&mut known.sessions, session, ENTRIES_MAX, &mut known.is_damaged),
            }
        }
        let ids = Ids::of(known.participants.iter().map(|p| p.id.as_str()));
        for mut participant in update.participants {
            ids.rename(&mut participant.id);
            match known.participants.iter_mut().find(|p| p.id == participant.id) {
                Some(same) => same.merge(participant, &mut known.is_damaged),
                None => add(&mut known.participants, participant, ENTRIES_MAX, &mut known.is_damaged),
            }
        }
        let ids = Ids::of(known.streams.iter().map(|s| s.id.as_str()));
        for mut stream in update.streams {
            ids.rename(&mut stream.id);
            match known.streams.iter_mut().find(|s| s.id == stream.id && !stream.id.is_empty()) {
                Some(same) => same.merge(stream),
                None => add(&mut known.streams, stream, ENTRIES_MAX, &mut known.is_damaged),
            }
        }
        merge_values(&mut known.extensions, &update.extensions, &mut known.is_damaged);
        for recorded in update.recorded {
            match known.recorded.iter_mut().find(|r| r.session == recorded.session) {
                Some(same) => {
                    same.associated = recorded.associated.or(same.associated);
                    same.disassociated = recorded.disassociated;
                }
                None => add(&mut known.recorded, recorded, ENTRIES_MAX, &mut known.is_damaged),
            }
        }
        let lack = self.associate(&mut update.associations);
        self.associate_streams(update.stream_associations).or(lack)
    }

    /// A participant's part in a session is as the last update says: it came back where that names no end.
    fn associate(&mut self, associations: &mut Vec<super::Association>) -> Option<Lack> {
        let mut lack = None;
        let known = &mut self.known;
        let participants = Ids::of(known.participants.iter().map(|p| p.id.as_str()));
        let sessions = Ids::of(known.sessions.iter().map(|s| s.id.as_str()));
        for mut association in associations.drain(..) {
            let is_known = participants.rename(&mut association.participant);
            let of_known = association.session.as_mut().is_none_or(|session| sessions.rename(session));
            if !is_known || !of_known {
                lack = Some(Lack::Unknown);
            }
            let same = known.associations.iter_mut().find(|a| {
                a.participant == association.participant
                    && (a.session == association.session
                        || a.session.is_none()
                        || association.session.is_none())
            });
            match same {
                Some(same) => {
                    same.associated = association.associated.or(same.associated);
                    same.disassociated = association.disassociated;
                    same.session = association.session.or(same.session.take());
                }
                None => add(&mut known.associations, association, ENTRIES_MAX, &mut known.is_damaged),
            }
        }
        lack
    }

    /// What an update says of a participant's streams is all of them: who sends nothing any more is said by leaving
    /// the streams out (RFC 8068 section 3.2).
    fn associate_streams(&mut self, mut associations: Vec<StreamAssociation>) -> Option<Lack> {
        let mut lack = None;
        let known = &mut self.known;
        let participants = Ids::of(known.participants.iter().map(|p| p.id.as_str()));
        let streams = Ids::of(known.streams.iter().map(|s| s.id.as_str()));
        for association in &mut associations {
            let mut is_known = participants.rename(&mut association.participant);
            for stream in association.sends.iter_mut().chain(&mut association.receives) {
                is_known &= streams.rename(stream);
            }
            if !is_known {
                lack = Some(Lack::Unknown);
            }
        }
        known
            .stream_associations
            .retain(|old| associations.iter().all(|new| new.participant != old.participant));
        for association in associations {
            add(&mut known.stream_associations, association, ENTRIES_MAX, &mut known.is_damaged);
        }
        lack
    }
}

/// Octets of text in what is known, of those lists that can hold much.
fn octets(known: &RecordingMetadata) -> usize {
    let aors = |p: &Participant| {
        p.aors.iter().map(|(uri, name)| uri.len() + name.as_ref().map_or(0, String::len)).sum::<usize>()
    };
    let participants = known.participants.iter().map(|p| p.id.len() + aors(p) + p.extensions.octets());
    let sessions =
        known.sessions.iter().map(|s| s.id.len() + s.sip_session_ids.iter().map(String::len).sum::<usize>());
    let parts = known.stream_associations.iter();
    let parts = parts.map(|a| a.sends.iter().chain(&a.receives).map(String::len).sum::<usize>());
    participants.chain(sessions).chain(parts).sum::<usize>() + known.extensions.octets()
}

impl CommunicationSession {
    /// Takes what another element about the same session says more.
    pub(super) fn merge(&mut self, other: Self) {
        self.group = other.group.or(self.group.take());
        if !other.sip_session_ids.is_empty() {
            self.sip_session_ids = other.sip_session_ids;
        }
        self.start_time = other.start_time.or(self.start_time);
        self.stop_time = other.stop_time.or(self.stop_time);
        self.reason = other.reason.or(self.reason.take());
    }
}

impl Participant {
    fn merge(&mut self, other: Self, is_damaged: &mut bool) {
        if other.aors.iter().any(|(uri, _)| !uri.is_empty()) || self.aors.is_empty() {
            self.aors = other.aors;
        } else if let (Some((_, name)), Some((_, known))) =
            (other.aors.into_iter().next(), self.aors.first_mut())
        {
            // A name alone says nothing of the address.
            *known = name.or(known.take());
        }
        merge_values(&mut self.extensions, &other.extensions, is_damaged);
    }
}

impl StreamInfo {
    /// Takes what another element about the same stream says more.
    pub(super) fn merge(&mut self, other: Self) {
        self.label = other.label.or(self.label.take());
        self.session = other.session.or(self.session.take());
        self.mode = other.mode.or(self.mode);
    }
}

/// A new value of a key takes the place of all that it had.
fn merge_values(known: &mut KeyValues, new: &KeyValues, is_damaged: &mut bool) {
    known.retain(|key, _| new.iter().all(|(other, _)| other != key));
    for (key, value) in new.iter() {
        *is_damaged |= known.len() >= ENTRIES_MAX || !known.push(key, value);
    }
}
