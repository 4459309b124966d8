use super::*;
use crate::address::parse_path;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A client, and what it sends.
struct Session {
    client: Client,
    out: Ring,
}

impl Session {
    fn new() -> Self {
        Self {
            client: Client::new(Vec::new()),
            out: Ring::new(4096),
        }
    }

    /// Makes a client after a greeting, and after an EHLO answered with `ehlo`.
    fn ready(ehlo: &str) -> Self {
        let mut session = Self::new();
        assert_eq!(session.hear("220 hi\r\n"), None);
        assert_eq!(session.said(), "EHLO us\r\n");
        assert_eq!(session.hear(ehlo), Some(Event::Ready));
        session
    }

    fn said(&mut self) -> String {
        let said = String::from_utf8(self.out.front().to_vec()).expect("ASCII");
        self.out.take(said.len());
        said
    }

    fn hear(&mut self, mut text: &str) -> Option<Event> {
        let mut events = Vec::new();
        while !text.is_empty() {
            let (taken, event) = self.client.input(text.as_bytes(), "us", &mut self.out);
            text = &text[taken..];
            events.extend(event);
        }
        assert!(events.len() <= 1, "{events:?}");
        events.pop()
    }

    fn mail(&mut self, sender: &str, size: Option<u64>, eight_bit: bool) -> String {
        let (sender, _) = parse_path(sender.as_bytes()).expect("a path");
        self.client
            .mail(sender.as_ref(), size, eight_bit, &mut self.out);
        self.said()
    }
}

#[test]
fn mail_says_only_what_is_offered() {
    for (ehlo, size, eight_bit, line) in [
        ("250 x\r\n", Some(5), true, "MAIL FROM:<a@b>\r\n"),
        (
            "250-x\r\n250 SIZE\r\n",
            Some(5),
            true,
            "MAIL FROM:<a@b> SIZE=1029\r\n",
        ),
        (
            "250-x\r\n250 SIZE 99\r\n",
            Some(5),
            false,
            "MAIL FROM:<a@b> SIZE=99\r\n",
        ),
        (
            "250-x\r\n250 SIZE 9\r\n",
            None,
            false,
            "MAIL FROM:<a@b>\r\n",
        ),
        (
            "250-x\r\n250 8BITMIME\r\n",
            Some(5),
            true,
            "MAIL FROM:<a@b> BODY=8BITMIME\r\n",
        ),
        (
            "250-x\r\n250 8BITMIME\r\n",
            Some(5),
            false,
            "MAIL FROM:<a@b> BODY=7BIT\r\n",
        ),
    ] {
        assert_eq!(
            Session::ready(ehlo).mail("<a@b>", size, eight_bit),
            line,
            "{ehlo:?}"
        );
    }
    let null = Session::ready("250 x\r\n").mail("<>", None, false);
    assert_eq!(null, "MAIL FROM:<>\r\n");
}

#[test]
fn the_size_limit_of_the_next_hop_is_respected() {
    for (ehlo, size, too_large) in [
        ("250-x\r\n250 SIZE 99\r\n", Some(99), false),
        ("250-x\r\n250 SIZE 99\r\n", Some(100), true),
        ("250-x\r\n250 SIZE 99\r\n", None, false),
        ("250-x\r\n250 SIZE 0\r\n", Some(100), false),
        ("250 x\r\n", Some(100), false),
    ] {
        let session = Session::ready(ehlo);
        assert_eq!(session.client.is_too_large(size), too_large, "{ehlo:?}");
    }
}

#[test]
fn an_answer_counts_only_after_its_question() {
    let mut session = Session::ready("250 x\r\n");
    session.client.finish(&mut session.out);
    let early = session.hear("250 2.0.0 taken\r\n");
    assert_eq!(early, Some(Event::Failed(Failure::Protocol)));

    let mut session = Session::ready("250 x\r\n");
    session.client.finish(&mut session.out);
    session.said();
    let Some(Event::Delivered(reply)) = session.hear("252-2.0.0 taken\r\n252 2.0.0 well\r\n")
    else {
        panic!("an answer to the final dot");
    };
    assert_eq!(reply.to_string(), "250 2.0.0 taken well");

    let unasked = Session::ready("250 x\r\n").hear("250 hello?\r\n");
    assert_eq!(unasked, Some(Event::Failed(Failure::Protocol)));
}

#[test]
fn an_unasked_refusal_is_temporary() {
    let Some(Event::Failed(failure)) = Session::ready("250 x\r\n").hear("554 5.0.0 Idle\r\n")
    else {
        panic!("a refused session");
    };
    assert_eq!(failure.reply().to_string(), "451 4.3.2 Idle");
}

#[test]
fn replies_of_the_wrong_kind_end_the_session() {
    let protocol = Some(Event::Failed(Failure::Protocol));
    assert_eq!(Session::new().hear("354 go\r\n"), protocol);
    let mut data = Session::ready("250 x\r\n");
    data.client.data(&mut data.out);
    data.said();
    assert_eq!(data.hear("250 done already\r\n"), protocol);
    let mut mail = Session::ready("250 x\r\n");
    mail.mail("<>", None, false);
    assert_eq!(mail.hear("354 go\r\n"), protocol);
}
