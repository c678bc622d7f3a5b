//! Who takes part in a call: from metadata, then from the headers of the request.

use model::call::PARTIES_MAX;
use model::{CallData, Direction, Now, Party, PartyRole, Side};
use sip::siprec::{Participant, RecordingMetadata};
use sip::{AddressView, RequestInfo};

use super::agent::{AgentSide, settle};
use super::sides::{is_dummy, senders};

/// Who was named by the metadata of a dialog and is not any more has left. Metadata that name nobody say nothing of
/// that.
pub(super) fn leave(data: &mut CallData, before: &[String], known: &RecordingMetadata, now: Now) {
    if known.participants.is_empty() {
        return;
    }
    for id in before.iter().filter(|id| known.participant(id).is_none()) {
        for party in data.parties.iter_mut().filter(|p| p.participant.as_ref() == Some(id)) {
            party.left = party.left.or(Some(now.wall));
        }
    }
}

/// Takes the participants that metadata name, and what they and the request say of sides and roles. Gives how many had
/// no place any more; the raw metadata have them all.
pub(super) fn update(
    data: &mut CallData,
    known: &RecordingMetadata,
    request: &RequestInfo,
    now: Now,
    agent: &AgentSide,
) -> usize {
    let senders = senders(known);
    let mut left_out = 0;
    for participant in known.participants.iter().filter(|p| !is_dummy(&senders, p)) {
        let Some(party) = place(data, known, participant) else {
            left_out += 1;
            continue;
        };
        party.participant = Some(participant.id.clone());
        if let Some((uri, name)) = participant.aors.first() {
            // A name alone says nothing of the address.
            if !uri.is_empty() {
                party.uri = Some(uri.clone());
                party.number = number_of(uri);
            }
            party.name = name.clone().or(party.name.take());
        }
        party.joined = known.joined(&participant.id).or(party.joined);
        party.left = match (known.has_left(&participant.id), known.left(&participant.id)) {
            (false, _) => None,
            (true, when) => when.or(party.left).or(Some(now.wall)),
        };
    }
    // Who was presumed before there were metadata.
    data.parties.retain(|p| p.participant.is_some() || p.role != PartyRole::Participant);
    take_sides(&mut data.parties, agent);
    let said = Said::of(data, known, request);
    said.roles(&mut data.parties);
    if *agent == AgentSide::First
        && let Some(id) = &said.agent
    {
        settle(&mut data.parties, |party| party.participant.as_ref() == Some(id));
    }
    if data.direction == Direction::Unknown {
        data.direction = said.direction(&data.parties);
    }
    left_out
}

/// The party that a participant is: the one with its id, or with its address where the id that this had is not
/// among the participants; else a new one.
fn place<'a>(
    data: &'a mut CallData,
    known: &RecordingMetadata,
    participant: &Participant,
) -> Option<&'a mut Party> {
    let of_id = |p: &Party| p.participant.as_ref() == Some(&participant.id);
    let of_address = |p: &Party| {
        let is_free = p.participant.as_ref().is_none_or(|id| known.participant(id).is_none());
        let uri = participant.aors.first().map(|(uri, _)| uri);
        is_free && p.left.is_none() && p.uri.is_some() && p.uri.as_ref() == uri
    };
    let parties = &mut data.parties;
    let found = parties.iter().position(of_id).or_else(|| parties.iter().position(of_address));
    if found.is_none() && parties.len() < PARTIES_MAX {
        parties.push(Party {
            role: PartyRole::Participant,
            side: Side::Unknown,
            uri: None,
            number: None,
            name: None,
            participant: None,
            joined: None,
            left: None,
        });
        return parties.last_mut();
    }
    parties.get_mut(found?)
}

/// Whoever has no side yet takes the one that nobody has who takes part: a newcomer that of who left. Where nobody has
/// any, the place decides, as the trunk says.
fn take_sides(parties: &mut [Party], agent: &AgentSide) {
    let mut place = 0;
    for index in 0..parties.len() {
        let takes_part = |side| parties.iter().any(|p| p.left.is_none() && p.side == side);
        let (has_agent, has_external) = (takes_part(Side::Agent), takes_part(Side::External));
        let had = |side| parties.iter().any(|p| p.left.is_some() && p.side == side);
        let side = match (has_agent, has_external) {
            (true, false) => Side::External,
            (false, true) => Side::Agent,
            (true, true) => Side::Unknown,
            (false, false) if had(Side::Agent) && !had(Side::External) => Side::Agent,
            (false, false) => agent.at(place),
        };
        let Some(party) = parties.get_mut(index) else { continue };
        if party.left.is_none() {
            place += 1;
            if party.side == Side::Unknown {
                party.side = side;
            }
        }
    }
}

/// What metadata and headers say of who called whom, and who of them is the agent.
#[derive(Default)]
struct Said {
    caller: Option<String>,
    called: Option<String>,
    agent: Option<String>,
    direction: Direction,
}

