//! Which addresses each worker's media sockets are bound to, and what clients are told of each.
//!
//! Owns: the pairing of [`NodeConfig::bind`] with [`NodeConfig::advertise`], and what of it is told for the TCP
//! port.
//! Never: opens a socket.
//!
//! One address may be a wildcard, and be told by any number of others. Several are for hosts that are to be
//! reached at some of their addresses and not at the rest: each has a socket of its own, and each is told by
//! itself or by one other, so that it is never guessed which of them a NAT forwards to.

use std::net::IpAddr;

use crate::addresses::{advertised, outward, serves};
use crate::config::NodeConfig;
use crate::error::StartError;

/// Addresses at most: each has a socket and a send queue on each worker.
pub const BINDS_MAX: usize = 8;

/// A socket's address, and what clients are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) bind: IpAddr,
    pub(crate) told: Vec<IpAddr>,
}

/// At least one.
///
/// # Errors
/// When there is nothing that can be bound or told.
pub(crate) fn sites(config: &NodeConfig) -> Result<Vec<Site>, StartError> {
    match config.bind.as_slice() {
        [] => Err(StartError::NothingToBind),
        [bind] => Ok(vec![Site { bind: *bind, told: advertised(*bind, &advertise(config))? }]),
        several => pair(several, &config.advertise),
    }
}

fn pair(binds: &[IpAddr], advertise: &[IpAddr]) -> Result<Vec<Site>, StartError> {
    if binds.len() > BINDS_MAX {
        return Err(StartError::TooManyBinds(binds.len()));
    }
    if !advertise.is_empty() && advertise.len() != binds.len() {
        return Err(StartError::Unpaired { bound: binds.len(), advertised: advertise.len() });
    }
    let mut sites: Vec<Site> = Vec::new();
    for (at, bind) in binds.iter().map(IpAddr::to_canonical).enumerate() {
        if bind.is_unspecified() {
            return Err(StartError::WildcardAmongOthers(bind));
        }
        let told = advertised(bind, advertise.get(at..=at).unwrap_or_default())?;
        let is_known = |site: &Site| site.bind == bind || site.told == told;
        if sites.iter().any(is_known) {
            return Err(StartError::Twice(bind));
        }
        sites.push(Site { bind, told });
    }
    Ok(sites)
}

/// What clients are told. A wildcard with a STUN server and nothing configured: where this host's packets
/// leave from, which people on the same network can reach.
fn advertise(config: &NodeConfig) -> Vec<IpAddr> {
    match (&config.stun, config.bind.as_slice()) {
        (Some(stun), [bind]) if bind.is_unspecified() && config.advertise.is_empty() => {
            outward(*bind, stun.host.parse().ok())
        }
        _ => config.advertise.clone(),
    }
}

/// What clients are told of a TCP port that listens at `listen`: of a wildcard all that it hears.
pub(crate) fn told_by_tcp(
    listen: IpAddr,
    config: &NodeConfig,
    sites: &[Site],
) -> Result<Vec<IpAddr>, StartError> {
    if sites.len() < 2 {
        return advertised(listen, &advertise(config));
    }
    if let Some(site) = sites.iter().find(|site| site.bind == listen.to_canonical()) {
        return Ok(site.told.clone());
    }
    let all = sites.iter().flat_map(|site| &site.told).copied();
    let heard = all.filter(|ip| listen.is_unspecified() && serves(listen, *ip)).collect::<Vec<_>>();
    advertised(listen, &heard)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bind: &[&str], advertise: &[&str]) -> Result<Vec<(String, String)>, String> {
        let ips = |all: &[&str]| all.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<_>>();
        let mut config = NodeConfig::new(IpAddr::from([127, 0, 0, 1]), 0);
        (config.bind, config.advertise) = (ips(bind), ips(advertise));
        let said = |site: Site| (site.bind.to_string(), format!("{:?}", site.told));
        let sites = sites(&config).map_err(|error| error.to_string())?;
        Ok(sites.into_iter().map(said).collect())
    }

    fn told(bind: &str, told: &str) -> (String, String) {
        (bind.to_owned(), format!("[{told}]"))
    }

    #[test]
    fn each_of_several_is_told_by_itself_or_by_its_own() {
        let two = ["10.0.0.1", "fd00::1"];
        let itself = vec![told("10.0.0.1", "10.0.0.1"), told("fd00::1", "fd00::1")];
        assert_eq!(found(&two, &[]), Ok(itself));
        let others = vec![told("10.0.0.1", "203.0.113.7"), told("fd00::1", "2001:db8::7")];
        assert_eq!(found(&two, &["203.0.113.7", "2001:db8::7"]), Ok(others));
        // One may be told by any number, and be a wildcard.
        let one = vec![told("::", "203.0.113.7, 2001:db8::7")];
        assert_eq!(found(&["::"], &["203.0.113.7", "2001:db8::7"]), Ok(one));
        let eight: Vec<String> = (1..=BINDS_MAX).map(|n| format!("10.0.0.{n}")).collect();
        let eight: Vec<&str> = eight.iter().map(String::as_str).collect();
        assert_eq!(found(&eight, &[]).map(|sites| sites.len()), Ok(BINDS_MAX));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let refused = |bind: &[&str], advertise: &[&str], parts: &[&str]| {
            let error = found(bind, advertise).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        };
        refused(&[], &[], &["media.bind"]);
        refused(&["10.0.0.1", "0.0.0.0"], &[], &["0.0.0.0", "alone", "media.bind"]);
        refused(&["::", "10.0.0.1"], &[], &["::", "alone", "media.bind"]);
        refused(&["10.0.0.1", "fd00::1", "10.0.0.1"], &[], &["10.0.0.1", "twice"]);
        refused(&["10.0.0.1", "::ffff:10.0.0.1"], &[], &["10.0.0.1", "twice"]);
        let same = ["203.0.113.7", "203.0.113.7"];
        refused(&["10.0.0.1", "10.0.0.2"], &same, &["10.0.0.2", "twice"]);
        refused(&["10.0.0.1", "10.0.0.2"], &["203.0.113.7"], &["2", "1", "media.advertise"]);
        let crossed = ["2001:db8::7", "203.0.113.7"];
        refused(&["10.0.0.1", "fd00::1"], &crossed, &["2001:db8::7", "10.0.0.1"]);
        refused(&["10.0.0.1", "169.254.7.7"], &[], &["169.254.7.7", "media.advertise"]);
        let nine: Vec<String> = (0..=BINDS_MAX).map(|n| format!("10.0.0.{n}")).collect();
        let nine: Vec<&str> = nine.iter().map(String::as_str).collect();
        refused(&nine, &[], &["9", "8", "media.bind"]);
    }

    #[test]
    fn a_tcp_port_tells_what_it_hears() {
        let ips = |all: &[&str]| all.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let mut config = NodeConfig::new(IpAddr::from([127, 0, 0, 1]), 0);
        config.bind = ips(&["10.0.0.1", "10.0.0.2", "fd00::1"]);
        config.advertise = ips(&["203.0.113.7", "203.0.113.8", "2001:db8::7"]);
        let sites = sites(&config).unwrap();
        let check = |listen: &str, told: &[&str]| {
            let found = told_by_tcp(listen.parse().unwrap(), &config, &sites).unwrap();
            assert_eq!(found, ips(told), "{listen}");
        };
        check("0.0.0.0", &["203.0.113.7", "203.0.113.8"]);
        check("::", &["203.0.113.7", "203.0.113.8", "2001:db8::7"]);
        check("10.0.0.2", &["203.0.113.8"]);
        check("10.0.0.3", &["10.0.0.3"]);
    }
}
