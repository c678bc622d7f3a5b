//! What comes to the port of a stream that is encrypted.

use media::srtp::Srtp;
use model::{Keys, Suite, WallTime};

use crate::Input;

/// Datagrams at a stream whose key the input does not know: RTP or RTCP, by whichever cipher, with or without an
/// identifier of the key, some of them honest. None but the honest ones is opened.
///
/// Octet 0 chooses the cipher, octet 1 the length of the identifier. Then each step is: octet 0, what happens;
/// octet 1, length; octets.
pub fn srtp(data: &[u8]) {
    let mut input = Input(data);
    let suite = Suite::ALL[usize::from(input.octet()) % Suite::ALL.len()];
    let secret: Vec<u8> = (0..suite.secret_len()).map(|n| u8::try_from(n).unwrap() ^ 0x5a).collect();
    let mut keys = Keys::single(suite, secret).unwrap();
    keys.masters[0].mki = vec![7; usize::from(input.octet() % 5)];
    let mut ours = Srtp::new(&keys, &keys).unwrap();
    let mut theirs = Srtp::new(&keys, &keys).unwrap();
    let (mut now, mut sequence) = (WallTime(1_795_166_100_000_000_000), 0_u16);
    while !input.is_empty() {
        let what = input.octet();
        let length = usize::from(input.octet());
        let bytes = input.take(length);
        now = WallTime(now.0 + 1_000_000_000);
        match what % 4 {
            0 => {
                let _ = ours.open_rtp(now, bytes);
            }
            1 => {
                let _ = ours.open_rtcp(now, bytes);
            }
            2 => {
                sequence = sequence.wrapping_add(u16::from(what >> 2));
                let [high, low] = sequence.to_be_bytes();
                let plain = [&[0x80, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 7], bytes].concat();
                let mut packet = plain.clone();
                assert!(theirs.seal_rtp(&mut packet));
                if let Ok(opened) = ours.open_rtp(now, &packet) {
                    assert_eq!(opened, plain);
                }
                // Changed in one bit it is not authentic.
                if let Some(octet) = packet.get_mut(12) {
                    *octet ^= 1;
                    assert!(ours.open_rtp(now, &packet).is_err());
                }
            }
            _ => {
                let plain = [&[0x80, 201, 0, 1, 0, 0, 0, 7], bytes].concat();
                let mut packet = plain.clone();
                assert!(theirs.seal_rtcp(now, &mut packet));
                assert_eq!(ours.open_rtcp(now, &packet), Ok(&plain[..]));
            }
        }
    }
}
