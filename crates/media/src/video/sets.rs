//! Parameter sets: what a decoder of H.264 or H.265 must know before the first slice. They come in SDP, or between
//! the slices, or both.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// 2 KiB: one with every table that there is has some 500 octets.
const SET_MAX: usize = 2_048;
/// Of each kind. More than two are never seen in calls.
const SETS_MAX: usize = 8;

/// With or without padding: both are sent.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The newest sets of one kind, each by its id.
#[derive(Clone, Debug, Default)]
pub(super) struct Sets {
    sets: Vec<(u32, Vec<u8>)>,
}

impl Sets {
    /// Remembers one in place of an older one of its id. Beyond the limit the first to come goes.
    pub(super) fn put(&mut self, id: u32, set: &[u8]) {
        if set.len() > SET_MAX {
            return;
        }
        if let Some((_, old)) = self.sets.iter_mut().find(|(of, _)| *of == id) {
            if old != set {
                set.clone_into(old);
            }
            return;
        }
        if self.sets.len() >= SETS_MAX {
            self.sets.remove(0);
        }
        self.sets.push((id, set.to_vec()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    pub(super) fn len(&self) -> u8 {
        u8::try_from(self.sets.len()).unwrap_or(0)
    }

    pub(super) fn first(&self) -> Option<&[u8]> {
        self.iter().next()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.sets.iter().map(|(_, set)| set.as_slice())
    }

    /// Each with a length of two octets before it, as records of ISO/IEC 14496-15 have them.
    pub(super) fn with_lengths(&self, out: &mut Vec<u8>) {
        for set in self.iter() {
            out.extend_from_slice(&u16::try_from(set.len()).unwrap_or(0).to_be_bytes());
            out.extend_from_slice(set);
        }
    }
}

/// The sets of a parameter of SDP, divided by commas (RFC 6184 section 8.1, RFC 7798 section 7.1).
pub(super) fn told(value: Option<&str>) -> Vec<Vec<u8>> {
    let each = value.unwrap_or_default().split(',').take(2 * SETS_MAX);
    each.filter_map(|one| BASE64.decode(one.trim()).ok()).filter(|set| !set.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_set_takes_the_place_of_its_id_and_there_is_a_limit() {
        let mut sets = Sets::default();
        for id in 0..20 {
            sets.put(id, &[1]);
            sets.put(id, &[2, 2]);
        }
        sets.put(99, &[0; SET_MAX + 1]);
        assert_eq!((sets.len(), sets.first()), (8, Some(&[2, 2][..])));
        let mut out = Vec::new();
        sets.with_lengths(&mut out);
        assert_eq!((&out[..4], out.len()), (&[0, 2, 2, 2][..], 32));
    }

    #[test]
    fn sets_of_sdp_are_read_with_padding_and_without() {
        assert_eq!(told(Some("AQI=,AwQ, ****,")), [vec![1, 2], vec![3, 4]]);
        assert!(told(None).is_empty());
    }
}
