//! The gate before the front: only trunks may send, and where a trunk has users only they.
//!
//! It is asked before there is a transaction or a session ([`sip::Gate`]), so that who is refused costs an answer
//! and a count. What it turned away it tells when it is asked; [`crate::Front`] counts that and raises the alarm.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::{Mono, Now};
use sip::auth::{Authenticator, Judged, Protection, Verdict};
use sip::{Admission, Flow, Gate, GateRequest, Pass};

use crate::trunk::{Origin, Trunk, Trunks};

/// What a trunk may begin in a second it may begin at once, after a second of rest.
const BURST: Duration = Duration::from_secs(1);

/// What was turned away since it was asked for last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedAway {
    /// INVITEs from addresses that no trunk has.
    pub strangers: u64,
    /// Requests whose credentials were wrong, or not looked at for so many were wrong before.
    pub wrong: u64,
    /// INVITEs beyond the rate of their trunk.
    pub too_fast: u64,
    /// The last of them.
    pub last: Unwelcome,
}

/// Somebody who was turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwelcome {
    /// No trunk has this address.
    Stranger(IpAddr),
    /// Wrong credentials.
    Wrong {
        /// For this trunk.
        trunk: Arc<str>,
        /// From this address.
        from: IpAddr,
    },
    /// So many wrong credentials that no more are looked at for a while.
    Locked {
        /// For this trunk.
        trunk: Arc<str>,
        /// From this address.
        from: IpAddr,
    },
    /// More calls in a second than this trunk may begin.
    TooFast(Arc<str>),
}

impl std::fmt::Display for Unwelcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // Without the address nobody finds the trunk that is missing.
            Self::Stranger(ip) => write!(f, "no trunk takes calls from {}", ip.to_canonical()),
            Self::Wrong { trunk, from } => {
                write!(f, "wrong credentials for trunk {trunk} from {}", from.to_canonical())
            }
            Self::TooFast(trunk) => write!(f, "trunk {trunk} begins more calls in a second than it may"),
            Self::Locked { trunk, from } => {
                let from = from.to_canonical();
                write!(
                    f,
                    "too many wrong credentials for trunk {trunk} from {from}: none are looked at for a minute"
                )
            }
        }
    }
}

/// See the module.
pub struct TrunkGate {
    trunks: Trunks,
    authenticator: Authenticator,
    turned_away: Option<TurnedAway>,
    /// By trunk, when its next call would come if calls came evenly at its rate.
    rates: BTreeMap<Arc<str>, Mono>,
}

impl TrunkGate {
    /// A gate for these trunks. The secret must be unpredictable: nonces are made with it.
    #[must_use]
    pub fn new(trunks: Trunks, secret: [u8; 32]) -> Self {
        Self { trunks, authenticator: Authenticator::new(secret), turned_away: None, rates: BTreeMap::new() }
    }

    /// Other trunks from now on. Dialogs that were let in go on; nonces stay good.
    pub fn configure(&mut self, trunks: Trunks) {
        self.rates.retain(|name, _| trunks.named(name).is_some());
        self.trunks = trunks;
    }

    /// What came of all credentials.
    #[must_use]
    pub const fn judged(&self) -> Judged {
        self.authenticator.judged()
    }

    /// What was turned away since this was asked last.
    pub fn take_turned_away(&mut self) -> Option<TurnedAway> {
        self.turned_away.take()
    }

    fn stranger(&mut self, request: &GateRequest<'_>) -> Admission {
        // Whoever asks for abilities only has lost no call.
        if request.method == "INVITE" {
            self.turn_away(Unwelcome::Stranger(request.flow.remote.ip()));
        }
        forbidden()
    }

    fn turn_away(&mut self, last: Unwelcome) {
        let before = self.turned_away.take();
        let mut away =
            before.unwrap_or(TurnedAway { strangers: 0, wrong: 0, too_fast: 0, last: last.clone() });
        match &last {
            Unwelcome::Stranger(_) => away.strangers += 1,
            Unwelcome::Wrong { .. } | Unwelcome::Locked { .. } => away.wrong += 1,
            Unwelcome::TooFast(_) => away.too_fast += 1,
        }
        self.turned_away = Some(TurnedAway { last, ..away });
    }

