//! A hand that makes connectivity checks (RFC 8445 §7.1.1), whatever a peer's stack would do.

use convoke_client::media::Offers;

/// Who checks whom: user name fragments, and the server's password.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub ufrag: String,
    pub password: String,
    pub own_ufrag: String,
}

/// The value of the first such attribute.
pub fn attribute<'a>(sdp: &'a str, name: &str) -> &'a str {
    let lines = sdp.lines().filter_map(|line| line.strip_prefix("a="));
    let mut found = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.next().expect(name).trim_end()
}

impl Credentials {
    pub fn of(offer: &str, answer: &str) -> Self {
        Self {
            ufrag: attribute(answer, "ice-ufrag").to_owned(),
            password: attribute(answer, "ice-pwd").to_owned(),
            own_ufrag: attribute(offer, "ice-ufrag").to_owned(),
        }
    }

    /// Of the receive transport.
    pub fn of_receive(offers: &Offers, answer: &str) -> Self {
        Self::of(offers.receive.as_deref().expect("an offer"), answer)
    }

    /// A check of this transaction.
    pub fn check(&self, transaction: u32, nominates: bool) -> Vec<u8> {
        let attribute = |kind: u16, value: &[u8]| {
            let mut bytes = [kind.to_be_bytes(), (value.len() as u16).to_be_bytes()].concat();
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        message.extend([0x77; 8]);
        message.extend(transaction.to_be_bytes());
        let user_name = format!("{}:{}", self.ufrag, self.own_ufrag);
        message.extend(attribute(0x0006, user_name.as_bytes()));
        message.extend(attribute(0x0024, &[0x6e, 0xff, 0xff, 0xff]));
        message.extend(attribute(0x802a, &[1; 8]));
        if nominates {
            message.extend(attribute(0x0025, &[]));
        }
        // Its length counts MESSAGE-INTEGRITY, which is made of all before that (RFC 8489 §14.5).
        let length = (message.len() - 20 + 24) as u16;
        message[2..4].copy_from_slice(&length.to_be_bytes());
        let hmac = str0m_aws_lc_rs::default_provider().sha1_hmac_provider;
        let integrity = hmac.sha1_hmac(self.password.as_bytes(), &[&message]);
        message.extend(attribute(0x0008, &integrity));
        message
    }
}
