//! Tokens that nobody can guess: tags, branches, Call-IDs (RFC 3261 section 19.3 asks for at least 32 bits of
//! randomness; these have 96).
//!
//! No randomness is drawn here: everything is SHA-256 over the seed that the driver gave, a purpose and either
//! a counter or what the token is derived from. Who knows tokens cannot find the seed, nor the next token.

use sha2::{Digest, Sha256};

/// 96 bits, as 24 hexadecimal digits: enough not to be guessed, short enough for a header.
const TOKEN_BYTES: usize = 12;

/// The source of tokens.
pub(crate) struct Tokens {
    seed: [u8; 32],
    counter: u64,
}

impl Tokens {
    pub(crate) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0 }
    }

    /// A token that was never given before.
    pub(crate) fn next(&mut self) -> String {
        self.counter += 1;
        let counter = self.counter.to_be_bytes();
        self.mix(b"next", &[&counter])
    }

    /// The token of these parts: the same each time, for answers that must not differ between retransmissions.
    pub(crate) fn derived(&self, parts: &[&[u8]]) -> String {
        self.mix(b"derived", parts)
    }

    fn mix(&self, purpose: &[u8], parts: &[&[u8]]) -> String {
        let mut hash = Sha256::new();
        hash.update(self.seed);
        for part in std::iter::once(&purpose).chain(parts) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut text = String::with_capacity(TOKEN_BYTES * 2);
        for byte in digest.iter().take(TOKEN_BYTES) {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        text
    }
}

/// Whether this looks like a token of ours, or of another agent like this.
pub(crate) fn may_be_one(text: &str) -> bool {
    text.len() == TOKEN_BYTES * 2 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn tokens_never_repeat_and_depend_on_the_seed() {
        let mut one = Tokens::new([1; 32]);
        let mut other = Tokens::new([2; 32]);
        let seen: BTreeSet<String> = (0..1000).flat_map(|_| [one.next(), other.next()]).collect();
        assert_eq!(seen.len(), 2000);
        assert!(seen.iter().all(|t| t.len() == 24 && t.bytes().all(|b| b.is_ascii_hexdigit())));
    }

    #[test]
    fn derived_tokens_repeat_and_tell_where_one_part_ends() {
        let tokens = Tokens::new([7; 32]);
        assert_eq!(tokens.derived(&[b"ab", b"c"]), tokens.derived(&[b"ab", b"c"]));
        assert_ne!(tokens.derived(&[b"ab", b"c"]), tokens.derived(&[b"a", b"bc"]));
    }
}
