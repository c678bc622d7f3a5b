//! A client of DTLS-SRTP in the test's own hands: it begins handshakes when and from where the test says, and keeps the
//! keys for as long as the test likes.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output, SrtpProfile};
use media::srtp::{Srtp, fingerprint, keys_of};
use model::Suite;
use model::protection::{CertificateHash, HandshakeRole};

use super::rtp::Mouth;
use super::talker::Talker;

/// Who shakes hands.
pub struct Shaker {
    certificate: DtlsCertificate,
    config: Arc<Config>,
}

impl Shaker {
    /// With a certificate of its own.
    pub fn new() -> Self {
        let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
        Self { certificate, config: Arc::new(Config::builder().build().unwrap()) }
    }

    /// The lines of its description.
    pub fn lines(&self) -> String {
        let print = fingerprint(CertificateHash::Sha256, &self.certificate.certificate);
        let mut text = String::from("a=setup:actpass\r\na=fingerprint:sha-256 ");
        for (n, octet) in print.digest.iter().enumerate() {
            write!(text, "{}{octet:02X}", if n > 0 { ":" } else { "" }).unwrap();
        }
        text + "\r\n"
    }

    fn begin(&self) -> Dtls {
        let mut dtls = Dtls::new_12(Arc::clone(&self.config), self.certificate.clone(), Instant::now());
        dtls.set_active(true);
        dtls
    }

    /// The first datagram of a handshake that goes no further.
    pub fn hello(&self) -> Vec<u8> {
        let mut dtls = self.begin();
        dtls.handle_timeout(Instant::now()).unwrap();
        let mut out = vec![0; 2_048];
        match dtls.poll_output(&mut out) {
            Output::Packet(hello) => hello.to_vec(),
            _ => panic!("no hello"),
        }
    }

    /// A handshake from this mouth; what it then encrypts by, or nothing when there are no keys within so long.
    pub fn shake(&self, mouth: &Mouth, to: SocketAddr, patience: Duration) -> Option<Srtp> {
        let mut dtls = self.begin();
        let mut out = vec![0; 2_048];
        let (end, mut keys) = (Instant::now() + patience, None);
        let mut until = end;
        while Instant::now() < until {
            dtls.handle_timeout(Instant::now()).ok()?;
            loop {
                match dtls.poll_output(&mut out) {
                    Output::Packet(record) => mouth.send(to, record),
                    Output::KeyingMaterial(material, profile) => {
                        let suite = match profile {
                            SrtpProfile::AES128_CM_SHA1_80 => Suite::AesCm128HmacSha1Tag80,
                            SrtpProfile::AEAD_AES_128_GCM => Suite::AeadAes128Gcm,
                            SrtpProfile::AEAD_AES_256_GCM => Suite::AeadAes256Gcm,
                            other => panic!("{other}"),
                        };
                        keys = keys_of(suite, &material, HandshakeRole::Client);
                        // Its own last words are on their way.
                        until = Instant::now() + Duration::from_millis(50);
                    }
                    Output::Timeout(_) => break,
                    _ => {}
                }
            }
            if let Some(datagram) =
                mouth.receive().filter(|d| d.first().is_some_and(|f| (20..64).contains(f)))
            {
                dtls.handle_packet(&datagram).ok()?;
            }
        }
        let (theirs, ours) = keys?;
        Srtp::new(&theirs, &ours)
    }
}

/// Says frames that are encrypted.
pub fn say(srtp: &mut Srtp, talker: &mut Talker<'_>, frames: usize, octets: &[u8]) {
    for _ in 0..frames {
        let mut packet = talker.frame(octets).bytes();
        assert!(srtp.seal_rtp(&mut packet));
        talker.mouth.send(talker.to, &packet);
    }
}
