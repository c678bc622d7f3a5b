//! What a file says about itself: which call, when, and who, where that is wanted.
//!
//! ```text
//!  ID3v2.4 (MP3)        "ID3" 4 0 0 size(7 bits each) │ id size 0 0 │ 3 (UTF-8) text │ …
//!  Vorbis comment       u32 length, vendor │ u32 count │ u32 length, NAME=text │ …       (Ogg Opus, FLAC)
//!  SimpleTag (Matroska) name and value each
//!  INFO (WAV)           "LIST" u32 "INFO" │ id u32 text 0, padded to even │ …
//! ```

use model::{CallId, WallTime};

/// 200 characters: longer than any name or number, short enough for every reader.
const TEXT_MAX: usize = 200;
/// Who made the file.
pub(super) const VENDOR: &str = concat!("callspool ", env!("CARGO_PKG_VERSION"));

/// What is written into a file about the call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tags {
    /// Its id.
    pub call: CallId,
    /// When it began.
    pub started: WallTime,
    /// Who took part; none where that is nobody's business.
    pub parties: Option<String>,
}

impl Tags {
    pub(super) fn title(&self) -> String {
        format!("Call {}", self.call)
    }

    fn artist(&self) -> Option<String> {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let parties: String = self.parties.as_ref()?.chars().map(plain).take(TEXT_MAX).collect();
        (!parties.is_empty()).then_some(parties)
    }

    /// A tag to stand before an MP3.
    pub(super) fn id3(&self) -> Vec<u8> {
        // RFC 3339 without zone and fraction: what ID3v2.4 calls a timestamp.
        let started: String = self.started.to_string().chars().take(19).collect();
        let mut frames = vec![(*b"TIT2", self.title()), (*b"TDRC", started), (*b"TSSE", VENDOR.to_owned())];
        frames.push((*b"TXXX", format!("CALL_ID\0{}", self.call)));
        frames.extend(self.artist().map(|parties| (*b"TPE1", parties)));
        let mut body = Vec::new();
        for (id, text) in frames {
            body.extend_from_slice(&id);
            body.extend_from_slice(&syncsafe(text.len() + 1));
            body.extend_from_slice(&[0, 0, 3]);
            body.extend_from_slice(text.as_bytes());
        }
        let mut out = b"ID3\x04\x00\x00".to_vec();
        out.extend_from_slice(&syncsafe(body.len()));
        out.append(&mut body);
        out
    }

    /// A Vorbis comment, without what a container puts around it.
    pub(super) fn vorbis(&self) -> Vec<u8> {
        let mut comments = vec![
            format!("TITLE={}", self.title()),
            format!("DATE={}", self.started),
            format!("CALL_ID={}", self.call),
            format!("ENCODER={VENDOR}"),
        ];
        comments.extend(self.artist().map(|parties| format!("ARTIST={parties}")));
        let mut out = Vec::new();
        let mut put = |text: &str| {
            out.extend_from_slice(&length(text.len()).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        };
        put(VENDOR);
        out.extend_from_slice(&length(comments.len()).to_le_bytes());
        for comment in comments {
            out.extend_from_slice(&length(comment.len()).to_le_bytes());
            out.extend_from_slice(comment.as_bytes());
        }
        out
    }

    /// Names and values of Matroska.
    pub(super) fn matroska(&self) -> Vec<(String, String)> {
        let mut tags = vec![
            ("TITLE".to_owned(), self.title()),
            ("DATE_RECORDED".to_owned(), self.started.to_string()),
            ("CALL_ID".to_owned(), self.call.to_string()),
        ];
        tags.extend(self.artist().map(|parties| ("ARTIST".to_owned(), parties)));
        tags
    }

    /// A list of information to stand behind the samples of a WAV file.
    pub(super) fn info(&self) -> Vec<u8> {
        let started: String = self.started.to_string().chars().take(10).collect();
        let mut texts = vec![(*b"INAM", self.title()), (*b"ICRD", started), (*b"ISFT", VENDOR.to_owned())];
        texts.extend(self.artist().map(|parties| (*b"IART", parties)));
        let mut body = b"INFO".to_vec();
        for (id, text) in texts {
            body.extend_from_slice(&id);
            body.extend_from_slice(&length(text.len() + 1).to_le_bytes());
            body.extend_from_slice(text.as_bytes());
            body.resize(body.len() + if text.len().is_multiple_of(2) { 2 } else { 1 }, 0);
        }
        let mut out = b"LIST".to_vec();
        out.extend_from_slice(&length(body.len()).to_le_bytes());
        out.append(&mut body);
        out
    }
}

/// Tags are some hundred octets.
fn length(octets: usize) -> u32 {
    u32::try_from(octets).unwrap_or(u32::MAX)
}

/// 28 bits in four octets, the high bit of each clear.
fn syncsafe(octets: usize) -> [u8; 4] {
    let octets = length(octets);
    [21, 14, 7, 0].map(|shift| ((octets >> shift) & 0x7f).to_le_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_and_plain() {
        let tags = Tags {
            call: CallId::from_u64(1),
            started: WallTime::from_millis(1_795_166_100_000),
            parties: Some(format!("1001\n→ {}", "x".repeat(500))),
        };
        let artist = tags.artist().unwrap();
        assert!(artist.starts_with("1001 → x") && artist.chars().count() == TEXT_MAX);
        for bytes in [tags.id3(), tags.vorbis(), tags.info()] {
            assert!(bytes.len() < 1_000 && String::from_utf8_lossy(&bytes).contains("1001 → x"));
        }
        assert_eq!(tags.info().len() % 2, 0);
        let nobody = Tags { parties: None, ..tags };
        assert!(!String::from_utf8_lossy(&nobody.id3()).contains("TPE1"));
        assert_eq!(syncsafe(300), [0, 0, 2, 44]);
    }
}
