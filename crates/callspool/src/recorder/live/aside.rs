//! Datagrams of segments whose storage failed: they wait here, as they came, for the segment that takes over.
//!
//! A media thread has one. What does not fit is lost, and counted by the thread.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use model::{SegmentId, StreamId, WallTime};

use super::super::source::Datagram;
use super::stream::Which;

/// 1 MiB of a port: some seconds of a picture, half a minute of G.711; taking over is given up long before. Who floods a
/// port takes the room of nobody else.
const PORT_MAX: usize = 1 << 20;
/// 8 MiB of a segment.
const SEGMENT_MAX: usize = 8 << 20;
/// 128 MiB of a thread: 1,000 calls of G.711 on a volume that fails, for three seconds and more. Vectors that grow may
/// have twice of that for a moment.
const THREAD_MAX: usize = 128 << 20;

struct Head {
    stream: StreamId,
    which: Which,
    at: WallTime,
    from: SocketAddr,
    length: usize,
}

#[derive(Default)]
struct Lot {
    heads: Vec<Head>,
    octets: Vec<u8>,
    /// What each port has of it.
    ports: Vec<((StreamId, Which), usize)>,
}

impl Lot {
    const fn size(&self) -> usize {
        self.heads.len() * size_of::<Head>() + self.octets.len()
    }

    /// Takes so much of a port's share; false when it is used up.
    fn share(&mut self, port: (StreamId, Which), more: usize) -> bool {
        let place = self.ports.iter().position(|(p, _)| *p == port).unwrap_or_else(|| {
            self.ports.push((port, 0));
            self.ports.len() - 1
        });
        let share = self.ports.get_mut(place).filter(|(_, size)| *size + more <= PORT_MAX);
        share.map(|(_, size)| *size += more).is_some()
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Aside {
    lots: BTreeMap<SegmentId, Lot>,
    size: usize,
}

impl Aside {
    /// Keeps what came to a stream of a segment; false when there is no room.
    pub(crate) fn keep(
        &mut self,
        segment: SegmentId,
        (stream, which): (StreamId, Which),
        datagram: &Datagram<'_>,
    ) -> bool {
        let Datagram { at, from, bytes } = *datagram;
        let more = size_of::<Head>() + bytes.len();
        if self.size + more > THREAD_MAX {
            return false;
        }
        let lot = self.lots.entry(segment).or_default();
        if lot.size() + more > SEGMENT_MAX || !lot.share((stream, which), more) {
            return false;
        }
        self.size += more;
        lot.heads.push(Head { stream, which, at, from, length: bytes.len() });
        lot.octets.extend_from_slice(bytes);
        true
    }

    /// What waits for one segment is another's.
    pub(super) fn move_on(&mut self, from: SegmentId, to: SegmentId) {
        if let Some(lot) = self.lots.remove(&from) {
            self.lots.insert(to, lot);
        }
    }

    /// Hands out what waits for those streams of a segment that are `wanted`, in the order in which it came.
    pub(super) fn take(
        &mut self,
        segment: SegmentId,
        wanted: impl Fn(StreamId) -> bool,
        mut each: impl FnMut(StreamId, Which, Datagram<'_>),
    ) {
        let Some(Lot { heads, octets, .. }) = self.lots.remove(&segment) else { return };
        let (mut rest, mut at) = (Lot::default(), 0);
        for head in heads {
            let bytes = octets.get(at..at + head.length).unwrap_or_default();
            at += head.length;
            if wanted(head.stream) {
                self.size = self.size.saturating_sub(size_of::<Head>() + head.length);
                each(head.stream, head.which, Datagram { at: head.at, from: head.from, bytes });
            } else {
                rest.share((head.stream, head.which), size_of::<Head>() + head.length);
                rest.heads.push(head);
                rest.octets.extend_from_slice(bytes);
            }
        }
        if !rest.heads.is_empty() {
            self.lots.insert(segment, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(aside: &mut Aside, segment: u64, stream: u64, bytes: &[u8]) -> bool {
        let from = "192.0.2.1:4000".parse().unwrap();
        let to = (StreamId::from_u64(stream), Which::Rtp);
        aside.keep(SegmentId::from_u64(segment), to, &Datagram { at: WallTime(7), from, bytes })
    }

    fn take(aside: &mut Aside, segment: u64, stream: u64) -> Vec<Vec<u8>> {
        let mut taken = Vec::new();
        let wanted = |s| s == StreamId::from_u64(stream);
        aside.take(SegmentId::from_u64(segment), wanted, |s, which, d| {
            assert_eq!((s, which, d.at), (StreamId::from_u64(stream), Which::Rtp, WallTime(7)));
            taken.push(d.bytes.to_vec());
        });
        taken
    }

    #[test]
    fn each_stream_gets_its_own_in_order_and_the_rest_stays() {
        let mut aside = Aside::default();
        for (stream, bytes) in [(1, &[1][..]), (2, &[2, 2]), (1, &[]), (1, &[3, 3, 3])] {
            assert!(keep(&mut aside, 9, stream, bytes));
        }
        assert!(take(&mut aside, 8, 1).is_empty());
        aside.move_on(SegmentId::from_u64(9), SegmentId::from_u64(8));
        assert_eq!(take(&mut aside, 8, 1), [vec![1], vec![], vec![3, 3, 3]]);
        assert!(take(&mut aside, 8, 1).is_empty() && take(&mut aside, 9, 2).is_empty());
        assert_eq!(take(&mut aside, 8, 2), [vec![2, 2]]);
        assert_eq!((aside.size, aside.lots.len()), (0, 0));
    }

    #[test]
    fn there_is_a_limit_for_a_port_a_segment_and_for_all() {
        let (mut aside, bytes) = (Aside::default(), [0; 1_500]);
        let mut fill = |segment, stream| {
            (0..1_000_000).take_while(|_| keep(&mut aside, segment, stream, &bytes)).count()
        };
        // Who floods one port takes nothing from another.
        assert_eq!(fill(1, 1), PORT_MAX / (1_500 + size_of::<Head>()));
        assert_eq!(fill(1, 2), PORT_MAX / (1_500 + size_of::<Head>()));
        let segment: usize = (3..20).map(|stream| fill(1, stream)).sum();
        assert!(segment > 0 && aside.size <= SEGMENT_MAX);
        let all: usize =
            (2..1_000).map(|s| (0..1_000_000).take_while(|_| keep(&mut aside, s, 1, &bytes)).count()).sum();
        assert!(all > 0 && aside.size <= THREAD_MAX);
        assert!(!keep(&mut aside, 2_000, 1, &bytes));
        for (segment, stream) in (1..=2_000).map(|s| (s, 1)).chain((2..20).map(|stream| (1, stream))) {
            take(&mut aside, segment, stream);
        }
        assert_eq!((aside.size, aside.lots.len()), (0, 0));
    }
}
