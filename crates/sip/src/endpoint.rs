//! Transactions, the flows they use, and every timer.
//!
//! The four machines are those of `sipx-sip` (RFC 3261 section 17 with RFC 6026); this is the table around
//! them: it matches messages, carries out what the machines want, and knows who owns each transaction. A server
//! transaction keeps a slim copy of its request and its last response, nothing else. The endpoint decides
//! nothing about dialogs, and makes no transaction for a request that is refused out of hand: those answers are
//! stateless (section 8.2.7), so that garbage cannot fill the table.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::Mono;
use sipx_sip::transaction::Output;
use sipx_sip::{
    ClientTransaction, Message, Method, Request, Response, ServerTransaction, Timer, Timers, TransactionKey,
    TuEvent,
};

use crate::event::SessionId;
use crate::flow::{Destination, Flow, FlowId, Transmit, Transport};
use crate::head::Head;
use crate::key::{Key, invite_key, merge_key};
use crate::message;
use crate::timers::{Deadline, GIVE_UP, TimerTable, TxId};

/// RFC 3261 table 4: T1 500 ms, T2 4 s, T4 5 s.
pub(crate) fn timing() -> Timers {
    Timers::default()
}

/// How long an INVITE of ours may be without a final answer. Once a provisional one has come, RFC 3261 leaves it
/// without a timer, and a peer that says nothing more would keep it for ever. Longer than a call may ring (300 s), and
/// then be cancelled (64*T1).
const INVITE_MAX: Duration = Duration::from_secs(340);

/// What came of a message.
pub(crate) enum Incoming {
    /// A transaction took it, or it is dropped.
    Absorbed,
    /// A request that no transaction knows.
    Request(Request),
    /// An ACK that belongs to a 2xx, or to nothing.
    Ack(Request),
    /// A response for the owner of a client transaction.
    Response(TxId, Option<SessionId>, Response),
    /// A response that no transaction knows.
    Stray(Response),
}

/// What a transaction tells its owner when time passes or a flow ends.
pub(crate) struct Failed {
    pub(crate) tx: TxId,
    pub(crate) owner: Option<SessionId>,
    pub(crate) transport: bool,
    pub(crate) to: Destination,
    /// The request, where another address may be tried with it.
    pub(crate) request: Option<Box<Request>>,
}

enum Machine {
    Client(Box<ClientTransaction>),
    Server(Box<ServerTransaction>),
}

struct Transaction {
    machine: Machine,
    key: Key,
    merge: Option<Key>,
    owner: Option<SessionId>,
    route: Destination,
    /// Where responses go once the flow is gone.
    fallback: Option<Destination>,
    /// Whether something has been sent: what is sent again then is a retransmission.
    sent: u32,
}

/// Counters of the endpoint.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) sent: u64,
    pub(crate) retransmitted: u64,
    pub(crate) absorbed: u64,
    pub(crate) timeouts: u64,
}

struct OpenFlow {
    flow: Flow,
    /// Who the peer has proved to be.
    names: Arc<[String]>,
}

#[derive(Default)]
pub(crate) struct Endpoint {
    transactions: BTreeMap<TxId, Transaction>,
    by_key: BTreeMap<Key, TxId>,
    merges: BTreeMap<Key, TxId>,
    /// Connections that are open, and UDP flows that are remembered: whoever drives this says when one is no more.
    flows: BTreeMap<FlowId, OpenFlow>,
    by_flow: BTreeSet<(FlowId, TxId)>,
    /// The last request of ours that was refused for what it can be sent again with, and where it went.
    refused: Option<(TxId, Box<Request>, Destination)>,
    last: u64,
    pub(crate) timers: TimerTable,
    pub(crate) transmits: VecDeque<Transmit>,
    pub(crate) counters: Counters,
}

impl Endpoint {
    pub(crate) fn len(&self) -> usize {
        self.transactions.len()
    }

    /// Whether a flow can still be sent on.
    pub(crate) fn is_open(&self, flow: &Flow) -> bool {
        self.flows.contains_key(&flow.id)
    }

    /// A flow by its number.
    pub(crate) fn flow(&self, flow: FlowId) -> Option<&Flow> {
        self.flows.get(&flow).map(|open| &open.flow)
    }

    /// Who the peer of a connection has proved to be.
    pub(crate) fn peer_names(&self, flow: FlowId) -> Arc<[String]> {
        self.flows.get(&flow).map(|open| Arc::clone(&open.names)).unwrap_or_default()
    }

