//! Trunks: who may send calls, and whose they are then.
//!
//! A request belongs to a trunk only if all fits that the trunk says of where requests come from. Of several that
//! fit it is the one that says most exactly: by the name that a client has proved, then by the range of its address,
//! then by the domain that is called, then by the transport, then the one whose own name comes first. A trunk that
//! says nothing takes what no other takes. The order in which trunks are written says nothing. Who belongs to none
//! is refused.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use model::peer::Flowing;
use model::{Dtmf, TenantId};
use sip::auth::Users;
use sip::{GateRequest, RequestInfo, Transport};

use crate::ask::{AskEncrypted, Asked};
use crate::describe::AgentSide;

/// Who may send calls, and how they are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trunk {
    /// Its name; it stands in the data of its calls as `trunk`.
    pub name: Arc<str>,
    /// The addresses that it sends from; none: all.
    pub from: Vec<IpNet>,
    /// The names of certificates that its clients show, in small letters: `sbc.example.com`, or `*.example.com` for
    /// all below; none: it needs no certificate.
    pub tls_names: Vec<String>,
    /// The transports that it sends by; none: all.
    pub transports: Vec<Transport>,
    /// The domains that it calls, of Request-URI or To, written as `tls_names`; none: all.
    pub domains: Vec<String>,
    /// Who owns its calls.
    pub tenant: TenantId,
    /// Its calls at a time, lingering ones included; more are refused with 503. None: no limit of its own.
    pub calls_max: Option<usize>,
    /// Calls that it may begin in a second; more are refused with 503. None: no limit of its own.
    pub rate_max: Option<u32>,
    /// Who of a call is the agent.
    pub agent_side: AgentSide,
    /// What is asked for when an INVITE offers nothing, the best first; none: all that we know.
    pub ask_for: Vec<Asked>,
    /// How media are encrypted that are asked for then.
    pub ask_encrypted: AskEncrypted,
    /// The name of how long its recordings are kept, noted with each call.
    pub retention: Option<String>,
    /// What a line means on which nothing is sent; none: as the front has it.
    pub inactive: Option<Flowing>,
    /// What becomes of digits that are pressed; none: as the front has it.
    pub dtmf: Option<Dtmf>,
    /// By which way the keys of its encrypted media come.
    pub keys: KeysBy,
    /// Its media come from exactly the addresses and ports that its SDP names, so that they may share ports of ours.
    pub sends_as_announced: bool,
    /// Whether media of its calls go through the proxy, where record servers are on other nodes.
    pub relay: Anchoring,
    /// What is noted in the data of its calls, by key.
    pub tags: Vec<(String, String)>,
    /// Who must prove to be a user of it; none: nobody.
    pub digest: Option<Digest>,
}

/// By which way the keys of encrypted media come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeysBy {
    /// By signalling: `a=crypto`, or a handshake that `a=fingerprint` announces.
    #[default]
    Signalling,
    /// By the interface, for lines that say that they are encrypted and bring no key themselves.
    Interface,
    /// By the interface, for all lines that bring no key themselves: they are encrypted whatever they say.
    InterfaceAlways,
}

