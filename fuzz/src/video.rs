//! Packets of video that were kept, as pictures.

use media::rtp::RtpView;
use media::video::{Depacketizer, Gate, PICTURE_MAX};
use model::Codec;

use crate::Input;

const CODECS: [&str; 4] = ["VP8", "VP9", "H264", "H265"];

/// Packets of one codec through depacketizer and gate: what comes out is no larger than a picture may be, and no more
/// than went in, but for parameter sets that each key frame is given and the lengths of units.
///
/// Octet 0 is the codec. Each packet is: octet 0, how far its number lies from the one before (3: by one); octet 1, the
/// marker and how far its timestamp; octet 2, length; octets.
pub fn video(data: &[u8]) {
    let mut input = Input(data);
    let codec = CODECS[usize::from(input.octet()) % CODECS.len()];
    let mut depacketizer = Depacketizer::new(&Codec::new(codec, 90_000, 1)).unwrap();
    let mut gate = Gate::new(1_000);
    let (mut sequence, mut timestamp, mut at, mut put, mut shown) = (0_u16, 0_u32, 0_i64, 0_usize, 0_usize);
    let mut pictures = 0_usize;
    while !input.is_empty() {
        let step = input.octet();
        sequence = match step {
            0..=199 => sequence.wrapping_add(1),
            far => sequence.wrapping_add(u16::from(far) * 300).wrapping_sub(64_000),
        };
        let what = input.octet();
        timestamp = timestamp.wrapping_add(u32::from(what & 0x0F) * 3_000);
        at += i64::from(what & 0x0F);
        let length = usize::from(input.octet());
        let payload = input.take(length);
        put += payload.len();
        let ssrc = u32::from(what >> 5 & 1);
        let packet =
            RtpView { payload_type: 97, marker: what & 0x80 != 0, sequence, timestamp, ssrc, payload };
        depacketizer.push(at, &packet);
        while let Some(picture) = depacketizer.next_picture() {
            assert!(picture.data.len() <= PICTURE_MAX && !picture.data.is_empty());
            assert!(!(picture.key && picture.damaged));
            gate.push(picture);
        }
        while let Some(picture) = gate.next_picture() {
            shown += picture.data.len();
            pictures += 1;
        }
    }
    depacketizer.finish();
    while let Some(picture) = depacketizer.next_picture() {
        gate.push(picture);
    }
    gate.finish();
    while let Some(picture) = gate.next_picture() {
        shown += picture.data.len();
        pictures += 1;
    }
    if let Some(setup) = depacketizer.setup() {
        assert!((1..=65_536).contains(&setup.width) && (1..=65_536).contains(&setup.height));
    }
    // Eight sets of each of three kinds at most, each of 2 KiB and its length; a unit has a length of four octets.
    assert!(shown <= put * 5 + pictures * 3 * 8 * 2_052, "{shown} of {put} in {pictures} pictures");
}
