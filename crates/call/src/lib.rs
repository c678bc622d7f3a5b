//! Who talks to whom, and what of it is recorded: decisions without I/O.
//!
//! [`Front`] is the machine behind a recorder's SIP front. In go what the SIP agent tells
//! ([`sip::Event`]), what record servers report ([`model::Report`]) and time; out come [`Action`]s: answers
//! and hang-ups for the agent, orders for record servers, changes for the catalogue. It never waits for any of
//! them: each order that needs an answer has a deadline, and a call whose record server does not answer is
//! refused and told of.
//!
//! ```text
//!   sip::Event ─────┐                       ┌────► Action::Accept, Refuse, HangUp   (to the SIP agent)
//!   model::Report ──┼──► Front::handle… ────┼────► Action::Order                    (to a record server)
//!   now ────────────┘                       └────► Action::Tell                     (to the catalogue)
//! ```
//!
//! It knows one abstract record server. [`RecordServers`] stands between it and those that there are: it chooses one for
//! each segment, and notices which are gone; where media go through the proxy [`Anchors`] stands between these two; at a
//! record server [`Book`] knows which of several proxies ordered what. None of them touches sockets, files, databases or
//! clocks.

mod admission;
mod anchors;
mod ask;
mod asking;
mod book;
mod bridge;
mod calls;
mod care;
mod command;
mod correlate;
mod custody;
mod describe;
mod encryption;
mod front;
mod gate;
mod indication;
mod keeper;
mod leg;
mod lines;
mod live_call;
#[cfg(test)]
mod load;
mod newcomers;
mod pace;
mod pausing;
mod placement;
mod reach;
mod reason;
mod refusers;
mod segment_gate;
mod servers;
mod sightings;
mod signals;
mod snapshot;
mod stopping;
mod timers;
mod trunk;

pub use admission::Crowded;
pub use anchors::{AnchorStep, Anchors, Copies, LineOrder, NotRelayed, RelayPorts};
pub use ask::{AskEncrypted, Asked};
pub use book::{Book, Whose, refusal};
pub use care::Care;
pub use command::{Ask, Changed, Command, CommandError, Done, GivenKeys, JoinCommand, Joined, Recording};
pub use custody::{Carried, Custody, CustodyStep, Judge};
pub use describe::AgentSide;
pub use encryption::OwnKeys;
pub use front::{Action, Front, FrontConfig, FrontStats, Intake};
pub use gate::{TrunkGate, TurnedAway, Unwelcome};
pub use keeper::{Keeper, KeeperStep};
pub use leg::SLOTS_PER_LEG;
pub use newcomers::{Arrival, Newcomers, Turn};
pub use servers::{CopyEvent, PeerEvent, PeerStanding, PeerView, RecordServers, Room, ServersConfig, Step};
pub use snapshot::{Snapshot, Stage, Unreadable};
pub use trunk::{Anchoring, Challenged, Digest, Exactness, KeysBy, Mismatch, Origin, Trunk, Trunks};
