//! Ids as others compare them: digests, which are all of one length and say nothing of whom they are of.
//!
//! All nodes have to make the same of an id, of neighboring versions too: the fields stand in a fixed order, each behind
//! its length.

use model::Sign;
use sha2::{Digest, Sha256};

use super::{Key, Scoped};

impl Scoped {
    /// What another front compares it by: its tenant, its trunk where it tells among calls of one only, what it is, and its
    /// value.
    pub(crate) fn sign(&self) -> Sign {
        let (kind, name, value) = match &self.key {
            Key::Dialog(value) => ("dialog", "", value),
            Key::SessionId(value) => ("session-id", "", value),
            Key::Vendor(name, value) => ("vendor", &**name, value),
            Key::Counted(name, value) => ("counted", &**name, value),
        };
        let trunk = self.trunk.as_deref().unwrap_or_default();
        let mut digest = Sha256::new();
        for field in [self.tenant.as_str(), trunk, kind, name, value] {
            digest.update(u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(field);
        }
        Sign::of_digest(&digest.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::Owner;

    fn sign(tenant: &str, trunk: &str, key: &Key) -> Sign {
        Scoped::of(&Owner { tenant: tenant.parse().unwrap(), trunk: trunk.into() }, key).sign()
    }

    #[test]
    fn it_tells_tenants_apart_and_trunks_where_the_id_can_be_guessed() {
        let uuid = Key::SessionId("ab30317f1a784dc48ff824d0d3715d86".to_owned());
        let refci = Key::Counted("x-refci".into(), "C1/SEP1/11".to_owned());
        assert_eq!(sign("bonn", "sbc", &uuid), sign("bonn", "other", &uuid));
        assert_ne!(sign("bonn", "sbc", &uuid), sign("acme", "sbc", &uuid));
        assert_ne!(sign("bonn", "sbc", &refci), sign("bonn", "other", &refci));
        let as_vendor = Key::Vendor("x-refci".into(), "C1/SEP1/11".to_owned());
        assert_ne!(sign("bonn", "sbc", &refci), sign("bonn", "sbc", &as_vendor));
    }

    #[test]
    fn it_is_the_same_in_every_version() {
        let dialog = Key::Dialog("a84b4c76e66710@pc33.example.com".to_owned());
        assert_eq!(sign("bonn", "sbc", &dialog).to_string(), "af979fab2ce8e9106f5ed135b1db2b44");
    }

    #[test]
    fn what_stands_in_one_field_is_not_taken_for_two() {
        let of = |name: &'static str, value: &str| Key::Vendor(name.into(), value.to_owned());
        assert_ne!(sign("bonn", "sbc", &of("ab", "c")), sign("bonn", "sbc", &of("a", "bc")));
    }
}
