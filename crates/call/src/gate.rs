//! The gate before the front: only trunks may send, and where a trunk has users only they.
//!
//! It is asked before there is a transaction or a session ([`sip::Gate`]), so that who is refused costs an answer
//! and a count. What it turned away it tells when it is asked; [`crate::Front`] counts that and raises the alarm.

use std::net::IpAddr;
use std::sync::Arc;

use model::Now;
use sip::auth::{Authenticator, Protection, Verdict};
use sip::{Admission, Gate, GateRequest, Pass};

use crate::trunk::{Trunk, Trunks};

/// What was turned away since it was asked for last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedAway {
    /// INVITEs from addresses that no trunk has.
    pub strangers: u64,
    /// Requests whose credentials were wrong, or not looked at for so many were wrong before.
    pub wrong: u64,
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
}

impl std::fmt::Display for Unwelcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // Without the address nobody finds the trunk that is missing.
            Self::Stranger(ip) => write!(f, "no trunk takes calls from {}", ip.to_canonical()),
            Self::Wrong { trunk, from } => {
                write!(f, "wrong credentials for trunk {trunk} from {}", from.to_canonical())
            }
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
}

impl TrunkGate {
    /// A gate for these trunks. The secret must be unpredictable: nonces are made with it.
    #[must_use]
    pub fn new(trunks: Trunks, secret: [u8; 32]) -> Self {
        Self { trunks, authenticator: Authenticator::new(secret), turned_away: None }
    }

    /// Other trunks from now on. Dialogs that were let in go on; nonces stay good.
    pub fn configure(&mut self, trunks: Trunks) {
        self.trunks = trunks;
    }

    /// What was turned away since this was asked last.
    pub fn take_turned_away(&mut self) -> Option<TurnedAway> {
        self.turned_away.take()
    }

    fn stranger(&mut self, request: &GateRequest<'_>) -> Admission {
        // Whoever asks for abilities only has lost no call.
        if request.method == "INVITE" {
            self.turn_away(1, 0, Unwelcome::Stranger(request.flow.remote.ip()));
        }
        forbidden()
    }

    fn turn_away(&mut self, strangers: u64, wrong: u64, last: Unwelcome) {
        let before = self.turned_away.take().map_or((0, 0), |before| (before.strangers, before.wrong));
        self.turned_away =
            Some(TurnedAway { strangers: before.0 + strangers, wrong: before.1 + wrong, last });
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
                self.turn_away(0, 1, Unwelcome::Wrong { trunk: of_trunk(), from });
                unauthorized(challenges)
            }
            Verdict::Locked => {
                self.turn_away(0, 1, Unwelcome::Locked { trunk: of_trunk(), from });
                forbidden()
            }
        }
    }
}

impl Gate for TrunkGate {
    fn ask(&mut self, now: Now, request: &GateRequest<'_>) -> Admission {
        let trunk = match request.pass {
            None => self.trunks.find(request.flow.remote.ip()),
            Some(pass) => match self.trunks.named(&pass.by) {
                Some(trunk) => Some(trunk),
                // Its trunk is gone by now; it may end as calls do.
                None => return Admission::Admitted(None),
            },
        };
        match trunk.cloned() {
            Some(trunk) => self.authenticate(now, &trunk, request),
            None => self.stranger(request),
        }
    }
}

fn forbidden() -> Admission {
    Admission::Refused { status: 403, reason: "Forbidden", headers: Vec::new() }
}

fn unauthorized(challenges: Vec<String>) -> Admission {
    let headers =
        challenges.into_iter().map(|challenge| ("WWW-Authenticate".to_owned(), challenge)).collect();
    Admission::Refused { status: 401, reason: "Unauthorized", headers }
}
