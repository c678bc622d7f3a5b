//! Flows of recording clients as plain text: what a client of some kind sends, message by message.
//!
//! ```text
//! # What kind of client this is.
//! transport: tcp               over UDP unless said
//! cseq: 2                      of its first request; 1 unless said
//!
//! >>> INVITE                   a request; its own headers, an empty line, its body
//! User-Agent: some client
//! Content-Type: application/sdp
//!
//! v=0
//! …
//! <<< 200                      the final answer to the first request that has none yet; a 200 to an INVITE is acknowledged
//! ---                          the parties talk
//! >>> BYE
//! <<< 200
//! ```
//!
//! `<<< 200 unacknowledged` sends no ACK, `>>> ACK` sends one with headers and a body of its own. Two requests
//! without an answer between go out at once. What each request has (Via, From, To, Call-ID, CSeq, Contact,
//! Max-Forwards, Content-Length) is added unless the flow says it; `Content-Length: none` leaves it out. Words in
//! brackets are what `sipp` calls keywords: `[media_ip]`, `[agent]`.

/// A flow.
#[derive(Clone, Debug)]
pub struct Flow {
    /// What kind of client it is.
    pub about: String,
    /// Over TCP instead of UDP.
    pub tcp: bool,
    /// What happens.
    pub steps: Vec<Step>,
}

/// One step of a flow.
#[derive(Clone, Debug)]
pub enum Step {
    /// A request goes out.
    Send(Sent),
    /// A final answer is expected.
    Expect {
        /// Its status.
        status: u16,
        /// The CSeq that it has: `1 INVITE`.
        cseq: String,
    },
    /// The parties talk.
    Talk,
}

/// A request, with keywords in brackets.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its method.
    pub method: String,
    /// Its CSeq header: `1 INVITE`.
    pub cseq: String,
    /// All of it but the body; lines end with LF.
    pub head: String,
    /// Its body, if it has any; lines end with LF.
    pub body: Option<String>,
}

impl Sent {
    /// Head, empty line and body.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.head, self.body.as_deref().unwrap_or_default())
    }
}

impl Flow {
    /// Reads a flow; what is not as above stops the test.
    pub fn read(text: &str) -> Self {
        let mut reader = Reader::default();
        let mut flow = Self { about: String::new(), tcp: false, steps: Vec::new() };
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(about) = line.strip_prefix("# ") {
                flow.about.push_str(about);
                flow.about.push(' ');
            } else if line == "transport: tcp" {
                flow.tcp = true;
            } else if let Some(first) = line.strip_prefix("cseq: ") {
                reader.cseq = first.parse::<u32>().expect("a number") - 1;
            } else if let Some(method) = line.strip_prefix(">>> ") {
                let mut own = Vec::new();
                while let Some(line) = lines.next_if(|l| !is_step(l)) {
                    own.push(line);
                }
                flow.steps.push(Step::Send(reader.request(method, &own)));
            } else if let Some(status) = line.strip_prefix("<<< ") {
                reader.answer(status, &mut flow.steps);
            } else if line == "---" {
                flow.steps.push(Step::Talk);
            } else {
                assert!(line.trim().is_empty(), "no line of a flow: {line}");
            }
        }
        flow
    }

    /// Whether two requests go out without waiting for an answer between them.
    pub fn hurries(&self) -> bool {
        (0..self.steps.len()).any(|at| self.is_hurried(at))
    }

    /// Whether the request at this step is followed by another before its answer is awaited.
    fn is_hurried(&self, at: usize) -> bool {
        let waits_for_none = |step: &Step| matches!(step, Step::Send(sent) if sent.method != "ACK");
        self.steps.get(at..at + 2).is_some_and(|pair| pair.iter().all(waits_for_none))
    }

    /// The flow as a scenario of sipp, in which the test says go on by a NOTIFY, over TCP the clock.
    pub fn scenario(&self, stretch_ms: u128) -> String {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<scenario name=\"flow\">\n");
        let mut label = 0;
        for (at, step) in self.steps.iter().enumerate() {
            xml.push_str(&match step {
                Step::Send(sent) => {
                    // sipp sends nothing else while it may have to send something again.
                    let once = sent.method == "ACK" || self.tcp || self.is_hurried(at);
                    let again = if once { "" } else { " retrans=\"500\"" };
                    format!("<send{again}>\n<![CDATA[\n{}\n]]>\n</send>\n", sent.text())
                }
                Step::Expect { status, cseq } => {
                    let first = if cseq.ends_with("INVITE") { " rrs=\"true\"" } else { "" };
                    format!(
                        "<recv response=\"100\" optional=\"true\"/>\n<recv response=\"180\" optional=\"true\"/>\n\
                         <recv response=\"{status}\"{first}/>\n"
                    )
                }
                Step::Talk if self.tcp => format!("<pause milliseconds=\"{stretch_ms}\"/>\n"),
                Step::Talk => {
                    label += 1;
                    format!("<recv request=\"NOTIFY\" timeout=\"8000\" ontimeout=\"{label}\"/>\n<label id=\"{label}\"/>\n")
                }
            });
        }
        xml.push_str("</scenario>\n");
        xml
    }
}