/// Whether media go through the proxy, which hands them on to record servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Anchoring {
    /// No: straight to a record server.
    #[default]
    Never,
    /// Yes.
    Always,
    /// Those of clients that have refused to be told of other ports.
    OnceRefused,
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
            tls_names: Vec::new(),
            transports: Vec::new(),
            domains: Vec::new(),
            tenant,
            calls_max: None,
            rate_max: None,
            agent_side: AgentSide::default(),
            ask_for: Vec::new(),
            ask_encrypted: AskEncrypted::default(),
            retention: None,
            inactive: None,
            dtmf: None,
            keys: KeysBy::default(),
            sends_as_announced: false,
            relay: Anchoring::default(),
            tags: Vec::new(),
            digest: None,
        }
    }

    /// How exactly it says where this comes from; else what of it does not fit.
    ///
    /// # Errors
    /// The first that does not fit.
    pub fn judge(&self, origin: &Origin<'_>) -> Result<Exactness, Mismatch> {
        // A socket of both families shows IPv4 senders as ::ffff:192.0.2.1.
        let ip = origin.ip.to_canonical();
        let ranges = self.from.iter().filter(|range| range.contains(&ip));
        let address = best(&self.from, ranges.map(|range| 1 + range.prefix_len()).max());
        let names = origin.names.iter().map(String::as_str);
        let name = best(&self.tls_names, names.filter_map(|name| fit(&self.tls_names, name)).max());
        let domains = origin.domains.iter().filter(|domain| !domain.is_empty());
        let domain = best(&self.domains, domains.filter_map(|domain| fit(&self.domains, domain)).max());
        let by = self.transports.contains(&origin.transport).then_some(1);
        Ok(Exactness {
            address: address.ok_or(Mismatch::Address)?,
            name: name.ok_or(Mismatch::TlsName)?,
            transport: best(&self.transports, by).ok_or(Mismatch::Transport)?,
            domain: domain.ok_or(Mismatch::Domain)?,
        })
    }
}

/// What fits best of what a trunk says; where it says nothing all fits, least.
fn best<T>(said: &[T], fits: Option<u8>) -> Option<u8> {
    if said.is_empty() { Some(0) } else { fits }
}

/// How exactly one of these patterns names this: in full, or as one of all below a domain.
fn fit(patterns: &[String], name: &str) -> Option<u8> {
    let name = name.trim_end_matches('.');
    let fits = |pattern: &String| match pattern.strip_prefix('*') {
        // Long patterns are more exact than short ones; a name has 255 octets at most.
        Some(below) if name.len() > below.len() => {
            let tail = name.get(name.len() - below.len()..)?;
            tail.eq_ignore_ascii_case(below).then(|| u8::try_from(below.len()).unwrap_or(u8::MAX - 1))
        }
        _ => name.eq_ignore_ascii_case(pattern).then_some(u8::MAX),
    };
    patterns.iter().filter_map(fits).max()
}

/// Where a request comes from, as far as trunks are told apart by it.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The address of the sender.
    pub ip: IpAddr,
    /// The transport.
    pub transport: Transport,
    /// The names that the client has proved to have.
    pub names: &'a [String],
    /// The hosts of Request-URI and To; empty where there is none.
    pub domains: [&'a str; 2],
}

impl<'a> Origin<'a> {
    /// Of a request at the gate.
    #[must_use]
    pub fn of(request: &'a GateRequest<'_>) -> Self {
        Self {
            ip: request.flow.remote.ip(),
            transport: request.flow.transport,
            names: request.peer_names,
            domains: [&request.uri_host, &request.to_host],
        }
    }

    /// Of a request that no gate has seen.
    #[must_use]
    pub fn of_info(request: &'a RequestInfo) -> Self {
        Self {
            ip: request.flow.remote.ip(),
            transport: request.flow.transport,
            names: &request.peer_names,
            domains: ["", &request.to.host],
        }
    }
}

/// How exactly a trunk says where a request comes from: what was proved counts most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exactness {
    name: u8,
    address: u8,
    domain: u8,
    transport: u8,
}

