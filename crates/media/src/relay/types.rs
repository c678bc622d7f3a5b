//! What signalling says of payload types, as a bit for each.

use model::Codec;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Types {
    named: u128,
    aside: u128,
}

impl Types {
    pub(super) fn of(codecs: &[(u8, Codec)]) -> Self {
        let mut types = Self::default();
        for (payload_type, codec) in codecs {
            let bit = 1 << (payload_type & 0x7f);
            types.named |= bit;
            if codec.is("telephone-event") || codec.is("CN") {
                types.aside |= bit;
            }
        }
        types
    }

    /// Whether signalling names it.
    #[inline]
    pub(super) const fn names(self, payload_type: u8) -> bool {
        self.named & (1 << (payload_type & 0x7f)) != 0
    }

    /// Whether it may be one of the peer's: signalling names it, or none at all.
    pub(super) const fn knows(self, payload_type: u8) -> bool {
        self.named == 0 || self.names(payload_type)
    }

    /// Whether it comes between media without changing their codec.
    pub(super) const fn is_aside(self, payload_type: u8) -> bool {
        self.aside & (1 << (payload_type & 0x7f)) != 0
    }
}
