//! What we offer when a client wants the recorder to offer (an INVITE without body).

use model::Codec;

/// The codecs of a delayed offer, best known first: what a phone or gateway can send and any player can play.
/// Static payload types as in RFC 3551 table 4, telephone-event as in RFC 4733.
pub(crate) fn codecs() -> Vec<(u8, Codec)> {
    let mut opus = Codec::new("OPUS", 48_000, 2);
    opus.fmtp = Some("useinbandfec=1".to_owned());
    let mut events = Codec::new("TELEPHONE-EVENT", 8_000, 1);
    events.fmtp = Some("0-16".to_owned());
    vec![
        (0, Codec::new("PCMU", 8_000, 1)),
        (8, Codec::new("PCMA", 8_000, 1)),
        (9, Codec::new("G722", 8_000, 1)),
        (18, Codec::new("G729", 8_000, 1)),
        (96, opus),
        (101, events),
    ]
}
