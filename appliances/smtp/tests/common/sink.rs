//! The next hop of the tests: a strict SMTP server that follows a plan.

use std::collections::VecDeque;

/// A moment in the dialogue with the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Greeting,
    Hello,
    Mail,
    Rcpt,
    Data,
    /// Behind this many bytes of message, trace header included.
    Body(usize),
    Final,
    Reset,
    Quit,
}

/// What the next hop says at each step.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) connects: bool,
    pub(crate) greeting: String,
    pub(crate) ehlo: String,
    pub(crate) helo: String,
    pub(crate) mail: String,
    /// Answers to RCPT, the last one for all further.
    pub(crate) rcpt: Vec<String>,
    pub(crate) data: String,
    pub(crate) end: String,
    pub(crate) reset: String,
    /// Closes the connection instead of answering here.
    pub(crate) dies_at: Option<Step>,
    /// Says this in the middle of a message, after this many bytes.
    pub(crate) early: Option<(usize, String)>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            connects: true,
            greeting: "220 sink ESMTP".into(),
            ehlo: "250-sink\r\n250-8BITMIME\r\n250 SIZE".into(),
            helo: "250 sink".into(),
            mail: "250 2.1.0 ok".into(),
            rcpt: vec!["250 2.1.5 ok".into()],
            data: "354 go".into(),
            end: "250 2.0.0 queued as 1".into(),
            reset: "250 2.0.0 ok".into(),
            dies_at: None,
            early: None,
        }
    }
}

/// A message that the sink has received to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) mail: String,
    pub(crate) recipients: Vec<String>,
    /// The message without stuffed dots.
    pub(crate) data: Vec<u8>,
    /// Whether the sink answered 2xx to it.
    pub(crate) accepted: bool,
}

/// One connection to the next hop.
#[derive(Debug)]
pub(crate) struct Sink {
    plan: Plan,
    input: Vec<u8>,
    pub(crate) output: VecDeque<u8>,
    pub(crate) dead: bool,
    in_data: bool,
    body_bytes: usize,
    recipients_seen: usize,
    current: Delivery,
    pub(crate) commands: Vec<String>,
    pub(crate) deliveries: Vec<Delivery>,
}

impl Sink {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut sink = Self {
            plan,
            input: Vec::new(),
            output: VecDeque::new(),
            dead: false,
            in_data: false,
            body_bytes: 0,
            recipients_seen: 0,
            current: Delivery::default(),
            commands: Vec::new(),
            deliveries: Vec::new(),
        };
        let greeting = sink.plan.greeting.clone();
        sink.say(Step::Greeting, &greeting);
        sink
    }

    fn say(&mut self, step: Step, reply: &str) {
        if self.plan.dies_at == Some(step) {
            self.dead = true;
        } else {
            self.output.extend(reply.bytes());
            self.output.extend(b"\r\n");
        }
    }

    /// Follows `plan` from now on.
    pub(crate) fn replan(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// Takes bytes from the relay. Asserts that a relay may send them.
    pub(crate) fn input(&mut self, bytes: &[u8]) {
        if self.in_data {
            self.body_bytes += bytes.len();
            if let Some(Step::Body(at)) = self.plan.dies_at {
                self.dead |= self.body_bytes > at;
            }
        }
        self.input.extend_from_slice(bytes);
        let mut done = 0;
        while let Some(at) = self.input[done..].iter().position(|&b| b == b'\n') {
            let line = self.input[done..done + at + 1].to_vec();
            done += at + 1;
            let line = line.strip_suffix(b"\r\n").expect("lines end in CRLF");
            assert!(!line.contains(&b'\r'), "bare CR towards the next hop");
            assert!(!line.contains(&0), "NUL towards the next hop");
            if self.dead {
                return;
            }
            match self.in_data {
                true => self.data_line(line),
                false => self.command_line(line),
            }
        }
        self.input.drain(..done);
        // Only before the final dot: behind it, this could not be told from an
        // answer to it.
        if let (true, Some((at, text))) = (self.in_data, self.plan.early.clone())
            && self.body_bytes > at
        {
            self.plan.early = None;
            self.output.extend(format!("{text}\r\n").bytes());
        }
    }

    fn data_line(&mut self, line: &[u8]) {
        if line == b"." {
            self.in_data = false;
            let reply = self.plan.end.clone();
            let mut delivery = std::mem::take(&mut self.current);
            let says_yes = reply.lines().any(|line| line.starts_with('2'));
            delivery.accepted = says_yes && self.plan.dies_at != Some(Step::Final);
            self.deliveries.push(delivery);
            return self.say(Step::Final, &reply);
        }
        let line = line.strip_prefix(b".").unwrap_or(line);
        self.current.data.extend_from_slice(line);
        self.current.data.extend_from_slice(b"\r\n");
    }

    fn command_line(&mut self, line: &[u8]) {
        let printable = line.iter().all(|b| (b' '..=b'~').contains(b));
        assert!(printable, "commands are printable: {line:?}");
        assert!(line.len() <= 553, "command line too long");
        let line = String::from_utf8(line.to_vec()).expect("ASCII");
        self.commands.push(line.clone());
        let plan = self.plan.clone();
        match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => self.say(Step::Hello, &plan.ehlo),
            "HELO" => self.say(Step::Hello, &plan.helo),
            "MAIL" => {
                self.current = Delivery {
                    mail: line,
                    ..Delivery::default()
                };
                self.recipients_seen = 0;
                self.say(Step::Mail, &plan.mail);
            }
            "RCPT" => {
                let last = plan.rcpt.len() - 1;
                let reply = plan.rcpt[self.recipients_seen.min(last)].clone();
                self.recipients_seen += 1;
                if reply.starts_with('2') {
                    self.current.recipients.push(line);
                }
                self.say(Step::Rcpt, &reply);
            }
            "DATA" => {
                assert!(!self.current.recipients.is_empty(), "DATA without RCPT");
                self.in_data = plan.data.starts_with('3');
                self.body_bytes = 0;
                self.say(Step::Data, &plan.data);
            }
            "RSET" => {
                self.current = Delivery::default();
                self.say(Step::Reset, &plan.reset);
            }
            "QUIT" => {
                self.say(Step::Quit, "221 bye");
                self.dead = true;
            }
            other => panic!("unknown command to the next hop: {other}"),
        }
    }
}
