//! Taking secrets and addresses out of a text.
//!
//! Owns: what counts as one. Never: reads what is to be sent; it is given.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use serde_json::Value;

/// Shorter lines of key files are no secrets: they would make every text unreadable.
const SHORTEST: usize = 8;

/// What must not be seen.
#[derive(Default)]
pub(super) struct Redactor {
    secrets: BTreeSet<String>,
}

impl Redactor {
    pub(super) fn secret(&mut self, text: &str) {
        if text.len() >= SHORTEST {
            self.secrets.insert(text.to_owned());
        }
    }

    /// Each line of every file that the configuration names.
    pub(super) fn secrets_of(&mut self, value: &Value, directory: &Path) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match value.as_str() {
                        Some(path) if key.ends_with("_file") && !path.is_empty() => {
                            let text = fs::read_to_string(directory.join(path));
                            text.unwrap_or_default().lines().for_each(|l| self.secret(l.trim()));
                        }
                        _ => self.secrets_of(value, directory),
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|one| self.secrets_of(one, directory)),
            _ => {}
        }
    }

    /// The text without secrets, tokens and addresses.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // Longer ones first: one may hold another.
        let mut secrets: Vec<&String> = self.secrets.iter().collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for secret in secrets {
            text = text.replace(secret.as_str(), "<secret>");
        }
        let text = runs(&text, |c| c.is_ascii_alphanumeric() || "-_.".contains(c), token);
        let text = runs(&text, |c| c.is_ascii_hexdigit() || ":.".contains(c), v6);
        runs(&text, |c| c.is_ascii_digit() || c == '.', v4)
    }
}

/// URLs of a configuration, without what follows their host: it may hold a key.
pub(super) fn urls(value: Value) -> Value {
    match value {
        Value::String(text) => match text.split_once("://") {
            Some((scheme, rest)) => {
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                let host = host.rsplit('@').next().unwrap_or_default();
                Value::String(format!("{scheme}://{host}"))
            }
            None => Value::String(text),
        },
        Value::Array(list) => list.into_iter().map(urls).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, urls(value))).collect(),
        other => other,
    }
}

/// Replaces longest runs of such characters.
fn runs(
    text: &str,
    is_in: impl Fn(char) -> bool,
    replace: impl Fn(&str) -> Option<String>,
) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while !rest.is_empty() {
        let start = rest.find(&is_in).unwrap_or(rest.len());
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c| !is_in(c)).unwrap_or(rest.len());
        let run = &rest[..end];
        out.push_str(&replace(run).unwrap_or_else(|| run.to_owned()));
        rest = &rest[end..];
    }
    out
}

/// A JSON Web Token (RFC 7519): three parts, of which the first is an object.
fn token(run: &str) -> Option<String> {
    let is_token = run.starts_with("eyJ") && run.matches('.').count() == 2;
    is_token.then(|| "<token>".to_owned())
}

fn v4(run: &str) -> Option<String> {
    let inner = run.trim_matches('.');
    let address: Ipv4Addr = inner.parse().ok()?;
    Some(run.replace(inner, name(address.into())))
}

/// Also where a port or a dot is next to it.
fn v6(run: &str) -> Option<String> {
    if run.matches(':').count() < 2 {
        return None;
    }
    let inner = run.trim_matches('.');
    let short = |text: &str| text.parse::<Ipv6Addr>().ok();
    let parts = [Some(inner), inner.strip_suffix(':'), inner.strip_prefix(':')];
    let found = parts.into_iter().flatten().find_map(|part| Some((part, short(part)?)));
    found.map(|(part, address)| run.replacen(part, name(address.into()), 1))
}

/// Those that say nothing about anybody are told apart.
fn name(address: IpAddr) -> &'static str {
    match address {
        one if one.is_unspecified() => "<any>",
        one if one.is_loopback() => "<loopback>",
        _ => "<address>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_tokens_and_addresses_go_and_all_else_stays() {
        let mut redactor = Redactor::default();
        redactor.secret("c2VjcmV0IGtleSBvZiBvdXJz");
        redactor.secret("short");
        for (text, clean) in [
            ("key c2VjcmV0IGtleSBvZiBvdXJz.", "key <secret>."),
            ("short", "short"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln-_", "<token>"),
            ("listen = \"203.0.113.7:8080\"", "listen = \"<address>:8080\""),
            ("from 203.0.113.7.", "from <address>."),
            ("10.0.0.0/8, 0.0.0.0:1", "<address>/8, <any>:1"),
            ("a=candidate:203.0.113.7", "a=candidate:<address>"),
            ("[2001:db8::1]:443", "[<address>]:443"),
            ("at 2001:db8::1: gone", "at <address>: gone"),
            ("::ffff:203.0.113.7 [::1]", "<address> [<loopback>]"),
            ("version 0.1.0 at 12:34:56.789", "version 0.1.0 at 12:34:56.789"),
            ("le=\"0.005\"} 12 1.5e3", "le=\"0.005\"} 12 1.5e3"),
        ] {
            assert_eq!(redactor.clean(text), clean, "{text}");
        }
    }

    #[test]
    fn of_urls_the_host_stays() {
        let url = |text: &str| urls(Value::String(text.to_owned()));
        assert_eq!(url("https://a:b@example.com/hook?key=c"), "https://example.com");
        assert_eq!(url("turn.key"), "turn.key");
    }
}
