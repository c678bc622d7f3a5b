//! What the distribution's rtpengine costs for a packet that it forwards, and for one that it records too: a relay that
//! many have, in user space as it is after `apt install rtpengine-daemon`, on the same core and from the same generator.
//!
//! It is asked by its ng protocol: a datagram with a cookie and a bencoded dictionary.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::machine::Cores;
use crate::options::Options;
use crate::packets::{Turn, turn};
use crate::report::median;
use crate::traffic::generator::{Generator, sockets};
use crate::{Failure, machine, procfs};

/// Where it is asked.
const NG: &str = "127.0.0.1:15223";
/// Its media ports: those of no other part of this measurement.
const PORTS: (u16, u16) = (40_000, 59_998);
/// Two-way calls.
const CALLS: usize = 500;
/// How often it is asked the same: on a busy machine an answer may take longer than is waited for it.
const ASKED_MAX: usize = 5;
/// For it to start.
const START: Duration = Duration::from_secs(10);

/// What it costs.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) version: String,
    pub(crate) calls: usize,
    /// CPU for each packet that comes to it, in microseconds, medians: forwarded, and forwarded and recorded (pcap).
    pub(crate) forwards_us: f64,
    pub(crate) records_us: f64,
    /// Packets that were sent to it, that it says it sent on, and that its sockets dropped.
    pub(crate) sent: u64,
    pub(crate) relayed: u64,
    pub(crate) kernel_drops: u64,
}

/// None where it is not installed.
pub(crate) fn measure(options: &Options) -> Result<Option<Peer>, Failure> {
    let Ok(said) = Command::new("rtpengine").arg("--version").output() else { return Ok(None) };
    let said = [said.stdout, said.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let version = said.lines().find_map(|l| l.strip_prefix("Version: ")).unwrap_or("unknown").to_owned();
    let (mut sent, mut relayed, mut kernel_drops) = (0, 0, 0);
    let mut each = |records| -> Result<f64, Failure> {
        let peer = Running::start(records)?;
        let (rtp, _rtcp) = sockets([127, 0, 0, 1].into())?;
        let own = rtp.local_addr()?;
        let mut generator = Generator::new(rtp);
        let mut ports = std::collections::BTreeSet::new();
        for call in 0..CALLS {
            let to = peer.call(call, own, records)?;
            ports.extend(to.iter().map(SocketAddr::port));
            generator.add(call, &to);
        }
        let turns = (0..options.repeats.max(1)).map(|_| turn(&mut generator, peer.child.id(), options.turn));
        let turns = turns.collect::<Result<Vec<_>, _>>()?;
        sent += generator.sent.packets;
        relayed += peer.relayed()?;
        kernel_drops += procfs::kernel_drops(&ports)?;
        Ok(median(&turns.iter().map(Turn::packet_us).collect::<Vec<_>>()))
    };
    let (forwards_us, records_us) = (each(false)?, each(true)?);
    Ok(Some(Peer { version, calls: CALLS, forwards_us, records_us, sent, relayed, kernel_drops }))
}

struct Running {
    child: Child,
    ng: UdpSocket,
    /// What it records goes with it.
    _directory: tempfile::TempDir,
}

impl Running {
    fn start(records: bool) -> Result<Self, Failure> {
        let directory = tempfile::Builder::new().prefix("callspool-bench.").tempdir()?;
        let mut command = Command::new("rtpengine");
        command.args(["--config-file=none", "--foreground", "--table=-1", "--interface=127.0.0.1"]);
        command.arg(format!("--listen-ng={NG}"));
        command.args([format!("--port-min={}", PORTS.0), format!("--port-max={}", PORTS.1)]);
        command.args(["--log-level=2", "--log-stderr", "--num-threads=1"]);
        if records {
            command
                .arg("--recording-method=pcap")
                .arg(format!("--recording-dir={}", directory.path().display()));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(directory.path().join("log"))?);
        let child = machine::on(Cores::One, || command.spawn())?;
        let ng = UdpSocket::bind("127.0.0.1:0")?;
        ng.connect(NG)?;
        ng.set_read_timeout(Some(Duration::from_secs(1)))?;
        let running = Self { child, ng, _directory: directory };
        let until = Instant::now() + START;
        while running.ask("start", &[("command", "ping")]).is_err() {
            if Instant::now() > until {
                return Err("rtpengine does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(running)
    }

    /// Where the two sides of a new call send to.
    fn call(&self, number: usize, own: SocketAddr, records: bool) -> Result<[SocketAddr; 2], Failure> {
        let id = format!("call-{number}");
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\na=sendrecv\r\n",
            own.port(),
            ip = own.ip(),
        );
        let common = [("call-id", id.as_str()), ("from-tag", "a"), ("sdp", sdp.as_str())];
        let recorded: &[(&str, &str)] = if records { &[("record call", "yes")] } else { &[] };
        let offer = [&[("command", "offer")], &common[..], recorded].concat();
        let answer = [&[("command", "answer"), ("to-tag", "b")], &common[..], recorded].concat();
        // What the offer becomes tells the called side where to send to.
        let called = media(&self.ask(&format!("o{number}"), &offer)?)?;
        let caller = media(&self.ask(&format!("a{number}"), &answer)?)?;
        Ok([caller, called])
    }

    /// Packets that it has sent on: a call that it does not relay would cost it little.
    fn relayed(&self) -> Result<u64, Failure> {
        // What is on its way is sent on first.
        std::thread::sleep(Duration::from_millis(300));
        let said = self.ask("totals", &[("command", "statistics")])?;
        let count = said.split("14:relayedpacketsi").nth(1).and_then(|s| s.split('e').next()?.parse().ok());
        Ok(count.ok_or("rtpengine does not say what it relayed")?)
    }

    fn ask(&self, cookie: &str, what: &[(&str, &str)]) -> Result<String, Failure> {
        let mut sorted = what.to_vec();
        sorted.sort_unstable();
        let text = |t: &str| format!("{}:{t}", t.len());
        let words: String = sorted.iter().map(|(key, value)| text(key) + &text(value)).collect();
        let request = format!("{cookie} d{words}e");
        self.ng.send(request.as_bytes())?;
        let mut asked = 1;
        let mut buffer = [0; 16_384];
        loop {
            let length = match self.ng.recv(&mut buffer) {
                Ok(length) => length,
                // The same cookie gets the same answer, so that nothing is done twice.
                Err(e) if e.kind() == ErrorKind::WouldBlock && asked < ASKED_MAX => {
                    asked += 1;
                    self.ng.send(request.as_bytes())?;
                    continue;
                }
                Err(e) => return Err(e.into()),
            };
            let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if let Some(answer) = answer.strip_prefix(cookie).and_then(|a| a.strip_prefix(' ')) {
                let is_well = ["6:result2:ok", "6:result4:pong", "15:totalstatistics"]
                    .iter()
                    .any(|word| answer.contains(word));
                return if is_well {
                    Ok(answer.to_owned())
                } else {
                    Err(format!("rtpengine: {answer}").into())
                };
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address of the first line of an answer's SDP.
fn media(answer: &str) -> Result<SocketAddr, Failure> {
    let port = answer.split("m=audio ").nth(1).and_then(|m| m.split(' ').next()?.parse().ok());
    Ok(SocketAddr::from(([127, 0, 0, 1], port.ok_or("no media in rtpengine's answer")?)))
}
