//! Mail: made by [`body`], sent with real clients ([`source`]) or line by line ([`client`]),
//! received by a real server ([`sink`]), compared by hash ([`ledger`]).

pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod ledger;
pub(crate) mod sink;
pub(crate) mod source;

#[cfg(test)]
mod tests {
    use super::body::{attachment, text_mail};
    use super::client::Client;
    use super::ledger::{Form, Ledger};
    use super::sink::Sink;
    use super::source::{Sessions, smtp_source, swaks};
    use crate::deadline::Deadline;
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};
    use std::time::Duration;

    fn free_port() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.local_addr().expect("its address").port()
    }

    /// The real programs without a relay between them, where they are installed: what the cases
    /// believe about them is true.
    #[test]
    fn real_programs_agree_with_the_ledger() {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let sink = match Sink::start_at(server, &[]) {
            Ok(sink) => sink,
            Err(error) => {
                eprintln!("not tried: {error:#}");
                return;
            }
        };
        let limit = Duration::from_secs(60);
        let mut ledger = Ledger::default();
        let mail = text_mail("text", 200_000, 3).expect("written");
        let output = smtp_source(server, &mail, 6, Sessions::Reconnecting(3), limit)
            .expect("smtp-source is with it");
        assert!(output.status.success(), "{}", output.text);
        ledger.note(&mail, Form::BodyAndLine, 6);
        match swaks(
            server,
            &attachment("file", 100_001, 4).expect("written"),
            limit,
        ) {
            Ok(output) => {
                assert!(output.status.success(), "{}", output.text);
                let again = attachment("file", 100_001, 4).expect("written");
                ledger.note(&again, Form::Attachment, 1);
            }
            Err(error) => eprintln!("swaks not tried: {error:#}"),
        }
        let own = text_mail("own", 5000, 5).expect("written");
        let text = std::fs::read(own.file.path()).expect("there");
        let mut client = Client::ready(server, Deadline::seconds(60)).expect("served");
        client.begin_data().expect("accepted");
        client
            .data(&text)
            .expect("answered")
            .expect(250, "mail")
            .expect("accepted");
        client.quit().expect("said goodbye");
        ledger.note(&own, Form::Body, 1);
        ledger
            .check(&sink.arrived().expect("readable"))
            .expect("all there");
    }
}