    /// Whether this call is one too many of its second; else it is counted.
    fn is_too_fast(&mut self, now: Now, trunk: &Trunk) -> bool {
        let Some(rate) = trunk.rate_max.filter(|rate| *rate > 0) else { return false };
        let evenly = Duration::from_secs(1) / rate;
        let next = self.rates.entry(Arc::clone(&trunk.name)).or_insert(now.mono);
        let at = (*next).max(now.mono);
        if at.since(now.mono) + evenly > BURST {
            return true;
        }
        *next = at + evenly;
        false
    }

    fn authenticate(&mut self, now: Now, trunk: &Trunk, request: &GateRequest<'_>) -> Admission {
        let admitted = |user| Admission::Admitted(Some(Arc::new(Pass { by: Arc::clone(&trunk.name), user })));
        let Some(digest) = trunk.digest.as_ref().filter(|digest| digest.asks(request)) else {
            return admitted(None);
        };
        let protection = Protection { scope: &trunk.name, realm: &digest.realm, users: &digest.users };
        let from = request.flow.remote.ip();
        let of_trunk = || Arc::clone(&trunk.name);
        match self.authenticator.judge(now.mono, &protection, from, request.method, &request.authorization) {
            Verdict::Passed { user } => admitted(Some(user)),
            Verdict::Challenged(challenges) => unauthorized(challenges),
            Verdict::Wrong(challenges) => {
                self.turn_away(Unwelcome::Wrong { trunk: of_trunk(), from });
                unauthorized(challenges)
            }
            Verdict::Locked => {
                self.turn_away(Unwelcome::Locked { trunk: of_trunk(), from });
                forbidden()
            }
        }
    }
}

impl Gate for TrunkGate {
    /// A flood of strangers holds up nobody's calls: they need not wait among them.
    fn expects(&mut self, flow: &Flow, peer_names: &[String]) -> bool {
        let ip = flow.remote.ip();
        let origin = Origin { ip, transport: flow.transport, names: peer_names, domains: ["", ""] };
        let is_expected = self.trunks.may_be_of_one(&origin);
        if !is_expected {
            self.turn_away(Unwelcome::Stranger(ip));
        }
        is_expected
    }

    fn ask(&mut self, now: Now, request: &GateRequest<'_>) -> Admission {
        let trunk = match request.pass {
            None => self.trunks.find(&Origin::of(request)),
            Some(pass) => match self.trunks.named(&pass.by) {
                Some(trunk) => Some(trunk),
                // Its trunk is gone by now; it may end as calls do.
                None => return Admission::Admitted(None),
            },
        };
        let Some(trunk) = trunk.cloned() else { return self.stranger(request) };
        let admission = self.authenticate(now, &trunk, request);
        let is_new_call = request.method == "INVITE" && request.pass.is_none();
        if is_new_call && matches!(admission, Admission::Admitted(_)) && self.is_too_fast(now, &trunk) {
            self.turn_away(Unwelcome::TooFast(Arc::clone(&trunk.name)));
            return too_fast();
        }
        admission
    }
}

fn forbidden() -> Admission {
    Admission::Refused { status: 403, reason: "Forbidden", headers: Vec::new() }
}

fn too_fast() -> Admission {
    let headers = vec![("Retry-After".to_owned(), "1".to_owned())];
    Admission::Refused { status: 503, reason: "Service Unavailable", headers }
}

fn unauthorized(challenges: Vec<String>) -> Admission {
    let headers =
        challenges.into_iter().map(|challenge| ("WWW-Authenticate".to_owned(), challenge)).collect();
    Admission::Refused { status: 401, reason: "Unauthorized", headers }
}

