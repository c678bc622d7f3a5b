//! A relay that notes what it is told, and shows where copies of each stream go.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use call::{LineOrder, NotRelayed, RelayPorts};
use media::relay::{Beginning, OpenEnd, Recording};
use model::peer::Family;
use model::{Failure, Mark, StreamId, StreamPorts};

/// See the module.
#[derive(Default)]
pub(crate) struct Relay {
    /// What was done since somebody looked.
    pub(crate) done: Vec<String>,
    pub(crate) lines: BTreeMap<StreamId, Teed>,
    /// It has no ports.
    pub(crate) is_full: bool,
    /// It takes no orders, but closes streams.
    pub(crate) is_deaf: bool,
    /// It takes none at all.
    pub(crate) is_busy: bool,
    next_port: u16,
}

/// A stream.
pub(crate) struct Teed {
    pub(crate) port: u16,
    pub(crate) to: Option<(SocketAddr, Mark)>,
    pub(crate) second: Option<(SocketAddr, Mark)>,
    pub(crate) is_held: bool,
    pub(crate) remembers: bool,
}

impl RelayPorts for Relay {
    fn open(&mut self, stream: StreamId, _: Family, end: OpenEnd) -> Result<StreamPorts, Failure> {
        if self.is_full {
            return Err(Failure::Resources("no port of the relay is free".to_owned()));
        }
        let port = 50_000 + self.next_port;
        self.next_port += 2;
        let to = end.remote.map_or(0, |remote| remote.port());
        self.done.push(format!("relay {port}: open, peer at {to}"));
        let line = Teed { port, to: None, second: None, is_held: false, remembers: true };
        assert!(self.lines.insert(stream, line).is_none(), "it is open already");
        let at = |port| SocketAddr::new([192, 0, 2, 50].into(), port);
        Ok(StreamPorts { stream, rtp: at(port), rtcp: at(port + 1), is_stuck: false })
    }

    fn carry_out(&mut self, stream: StreamId, order: LineOrder) -> Result<(), NotRelayed> {
        if self.is_busy || (self.is_deaf && !matches!(order, LineOrder::Close)) {
            return Err(NotRelayed::Busy("it is deaf".to_owned()));
        }
        let line = self.lines.get_mut(&stream).expect("a stream that is open");
        let text = match &order {
            LineOrder::Change(end) => format!("peer at {}", end.remote.map_or(0, |remote| remote.port())),
            LineOrder::Tee(recorder, beginning) => {
                line.to = Some((recorder.rtp, recorder.mark.expect("a mark")));
                let replays = if *beginning == Beginning::Remembered { "" } else { ", nothing before" };
                format!("copies to {}{replays}", recorder.rtp.port())
            }
            LineOrder::TeeSecond(to) => {
                line.second = to.as_ref().map(|(to, _)| (to.rtp, to.mark.expect("a mark")));
                match to {
                    Some((to, _)) => format!("copies to {} too", to.rtp.port()),
                    None => "no second copies".to_owned(),
                }
            }
            LineOrder::Record(recording) => {
                line.remembers = *recording == Recording::Goes;
                if line.remembers { "remember" } else { "pass" }.to_owned()
            }
            LineOrder::Hold => {
                line.is_held = true;
                "hold".to_owned()
            }
            LineOrder::Release => {
                line.is_held = false;
                "release".to_owned()
            }
            LineOrder::Close => "close".to_owned(),
        };
        self.done.push(format!("relay {}: {text}", line.port));
        if let LineOrder::Close = order {
            self.lines.remove(&stream);
        }
        Ok(())
    }
}