    /// A flow is open.
    pub(crate) fn open_flow(&mut self, flow: &Flow) {
        self.flows.entry(flow.id).or_insert_with(|| OpenFlow { flow: *flow, names: Arc::default() });
    }

    /// A connection is open, and its peer has proved to be this.
    pub(crate) fn open_named_flow(&mut self, flow: &Flow, names: Arc<[String]>) {
        self.flows.insert(flow.id, OpenFlow { flow: *flow, names });
    }

    pub(crate) fn send(&mut self, to: Destination, bytes: Bytes) {
        self.counters.sent += 1;
        self.transmits.push_back(Transmit { to, bytes });
    }

    /// Routes a message that came in.
    pub(crate) fn receive(&mut self, now: Mono, flow: &Flow, message: Message) -> Incoming {
        self.open_flow(flow);
        match message {
            Message::Request(request) => self.receive_request(now, request),
            Message::Response(response) => self.receive_response(now, response),
        }
    }

    fn receive_request(&mut self, now: Mono, request: Request) -> Incoming {
        let Some(key) = TransactionKey::from_request(&request) else { return Incoming::Absorbed };
        let Some(tx) = self.by_key.get(&Key::of(b's', &key)).copied() else {
            return match request.method {
                Method::Ack => Incoming::Ack(request),
                _ => Incoming::Request(request),
            };
        };
        let Some(Transaction { machine: Machine::Server(machine), .. }) = self.transactions.get_mut(&tx)
        else {
            return Incoming::Absorbed;
        };
        let outputs = machine.on_request(&request);
        self.counters.absorbed += u64::from(request.method != Method::Ack);
        match self.carry_out(now, tx, outputs) {
            Some(TuEvent::Ack(_)) => Incoming::Ack(request),
            _ => Incoming::Absorbed,
        }
    }

    fn receive_response(&mut self, now: Mono, response: Response) -> Incoming {
        let known = TransactionKey::from_response(&response)
            .and_then(|key| self.by_key.get(&Key::of(b'c', &key)).copied());
        let Some(tx) = known else { return Incoming::Stray(response) };
        let Some(transaction) = self.transactions.get_mut(&tx) else { return Incoming::Absorbed };
        let (owner, route) = (transaction.owner, transaction.route);
        let Machine::Client(machine) = &mut transaction.machine else { return Incoming::Absorbed };
        if matches!(response.status.code(), 401 | 407 | 422) {
            // Over a connection the transaction ends with this answer, and its request is to be sent once more.
            self.refused = Some((tx, Box::new(machine.request().clone()), route));
        }
        let outputs = machine.on_response(response);
        match self.carry_out(now, tx, outputs) {
            Some(TuEvent::Response(response)) => Incoming::Response(tx, owner, *response),
            _ => {
                self.counters.absorbed += 1;
                Incoming::Absorbed
            }
        }
    }

    /// Begins a server transaction for a request that is to be answered later or more than once.
    pub(crate) fn open_server(
        &mut self,
        now: Mono,
        flow: &Flow,
        request: &Request,
        owner: Option<SessionId>,
    ) -> TxId {
        self.last += 1;
        let tx = TxId(self.last);
        let (route, fallback) = message::response_route(request, flow);
        let slim = message::slim(request, flow);
        let (machine, outputs) = ServerTransaction::new(slim, flow.transport.reliability(), timing());
        let key =
            TransactionKey::from_request(request).map_or_else(|| Key::unique(tx), |k| Key::of(b's', &k));
        let merge = merge_key(request);
        if let Some(merge) = &merge {
            self.merges.insert(merge.clone(), tx);
        }
        let machine = Machine::Server(Box::new(machine));
        self.insert(tx, Transaction { machine, key, merge, owner, route, fallback: Some(fallback), sent: 0 });
        self.carry_out(now, tx, outputs);
        tx
    }

    /// Whether this request came before by another way (RFC 3261 section 8.2.2.2).
    pub(crate) fn is_merged(&self, request: &Request) -> bool {
        merge_key(request).is_some_and(|key| self.merges.contains_key(&key))
    }

    /// Whether this is an INVITE that is being answered, its repetition or its CANCEL.
    pub(crate) fn has_invite(&self, head: &Head<'_>) -> bool {
        invite_key(head).is_some_and(|key| self.merges.contains_key(&key))
    }

    /// Begins a client transaction: sends the request. It must carry our Via.
    pub(crate) fn open_client(
        &mut self,
        now: Mono,
        to: Destination,
        transport: Transport,
        request: Request,
        owner: Option<SessionId>,
    ) -> TxId {
        self.last += 1;
        let tx = TxId(self.last);
        self.reopen_client(now, tx, to, transport, request, owner);
        tx
    }

