//! Keys of ours, out of a seed that is given once.

use aws_lc_rs::hmac;
use model::{Keys, Suite};
use zeroize::Zeroizing;

/// Makes octets that nobody can foretell without the seed. The seed moves on with each use, so whoever learns it
/// later cannot tell what was made before.
pub struct Entropy {
    seed: Zeroizing<[u8; 32]>,
}

impl Entropy {
    /// `seed` is 32 octets of the system's randomness. The same seed makes the same octets.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed: Zeroizing::new(seed) }
    }

    /// So many octets, at most 255 times 32.
    #[must_use]
    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.seed.as_ref());
        let mut out = Vec::with_capacity(count);
        for block in 1..=u8::MAX {
            if out.len() >= count {
                break;
            }
            let made = hmac::sign(&key, &[block]);
            out.extend(made.as_ref().iter().take(count - out.len()));
        }
        let next = hmac::sign(&key, &[0]);
        self.seed.iter_mut().zip(next.as_ref()).for_each(|(old, new)| *old = *new);
        out
    }

    /// A master key of ours.
    #[must_use]
    pub fn keys(&mut self, suite: Suite) -> Option<Keys> {
        let secret = self.octets(suite.secret_len());
        Keys::single(suite, secret)
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_differs_each_time_and_follows_from_the_seed() {
        let (mut a, mut b) = (Entropy::new([7; 32]), Entropy::new([7; 32]));
        let (first, second) = (a.octets(46), a.octets(46));
        assert_eq!((first.len(), b.octets(46)), (46, first.clone()));
        assert_ne!(first, second);
        assert_ne!(first[..32], first[14..]);
        assert_ne!(Entropy::new([8; 32]).octets(46), first);
        assert_eq!(format!("{a:?}"), "Entropy(…)");
    }
}
