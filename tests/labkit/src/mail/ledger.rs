//! The comparison of what was sent with what arrived.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::body::{Content, Hash, hash};
use super::sink::Arrived;

/// Where the content is in a mail that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The body is the content.
    Body,
    /// The body is the content and an empty line, which `smtp-source -F` adds.
    BodyAndLine,
    /// The first base64 attachment is the content.
    Attachment,
}

#[derive(Debug)]
struct Sent {
    hash: Hash,
    form: Form,
    count: usize,
}

/// Everything that was sent and accepted, by mail id.
#[derive(Debug, Default)]
pub struct Ledger {
    sent: BTreeMap<String, Sent>,
}

/// The result of a comparison, in mails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Accepted from the client.
    pub sent: usize,
    /// Arrived, right or wrong; second copies do not count.
    pub delivered: usize,
    /// Arrived with other content, or without a known id.
    pub corrupt: usize,
    /// Arrived more often than sent.
    pub repeated: usize,
}

impl Ledger {
    /// Notes that `count` copies of `content` were accepted.
    pub fn note(&mut self, content: &Content, form: Form, count: usize) {
        self.sent
            .entry(content.id.clone())
            .or_insert(Sent {
                hash: content.hash,
                form,
                count: 0,
            })
            .count += count;
    }

    /// Compares the ledger with what arrived.
    pub fn balance(&self, arrived: &[Arrived]) -> Balance {
        let mut balance = Balance {
            sent: self.sent.values().map(|sent| sent.count).sum(),
            ..Balance::default()
        };
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for mail in arrived {
            let Some((id, sent)) = mail
                .id
                .as_deref()
                .and_then(|id| self.sent.get_key_value(id))
            else {
                balance.corrupt += 1;
                continue;
            };
            let hash = match sent.form {
                Form::Body => Some(hash(&mail.body)),
                Form::BodyAndLine => mail.body.strip_suffix(b"\n").map(hash),
                Form::Attachment => mail.attachment().ok().map(|bytes| hash(&bytes)),
            };
            if hash != Some(sent.hash) {
                balance.corrupt += 1;
            }
            let times = seen.entry(id).or_default();
            *times += 1;
            if *times > sent.count {
                balance.repeated += 1;
            } else {
                balance.delivered += 1;
            }
        }
        balance
    }

    /// Fails unless everything arrived once and unchanged; returns the number of mails.
    pub fn check(&self, arrived: &[Arrived]) -> Result<usize> {
        let balance = self.balance(arrived);
        if balance.delivered != balance.sent || balance.corrupt != 0 || balance.repeated != 0 {
            bail!(
                "sent {}, delivered {}, corrupt {}, repeated {}",
                balance.sent,
                balance.delivered,
                balance.corrupt,
                balance.repeated
            );
        }
        Ok(balance.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrived, Balance, Form, Ledger};
    use crate::mail::body::text_mail;
    use std::fs;

    fn arrived(id: &str, body: &[u8]) -> Arrived {
        Arrived {
            id: Some(id.to_owned()),
            headers: String::new(),
            body: body.to_vec(),
        }
    }

    #[test]
    fn loss_corruption_and_repetition_are_counted() {
        let mail = text_mail("m", 3000, 1).expect("written");
        let text = fs::read_to_string(mail.file.path()).expect("plain ASCII");
        let body = text.split_once("\n\n").expect("an empty line").1.as_bytes();
        let mut ledger = Ledger::default();
        ledger.note(&mail, Form::Body, 1);
        ledger.note(&mail, Form::Body, 1);
        let good = || arrived("m", body);
        assert_eq!(ledger.check(&[good(), good()]).expect("all there"), 2);

        assert!(ledger.check(&[good()]).is_err());
        assert!(ledger.check(&[good(), good(), good()]).is_err());
        let mut bent = body.to_vec();
        bent[1000] ^= 1;
        let balance = ledger.balance(&[good(), arrived("m", &bent), arrived("other", body)]);
        let expected = Balance {
            sent: 2,
            delivered: 2,
            corrupt: 2,
            repeated: 0,
        };
        assert_eq!(balance, expected);
    }
}