/// Why a trunk does not take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// None of its ranges holds the address.
    Address,
    /// No certificate of these names was shown.
    TlsName,
    /// It sends by other transports.
    Transport,
    /// It calls other domains.
    Domain,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Address => "another address",
            Self::TlsName => "no certificate with one of its names",
            Self::Transport => "another transport",
            Self::Domain => "another domain",
        })
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

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Trunk>> {
        self.0.iter()
    }

    /// Whether a request that comes from there may be of a trunk, whatever domain it calls.
    #[must_use]
    pub fn may_be_of_one(&self, origin: &Origin<'_>) -> bool {
        self.0.iter().any(|trunk| matches!(trunk.judge(origin), Ok(_) | Err(Mismatch::Domain)))
    }

    /// The trunk of a request that comes from there.
    #[must_use]
    pub fn find(&self, origin: &Origin<'_>) -> Option<&Arc<Trunk>> {
        let exact = self.0.iter().filter_map(|trunk| Some((trunk.judge(origin).ok()?, trunk)));
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

    fn origin(ip: IpAddr) -> Origin<'static> {
        Origin { ip, transport: Transport::Udp, names: &[], domains: ["", ""] }
    }

    fn name_of(trunk: Option<&Arc<Trunk>>) -> String {
        trunk.map_or_else(|| "-".to_owned(), |trunk| trunk.name.to_string())
    }

    fn found(trunks: &Trunks, ip: &str) -> String {
        name_of(trunks.find(&origin(ip.parse().unwrap())))
    }

    #[test]
    fn names_domains_and_transports_must_fit_and_a_proof_counts_most() {
        let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let of = |name: &str, tls_names: &[&str], domains: &[&str], transports: &[Transport]| Trunk {
            tls_names: texts(tls_names),
            domains: texts(domains),
            transports: transports.to_vec(),
            ..trunk(name, &[])
        };
        let trunks = Trunks::new(
            vec![
                trunk("host", &["10.1.2.3/32"]),
                of("sbc", &["sbc.example.com"], &[], &[]),
                of("all", &["*.example.com"], &[], &[]),
                Trunk {
                    from: vec!["10.0.0.0/8".parse().unwrap()],
                    ..of("rec1", &[], &["rec1.example"], &[])
                },
                Trunk { from: vec!["10.0.0.0/8".parse().unwrap()], ..of("tls", &[], &[], &[Transport::Tls]) },
            ],
            TenantId::default(),
        );
        let look = |ip: &str, transport, names: &[&str], domain: &str| {
            let names = texts(names);
            let origin = Origin { ip: ip.parse().unwrap(), transport, names: &names, domains: [domain, ""] };
            name_of(trunks.find(&origin))
        };
        let (udp, tls) = (Transport::Udp, Transport::Tls);
        for (ip, transport, names, domain, expected) in [
            ("10.1.2.3", udp, &[][..], "", "host"),
            ("10.1.2.3", tls, &["SBC.example.com"], "", "sbc"),
            ("10.1.2.3", tls, &["x.sbc.example.com"], "", "all"),
            ("11.0.0.1", tls, &["example.com"], "", "-"),
            ("11.0.0.1", tls, &["badexample.com"], "", "-"),
            ("11.0.0.1", udp, &[], "rec1.example", "-"),
            ("10.0.0.1", udp, &[], "rec1.example", "rec1"),
            ("10.0.0.1", tls, &[], "rec1.example", "rec1"),
            ("10.0.0.1", tls, &[], "rec2.example", "tls"),
            ("10.0.0.1", udp, &[], "rec2.example", "-"),
        ] {
            assert_eq!(look(ip, transport, names, domain), expected, "{ip} {transport:?} {names:?} {domain}");
        }
        let why: Vec<_> =
            trunks.iter().map(|t| t.judge(&origin("10.0.0.1".parse().unwrap())).err()).collect();
        let name = Some(Mismatch::TlsName);
        assert_eq!(
            why,
            [Some(Mismatch::Address), name, name, Some(Mismatch::Domain), Some(Mismatch::Transport)]
        );
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
        assert_eq!(trunks.find(&origin("203.0.113.9".parse().unwrap())).unwrap().tenant.as_str(), "acme");
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
            let from = origin(ip);
            prop_assert_eq!(one.find(&from), other.find(&from));
            let is_in_any = written.iter().any(|t| t.from.iter().any(|range| range.contains(&ip)));
            prop_assert_eq!(one.find(&from).is_some(), is_in_any);
            prop_assert!(one.find(&from).is_none_or(|t| t.judge(&from).is_ok()));
        }
    }
}
