use super::*;
use core::net::Ipv4Addr;

const NOW: UnixTime = UnixTime(0);

/// A server whose recipients and messages are all accepted at once.
struct Session {
    server: Server,
    replies: Ring,
    message: Ring,
    heard: String,
}

impl Session {
    fn new() -> Self {
        let config = Config::new("us.test").expect("a name");
        let mut replies = Ring::new(4096);
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            server: Server::new(Arc::new(config), peer, 0, &mut replies),
            replies,
            message: Ring::new(4096),
            heard: String::new(),
        }
    }

    fn listen(&mut self) {
        self.heard += core::str::from_utf8(self.replies.front()).expect("ASCII");
        self.replies.take(4096);
        self.message.take(4096);
    }

    fn say(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            let (taken, _) = self
                .server
                .input(NOW, input, &mut self.replies, &mut self.message);
            input = &input[taken..];
            let ok = Reply::fixed(250, (2, 0, 0), "Ok");
            match self.server.waiting() {
                Some(Waiting::Recipient(_)) => self.server.answer_recipient(&ok, &mut self.replies),
                Some(Waiting::Data) => {
                    self.server
                        .answer_data(true, &mut self.replies, &mut self.message);
                }
                Some(Waiting::Message) => {
                    self.server.answer_message(&ok, &mut self.replies);
                }
                None => {}
            }
            self.listen();
        }
    }
}

#[test]
fn every_split_gives_the_same_replies() {
    // The client waits for the answers to EHLO and DATA.
    let groups = [
        &b"EHLO c\r\n"[..],
        b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n",
        b"x\r\n..\r\n.\r\nNOOP\r\nQUIT\r\n",
    ];
    let heard = |step: usize| {
        let mut session = Session::new();
        for group in groups {
            group.chunks(step).for_each(|piece| session.say(piece));
        }
        session.heard
    };
    let whole = heard(100);
    assert!(whole.ends_with("250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n"));
    for step in 1..50 {
        assert_eq!(heard(step), whole, "step {step}");
    }
}

#[test]
fn a_client_that_does_not_listen_is_not_read() {
    let mut session = Session::new();
    let mut taken = 0;
    for _ in 0..1000 {
        let (count, _) =
            session
                .server
                .input(NOW, b"HELP\r\n", &mut session.replies, &mut session.message);
        taken += count;
    }
    assert!(taken < 1000, "{taken} bytes");
    let capacity = |s: &Session| s.server.capacity(&s.replies, &s.message);
    assert_eq!(capacity(&session), 0);
    session.listen();
    assert!(capacity(&session) > 0);
}

#[test]
fn nothing_is_read_while_an_answer_is_due() {
    let mut session = Session::new();
    session.say(b"HELO c\r\n");
    session.say(b"MAIL FROM:<>\r\n");
    let input = b"RCPT TO:<a@b>\r\nDATA\r\n";
    let (replies, message) = (&mut session.replies, &mut session.message);
    let (taken, event) = session.server.input(NOW, input, replies, message);
    assert_eq!((taken, event), (15, Some(Event::Waiting)));
    assert_eq!(session.server.capacity(replies, message), 0);
    let again = session.server.input(NOW, &input[15..], replies, message);
    assert_eq!(again, (0, None));
}