#[cfg(test)]
mod tests {
    use model::TenantId;
    use sip::{FlowId, Transport};

    use super::*;

    fn invite(ip: [u8; 4], pass: Option<&Pass>) -> GateRequest<'_> {
        GateRequest {
            method: "INVITE",
            flow: Flow {
                id: FlowId(1),
                transport: Transport::Udp,
                local: ([192, 0, 2, 9], 5060).into(),
                remote: (ip, 5060).into(),
            },
            peer_names: &[],
            uri_host: String::new(),
            to_host: String::new(),
            authorization: Vec::new(),
            pass,
        }
    }

    fn status(admission: &Admission) -> u16 {
        match admission {
            Admission::Admitted(_) => 200,
            Admission::Refused { status, .. } => *status,
        }
    }

    #[test]
    fn a_trunk_begins_no_more_calls_in_a_second_than_it_may() {
        let trunk = Trunk {
            name: "sbc".into(),
            from: vec!["192.0.2.1/32".parse().unwrap()],
            rate_max: Some(3),
            ..Trunk::open(TenantId::default())
        };
        let mut gate = TrunkGate::new(Trunks::new(vec![trunk], TenantId::default()), [1; 32]);
        let mut ask = |ms: u64, ip| {
            let now = Now { mono: Mono(ms * 1_000_000), ..Now::default() };
            status(&gate.ask(now, &invite(ip, None)))
        };
        let sbc = [192, 0, 2, 1];
        assert_eq!([0, 1, 2, 3].map(|ms| ask(ms, sbc)), [200, 200, 200, 503]);
        assert_eq!(ask(4, [192, 0, 2, 2]), 403);
        assert_eq!(
            [334, 340, 5_000, 5_000, 5_000, 5_000].map(|ms| ask(ms, sbc)),
            [200, 503, 200, 200, 200, 503]
        );
        let away = gate.take_turned_away().unwrap();
        assert_eq!((away.strangers, away.wrong, away.too_fast), (1, 0, 3));
        assert_eq!(away.last.to_string(), "trunk sbc begins more calls in a second than it may");
        assert_eq!(gate.take_turned_away(), None);
    }

    #[test]
    fn who_cannot_be_of_a_trunk_is_known_before_anything_is_read() {
        let from =
            |range: &str| Trunk { from: vec![range.parse().unwrap()], ..Trunk::open(TenantId::default()) };
        let domain = Trunk { domains: vec!["rec.example".to_owned()], ..from("192.0.2.1/32") };
        let proven = Trunk { tls_names: vec!["sbc.example".to_owned()], ..from("198.51.100.1/32") };
        let mut gate = TrunkGate::new(Trunks::new(vec![domain, proven], TenantId::default()), [1; 32]);
        let mut expects = |ip: [u8; 4], names: &[&str]| {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            gate.expects(&invite(ip, None).flow, &names)
        };
        // What domain it calls stands in the request.
        assert!(expects([192, 0, 2, 1], &[]) && expects([198, 51, 100, 1], &["sbc.example"]));
        assert!(!expects([198, 51, 100, 1], &[]) && !expects([203, 0, 113, 1], &["sbc.example"]));
        let away = gate.take_turned_away().unwrap();
        assert_eq!((away.strangers, away.wrong, away.too_fast), (2, 0, 0));
    }

    #[test]
    fn a_dialog_goes_on_wherever_its_requests_come_from() {
        let trunk = Trunk { from: vec!["192.0.2.1/32".parse().unwrap()], ..Trunk::open(TenantId::default()) };
        let mut gate = TrunkGate::new(Trunks::new(vec![trunk], TenantId::default()), [1; 32]);
        for by in ["default", "gone"] {
            let pass = Pass { by: by.into(), user: None };
            assert_eq!(status(&gate.ask(Now::default(), &invite([203, 0, 113, 1], Some(&pass)))), 200);
        }
        assert_eq!(status(&gate.ask(Now::default(), &invite([203, 0, 113, 1], None))), 403);
    }
}
