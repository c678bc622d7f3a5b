//! SIP alone, over real sockets: agent, front and driver as the signalling task has them, on a core of their own, with a
//! record server that answers at once. What files, media and catalog cost is in no figure of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use call::{Action, Front, FrontConfig, TrunkGate, Trunks};
use model::peer::Flowing;
use model::{
    Dtmf, EndReason, IdGenerator, NodeNumber, OpenSegment, Order, RecordingState, Report, SegmentId,
    SegmentRecord, StreamPorts, TenantId,
};
use nix::time::{ClockId, clock_gettime};
use sip::{Agent, AgentConfig, Transport};
use tokio::sync::oneshot;

use crate::invites::{METADATA, NO_MEDIA, client_of, place, wait_until_over};
use crate::machine::{self, Cores};
use crate::net::{Alarm, NetConfig, Rates, SipDriver, SipSockets};
use crate::report::median_p99_worst;
use crate::traffic::Offer;
use crate::{Failure, clock};

/// New calls per second: what one core is to take, and half of it, where its own time counts.
pub(crate) const RATES: [u32; 2] = [1_500, 3_000];
const SECONDS: u32 = 10;
/// How long a call is up.
const STAYS: Duration = Duration::from_secs(1);
/// Far more than are up at any of the rates.
const CALLS_MAX: usize = 100_000;

/// What came out at a rate.
#[derive(Debug)]
pub(crate) struct Signalled {
    pub(crate) rate: u32,
    /// The rate that was reached.
    pub(crate) reached: f64,
    pub(crate) calls: usize,
    pub(crate) failed: usize,
    pub(crate) resent: u64,
    /// CPU of the signalling thread for a call from INVITE to BYE, in microseconds.
    pub(crate) cpu_us: f64,
    /// INVITE to 200 in milliseconds: median, 99 of 100, worst.
    pub(crate) setup_ms: [f64; 3],
}

pub(crate) fn measure(rate: u32) -> Result<Signalled, Failure> {
    let server = Server::start()?;
    let mut client = client_of(server.address, METADATA, Offer::default())?;
    let took = place(&mut client, NO_MEDIA, rate, usize::try_from(rate * SECONDS)?, STAYS);
    wait_until_over(&mut client, STAYS);
    let cpu = server.stop()?;
    let each = client.calls.len() as f64;
    let mut setups: Vec<f64> = client.calls.iter().filter_map(|call| call.setup_ms()).collect();
    Ok(Signalled {
        rate,
        reached: each / took.as_secs_f64(),
        calls: client.calls.len(),
        failed: client.calls.len() - setups.len(),
        resent: client.resent,
        cpu_us: cpu.as_secs_f64() * 1e6 / each,
        setup_ms: median_p99_worst(&mut setups),
    })
}

/// The signalling thread, seen from outside.
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<Duration, String>>,
}

impl Server {
    fn start() -> Result<Self, Failure> {
        let (stop, stopped) = oneshot::channel();
        let (told, address) = std::sync::mpsc::channel();
        let thread = machine::on(Cores::One, || {
            std::thread::Builder::new().name("signalling".to_owned()).spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|e| e.to_string())?;
                runtime.block_on(async {
                    let (signalling, address) = Signalling::bind().map_err(|e| e.to_string())?;
                    told.send(address).map_err(|e| e.to_string())?;
                    Ok(signalling.run(stopped).await)
                })
            })
        })?;
        match address.recv() {
            Ok(address) => Ok(Self { address, stop, thread }),
            // It has said why.
            Err(_) => Err(thread
                .join()
                .map_err(|_| "the signalling thread panicked")?
                .err()
                .unwrap_or_default()
                .into()),
        }
    }

    /// Ends it; the CPU that it took.
    fn stop(self) -> Result<Duration, Failure> {
        let _ = self.stop.send(());
        Ok(self.thread.join().map_err(|_| "the signalling thread panicked")??)
    }
}

/// What the signalling task of `callspool serve` owns, but for its record server, people and catalog.
struct Signalling {
    driver: SipDriver<TrunkGate>,
    front: Front,
    open: BTreeMap<SegmentId, Box<OpenSegment>>,
    next_port: u16,
}

