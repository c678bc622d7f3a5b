//! Who of a call is the agent, as a trunk says it.

use model::{Party, Side};

/// Who of a call is the agent; who is not is the external party.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AgentSide {
    /// The first participant and stream: clients list the leg first from which they record.
    #[default]
    First,
    /// The second participant and stream.
    Second,
    /// Who sends the stream with this label (RFC 4574).
    Label(String),
    /// Whose number fits; `*` stands for any digits: `10*`.
    Number(String),
    /// Whose address is in this domain.
    Domain(String),
}

impl AgentSide {
    fn fits(&self, party: &Party) -> bool {
        match self {
            Self::Number(pattern) => party.number.as_deref().is_some_and(|number| is_like(pattern, number)),
            Self::Domain(domain) => {
                party.uri.as_deref().is_some_and(|uri| host(uri).eq_ignore_ascii_case(domain))
            }
            Self::First | Self::Second | Self::Label(_) => false,
        }
    }

    /// By place, where nothing else tells: the first two are the sides, in one order or the other.
    pub(super) fn at(&self, index: usize) -> Side {
        match (index, self) {
            (0, Self::Second) => Side::External,
            (1, Self::Second) | (0, _) => Side::Agent,
            (1, _) => Side::External,
            _ => Side::Unknown,
        }
    }

    /// Sets the sides of all parties, where somebody fits.
    pub(super) fn settle(&self, parties: &mut [Party]) {
        settle(parties, |party| self.fits(party));
    }
}

/// Sets the sides of all parties, where one is an agent: the first who takes part and is none is the external one.
/// Who has left is what he was, unless that was the agent.
pub(super) fn settle(parties: &mut [Party], is_agent: impl Fn(&Party) -> bool) {
    if !parties.iter().any(&is_agent) {
        return;
    }
    let mut is_external_known = false;
    for party in parties {
        party.side = match (is_agent(party), party.left, party.side) {
            (true, ..) => Side::Agent,
            (false, Some(_), Side::Agent) => Side::External,
            (false, Some(_), known) => known,
            (false, None, _) if is_external_known => Side::Unknown,
            (false, None, _) => Side::External,
        };
        is_external_known |= party.side == Side::External && party.left.is_none();
    }
}

/// Whether a text is as the pattern says, in which `*` stands for anything.
fn is_like(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The host of a SIP URI, without port and parameters.
fn host(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let address = rest.split([';', '?']).next().unwrap_or_default();
    let host = address.rsplit_once('@').map_or(address, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use model::PartyRole;

    use super::*;

    #[test]
    fn patterns_and_hosts() {
        for (pattern, text, expected) in [
            ("10*", "1001", true),
            ("10*", "201", false),
            ("*", "", true),
            ("1001", "1001", true),
            ("1001", "10011", false),
            ("+49*30*9", "+493012309", true),
            ("+49*30*9", "+49301230", false),
            ("1*1", "1", false),
        ] {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        }
        for (uri, expected) in [
            ("sip:a:b@pbx.example:5060;x=y", "pbx.example"),
            ("sips:pbx.example", "pbx.example"),
            ("sip:a@[2001:db8::1]:5060", "[2001:db8::1]"),
            ("sip:a@[2001:db8::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(host(uri), expected, "{uri}");
        }
    }

    #[test]
    fn who_is_the_agent_is_as_the_trunk_says() {
        let party = |number: &str, uri: &str| Party {
            role: PartyRole::Participant,
            side: Side::Unknown,
            uri: Some(uri.to_owned()),
            number: Some(number.to_owned()),
            name: None,
            participant: None,
            joined: None,
            left: None,
        };
        let sides = |agent: &AgentSide| {
            let mut parties =
                vec![party("4930", "sip:4930@carrier.example"), party("1001", "sip:1001@pbx.example")];
            agent.settle(&mut parties);
            parties.iter().map(|p| p.side).collect::<Vec<_>>()
        };
        let swapped = [Side::External, Side::Agent];
        assert_eq!(sides(&AgentSide::Number("10*".into())), swapped);
        assert_eq!(sides(&AgentSide::Domain("PBX.example".into())), swapped);
        assert_eq!(sides(&AgentSide::Number("7*".into())), [Side::Unknown; 2], "nobody fits");
    }
}
