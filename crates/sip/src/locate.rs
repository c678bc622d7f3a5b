//! Finding SIP servers by name (RFC 3263): which records to ask for, and in which order what they say is tried.
//!
//! ```text
//!  transport known ──────────────┐
//!  NAPTR: services by preference ┴─► _sip._udp, _sip._tcp, _sips._tcp SRV ─► A and AAAA of the targets
//!  port known, or no SRV ────────────────────────────────────────────────► A and AAAA of the name itself
//! ```
//!
//! Pure: records are given, entropy is an argument. Asking is the driver's.

use crate::flow::Transport;

/// A NAPTR record (RFC 3403) of the kind that SIP uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Naptr {
    /// Lower goes first.
    pub order: u16,
    /// Among the same order, lower goes first.
    pub preference: u16,
    /// Only `s` is used: the replacement has SRV records.
    pub flags: String,
    /// `SIP+D2U`, `SIP+D2T` or `SIPS+D2T`.
    pub service: String,
    /// The name to ask for SRV.
    pub replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Srv {
    /// Lower goes first.
    pub priority: u16,
    /// The share among the same priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host.
    pub target: String,
}

/// The services that NAPTR records offer, with the names to ask for SRV, the most preferred first (RFC 3263
/// section 4.1). Those that are not for us are left out. `secure` keeps only what is encrypted.
#[must_use]
pub fn services(mut records: Vec<Naptr>, secure: bool) -> Vec<(Transport, String)> {
    records.sort_by_key(|record| (record.order, record.preference));
    let transport = |service: &str| match service.to_ascii_uppercase().as_str() {
        "SIP+D2U" => Some(Transport::Udp),
        "SIP+D2T" => Some(Transport::Tcp),
        "SIPS+D2T" => Some(Transport::Tls),
        _ => None,
    };
    records
        .into_iter()
        .filter(|record| record.flags.eq_ignore_ascii_case("s"))
        .filter_map(|record| Some((transport(&record.service)?, record.replacement)))
        .filter(|(transport, _)| !secure || transport.is_secure())
        .collect()
}

/// The SRV name of a host for a transport; none where SIP has none (RFC 3263 section 4.2).
#[must_use]
pub fn srv_name(host: &str, transport: Transport) -> Option<String> {
    let service = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
        Transport::Ws => "_sip._ws",
        Transport::Wss => "_sips._ws",
    };
    Some(format!("{service}.{host}")).filter(|name| name.len() <= 253)
}

/// SRV records in the order in which they are tried (RFC 2782): by priority, and within one by chance, in the
/// shares that the weights give. `draw(n)` gives a number from 0 to n, both included. A single record whose
/// target is the root says that there is no such service: it leaves nothing.
pub fn order_srv(mut records: Vec<Srv>, mut draw: impl FnMut(u32) -> u32) -> Vec<Srv> {
    records.retain(|record| !matches!(record.target.as_str(), "" | "."));
    // Weight 0 first, so that it has a small chance too when the number drawn is 0.
    records.sort_by_key(|record| (record.priority, record.weight != 0));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(priority) = records.first().map(|record| record.priority) {
        let same = records.iter().take_while(|record| record.priority == priority);
        let sum: u32 = same.map(|record| u32::from(record.weight)).sum();
        let drawn = draw(sum).min(sum);
        let mut running = 0;
        let chosen = records.iter().position(|record| {
            running += u32::from(record.weight);
            running >= drawn
        });
        ordered.push(records.remove(chosen.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv { priority, weight, port: 5060, target: target.into() }
    }

    fn order(records: &[Srv], draw: impl FnMut(u32) -> u32) -> String {
        let ordered = order_srv(records.to_vec(), draw);
        ordered.iter().map(|r| r.target.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn priorities_come_in_order_and_weights_by_the_number_drawn() {
        let records = [srv(20, 0, "backup"), srv(10, 60, "a"), srv(10, 20, "b"), srv(10, 0, "zero")];
        assert_eq!(order(&records, |_| 0), "zero a b backup");
        assert_eq!(order(&records, |sum| sum), "b a zero backup");
        assert_eq!(order(&records, |sum| sum / 2), "a b zero backup");
        assert_eq!(order(&[srv(0, 0, ".")], |_| 0), "", "no such service");
    }

    #[test]
    fn shares_are_those_of_the_weights() {
        let records = [srv(10, 3, "a"), srv(10, 1, "b")];
        // Every number that can be drawn, once: the first choice falls on `a` in 4 of 5, as the RFC's rule has it.
        let first = (0..=4).filter(|n| order(&records, |sum| (*n).min(sum)).starts_with('a')).count();
        assert_eq!(first, 4);
    }

    #[test]
    fn naptr_prefers_by_order_then_preference_and_knows_its_services() {
        let naptr = |order, preference, flags: &str, service: &str| Naptr {
            order,
            preference,
            flags: flags.into(),
            service: service.into(),
            replacement: format!("{service}.example"),
        };
        let records = vec![
            naptr(20, 0, "s", "SIP+D2U"),
            naptr(10, 50, "S", "sips+d2t"),
            naptr(10, 10, "s", "SIP+D2T"),
            naptr(0, 0, "u", "E2U+sip"),
        ];
        let found: Vec<Transport> = services(records.clone(), false).into_iter().map(|(t, _)| t).collect();
        assert_eq!(found, [Transport::Tcp, Transport::Tls, Transport::Udp]);
        assert_eq!(services(records, true), [(Transport::Tls, "sips+d2t.example".to_owned())]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_priorities_never_fall(
            records in proptest::collection::vec((0..4u16, any::<u16>()), 0..12),
            draws in proptest::collection::vec(any::<u32>(), 12),
        ) {
            let records: Vec<Srv> = records.iter().map(|(p, w)| srv(*p, *w, "h")).collect();
            let mut draws = draws.into_iter();
            let ordered = order_srv(records.clone(), |sum| draws.next().unwrap_or(0) % (sum + 1));
            prop_assert_eq!(ordered.len(), records.len());
            prop_assert!(ordered.windows(2).all(|w| w[0].priority <= w[1].priority));
        }
    }
}