impl Signalling {
    fn bind() -> Result<(Self, SocketAddr), Failure> {
        let udp = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let sockets = SipSockets::bind(&NetConfig { udp, ..NetConfig::default() })?;
        let address = sockets.udp_addresses().first().copied().ok_or("no UDP address")?;
        let tenant = TenantId::default();
        let trunks = Trunks::new(Vec::new(), tenant.clone());
        let agent = AgentConfig {
            advertised: vec![(Transport::Udp, address)],
            sessions_max: CALLS_MAX,
            transactions_max: 40 * CALLS_MAX,
            ..AgentConfig::default()
        };
        let front = FrontConfig {
            node: NodeNumber::SINGLE,
            tenant,
            trunks: trunks.clone(),
            tenant_calls_max: BTreeMap::new(),
            calls_max: CALLS_MAX,
            linger: Duration::from_secs(3),
            hold_timeout: Duration::from_secs(7_200),
            inactive: Flowing::Held,
            pause_timeout: Duration::ZERO,
            orders_by_header: true,
            dtmf: Dtmf::Keep,
            video: true,
            address_v4: Some([127, 0, 0, 1].into()),
            address_v6: None,
        };
        let agent = Agent::with_gate(agent, [7; 32], TrunkGate::new(trunks, [7; 32]));
        let driver =
            SipDriver::new(agent, sockets).limited(Rates::new(0, Instant::now()), "bench".to_owned());
        let front = Front::new(front, IdGenerator::new(NodeNumber::SINGLE, 0));
        Ok((Self { driver, front, open: BTreeMap::new(), next_port: 20_000 }, address))
    }

    /// Runs until it is told to stop; the CPU that this thread took meanwhile.
    async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Duration {
        let (before, mut alarm) = (cpu_of_thread(), Alarm::default());
        loop {
            let timer = self.front.next_timeout().map(clock::instant);
            tokio::select! {
                biased;
                _ = &mut stop => return cpu_of_thread().saturating_sub(before),
                () = alarm.at(timer) => self.front.handle_timeout(clock::now()),
                input = self.driver.select() => self.driver.apply(input),
            }
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        loop {
            if let Some(event) = self.driver.poll_event() {
                self.front.handle_event(clock::now(), event);
            } else if let Some(action) = self.front.poll_action() {
                self.act(action);
            } else {
                break;
            }
        }
        self.driver.set_full(self.front.is_full());
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Accept { session, sdp } => {
                let _ = self.driver.with(|agent, now| agent.accept(now, session, sdp, &[]));
            }
            Action::Refuse { session, code, reason, headers } => {
                let _ = self.driver.with(|agent, now| agent.refuse(now, session, code, reason, &headers));
            }
            Action::Order(Order::Open(open)) => {
                let ports = open.streams.iter().map(|stream| self.ports(stream.stream)).collect();
                let opened = Report::Opened { segment: open.segment, ports };
                self.open.insert(open.segment, open);
                self.front.handle_report(clock::now(), opened);
            }
            Action::Order(Order::End { segment, reason, .. }) => {
                if let Some(open) = self.open.remove(&segment) {
                    let record = Box::new(sealed(*open, reason));
                    self.front.handle_report(clock::now(), Report::Ended { record });
                }
            }
            // What is told goes to a catalog that there is none of.
            other => drop(std::hint::black_box(other)),
        }
    }

    fn ports(&mut self, stream: model::StreamId) -> StreamPorts {
        self.next_port = if self.next_port > 60_000 { 20_000 } else { self.next_port + 2 };
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        StreamPorts { stream, rtp: at(self.next_port), rtcp: at(self.next_port + 1), is_stuck: false }
    }
}

fn sealed(open: OpenSegment, end: EndReason) -> SegmentRecord {
    let begun = RecordingState::begin(open.respondent);
    SegmentRecord {
        id: open.segment,
        call: open.call,
        tenant: open.tenant,
        number: open.number,
        total: model::total::at_end(open.number, open.total, &end),
        node: NodeNumber::SINGLE,
        volume: Default::default(),
        state: begun.apply(end.transition()).unwrap_or(begun),
        respondent: open.respondent,
        started: open.started,
        ended: Some(clock::wall()),
        trigger: open.trigger,
        end: Some(end),
        stopped_by: None,
        pauses: Vec::new(),
        pauses_unlisted: 0,
        dtmf: open.dtmf,
        encryption: Default::default(),
        data: open.data,
        metadata: open.metadata,
        streams: Vec::new(),
        parts: Vec::new(),
        sidecar: None,
    }
}

fn cpu_of_thread() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}
