//! A DTLS handshake on a media port, of which the keys of SRTP are what is wanted (RFC 5764). The library is dimpl,
//! the one of str0m, which has neither sockets nor a clock.
//!
//! Its certificate is made anew at each start, and says nothing of who we are: what proves that is the fingerprint
//! in signalling. What the peer shows must have the fingerprint that *its* signalling says. DTLS 1.2 is spoken, which
//! everybody does; certificates are ECDSA.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output, SrtpProfile};
use media::srtp::{fingerprint, is_certificate_of, keys_of};
use model::protection::{CertificateHash, Fingerprint, Handshake, HandshakeRole};
use model::{Keys, Suite};
use zeroize::Zeroizing;

/// How long a handshake may take. A client that needs longer has begun anew long before.
const PATIENCE: Duration = Duration::from_secs(20);
/// Octets of one record that is sent: the library keeps below 1,150.
const RECORD_MAX: usize = 2_048;
/// What the library has to say after one datagram is at most its queue and a few events.
const OUTPUTS_MAX: usize = 64;

/// Whose keys are taken of those who begin a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Clients {
    /// Who shows the certificate of its signalling.
    Verified,
    /// Who comes to the port: some have certificates that the library does not know.
    Any,
}

/// What proves that keys are those of the client that signalling means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Proof {
    /// It has shown its certificate.
    Certificate,
    /// Nothing: it was not asked for one.
    None,
}

/// What we show, the same for all handshakes of a process.
pub(crate) struct Identity {
    certificate: DtlsCertificate,
    config: Arc<Config>,
    clients: Clients,
}

impl Identity {
    /// Makes a key and its certificate.
    pub(crate) fn make(clients: Clients) -> Result<Self, String> {
        let certificate =
            dimpl::certificate::generate_self_signed_certificate().map_err(|e| e.to_string())?;
        let config = Config::builder()
            .handshake_timeout(PATIENCE)
            .require_client_certificate(clients == Clients::Verified)
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self { certificate, config: Arc::new(config), clients })
    }

    /// What signalling says of it.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        fingerprint(CertificateHash::Sha256, &self.certificate.certificate)
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Came {
    /// It goes on.
    Nothing,
    /// The keys of the peer, and ours. It lingers, to repeat its last words where they were lost.
    Keys(Box<(Keys, Keys)>),
    /// It is over, for this reason.
    Over(String),
}

/// One handshake, with one peer.
pub(crate) struct Association {
    dtls: Dtls,
    terms: Handshake,
    /// The peer has shown the certificate that it should.
    has_shown: bool,
    /// It need not.
    is_waived: bool,
    /// We have gone beyond asking whether it gets what we send.
    is_answered: bool,
    keys: Option<(SrtpProfile, Zeroizing<Vec<u8>>)>,
    told: bool,
    /// Why a datagram could not be taken, the last time.
    stumbled: Option<String>,
    due: Instant,
    began: Instant,
    record: Box<[u8; RECORD_MAX]>,
}

impl Association {
    pub(crate) fn new(identity: &Identity, terms: Handshake, now: Instant) -> Self {
        let mut dtls = Dtls::new_12(Arc::clone(&identity.config), identity.certificate.clone(), now);
        let is_server = terms.role == HandshakeRole::Server;
        dtls.set_active(!is_server);
        Self {
            dtls,
            terms,
            has_shown: false,
            // A server shows one always.
            is_waived: identity.clients == Clients::Any && is_server,
            is_answered: !is_server,
            keys: None,
            told: false,
            stumbled: None,
            due: now,
            began: now,
            record: Box::new([0; RECORD_MAX]),
        }
    }

    /// When [`Self::wake`] wants to be called.
    pub(crate) const fn due(&self) -> Instant {
        self.due
    }

    /// Whether the peer has shown that it gets what is sent to it: it returned our cookie, or it was we who began.
    pub(crate) const fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// What proves who the peer is.
    pub(crate) const fn proof(&self) -> Proof {
        if self.has_shown { Proof::Certificate } else { Proof::None }
    }

