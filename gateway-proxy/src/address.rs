//! Which address a request counts as coming from.
//!
//! Behind a load balancer every connection is the balancer's. What it says in `x-forwarded-for` is believed where the connection is
//! one of `gateway.trusted_proxies`, and from nobody else: anybody can write that header.

use http::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// What proxies add the address to that they were connected from, at its end.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Proxies whose word is believed.
#[derive(Debug, Default)]
pub(crate) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    pub(crate) fn new(networks: &[IpNet]) -> Self {
        Self(networks.to_vec())
    }

    /// Whose request it is that came over a connection from `peer`: going back from there, the first address that is not a trusted
    /// proxy's. Where the header ends, or says what is no address, it is that of the last proxy.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        let values = headers.get_all(FORWARDED_FOR).iter().collect::<Vec<_>>().into_iter().rev();
        for hop in values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b',')) {
            let Some(address) = address(hop) else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address, with the brackets and the port that some proxies add.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = str::from_utf8(hop).ok()?.trim();
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_from_the_right_that_is_no_trusted_proxy_is_the_clients() {
        let trusted = TrustedProxies::new(&["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        for (peer, headers, expected) in [
            ("10.0.0.1", &["203.0.113.9"] as &[&str], "203.0.113.9"),
            ("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.1, 203.0.113.9, 10.2.2.2"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.1", "203.0.113.9,10.2.2.2"], "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("fd00::1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("fd00::1", &["[2001:db8::7]"], "2001:db8::7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, unknown, 10.2.2.2"], "10.2.2.2"),
            ("10.0.0.1", &["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            ("203.0.113.1", &["198.51.100.1"], "203.0.113.1"),
        ] {
            let mut map = HeaderMap::new();
            for value in headers {
                map.append(FORWARDED_FOR, value.parse().unwrap());
            }
            let client = trusted.client(peer.parse().unwrap(), &map);
            assert_eq!(client, expected.parse::<IpAddr>().unwrap(), "{peer} {headers:?}");
        }
    }
}