fn is_step(line: &str) -> bool {
    line.starts_with(">>> ") || line.starts_with("<<< ") || line == "---"
}

#[derive(Default)]
struct Reader {
    cseq: u32,
    invite: u32,
    /// What From says, once a request has said it.
    from: Option<String>,
    /// Whether a request has been answered, so that there is a dialog.
    begun: bool,
    waiting: Vec<String>,
}

impl Reader {
    fn request(&mut self, method: &str, own: &[&str]) -> Sent {
        let number = if method == "ACK" {
            self.invite
        } else {
            self.cseq += 1;
            self.cseq
        };
        if method == "INVITE" {
            self.invite = number;
        }
        let cseq = format!("{number} {method}");
        if method != "ACK" {
            self.waiting.push(cseq.clone());
        }
        let end = own.iter().position(|l| l.is_empty()).unwrap_or(own.len());
        let (headers, rest) = own.split_at(end);
        let rest: Vec<&str> = rest.iter().skip(1).copied().collect();
        // An empty line before the next step belongs to nobody.
        let length = rest.iter().rposition(|l| !l.is_empty()).map_or(0, |last| last + 1);
        let body = (length > 0).then(|| rest[..length].iter().map(|l| format!("{l}\n")).collect());
        Sent { method: method.to_owned(), head: self.head(method, &cseq, headers), cseq, body }
    }

    fn head(&mut self, method: &str, cseq: &str, own: &[&str]) -> String {
        let target = if self.begun { "[next_url]" } else { "sip:[called]@[remote_ip]:[remote_port]" };
        let said = |name: &str| {
            own.iter().find(|l| l.split(':').next().is_some_and(|n| n.trim().eq_ignore_ascii_case(name)))
        };
        let from = said("From").or_else(|| said("f")).and_then(|l| l.split_once(':'));
        if let Some((_, from)) = from {
            self.from = Some(from.trim().to_owned());
        }
        let mut head = format!(
            "{method} {target} SIP/2.0\n\
             Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport\n\
             From: {};tag=[pid]t[call_number]\n\
             To: <sip:[called]@[remote_ip]:[remote_port]>[peer_tag_param]\n\
             Call-ID: [call_id]\n\
             CSeq: {cseq}\n\
             Max-Forwards: 70\n",
            self.from.as_deref().unwrap_or("<sip:[caller]@[local_ip]:[local_port]>"),
        );
        if said("Contact").or_else(|| said("m")).is_none() {
            head.push_str("Contact: <sip:client@[local_ip]:[local_port];transport=[transport]>\n");
        }
        for line in own {
            let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
            if !matches!(name.as_str(), "from" | "f") && *line != "Content-Length: none" {
                head.push_str(line);
                head.push('\n');
            }
        }
        if said("Content-Length").or_else(|| said("l")).is_none() {
            head.push_str("Content-Length: [len]\n");
        }
        head
    }

    fn answer(&mut self, status: &str, steps: &mut Vec<Step>) {
        let (status, rest) = status.split_once(' ').unwrap_or((status, ""));
        let status: u16 = status.parse().expect("a status");
        let cseq = self.waiting.remove(0);
        self.begun |= status == 200;
        let number = cseq.split(' ').next().unwrap_or_default().to_owned();
        let is_invite = cseq.ends_with("INVITE");
        steps.push(Step::Expect { status, cseq });
        if is_invite && status == 200 && rest != "unacknowledged" {
            let cseq = format!("{number} ACK");
            let head = self.head("ACK", &cseq, &[]);
            steps.push(Step::Send(Sent { method: "ACK".to_owned(), head, cseq, body: None }));
        }
    }
}
