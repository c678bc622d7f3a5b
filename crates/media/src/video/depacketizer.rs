//! One source's packets as pictures: order, where a picture begins and ends, whether all of it is there.

use std::collections::VecDeque;

use model::Codec;

use super::h264::H264;
use super::h265::H265;
use super::order::{Before, Order, Packet};
use super::vp8::Vp8;
use super::vp9::Vp9;
use super::{PICTURE_MAX, Picture, Setup, VideoCodec};
use crate::rtp::RtpView;

/// What came is no such picture, or not all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bad;

/// A picture in the making.
#[derive(Clone, Debug)]
pub(super) struct Making {
    at: i64,
    timestamp: u32,
    pub(super) data: Vec<u8>,
    pub(super) key: bool,
    /// Something that is to be seen has come, not only what a decoder must know.
    pub(super) has_picture: bool,
    /// Parameter sets have come in it.
    pub(super) has_sets: bool,
    /// Packets are missing before it.
    pub(super) after_loss: bool,
    whole: bool,
}

impl Making {
    pub(super) fn put(&mut self, octets: &[u8]) -> Result<(), Bad> {
        if self.data.len() + octets.len() > PICTURE_MAX {
            return Err(Bad);
        }
        self.data.extend_from_slice(octets);
        Ok(())
    }

    fn spoil(&mut self) {
        self.whole = false;
        self.data = Vec::new();
    }
}

#[derive(Clone, Debug)]
enum Coding {
    Vp8(Vp8),
    Vp9(Vp9),
    H264(H264),
    H265(H265),
}

/// Puts pictures together. See the [module](super).
#[derive(Debug)]
pub struct Depacketizer {
    coding: Coding,
    source: Option<u32>,
    order: Order,
    making: Option<Making>,
    /// Something is missing since the last key frame, or there was none yet.
    broken: bool,
    /// Something is missing since the last picture.
    loss: bool,
    ready: VecDeque<Picture>,
}

impl Depacketizer {
    /// One for a codec as SDP tells it, with its parameter sets where it has any; none for what is not known here.
    #[must_use]
    pub fn new(codec: &Codec) -> Option<Self> {
        let coding = match VideoCodec::of(codec)? {
            VideoCodec::Vp8 => Coding::Vp8(Vp8::default()),
            VideoCodec::Vp9 => Coding::Vp9(Vp9::default()),
            VideoCodec::H264 => Coding::H264(H264::default()),
            VideoCodec::H265 => Coding::H265(H265::default()),
        };
        let mut depacketizer = Self {
            coding,
            source: None,
            order: Order::default(),
            making: None,
            broken: true,
            loss: false,
            ready: VecDeque::new(),
        };
        depacketizer.learn(codec);
        Some(depacketizer)
    }

    /// SDP tells more of the same codec: its parameter sets are remembered.
    pub fn learn(&mut self, codec: &Codec) {
        match &mut self.coding {
            Coding::Vp8(_) | Coding::Vp9(_) => {}
            Coding::H264(h264) => h264.learn(codec),
            Coding::H265(h265) => h265.learn(codec),
        }
    }

    /// Takes a packet of its payload type. `at` is given back with the picture that it is the first packet of. After it
    /// [`Depacketizer::next_picture`] is to be asked until it has none.
    pub fn push(&mut self, at: i64, packet: &RtpView<'_>) {
        if self.source != Some(packet.ssrc) {
            // Another source leans on nothing that the one before has sent.
            self.drain();
            self.broken = true;
            self.order = Order::default();
            self.source = Some(packet.ssrc);
        }
        let (timestamp, marker, payload) = (packet.timestamp, packet.marker, packet.payload.to_vec());
        self.order.put(packet.sequence, Packet { at, timestamp, marker, payload });
        while let Some((before, packet)) = self.order.next() {
            self.take(before, &packet);
        }
    }

    /// Nothing follows: what waits is as whole as it will be.
    pub fn finish(&mut self) {
        self.drain();
    }

    /// The next picture that is whole.
    pub fn next_picture(&mut self) -> Option<Picture> {
        self.ready.pop_front()
    }

    /// What a decoder must know, as far as it has been told: from the first key frame on all of it.
    #[must_use]
    pub fn setup(&self) -> Option<Setup> {
        let (codec, size, private) = match &self.coding {
            Coding::Vp8(vp8) => (VideoCodec::Vp8, vp8.size, Some(Vec::new())),
            Coding::Vp9(vp9) => (VideoCodec::Vp9, vp9.size, Some(Vec::new())),
            Coding::H264(h264) => (VideoCodec::H264, h264.size(), h264.private()),
            Coding::H265(h265) => (VideoCodec::H265, h265.size(), h265.private()),
        };
        let (width, height) = size?;
        Some(Setup { codec, width, height, private: private? })
    }

    fn drain(&mut self) {
        while let Some((before, packet)) = self.order.release() {
            self.take(before, &packet);
        }
        self.close();
    }

    fn take(&mut self, before: Before, packet: &Packet) {
        if before == Before::Something {
            self.broken = true;
            self.loss = true;
            // Its end is missing, or what lies before this packet.
            if let Some(making) = &mut self.making {
                making.spoil();
            }
        }
        if self.making.as_ref().is_some_and(|m| m.timestamp != packet.timestamp) {
            self.close();
        }
        // Padding to probe the network belongs to no picture.
        if packet.payload.is_empty() {
            return;
        }
        let after_loss = before == Before::Something;
        let making = self.making.get_or_insert_with(|| Making {
            at: packet.at,
            timestamp: packet.timestamp,
            data: Vec::new(),
            key: false,
            has_picture: false,
            has_sets: false,
            after_loss,
            whole: true,
        });
        if making.whole {
            let taken = match &mut self.coding {
                Coding::Vp8(vp8) => vp8.take(&packet.payload, making),
                Coding::Vp9(vp9) => vp9.take(&packet.payload, making),
                Coding::H264(h264) => h264.take(&packet.payload, making),
                Coding::H265(h265) => h265.take(&packet.payload, making),
            };
            if taken.is_err() {
                making.spoil();
            }
        }
        if packet.marker {
            self.close();
        }
    }

    /// The picture in the making has ended.
    fn close(&mut self) {
        let Some(mut making) = self.making.take() else { return };
        let is_whole = making.whole
            && match &mut self.coding {
                Coding::Vp8(_) => true,
                Coding::Vp9(vp9) => vp9.end(&mut making).is_ok(),
                Coding::H264(h264) => h264.end().is_ok(),
                Coding::H265(h265) => h265.end().is_ok(),
            };
        if !is_whole {
            self.broken = true;
            self.loss = true;
            return;
        }
        if !making.has_picture {
            return;
        }
        self.broken &= !making.key;
        let after_loss = std::mem::take(&mut self.loss);
        let Making { at, timestamp, key, data, .. } = making;
        self.ready.push_back(Picture { at, timestamp, key, damaged: self.broken, after_loss, data });
    }
}