    /// Begins a client transaction under a number that an earlier one has left.
    pub(crate) fn reopen_client(
        &mut self,
        now: Mono,
        tx: TxId,
        to: Destination,
        transport: Transport,
        request: Request,
        owner: Option<SessionId>,
    ) {
        let key = TransactionKey::from_sent_request(&request)
            .map_or_else(|| Key::unique(tx), |k| Key::of(b'c', &k));
        if request.method == Method::Invite {
            self.timers.set(Deadline::Transaction(tx, GIVE_UP), now + INVITE_MAX);
        }
        let (machine, outputs) = ClientTransaction::new(request, transport.reliability(), timing());
        let machine = Machine::Client(Box::new(machine));
        self.insert(tx, Transaction { machine, key, merge: None, owner, route: to, fallback: None, sent: 0 });
        self.carry_out(now, tx, outputs);
    }

    fn insert(&mut self, tx: TxId, transaction: Transaction) {
        if let Destination::Flow(flow) = transaction.route {
            self.by_flow.insert((flow, tx));
        }
        self.by_key.insert(transaction.key.clone(), tx);
        self.transactions.insert(tx, transaction);
    }

    /// Sends a response of a server transaction; gives what was sent, for retransmissions of a 2xx.
    pub(crate) fn respond(&mut self, now: Mono, tx: TxId, response: Response) -> Option<Bytes> {
        let transaction = self.transactions.get_mut(&tx)?;
        let Machine::Server(machine) = &mut transaction.machine else { return None };
        let outputs = machine.on_tu_response(response);
        let queued = self.transmits.len();
        self.carry_out(now, tx, outputs);
        // The response goes before whatever else follows from it.
        self.transmits.get(queued).map(|sent| sent.bytes.clone())
    }

    /// The (slim) request of a server transaction, or the request of a client transaction.
    pub(crate) fn request(&self, tx: TxId) -> Option<&Request> {
        let refused = || self.refused.as_ref().filter(|(of, ..)| *of == tx).map(|(_, request, _)| &**request);
        let request = self.transactions.get(&tx).map(|transaction| match &transaction.machine {
            Machine::Client(machine) => machine.request(),
            Machine::Server(machine) => machine.request(),
        });
        request.or_else(refused)
    }

    /// Where a transaction sends to.
    pub(crate) fn route(&self, tx: TxId) -> Option<Destination> {
        let refused = || self.refused.as_ref().filter(|(of, ..)| *of == tx).map(|(_, _, route)| *route);
        self.transactions.get(&tx).map(|transaction| transaction.route).or_else(refused)
    }

    /// The INVITE that a CANCEL means, and whose it is (section 9.2).
    pub(crate) fn cancelled(&self, cancel: &Request) -> Option<(TxId, Option<SessionId>)> {
        let key = Key::of(b's', &TransactionKey::for_cancelled_invite(cancel)?);
        let tx = *self.by_key.get(&key)?;
        self.transactions.get(&tx).map(|transaction| (tx, transaction.owner))
    }

    /// Fires a timer of a transaction.
    pub(crate) fn fire(&mut self, now: Mono, tx: TxId, timer: u8) -> Option<Failed> {
        if timer == GIVE_UP {
            return self.give_up(tx);
        }
        let timer = *Timer::ALL.get(usize::from(timer))?;
        let transaction = self.transactions.get_mut(&tx)?;
        let (owner, to) = (transaction.owner, transaction.route);
        let is_client = matches!(transaction.machine, Machine::Client(_));
        let gives_up = matches!(timer, Timer::B | Timer::F);
        let mut request = None;
        let outputs = match &mut transaction.machine {
            Machine::Client(machine) => {
                request = (gives_up && to.address().is_some()).then(|| Box::new(machine.request().clone()));
                machine.on_timer(timer)
            }
            Machine::Server(machine) => machine.on_timer(timer),
        };
        match self.carry_out(now, tx, outputs) {
            Some(TuEvent::Timeout) => {
                self.counters.timeouts += 1;
                // A server's time-out is an ACK of a refusal that never came: nobody has to know.
                is_client.then_some(Failed { tx, owner, transport: false, to, request })
            }
            _ => None,
        }
    }

    /// An INVITE that nobody answers finally; one that has been answered ends by its own timers.
    fn give_up(&mut self, tx: TxId) -> Option<Failed> {
        let failed = self.fail(tx)?;
        self.counters.timeouts += 1;
        // Who has answered so far is there: no other address is tried.
        Some(Failed { transport: false, request: None, ..failed })
    }