    /// A datagram came from the peer. What is to be sent to it goes to `send`.
    pub(crate) fn receive(&mut self, now: Instant, datagram: &[u8], send: &mut dyn FnMut(&[u8])) -> Came {
        self.step(now, Some(datagram), send)
    }

    /// Time has passed.
    pub(crate) fn wake(&mut self, now: Instant, send: &mut dyn FnMut(&[u8])) -> Came {
        self.step(now, None, send)
    }

    /// A panic of the library is the end of this handshake and of nothing else.
    fn step(&mut self, now: Instant, datagram: Option<&[u8]>, send: &mut dyn FnMut(&[u8])) -> Came {
        if !self.told && now.saturating_duration_since(self.began) > PATIENCE {
            let why = self.stumbled.take().map(|why| format!(": {why}")).unwrap_or_default();
            return Came::Over(format!(
                "the handshake was not completed within {} s{why}",
                PATIENCE.as_secs()
            ));
        }
        let stepped = catch_unwind(AssertUnwindSafe(|| self.go_on(now, datagram, send)));
        stepped.unwrap_or_else(|_| Came::Over("the DTLS library failed".to_owned()))
    }

    fn go_on(&mut self, now: Instant, datagram: Option<&[u8]>, send: &mut dyn FnMut(&[u8])) -> Came {
        let went = self.dtls.handle_timeout(now);
        // Anybody can send a datagram in the name of the peer. So an alert in the clear, which nothing proves, ends
        // nothing, and nor does what cannot be taken: the time for a handshake is bounded anyway.
        if let (Ok(()), Some(datagram)) = (&went, datagram.filter(|d| !is_plain_alert(d)))
            && let Err(e) = self.dtls.handle_packet(datagram)
        {
            self.stumbled = Some(e.to_string());
        }
        // What it has to say is said even when it gives up: the peer is told why.
        match (went, self.poll(now, send)) {
            (Err(e), Came::Nothing) => Came::Over(e.to_string()),
            (_, polled) => polled,
        }
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(&[u8])) -> Came {
        for _ in 0..OUTPUTS_MAX {
            match self.dtls.poll_output(&mut self.record[..]) {
                Output::Packet(record) => {
                    self.is_answered |= is_server_hello(record);
                    send(record);
                }
                Output::PeerCert(certificate) => {
                    if !is_certificate_of(certificate, &self.terms.peer) {
                        let why =
                            "the certificate that it shows is not the one of its signalling (a=fingerprint)";
                        return Came::Over(why.to_owned());
                    }
                    self.has_shown = true;
                }
                Output::KeyingMaterial(material, profile) => {
                    self.keys = Some((profile, Zeroizing::new(material.to_vec())));
                }
                Output::CloseNotify => return Came::Over("the peer has closed it".to_owned()),
                Output::Timeout(at) => {
                    self.due = at;
                    return self.keys_once();
                }
                Output::BufferTooSmall { needed } => {
                    return Came::Over(format!("a record of {needed} octets is to be sent"));
                }
                _ => {}
            }
        }
        self.due = now;
        Came::Nothing
    }

    /// Keys are told once, and only of a peer that is the right one.
    fn keys_once(&mut self) -> Came {
        let is_right = self.has_shown || self.is_waived;
        let Some((profile, material)) = self.keys.as_ref().filter(|_| is_right && !self.told) else {
            return Came::Nothing;
        };
        self.told = true;
        let suite = match profile {
            SrtpProfile::AES128_CM_SHA1_80 => Suite::AesCm128HmacSha1Tag80,
            SrtpProfile::AEAD_AES_128_GCM => Suite::AeadAes128Gcm,
            SrtpProfile::AEAD_AES_256_GCM => Suite::AeadAes256Gcm,
            other => return Came::Over(format!("{other} is not known")),
        };
        let keys = keys_of(suite, material, self.terms.role);
        self.keys = None;
        keys.map_or_else(|| Came::Over("too little keying material".to_owned()), |k| Came::Keys(Box::new(k)))
    }
}

