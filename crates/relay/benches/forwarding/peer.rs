//! The distribution's rtpengine, a relay that many have: in user space, as it is after `apt install rtpengine-daemon`, with one
//! thread. It is asked by its ng protocol: a datagram with a cookie and a bencoded dictionary.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::keeping;

/// Where it is asked.
const NG: &str = "127.0.0.1:15223";
/// Its media ports.
const PORTS: (u16, u16) = (40_000, 59_998);
/// How often it is asked the same: on a busy machine an answer may take longer than is waited for it.
const ASKED_MAX: usize = 5;
/// For it to start.
const START: Duration = Duration::from_secs(10);

/// What it does with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    Forward,
    /// And writes it to a file of its call (pcap).
    Record,
}

/// Its version; none where it is not installed.
pub(crate) fn version() -> Option<String> {
    let said = Command::new("rtpengine").arg("--version").output().ok()?;
    let said = [said.stdout, said.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Some(said.lines().find_map(|l| l.strip_prefix("Version: ")).unwrap_or("unknown").to_owned())
}

/// One that runs. Dropped, it ends.
pub(crate) struct Peer {
    child: Child,
    ng: UdpSocket,
    task: Task,
    directory: PathBuf,
}

impl Peer {
    pub(crate) fn start(task: Task) -> Result<Self, Failure> {
        let directory = keeping::own_directory()?;
        let mut command = Command::new("rtpengine");
        command.args(["--config-file=none", "--foreground", "--table=-1", "--interface=127.0.0.1"]);
        command.arg(format!("--listen-ng={NG}"));
        command.args([format!("--port-min={}", PORTS.0), format!("--port-max={}", PORTS.1)]);
        command.args(["--log-level=2", "--log-stderr", "--num-threads=1"]);
        if task == Task::Record {
            command.arg("--recording-method=pcap").arg(format!("--recording-dir={}", directory.display()));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(directory.join("log"))?);
        let child = command.spawn()?;
        let ng = UdpSocket::bind("127.0.0.1:0")?;
        ng.connect(NG)?;
        ng.set_read_timeout(Some(Duration::from_secs(1)))?;
        let running = Self { child, ng, task, directory };
        let until = Instant::now() + START;
        while running.ask("start", &[("command", "ping")]).is_err() {
            if Instant::now() > until {
                return Err("rtpengine does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(running)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the two sides of a new call, which are at these addresses, send to.
    pub(crate) fn call(&self, number: u64, sides: [SocketAddr; 2]) -> Result<[SocketAddr; 2], Failure> {
        let id = format!("call-{number}");
        let [caller, called] = sides.map(|own| {
            format!(
                "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\na=sendrecv\r\n",
                own.port(),
                ip = own.ip(),
            )
        });
        let common = [("call-id", id.as_str()), ("from-tag", "a")];
        let recorded: &[_] = if self.task == Task::Record { &[("record call", "yes")] } else { &[] };
        let offer = [&[("command", "offer"), ("sdp", caller.as_str())], &common[..], recorded].concat();
        let answer =
            [&[("command", "answer"), ("to-tag", "b"), ("sdp", called.as_str())], &common[..], recorded]
                .concat();
        // What the offer becomes tells the called side where to send to.
        let to_called = media(&self.ask(&format!("o{number}"), &offer)?)?;
        let to_caller = media(&self.ask(&format!("a{number}"), &answer)?)?;
        Ok([to_caller, to_called])
    }

    /// Octets in its recordings.
    pub(crate) fn recorded(&self) -> u64 {
        octets(&self.directory.join("pcaps"))
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
                let is_well = ["6:result2:ok", "6:result4:pong"].iter().any(|word| answer.contains(word));
                return if is_well {
                    Ok(answer.to_owned())
                } else {
                    Err(format!("rtpengine: {answer}").into())
                };
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn octets(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

/// The address of the first line of an answer's SDP.
fn media(answer: &str) -> Result<SocketAddr, Failure> {
    let port = answer.split("m=audio ").nth(1).and_then(|m| m.split(' ').next()?.parse().ok());
    Ok(SocketAddr::from(([127, 0, 0, 1], port.ok_or("no media in rtpengine's answer")?)))
}
