//! baresip, a softphone: it calls, plays a WAV file, hangs up, and says how many packets it sent.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::PATIENCE;
use super::program::Program;
use super::server::Server;

/// Above those of the tests, below those that the kernel gives; baresip tries until one is free.
const MEDIA_PORTS: &str = "32000-32760";

/// A softphone that calls the server.
pub struct Baresip {
    program: Program,
}

impl Baresip {
    /// Calls as `sip:<user>@127.0.0.1`, plays `wav` (8 kHz, mono, longer than the call), and ends after `length`.
    pub fn call(server: &Server, user: &str, wav: &Path, length: Duration, codec: &str) -> Self {
        let target = format!("sip:recorder@{}", server.sip_address());
        Self::start(server, user, wav, length, codec, &target, "")
    }

    /// As `call`, with this encryption of media, by the module that does it.
    pub fn call_encrypted(
        server: &Server,
        user: &str,
        wav: &Path,
        length: Duration,
        codec: &str,
        (module, way): (&str, &str),
    ) -> Self {
        let target = format!("sip:recorder@{}", server.sip_address());
        let codec = format!("{codec};mediaenc={way}");
        Self::start(server, user, wav, length, &codec, &target, &format!("module {module}.so\n"))
    }

    /// As `call`, by TLS to a port whose certificate must come from `ca`.
    pub fn call_over_tls(
        server: &Server,
        port: u16,
        ca: &Path,
        user: &str,
        wav: &Path,
        length: Duration,
        codec: &str,
    ) -> Self {
        let more = format!("sip_cafile {}\nsip_verify_server yes\n", ca.display());
        let target = format!("sip:recorder@127.0.0.1:{port};transport=tls");
        Self::start(server, user, wav, length, codec, &target, &more)
    }

    fn start(
        server: &Server,
        user: &str,
        wav: &Path,
        length: Duration,
        codec: &str,
        target: &str,
        more: &str,
    ) -> Self {
        let directory = server.directory().join(format!("baresip-{user}"));
        std::fs::create_dir(&directory).expect("a directory for baresip");
        let sip = server.ports().next();
        let config = format!(
            "poll_method epoll\nsip_listen 127.0.0.1:{sip}\nnet_interface 127.0.0.1\n\
             audio_player aufile,{0}/heard.wav\naudio_source aufile,{1}\naudio_alert aufile,{0}/alert.wav\n\
             ausrc_srate 8000\nauplay_srate 8000\nausrc_channels 1\nauplay_channels 1\nausrc_format s16\n\
             auplay_format s16\naudio_txmode thread\naudio_level no\nrtp_ports {MEDIA_PORTS}\nrtcp_enable yes\n\
             rtp_stats yes\njitter_buffer_delay 5-10\nmodule_path {2}\nmodule g711.so\nmodule aufile.so\n\
             module_tmp uuid.so\nmodule_tmp account.so\nmodule_app menu.so\n{more}",
            directory.display(),
            wav.display(),
            module_path(),
        );
        let write =
            |name: &str, text: &str| std::fs::write(directory.join(name), text).expect("a file of baresip");
        write("config", &config);
        write("accounts", &format!("<sip:{user}@127.0.0.1>;regint=0;audio_codecs={codec}\n"));
        write("contacts", "");
        write("uuid", "3f3f6b2c-0000-4000-8000-000000000000\n");
        let mut command = Command::new("baresip");
        command.arg("-f").arg(&directory).args(["-t", &length.as_secs().to_string()]);
        command.args(["-e", &format!("/dial {target}")]);
        Self { program: Program::start(command, &directory.join("output")) }
    }

    /// Waits until it has hung up; gives the number of packets that it says it sent.
    pub fn finish(mut self) -> u64 {
        let status = self.program.wait(PATIENCE);
        let output = self.program.output();
        assert!(status.success(), "baresip ended with {status}:\n{output}");
        let line = output.lines().find(|l| l.starts_with("packets:"));
        let sent = line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse().ok());
        sent.unwrap_or_else(|| panic!("baresip says nothing of the packets that it sent:\n{output}"))
    }
}

/// Where Debian puts its modules, which is one place or, with newer releases, one per architecture.
fn module_path() -> String {
    let of_architecture = format!("/usr/lib/{}-linux-gnu/baresip/modules", std::env::consts::ARCH);
    if Path::new(&of_architecture).is_dir() { of_architecture } else { "/usr/lib/baresip/modules".to_owned() }
}