impl Said {
    fn of(data: &CallData, known: &RecordingMetadata, request: &RequestInfo) -> Self {
        let value = |key: &str| known.extensions.iter().find(|(k, _)| *k == key).map(|(_, value)| value);
        let who = |number: Option<&str>| number.and_then(|number| only(&data.parties, number));
        let mut said = Self::default();
        // BroadWorks: the recorded user placed the call, or was called.
        let (placed, answered) = ("origcall.", "termcall.");
        let is_any = |prefix: &str| known.extensions.iter().any(|(key, _)| key.starts_with(prefix));
        if is_any(placed) {
            said.caller = who(value("origcall.callingpartynumber"));
            said.called = who(value("origcall.calledpartynumber"));
            said.agent.clone_from(&said.caller);
        } else if is_any(answered) {
            said.caller = who(value("termcall.callingpartynumber"));
            said.called = who(value("termcall.calledpartynumber"));
            said.agent.clone_from(&said.called);
        }
        let direction =
            known.extensions.iter().filter(|(key, _)| *key == "direction" || key.ends_with(".direction"));
        said.direction = direction.map(|(_, value)| direction_of(value)).next().unwrap_or_default();
        for participant in &known.participants {
            let value = |key: &str| {
                let of =
                    participant.extensions.iter().find(|(k, _)| *k == key || k.ends_with(&format!(".{key}")));
                of.map(|(_, value)| value.to_ascii_lowercase()).unwrap_or_default()
            };
            let id = Some(participant.id.clone());
            match value("callingparty").as_str() {
                "true" => said.caller = said.caller.or_else(|| id.clone()),
                "false" => said.called = said.called.or_else(|| id.clone()),
                _ => {}
            }
            if [value("role"), value("participantrole"), value("participanttype")]
                .contains(&"agent".to_owned())
            {
                said.agent = said.agent.or(id);
            }
        }
        said.of_headers(data, request);
        said
    }

    /// From and To of a recording session may be those of the call; who is asserted beside them is the subscriber for
    /// whom the client records.
    fn of_headers(&mut self, data: &CallData, request: &RequestInfo) {
        let who = |address: &AddressView| {
            address.user.as_deref().and_then(number).and_then(|number| only(&data.parties, &number))
        };
        let (from, to) = (who(&request.from), who(&request.to));
        if from.is_some() && to.is_some() && from != to && self.caller.is_none() && self.called.is_none() {
            (self.caller, self.called) = (from, to);
        }
        if self.agent.is_none()
            && let [asserted] = request.asserted.as_slice()
        {
            self.agent = who(asserted);
        }
    }

    fn roles(&self, parties: &mut [Party]) {
        for party in parties {
            if self.caller.is_some() && party.participant == self.caller {
                party.role = PartyRole::Caller;
            } else if self.called.is_some() && party.participant == self.called {
                party.role = PartyRole::Called;
            }
        }
    }

    /// Which way the call went, where an agent is said to have placed it or to have been called.
    fn direction(&self, parties: &[Party]) -> Direction {
        if self.direction != Direction::Unknown {
            return self.direction;
        }
        match parties.iter().find(|p| p.side == Side::Agent).map(|p| p.role) {
            Some(PartyRole::Caller) => Direction::Outgoing,
            Some(PartyRole::Called) => Direction::Incoming,
            _ => Direction::Unknown,
        }
    }
}

fn direction_of(text: &str) -> Direction {
    match text.to_ascii_lowercase().as_str() {
        "inbound" | "incoming" | "in" => Direction::Incoming,
        "outbound" | "outgoing" | "out" => Direction::Outgoing,
        _ => Direction::Unknown,
    }
}

/// The participant with this number, where it is only one.
fn only(parties: &[Party], wanted: &str) -> Option<String> {
    let plain = |number: &str| number.trim_start_matches('+').to_owned();
    let of = |text: &str| number_of(text).or_else(|| number(text)).map(|n| plain(&n));
    let wanted = of(wanted)?;
    let mut found = parties.iter().filter(|p| p.number.as_deref().map(plain).as_ref() == Some(&wanted));
    let one = found.next()?;
    if found.next().is_some() { None } else { one.participant.clone() }
}

/// Who takes part as far as headers tell, where nothing else does.
pub(super) fn presume(data: &mut CallData, request: &RequestInfo) {
    if !data.parties.is_empty() {
        return;
    }
    let caller = request.asserted.first().unwrap_or(&request.from);
    if !request.siprec {
        // The dialog is itself the call: an INVITE to the recorder's own address.
        data.parties = vec![party(PartyRole::Caller, caller), party(PartyRole::Called, &request.to)];
    } else if caller.user.as_deref().and_then(number).is_some() {
        // A recording session without metadata: its From is the recorded line, or the client's own name.
        data.parties = vec![party(PartyRole::Participant, caller)];
    }
}

fn party(role: PartyRole, address: &AddressView) -> Party {
    Party {
        role,
        side: Side::Unknown,
        uri: Some(address.uri.clone()),
        number: address.user.as_deref().and_then(number),
        name: address.display.clone().filter(|d| !d.is_empty()),
        participant: None,
        joined: None,
        left: None,
    }
}

/// The number in an address of record: `sip:+4930@h`, `tel:+49-30`, `+4930`, `<sip:1001@h>`.
fn number_of(uri: &str) -> Option<String> {
    let uri = uri.trim_start_matches('<').trim_end_matches('>');
    let user = match uri.split_once(':') {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphabetic()) => rest,
        // `1001@192.0.2.1:5060`, as AudioCodes writes it without the port.
        _ => uri,
    };
    number(user.split('@').next().unwrap_or(user))
}

/// The number in a user part: digits, with an optional `+`, visual separators dropped (RFC 3966 section 5.1).
pub(crate) fn number(user: &str) -> Option<String> {
    let user = user.split(';').next().unwrap_or(user);
    let digits: String = user.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')' | ' ')).collect();
    let rest = digits.strip_prefix('+').unwrap_or(&digits);
    let ok = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit() || c == '*' || c == '#');
    ok.then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_numbers() {
        for (user, expected) in [
            ("+49-30-123", Some("+4930123")),
            ("1001", Some("1001")),
            ("*21#", Some("*21#")),
            ("(030) 12", Some("03012")),
            ("+4930;phone-context=x", Some("+4930")),
            ("alice", None),
            ("+", None),
            ("", None),
        ] {
            assert_eq!(number(user).as_deref(), expected, "{user}");
        }
    }
}
