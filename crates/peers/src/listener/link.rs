//! A link that was taken: what comes by it goes to the owner, until one of both ends it.

use std::convert::Infallible;

use tokio::sync::mpsc;

use super::door::Place;
use super::{Came, Event, Link};
use crate::messages::{Messages, Next};
use crate::queue::Queue;
use crate::tasks::TasksOfLink;
use crate::wire::ToServer;

pub(super) struct Linked {
    pub(super) place: Place,
    pub(super) queue: Queue,
    pub(super) messages: Messages,
    /// The link ends with them.
    pub(super) tasks: TasksOfLink,
}

impl Linked {
    /// Holds it to its end, and tells that.
    pub(super) async fn hold(self, tell: &mpsc::Sender<Event>) {
        let Self { place, queue, messages, tasks } = self;
        let why = tokio::select! {
            biased;
            why = queue.closed() => why,
            Err(why) = hand_on(&place, &queue, messages, tell) => why,
        };
        queue.close(&why);
        drop(tasks);
        let (link, peer) = (place.link, place.peer.clone());
        drop(place);
        let _ = tell.send(Event { link, peer, came: Came::Closed(why) }).await;
    }
}

async fn hand_on(
    place: &Place,
    queue: &Queue,
    mut messages: Messages,
    tell: &mpsc::Sender<Event>,
) -> Result<Infallible, String> {
    let mut came = Came::Up(Link(queue.clone()));
    loop {
        let event = Event { link: place.link, peer: place.peer.clone(), came };
        tell.send(event).await.map_err(|_| "nobody listens here any more".to_owned())?;
        came = loop {
            match messages.next(ToServer::read).await? {
                Next::Message(ToServer::Order(order)) => break Came::Order(order),
                Next::Message(ToServer::Probe) => break Came::Probe,
                Next::Message(ToServer::Custody(said)) => break Came::Custody(said),
                Next::NotUnderstood => {}
                Next::End => return Err("it ended the link".to_owned()),
            }
        };
    }
}
