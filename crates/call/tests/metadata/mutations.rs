//! 10,000 mutated bodies, 10,000 recordings.

use model::WallTime;

use crate::client::Client;

const DOCUMENTS: [&[u8]; 13] = [
    include_bytes!("../../../sip/tests/dialects/documents/cube.xml"),
    include_bytes!("../../../sip/tests/dialects/documents/oracle.xml"),
    include_bytes!("../../../sip/tests/dialects/documents/oracle-damaged.xml"),
    include_bytes!("../../../sip/tests/dialects/documents/audiocodes.xml"),
    include_bytes!("../../../sip/tests/dialects/documents/ribbon.xml"),
    include_bytes!("../../../sip/tests/dialects/documents/broadworks.xml"),
    include_bytes!("../../../sip/tests/dialects/documents/metaswitch.xml"),
    include_bytes!("../../../sip/tests/dialects/documents/avaya-sbce.xml"),
    include_bytes!("../../../sip/tests/dialects/documents/avaya-sm.xml"),
    include_bytes!("../../../sip/tests/dialects/documents/opensips.xml"),
    include_bytes!("../../../sip/tests/dialects/documents/freeswitch.xml"),
    include_bytes!("../../../sip/tests/dialects/documents/sems.xml"),
    include_bytes!("../../../sip/tests/dialects/documents/netsapiens.xml"),
];

/// Pieces of markup and of what is put in its place.
const JUNK: [&[u8]; 12] = [
    b"<",
    b">",
    b"&",
    b"\"",
    b"'",
    b"</",
    b"<!--",
    b"<![CDATA[",
    b"\0",
    b"\xff\xfe",
    b"<recording>",
    b"&#x0;",
];

/// A sequence of numbers, the same in each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, of: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(of).unwrap()).unwrap()
    }
}

fn mutate(numbers: &mut Numbers) -> Vec<u8> {
    let mut body = DOCUMENTS[numbers.next(DOCUMENTS.len())].to_vec();
    for _ in 0..=numbers.next(4) {
        let at = numbers.next(body.len().max(1)).min(body.len());
        match numbers.next(7) {
            0 => body.truncate(at),
            1 => drop(body.drain(..at)),
            2 => drop(body.splice(at..at, JUNK[numbers.next(JUNK.len())].iter().copied())),
            3 => {
                if let Some(octet) = body.get_mut(at) {
                    *octet = u8::try_from(numbers.next(256)).unwrap();
                }
            }
            4 => {
                let end = (at + numbers.next(200)).min(body.len());
                drop(body.drain(at..end));
            }
            5 => {
                let end = (at + numbers.next(200)).min(body.len());
                let piece = body[at..end].to_vec();
                let to = numbers.next(body.len() + 1);
                drop(body.splice(to..to, piece));
            }
            _ => {
                let other = DOCUMENTS[numbers.next(DOCUMENTS.len())];
                let from = numbers.next(other.len());
                body.extend_from_slice(&other[from..]);
            }
        }
    }
    body
}

#[test]
fn ten_thousand_mutated_bodies_are_ten_thousand_recordings() {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let (mut read, mut problems) = (0, 0);
    for n in 1..=10_000 {
        let body = mutate(&mut numbers);
        // By itself: ids that are the same would make one call of several.
        let mut client = Client::new();
        client.invite(&body, ["1", "2"]);
        assert_eq!(client.answers[..2], ["open", "200"], "{n}: {}", String::from_utf8_lossy(&body));
        assert_eq!((client.opened, client.streams.len()), (1, 2));
        let [kept] = client.kept.as_slice() else { panic!("{n}: the body was not kept") };
        let text = String::from_utf8_lossy(&body);
        assert_eq!((kept.text.as_str(), kept.base64.is_some()), (text.as_ref(), text.as_bytes() != body));
        match kept.problem {
            Some(_) => problems += 1,
            None => read += 1,
        }
        assert!(client.data.parties.len() <= 32 && client.data.extra.len() <= 256);
        assert!(client.data.parties.iter().all(|p| p.left.is_none_or(|t| t > WallTime(0))));
    }
    // Both kinds are there: the mutations are neither harmless nor all noise.
    assert!(read > 100 && problems > 100, "{read} whole, {problems} not");
}
