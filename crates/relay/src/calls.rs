//! The calls of a thread, by slot, and what orders do to them.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use media::relay::{By, EndId, Outgoing, Recording, Which};
use model::WallTime;

use crate::answers::Answers;
use crate::arrivals::Arrivals;
use crate::call::Call;
use crate::thread::Out;
use crate::{Memory, Order, Said};

/// See the module.
#[derive(Default)]
pub(crate) struct Calls {
    pub(crate) slots: Vec<Option<Box<Call>>>,
    free: Vec<usize>,
    by_number: BTreeMap<u64, usize>,
    /// Slots of which something is replayed.
    pub(crate) replaying: Vec<usize>,
    pub(crate) answers: Answers,
}

impl Calls {
    pub(crate) fn at(&mut self, slot: usize) -> Option<&mut Call> {
        self.slots.get_mut(slot)?.as_deref_mut()
    }

    /// The port that something is sent from.
    pub(crate) fn port_of(&self, outgoing: &Outgoing) -> Option<&UdpSocket> {
        let By::End(end, which) = outgoing.by else { return None };
        let slot = usize::try_from(outgoing.tag).ok()?;
        self.slots.get(slot)?.as_deref()?.port(end.index(), which)
    }

    /// All ports of all calls, each with its key.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (u64, &Arc<UdpSocket>)> {
        let calls = self.slots.iter().enumerate().filter_map(|(slot, call)| Some((slot, call.as_deref()?)));
        calls.flat_map(|(slot, call)| {
            call.ports().map(move |(end, which, socket)| (pack(slot, end, which), socket))
        })
    }

    pub(crate) fn carry_out(&mut self, order: Order, now: WallTime, arrivals: &mut Arrivals, out: &mut Out) {
        match order {
            Order::Add { call, new } => self.add(Call::new(call, *new), arrivals, out),
            Order::Change { call, end, open } => {
                if let Some((_, found)) = self.get(call)
                    && let Err(why) = found.relay.change(end, &open)
                {
                    out.tell(call, Said::Refused { end, why });
                }
            }
            Order::Tee { call, end, place, to } => {
                let Some((slot, found)) = self.get(call) else { return };
                let to = to.as_ref().map(|(recorder, beginning)| (&**recorder, *beginning));
                let addresses = to.iter().flat_map(|(to, _)| std::iter::once(to.rtp).chain(to.rtcp));
                addresses.for_each(|address| out.tees.meet(address.ip(), arrivals));
                let answers = to.and_then(|(to, _)| to.rtcp);
                let teed = found.relay.tee(now, end, place, to);
                // Whoever is copied to second hears the same: one of them answers.
                if place == 0 && teed.is_ok() {
                    self.answers.of((slot, end), answers);
                }
                match teed {
                    Ok(Some(replayed)) => {
                        self.replaying.retain(|other| *other != slot);
                        self.replaying.push(slot);
                        out.tell(call, Said::Replaying { end, replayed });
                    }
                    Ok(None) => {}
                    Err(why) => out.tell(call, Said::Refused { end, why }),
                }
            }
            Order::Record { call, recording, given } => {
                if let Some((_, found)) = self.get(call) {
                    found.relay.record(recording);
                    if recording != Recording::Goes {
                        let waited = i64::try_from(given.elapsed().as_nanos()).unwrap_or(i64::MAX);
                        found.relay.forget_since(WallTime(now.0.saturating_sub(waited)));
                    }
                }
            }
            Order::Remember { call, memory } => match (self.get(call), memory) {
                (Some((_, found)), Memory::Held) => found.relay.hold(now),
                (Some((_, found)), Memory::Released) => found.relay.release(),
                (None, _) => {}
            },
            Order::Remove { call } => self.remove(call, arrivals, out),
            Order::Stop => {}
        }
    }

    fn get(&mut self, number: u64) -> Option<(usize, &mut Call)> {
        let slot = *self.by_number.get(&number)?;
        Some((slot, self.slots.get_mut(slot)?.as_deref_mut()?))
    }

    fn add(&mut self, call: Call, arrivals: &mut Arrivals, out: &mut Out) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        for (end, which, socket) in call.ports() {
            if arrivals.watch(pack(slot, end, which), socket).is_err() {
                out.tell(call.number, Said::Unwatched { end, which });
            }
        }
        self.by_number.insert(call.number, slot);
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(Box::new(call));
        }
        out.figures.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn remove(&mut self, number: u64, arrivals: &mut Arrivals, out: &mut Out) {
        let Some(slot) = self.by_number.remove(&number) else { return };
        let Some(mut call) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        self.free.push(slot);
        self.replaying.retain(|other| *other != slot);
        self.answers.forget(slot);
        call.ports().for_each(|(_, _, socket)| arrivals.forget(socket));
        let ends: Vec<EndId> = call.relay.ends().collect();
        let counts = ends.into_iter().filter_map(|end| Some((end, call.relay.close(end)?))).collect();
        out.tell(number, Said::Removed(counts));
        out.figures.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Slot, end and port in 64 bits.
fn pack(slot: usize, end: usize, which: Which) -> u64 {
    (slot as u64) << 16 | (end as u64 & 0x7fff) << 1 | u64::from(which == Which::Rtcp)
}

/// What was packed.
pub(crate) fn unpack(key: u64) -> (usize, usize, Which) {
    let slot = usize::try_from(key >> 16).unwrap_or(usize::MAX);
    let end = usize::try_from((key >> 1) & 0x7fff).unwrap_or(usize::MAX);
    (slot, end, if key & 1 == 1 { Which::Rtcp } else { Which::Rtp })
}
