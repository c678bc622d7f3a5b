//! What test calls protect their media by (SRTP): a key that stands in the offer, the same for all of them. It protects
//! nobody's words.

use media::srtp::Outbound;
use model::{Keys, Suite};

/// A key, and how an offer says it.
#[derive(Clone, Debug)]
pub(crate) struct Protection {
    keys: Keys,
    /// Of `a=crypto` (RFC 4568).
    pub(super) text: String,
}

impl Protection {
    /// By a suite.
    pub(crate) fn by(suite: Suite) -> Option<Self> {
        let octets = suite.secret_len();
        // In base64: four letters for three octets, and a rest of none, one or two.
        let rest = ["", "AA==", "AAA="].get(octets % 3)?;
        let inline = format!("inline:{}{rest}", "call".repeat(octets / 3));
        let keys = media::sdp::keys(suite, &inline)?;
        // Whoever has it is never without a cipher.
        Outbound::new(&keys)?;
        Some(Self { keys, text: format!("1 {} {inline}", suite.name()) })
    }

    /// What its suite is called.
    pub(crate) fn name(&self) -> &'static str {
        self.keys.suite.name()
    }

    /// What opens it, as a recorder does.
    #[cfg(test)]
    pub(super) fn opened_by(&self) -> media::srtp::Srtp {
        media::srtp::Srtp::new(&self.keys, &self.keys).unwrap()
    }

    /// What protects one stream.
    pub(super) fn of_stream(&self) -> Option<Outbound> {
        Outbound::new(&self.keys)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Offer};
    use super::*;

    #[test]
    fn every_suite_has_a_key_that_is_read_as_it_is_written() {
        for suite in Suite::ALL {
            let made = Protection::by(suite).unwrap();
            assert!(made.of_stream().is_some(), "{suite:?}");
            let offer = Offer { protection: Some(made.clone()), ..Offer::default() };
            let (_, offer) = Kind::Plain.body([127, 0, 0, 1].into(), 4_000, &offer, "s");
            assert!(offer.contains(" RTP/SAVP "), "{offer}");
            let read = media::sdp::read(offer.as_bytes()).unwrap();
            let crypto = read.media[0].security.crypto.first().unwrap();
            assert_eq!((crypto.tag, &crypto.keys), (1, &made.keys), "{suite:?}");
        }
    }
}
