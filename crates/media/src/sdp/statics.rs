//! The static payload types of RFC 3551 section 6: what a number means when SDP does not say.

use model::Codec;

/// Number, name, clock rate, channels.
const STATIC: [(u8, &str, u32, u8); 24] = [
    (0, "PCMU", 8_000, 1),
    (3, "GSM", 8_000, 1),
    (4, "G723", 8_000, 1),
    (5, "DVI4", 8_000, 1),
    (6, "DVI4", 16_000, 1),
    (7, "LPC", 8_000, 1),
    (8, "PCMA", 8_000, 1),
    (9, "G722", 8_000, 1),
    (10, "L16", 44_100, 2),
    (11, "L16", 44_100, 1),
    (12, "QCELP", 8_000, 1),
    (13, "CN", 8_000, 1),
    (14, "MPA", 90_000, 1),
    (15, "G728", 8_000, 1),
    (16, "DVI4", 11_025, 1),
    (17, "DVI4", 22_050, 1),
    (18, "G729", 8_000, 1),
    (25, "CELB", 90_000, 1),
    (26, "JPEG", 90_000, 1),
    (28, "NV", 90_000, 1),
    (31, "H261", 90_000, 1),
    (32, "MPV", 90_000, 1),
    (33, "MP2T", 90_000, 1),
    (34, "H263", 90_000, 1),
];

/// Reserved by RFC 3551, but what Cisco gateways send comfort noise with.
const CISCO_COMFORT_NOISE: u8 = 19;

/// What a payload type stands for without an rtpmap.
pub(super) fn codec(payload_type: u8) -> Option<Codec> {
    if payload_type == CISCO_COMFORT_NOISE {
        return Some(Codec::new("CN", 8_000, 1));
    }
    let found = STATIC.iter().find(|(n, ..)| *n == payload_type);
    found.map(|(_, name, clock, channels)| Codec::new(name, *clock, *channels))
}
