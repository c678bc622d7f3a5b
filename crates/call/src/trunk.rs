//! Trunks: who may send calls, and whose they are then.
//!
//! A request belongs to the trunk that says most exactly where it comes from: of all whose ranges hold the
//! address the one with the longest range, then the one whose name comes first; a trunk without ranges takes
//! what no other takes. The order in which trunks are written says nothing. Who belongs to none is refused.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use model::peer::Flowing;
use model::{Dtmf, TenantId};
use sip::GateRequest;
use sip::auth::Users;

/// Who may send calls, and how they are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trunk {
    /// Its name; it stands in the data of its calls as `trunk`.
    pub name: Arc<str>,
    /// The addresses that it sends from; none: every address that no other trunk has.
    pub from: Vec<IpNet>,
    /// Who owns its calls.
    pub tenant: TenantId,
    /// Its calls at a time, lingering ones included; more are refused with 503. None: no limit of its own.
    pub calls_max: Option<usize>,
    /// What a line means on which nothing is sent; none: as the front has it.
    pub inactive: Option<Flowing>,
    /// What becomes of digits that are pressed; none: as the front has it.
    pub dtmf: Option<Dtmf>,
    /// What is noted in the data of its calls, by key.
    pub tags: Vec<(String, String)>,
    /// Who must prove to be a user of it; none: nobody.
    pub digest: Option<Digest>,
}

/// Digest authentication of a trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The realm, as clients are told it.
    pub realm: Arc<str>,
    /// Who may send.
    pub users: Arc<Users>,
    /// Of what credentials are asked for.
    pub of: Challenged,
}

/// Of what credentials are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenged {
    /// Of INVITEs that begin a call. Who knows the tags of a dialog has seen its messages, or is its client.
    Calls,
    /// Of every request that can be asked.
    All,
}

impl Digest {
    /// Whether credentials are asked for of this request.
    #[must_use]
    pub fn asks(&self, request: &GateRequest<'_>) -> bool {
        self.of == Challenged::All || (request.method == "INVITE" && request.pass.is_none())
    }
}

impl Trunk {
    /// The trunk of an installation that names none: it takes everybody.
    pub const DEFAULT_NAME: &'static str = "default";

    /// One that takes everybody.
    #[must_use]
    pub fn open(tenant: TenantId) -> Self {
        Self {
            name: Self::DEFAULT_NAME.into(),
            from: Vec::new(),
            tenant,
            calls_max: None,
            inactive: None,
            dtmf: None,
            tags: Vec::new(),
            digest: None,
        }
    }

    /// How exactly it names this address: the length of the range, more than any for none; `None` when it
    /// does not take it.
    fn exactness(&self, ip: IpAddr) -> Option<u16> {
        if self.from.is_empty() {
            return Some(0);
        }
        self.from
            .iter()
            .filter(|range| range.contains(&ip))
            .map(|range| 1 + u16::from(range.prefix_len()))
            .max()
    }
}

/// Every trunk there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trunks(Vec<Arc<Trunk>>);

impl Trunks {
    /// Those that are written; when there are none, one that takes everybody for this tenant.
    #[must_use]
    pub fn new(written: Vec<Trunk>, tenant: TenantId) -> Self {
        let all = if written.is_empty() { vec![Trunk::open(tenant)] } else { written };
        Self(all.into_iter().map(Arc::new).collect())
    }

    /// The trunk of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Trunk>> {
        self.0.iter().find(|trunk| *trunk.name == *name)
    }

    /// The trunk of a request from this address.
    #[must_use]
    pub fn find(&self, ip: IpAddr) -> Option<&Arc<Trunk>> {
        // A socket of both families shows IPv4 senders as ::ffff:192.0.2.1.
        let ip = ip.to_canonical();
        let exact = self.0.iter().filter_map(|trunk| Some((trunk.exactness(ip)?, trunk)));
        exact
            .max_by_key(|(exactness, trunk)| (*exactness, Reverse(trunk.name.clone())))
            .map(|(_, trunk)| trunk)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use proptest::{collection, sample};

    use super::*;

    fn trunk(name: &str, from: &[&str]) -> Trunk {
        let from = from.iter().map(|range| range.parse().unwrap()).collect();
        Trunk { name: name.into(), from, ..Trunk::open(TenantId::default()) }
    }

    fn found(trunks: &Trunks, ip: &str) -> String {
        trunks.find(ip.parse().unwrap()).map_or_else(|| "-".to_owned(), |trunk| trunk.name.to_string())
    }

    #[test]
    fn the_longest_range_wins() {
        let written = vec![
            trunk("net", &["10.0.0.0/8", "2001:db8::/32"]),
            trunk("b", &["10.1.0.0/16"]),
            trunk("a", &["192.0.2.0/24", "10.1.0.0/16"]),
            trunk("host", &["10.1.2.3/32"]),
        ];
        let closed = Trunks::new(written.clone(), TenantId::default());
        let pictures: Vec<_> =
            ["10.1.2.3", "10.1.2.4", "10.2.0.0", "::ffff:10.2.0.0", "2001:db8::7", "2001:db9::", "11.0.0.0"]
                .map(|ip| format!("{ip} {}", found(&closed, ip)))
                .into();
        expect_test::expect![[r#"
            10.1.2.3 host
            10.1.2.4 a
            10.2.0.0 net
            ::ffff:10.2.0.0 net
            2001:db8::7 net
            2001:db9:: -
            11.0.0.0 -"#]]
        .assert_eq(&pictures.join("\n"));
        let open = Trunks::new([written, vec![trunk("default", &[])]].concat(), TenantId::default());
        assert_eq!((found(&open, "11.0.0.0"), found(&open, "10.1.2.3")), ("default".into(), "host".into()));
    }

    #[test]
    fn without_trunks_everybody_may_send() {
        let trunks = Trunks::new(Vec::new(), "acme".parse().unwrap());
        assert_eq!(trunks.find("203.0.113.9".parse().unwrap()).unwrap().tenant.as_str(), "acme");
    }

    proptest! {
        /// Small numbers, so that ranges overlap and names are alike.
        #[test]
        fn the_order_of_writing_says_nothing(
            ranges in collection::vec((any::<[u8; 4]>(), 0_u8..=32, 0_u8..6), 0..12),
            turned in any::<sample::Index>(),
            ip in any::<[u8; 4]>(),
        ) {
            let small = |octets: [u8; 4]| IpAddr::from(octets.map(|o| o & 1));
            let mut written: Vec<Trunk> = Vec::new();
            for (octets, bits, name) in ranges {
                let name = format!("t{name}");
                let range = IpNet::new(small(octets), bits).unwrap().trunc();
                match written.iter_mut().find(|t| *t.name == *name) {
                    Some(trunk) => trunk.from.push(range),
                    None => written.push(Trunk { from: vec![range], ..trunk(&name, &[]) }),
                }
            }
            written.push(trunk("closed", &["203.0.113.1/32"]));
            let one = Trunks::new(written.clone(), TenantId::default());
            let by = turned.index(written.len());
            written.rotate_left(by);
            let other = Trunks::new(written.clone(), TenantId::default());
            let ip = small(ip);
            prop_assert_eq!(one.find(ip), other.find(ip));
            let is_in_any = written.iter().any(|t| t.from.iter().any(|range| range.contains(&ip)));
            prop_assert_eq!(one.find(ip).is_some(), is_in_any);
            prop_assert!(one.find(ip).is_none_or(|t| t.exactness(ip).is_some()));
        }
    }
}
