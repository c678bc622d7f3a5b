//! A browser in the test's own hands: Chromium without a window, told what to do by its DevTools protocol.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::program::Program;
use super::server::Server;
use super::{PATIENCE, wait_until};

/// The page's address, with the token.
pub fn address(server: &Server) -> String {
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    format!("http://{}/?token={}", server.http_address(), token.trim())
}

/// How many points of the picture of a call have the color of a CSS variable, nearly: an expression.
pub fn painted(variable: &str) -> String {
    format!(
        "(() => {{
            const canvas = document.querySelector('.wave canvas');
            if (!canvas || !canvas.width) return -1;
            const probe = document.createElement('canvas').getContext('2d');
            probe.fillStyle = getComputedStyle(canvas.parentNode).getPropertyValue('--{variable}').trim();
            probe.fillRect(0, 0, 1, 1);
            const wanted = probe.getImageData(0, 0, 1, 1).data;
            const seen = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            let count = 0;
            for (let i = 0; i < seen.length; i += 4) {{
                const off = Math.abs(seen[i] - wanted[0]) + Math.abs(seen[i + 1] - wanted[1]) + Math.abs(seen[i + 2] - wanted[2]);
                if (seen[i + 3] > 100 && off < 30) count += 1;
            }}
            return count;
        }})()"
    )
}

/// One page of a browser.
pub struct Browser {
    runtime: Runtime,
    socket: WebSocketStream<TcpStream>,
    /// Which page is meant; null: the browser itself.
    session: Value,
    last: u64,
    complaints: Vec<String>,
    program: Program,
    _profile: TempDir,
}