/// Whether a datagram is DTLS, as told from RTP and STUN on one port (RFC 7983).
pub(crate) fn is_dtls(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| (20..=63).contains(first))
}

/// Whether it begins a handshake: a ClientHello in the clear.
pub(crate) fn is_hello(datagram: &[u8]) -> bool {
    is_message(datagram, 1)
}

/// The client's random number in a hello, by which a repetition is told from another (RFC 5246 section 7.4.1.2).
pub(crate) fn random_of(hello: &[u8]) -> Option<[u8; 32]> {
    // The heads of record and message, and the version.
    hello.get(13 + 12 + 2..)?.first_chunk().copied()
}

/// Whether it is an alert that is not encrypted.
fn is_plain_alert(datagram: &[u8]) -> bool {
    datagram.first() == Some(&21) && datagram.get(3..5) == Some(&[0, 0])
}

/// Whether it goes on with one: who began it has returned our cookie.
fn is_server_hello(datagram: &[u8]) -> bool {
    is_message(datagram, 2)
}

/// Whether it begins with a message of the handshake of this type, in the clear (RFC 6347 section 4.2.2).
fn is_message(datagram: &[u8], kind: u8) -> bool {
    datagram.first() == Some(&22) && datagram.get(3..5) == Some(&[0, 0]) && datagram.get(13) == Some(&kind)
}

