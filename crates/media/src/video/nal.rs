//! Units (NAL units) of H.264 and H.265 on their way from packets into a picture.
//!
//! ```text
//!  one unit in a packet    head payload                          ─┐
//!  several (STAP-A, AP)    head │ length unit │ length unit │ …   ├─► picture: length(4) unit │ length(4) unit │ …
//!  one over several (FU)   head │ S E type │ piece                ─┘
//! ```

use super::depacketizer::{Bad, Making};

/// The length before each unit.
const LENGTH: usize = 4;

/// The unit in the making, of which pieces come.
#[derive(Clone, Debug, Default)]
pub(super) struct Fragments {
    /// Where its length lies in the picture.
    begin: Option<usize>,
}

/// A piece of a unit.
pub(super) struct Fragment<'a> {
    /// The first.
    pub(super) begins: bool,
    /// The last.
    pub(super) ends: bool,
    /// The head of the unit, put together from that of the packet and the type of the piece.
    pub(super) head: &'a [u8],
    pub(super) piece: &'a [u8],
}

impl Fragments {
    /// Takes a piece. With the last one the unit is whole: where it lies in the picture, its length before it.
    pub(super) fn take(
        &mut self,
        fragment: &Fragment<'_>,
        making: &mut Making,
    ) -> Result<Option<usize>, Bad> {
        match (fragment.begins, self.begin) {
            (true, None) => {
                self.begin = Some(making.data.len());
                making.put(&[0; LENGTH])?;
                making.put(fragment.head)?;
            }
            (false, Some(_)) => {}
            (true, Some(_)) | (false, None) => return Err(Bad),
        }
        making.put(fragment.piece)?;
        let Some(begin) = self.begin.filter(|_| fragment.ends) else { return Ok(None) };
        self.begin = None;
        let length = making.data.len() - begin - LENGTH;
        let length = u32::try_from(length).map_err(|_| Bad)?.to_be_bytes();
        making.data.get_mut(begin..begin + LENGTH).ok_or(Bad)?.copy_from_slice(&length);
        Ok(Some(begin + LENGTH))
    }

    /// What was begun is forgotten.
    pub(super) fn clear(&mut self) {
        self.begin = None;
    }

    /// Whether nothing is left half done.
    pub(super) fn is_empty(&self) -> bool {
        self.begin.is_none()
    }
}

/// Adds a whole unit to a picture.
pub(super) fn put(unit: &[u8], making: &mut Making) -> Result<(), Bad> {
    making.put(&u32::try_from(unit.len()).map_err(|_| Bad)?.to_be_bytes())?;
    making.put(unit)
}

/// The units of a packet that holds several, behind its head. None where a length is wrong.
pub(super) fn several(mut rest: &[u8]) -> Result<Vec<&[u8]>, Bad> {
    let mut units = Vec::new();
    while let [high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (unit, after) = after.split_at_checked(length).ok_or(Bad)?;
        if unit.is_empty() {
            return Err(Bad);
        }
        units.push(unit);
        rest = after;
    }
    if rest.is_empty() && !units.is_empty() { Ok(units) } else { Err(Bad) }
}