    /// A flow ended: client transactions on it fail, server transactions answer by Via from now on.
    pub(crate) fn close_flow(&mut self, flow: FlowId) -> Vec<Failed> {
        self.flows.remove(&flow);
        let on_flow: Vec<TxId> =
            self.by_flow.range((flow, TxId(0))..=(flow, TxId(u64::MAX))).map(|(_, tx)| *tx).collect();
        on_flow.into_iter().filter_map(|tx| self.lose_route(flow, tx)).collect()
    }

    fn lose_route(&mut self, flow: FlowId, tx: TxId) -> Option<Failed> {
        self.by_flow.remove(&(flow, tx));
        let transaction = self.transactions.get_mut(&tx)?;
        match (&transaction.machine, transaction.fallback) {
            (Machine::Server(_), Some(fallback)) => {
                transaction.route = fallback;
                None
            }
            _ => self.fail(tx),
        }
    }

    /// An address cannot be reached: client transactions towards it fail.
    pub(crate) fn close_address(&mut self, to: Destination) -> Vec<Failed> {
        let towards: Vec<TxId> = self
            .transactions
            .iter()
            .filter(|(_, t)| {
                let is_there = t.route == to || (to.address().is_some() && t.route.address() == to.address());
                is_there && matches!(t.machine, Machine::Client(_))
            })
            .map(|(tx, _)| *tx)
            .collect();
        towards.into_iter().filter_map(|tx| self.fail(tx)).collect()
    }

    fn fail(&mut self, tx: TxId) -> Option<Failed> {
        let transaction = self.transactions.get(&tx)?;
        let Machine::Client(machine) = &transaction.machine else { return None };
        // After a final response only retransmissions are waited for: nothing is lost.
        let is_open = matches!(
            machine.state(),
            sipx_sip::transaction::ClientState::Calling
                | sipx_sip::transaction::ClientState::Trying
                | sipx_sip::transaction::ClientState::Proceeding
        );
        let (owner, to) = (transaction.owner, transaction.route);
        let request = (is_open && to.address().is_some()).then(|| Box::new(machine.request().clone()));
        self.remove(tx);
        is_open.then_some(Failed { tx, owner, transport: true, to, request })
    }

    /// Does what a machine wants; gives what it has to say to its owner (at most one thing).
    fn carry_out(&mut self, now: Mono, tx: TxId, outputs: Vec<Output>) -> Option<TuEvent> {
        let mut told = None;
        for output in outputs {
            match output {
                Output::Send(message) => self.send_of(tx, &message),
                Output::SetTimer { timer, after } if after.is_zero() => {
                    // Reliable transports: nothing to absorb (timers D, I, J, K are zero), so it is over.
                    let more = self.transactions.get_mut(&tx).map(|t| match &mut t.machine {
                        Machine::Client(machine) => machine.on_timer(timer),
                        Machine::Server(machine) => machine.on_timer(timer),
                    });
                    let more = self.carry_out(now, tx, more.unwrap_or_default());
                    told = told.or(more);
                }
                Output::SetTimer { timer, after } => {
                    self.timers.set(Deadline::transaction(tx, timer), now + after);
                }
                Output::ClearTimer(timer) => self.timers.clear(Deadline::transaction(tx, timer)),
                Output::ToTu(event) => told = Some(*event),
                Output::Terminated(_) => self.remove(tx),
                _ => {}
            }
        }
        told
    }

    fn send_of(&mut self, tx: TxId, message: &Message) {
        let Some(transaction) = self.transactions.get_mut(&tx) else { return };
        let route = transaction.route;
        transaction.sent += 1;
        // A client sends its request and one ACK, a server a provisional and a final: the rest is repetition.
        // An ACK is built anew for each refusal, so it counts as a first.
        let is_repeat = transaction.sent > 1
            && match (&transaction.machine, message) {
                (Machine::Client(_), Message::Request(request)) => request.method != Method::Ack,
                _ => false,
            };
        self.counters.retransmitted += u64::from(is_repeat);
        self.send(route, message::to_bytes(message));
    }

    fn remove(&mut self, tx: TxId) {
        let Some(transaction) = self.transactions.remove(&tx) else { return };
        self.by_key.remove(&transaction.key);
        if let Some(merge) = transaction.merge {
            self.merges.remove(&merge);
        }
        if let Destination::Flow(flow) = transaction.route {
            self.by_flow.remove(&(flow, tx));
        }
        self.timers.clear_transaction(tx);
    }
}