/// A handshake with one peer, step by step, over a socket that does not block. For test callers.
pub(crate) fn shake(
    identity: &Identity,
    terms: Handshake,
    socket: &std::net::UdpSocket,
    peer: SocketAddr,
) -> Result<(Keys, Keys), String> {
    let mut association = Association::new(identity, terms, Instant::now());
    let mut buffer = [0; RECORD_MAX];
    let mut send = |record: &[u8]| {
        let _ = socket.send_to(record, peer);
    };
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let now = Instant::now();
        let came = match socket.recv_from(&mut buffer) {
            Ok((length, from)) if from == peer => {
                let datagram = buffer.get(..length).unwrap_or_default();
                if is_dtls(datagram) { association.receive(now, datagram, &mut send) } else { Came::Nothing }
            }
            Ok(_) => Came::Nothing,
            Err(_) if now >= association.due() => association.wake(now, &mut send),
            Err(_) => {
                std::thread::sleep(Duration::from_millis(1));
                Came::Nothing
            }
        };
        match came {
            Came::Nothing => {}
            Came::Keys(keys) => return Ok(*keys),
            Came::Over(why) => return Err(why),
        }
    }
    Err(format!("the handshake was not completed within {} s", PATIENCE.as_secs()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_possible_truncation, reason = "any octets will do")]

    use super::*;

    /// Two ends in memory, every `lose`-th datagram of either lost; what came of each.
    fn check(client_expects: &Fingerprint, identities: [&Identity; 2], lose: usize) -> [Came; 2] {
        let [client, server] = identities;
        let mut now = Instant::now();
        let terms = |role, peer: &Fingerprint| Handshake { role, peer: vec![peer.clone()], id: None };
        let mut ends = [
            Association::new(client, terms(HandshakeRole::Client, client_expects), now),
            Association::new(server, terms(HandshakeRole::Server, &client.fingerprint()), now),
        ];
        let (mut results, mut sent) = ([Came::Nothing, Came::Nothing], 0);
        let mut queues: [Vec<Vec<u8>>; 2] = Default::default();
        for _ in 0..200 {
            for n in 0..2 {
                let mut out = Vec::new();
                let arrived = std::mem::take(&mut queues[n]);
                let mut came: Vec<Came> = Vec::new();
                for datagram in &arrived {
                    came.push(ends[n].receive(now, datagram, &mut |r| out.push(r.to_vec())));
                }
                if ends[n].due() <= now {
                    came.push(ends[n].wake(now, &mut |r| out.push(r.to_vec())));
                }
                for came in came.into_iter().filter(|c| !matches!(c, Came::Nothing)) {
                    if matches!(results[n], Came::Nothing) {
                        results[n] = came;
                    }
                }
                for datagram in out {
                    sent += 1;
                    if lose == 0 || sent % lose != 0 {
                        queues[1 - n].push(datagram);
                    }
                }
            }
            now += Duration::from_millis(100);
        }
        results
    }

    #[test]
    fn both_ends_get_the_same_keys_also_over_a_network_that_loses() {
        let (client, server) =
            (Identity::make(Clients::Verified).unwrap(), Identity::make(Clients::Verified).unwrap());
        for lose in [0, 5] {
            let [Came::Keys(c), Came::Keys(s)] = check(&server.fingerprint(), [&client, &server], lose)
            else {
                panic!("no keys, losing every {lose}th")
            };
            assert_eq!((&c.0, &c.1), (&s.1, &s.0));
        }
    }

    #[test]
    fn who_shows_another_certificate_gets_no_keys() {
        let (client, server, other) = (
            Identity::make(Clients::Verified).unwrap(),
            Identity::make(Clients::Verified).unwrap(),
            Identity::make(Clients::Verified).unwrap(),
        );
        let [came, _] = check(&other.fingerprint(), [&client, &server], 0);
        let Came::Over(why) = came else { panic!("{came:?}") };
        assert!(why.contains("a=fingerprint"), "{why}");
    }

    /// Whoever knows the addresses can send in the name of the client, alerts and rubbish as much as it likes.
    #[test]
    fn what_nothing_proves_ends_no_handshake() {
        let (client, server) =
            (Identity::make(Clients::Verified).unwrap(), Identity::make(Clients::Verified).unwrap());
        let now = Instant::now();
        let terms = |role, peer: &Identity| Handshake { role, peer: vec![peer.fingerprint()], id: None };
        let mut theirs = Association::new(&client, terms(HandshakeRole::Client, &server), now);
        let mut ours = Association::new(&server, terms(HandshakeRole::Server, &client), now);
        let alert = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40];
        let rubbish = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 90, 0, 3, 11, 0, 0];
        let (mut to_us, mut got) = (Vec::new(), false);
        let _ = theirs.wake(now, &mut |r| to_us.push(r.to_vec()));
        for _ in 0..10 {
            let mut to_them = Vec::new();
            for datagram in std::mem::take(&mut to_us) {
                for forged in [&alert[..], &rubbish] {
                    let came = ours.receive(now, forged, &mut |r| to_them.push(r.to_vec()));
                    assert!(matches!(came, Came::Nothing), "{came:?}");
                }
                got |=
                    matches!(ours.receive(now, &datagram, &mut |r| to_them.push(r.to_vec())), Came::Keys(_));
            }
            for datagram in to_them {
                let _ = theirs.receive(now, &datagram, &mut |r| to_us.push(r.to_vec()));
            }
        }
        assert!(got, "the handshake was made all the same");
    }

    #[test]
    fn noise_is_survived() {
        let identity = Identity::make(Clients::Verified).unwrap();
        let peer = vec![identity.fingerprint()];
        let terms = Handshake { role: HandshakeRole::Server, peer, id: None };
        let mut state = 1_u64;
        for round in 0..300_usize {
            let mut association = Association::new(&identity, terms.clone(), Instant::now());
            for _ in 0..4 {
                let mut datagram: Vec<u8> = (0..round % 120)
                    .map(|_| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        (state >> 33) as u8
                    })
                    .collect();
                // A record of handshake as far as its head goes.
                let head =
                    [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, datagram.len().saturating_sub(13) as u8, 1];
                datagram.iter_mut().zip(head).for_each(|(octet, head)| *octet = head);
                let came = association.receive(Instant::now(), &datagram, &mut |_| {});
                assert!(!matches!(came, Came::Keys(_)));
            }
        }
    }
}
