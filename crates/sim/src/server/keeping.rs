//! What a record server keeps of the calls of proxies: the real keeper, and the moving of what was ordered of a call from
//! one proxy to another.

use call::{KeeperStep, PeerEvent};
use model::custody::{FromKeeper, ToKeeper};
use model::{Now, PeerName};

use super::{Server, proxy_name};
use crate::core::{Core, Input};
use crate::network::Toward;
use crate::scenario::Who;

impl Server {
    /// A proxy says something of whose a call is.
    pub(super) fn keep(&mut self, core: &mut Core, now: Now, proxy: usize, said: ToKeeper) {
        match &said {
            ToKeeper::Keep { call, .. } => core.truth.kept_at(*call, self.index),
            ToKeeper::Release { call, .. } => core.truth.released_at(*call, self.index),
            ToKeeper::Present { run } => {
                let name = proxy_name(proxy);
                self.care.present(&name, *run);
                for report in self.book.here(&name, Some(*run)) {
                    self.tell(core, proxy, PeerEvent::Report(report));
                }
            }
            ToKeeper::Return { call, epoch } => self.book.given_back(*call, &proxy_name(proxy), *epoch),
            _ => {}
        }
        self.keeper.handle(now.mono, &proxy_name(proxy), said);
    }

    /// Time passed: what nobody has is offered.
    pub(super) fn offer(&mut self, now: Now) {
        self.keeper.handle_timeout(now.mono);
    }

    /// Calls go from one proxy to another, and what is recorded of them with them.
    pub(super) fn hand_on_calls(&mut self, core: &mut Core) {
        while let Some(step) = self.keeper.poll_step() {
            match step {
                KeeperStep::Tell(name, said) => self.say_to(core, &name, said),
                KeeperStep::Move { call, to, epoch } => {
                    let said = match self.book.moved(call, &to, epoch) {
                        Some((segments, missed)) => {
                            self.care.moved(call, &to);
                            FromKeeper::Adopted { call, epoch, segments, missed }
                        }
                        None => FromKeeper::Denied { call, epoch },
                    };
                    self.say_to(core, &to, said);
                }
            }
        }
        while let Some((name, segment)) = self.book.poll_over() {
            self.say_to(core, &name, FromKeeper::Over { segment });
        }
    }

    fn say_to(&self, core: &mut Core, name: &PeerName, said: FromKeeper) {
        let Some((proxy, number)) = self.links.iter().find(|(proxy, _)| proxy_name(**proxy) == *name) else {
            return;
        };
        if core.log.keeps {
            core.say(format_args!("{} ► {name}: {}", self.name, in_short(&said)));
        }
        let link = core.network.link(*proxy, self.index);
        if link.is_up && link.number == *number {
            let at = link.arrives(core.at, Toward::Proxy, &mut core.rng);
            core.tell_at(at, Who::Proxy(*proxy), Input::Kept(self.index, *number, said));
        }
    }
}

fn in_short(said: &FromKeeper) -> String {
    match said {
        FromKeeper::Found { call, stand, owner, .. } => {
            format!("found {call} as {}.{}, its owner is {owner:?}", stand.epoch, stand.version)
        }
        FromKeeper::Adopted { call, epoch, segments, missed } => {
            format!("adopted {call} as {epoch}: {segments:?}, {} missed", missed.len())
        }
        said => format!("{said:?}"),
    }
}