impl Browser {
    /// Starts it, with an empty page of this size.
    pub fn start(width: u32, height: u32) -> Self {
        let profile = tempfile::Builder::new().prefix("callspool-chromium-").tempdir().unwrap();
        let mut command = Command::new("chromium");
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio"]);
        command.args([
            "--disable-dev-shm-usage",
            "--remote-debugging-port=0",
            "--disable-background-networking",
        ]);
        command.args(["--autoplay-policy=no-user-gesture-required", "--lang=en-US"]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.env("TZ", "Europe/Berlin").env("HOME", profile.path());
        let program = Program::start(command, &profile.path().join("log"));
        let file = profile.path().join("DevToolsActivePort");
        let (address, path) = wait_until("Chromium to listen", PATIENCE, || {
            let text = std::fs::read_to_string(&file).map_err(|e| e.to_string())?;
            let (port, path) =
                text.split_once('\n').filter(|(_, path)| path.len() > 40).ok_or("half a file")?;
            Ok((format!("127.0.0.1:{port}"), path.trim().to_owned()))
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let socket = runtime.block_on(async {
            let stream = TcpStream::connect(&address).await.unwrap();
            tokio_tungstenite::client_async(format!("ws://{address}{path}"), stream).await.unwrap().0
        });
        let session = Value::Null;
        let mut browser =
            Self { runtime, socket, session, last: 0, complaints: Vec::new(), program, _profile: profile };
        let page = wait_until("a page", PATIENCE, || {
            let targets = browser.call("Target.getTargets", json!({}))["targetInfos"].clone();
            let page = targets.as_array().and_then(|all| all.iter().find(|t| t["type"] == "page"));
            page.map(|p| p["targetId"].clone()).ok_or_else(|| targets.to_string())
        });
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": page, "flatten": true }));
        browser.session = attached["sessionId"].clone();
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.resize(width, height);
        browser
    }

    /// Shows an address.
    pub fn go(&mut self, url: &str) {
        let gone = self.call("Page.navigate", json!({ "url": url }));
        assert!(gone.get("errorText").is_none(), "{url}: {gone}");
    }

    /// Shows the page anew, and waits until the old one is gone: it would answer questions for the new one.
    pub fn reload(&mut self) {
        self.eval("window.isOld = true");
        self.call("Page.reload", json!({}));
        wait_until("the page to be a new one", PATIENCE, || {
            // A question that meets the change has no answer.
            match self.try_call("Runtime.evaluate", json!({ "expression": "window.isOld === undefined" })) {
                Ok(answer) if answer["result"]["value"] == Value::Bool(true) => Ok(()),
                Ok(answer) => Err(answer.to_string()),
                Err(why) => Err(why),
            }
        });
    }

    /// Makes the page this large, in CSS pixels.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// `light` or `dark`.
    pub fn prefer(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// What an expression is worth, a promise awaited.
    pub fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let answer = self.call("Runtime.evaluate", asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer:#}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub fn wait_for(&mut self, what: &str, expression: &str) {
        let end = Instant::now() + PATIENCE;
        // A page that is not there yet has nothing of what is asked for.
        let patient =
            format!("(() => {{ try {{ return {expression}; }} catch (e) {{ return String(e); }} }})()");
        loop {
            let seen = self.eval(&patient);
            if seen == Value::Bool(true) {
                return;
            }
            if Instant::now() >= end {
                let text = self.eval("document.body.innerText");
                panic!(
                    "waited for {what}, {expression} is {seen}; the page says: {text}; {:?}",
                    self.complaints
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Clicks on the first element of a selector whose text has this in it.
    pub fn click(&mut self, selector: &str, text: &str) {
        let found = format!(
            "[...document.querySelectorAll({selector:?})].find((e) => e.textContent.includes({text:?}) && e.offsetParent)"
        );
        self.wait_for(&format!("{selector} with '{text}'"), &format!("Boolean({found})"));
        self.eval(&format!("{found}.click()"));
    }

    /// Presses a key and lets it go: `Tab`, `Enter`, a space, an arrow.
    pub fn press(&mut self, key: &str) {
        let (number, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            " " => (32, " "),
            "End" => (35, ""),
            "Home" => (36, ""),
            "ArrowRight" => (39, ""),
            other => panic!("{other} is not known here"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": number });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Goes on with the Tab key until the element that has the focus is of this selector.
    pub fn tab_to(&mut self, selector: &str) {
        for _ in 0..60 {
            self.press("Tab");
            if self.eval(&format!("document.activeElement.matches({selector:?})")) == Value::Bool(true) {
                return;
            }
        }
        panic!("the Tab key does not lead to {selector}");
    }

    /// Errors of scripts, and what the browser's console complains of.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// What is seen, as PNG; only where `CALLSPOOL_PICTURES` is a directory for it.
    pub fn picture(&mut self, name: &str) {
        let Some(directory) = std::env::var_os("CALLSPOOL_PICTURES") else { return };
        let path = PathBuf::from(directory).join(format!("{name}.png"));
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let text = shot["data"].as_str().expect("a picture");
        let mut base64 = Command::new("base64");
        base64.arg("-d").stdin(std::process::Stdio::piped()).stdout(std::fs::File::create(path).unwrap());
        let mut child = base64.spawn().unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), text.as_bytes()).unwrap();
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|why| panic!("{method}: {why}"))
    }

    /// The result of a method, or why the browser has none.
    fn try_call(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.last += 1;
        let id = self.last;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        let text = message.to_string();
        let Self { runtime, socket, complaints, .. } = self;
        runtime.block_on(async {
            socket.send(Message::text(text)).await.unwrap();
            loop {
                let next = tokio::time::timeout(PATIENCE, socket.next()).await;
                let message =
                    next.unwrap_or_else(|_| panic!("no answer to {method}")).expect("the browser").unwrap();
                let Ok(text) = message.into_text() else { continue };
                let message: Value = serde_json::from_str(&text).unwrap_or_default();
                if message["id"] == id {
                    return match message.get("error") {
                        None => Ok(message["result"].clone()),
                        Some(error) => Err(error.to_string()),
                    };
                }
                complaints.extend(complaint(&message));
            }
        })
    }
}

fn complaint(message: &Value) -> Option<String> {
    let params = &message["params"];
    match message["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
        "Log.entryAdded" if params["entry"]["level"] == "error" => Some(params["entry"].to_string()),
        _ => None,
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its own children end with it.
        self.program.terminate();
        let end = Instant::now() + Duration::from_secs(3);
        while self.program.ended().is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
