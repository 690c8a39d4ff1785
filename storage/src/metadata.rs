//! Addresses at which a cloud tells a machine its secrets: nothing that a user names is fetched from there.

use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use std::error::Error;
use std::iter::successors;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Looks names up as the system does.
#[derive(Clone, Debug)]
pub struct System;

impl ResolveDns for System {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let found = tokio::net::lookup_host((name, 0)).await.map_err(ResolveDnsError::new)?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Looks names up as the one within does, and finds nothing where a metadata service is. So it doesn't matter how such
/// an address is written, or which name leads to it.
#[derive(Clone, Debug)]
pub struct NoMetadata<R>(pub R);

impl<R: ResolveDns> ResolveDns for NoMetadata<R> {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let found = self.0.resolve_dns(name).await?;
            match found.iter().copied().find(|address| is_metadata(*address)) {
                Some(address) => Err(ResolveDnsError::new(Refused { name: name.to_owned(), address })),
                None => Ok(found),
            }
        })
    }
}

/// Why nobody is asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is at {address}, where a cloud's machines are told their credentials: nothing is fetched from there")]
pub struct Refused {
    name: String,
    address: IpAddr,
}

/// # Errors
/// When the host is such an address itself: then nobody looks it up.
pub fn check(host: &str) -> Result<(), Refused> {
    match host.parse() {
        Ok(address) if is_metadata(address) => Err(Refused { name: host.to_owned(), address }),
        _ => Ok(()),
    }
}

/// Whether it went wrong because a name led there, which it will another time as well.
pub fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    successors(Some(error), |&error| error.source()).any(|cause| cause.is::<Refused>())
}

/// Link-local ones, of which 169.254.169.254 is EC2's metadata service and 169.254.170.2 and 169.254.170.23 those of its
/// containers; and fd00:ec2::/32, where the same are over IPv6. (AWS: "Access instance metadata for an EC2 instance", "Amazon ECS
/// task metadata endpoint", "EKS Pod Identity".) Other clouds have them there too, and beside: Azure at 168.63.129.16, Alibaba at
/// 100.100.100.200, Google at fd20:ce::254.
fn is_metadata(address: IpAddr) -> bool {
    let four = |address: Ipv4Addr| {
        address.is_link_local() || matches!(address.octets(), [168, 63, 129, 16] | [100, 100, 100, 200])
    };
    let six = |address: Ipv6Addr| {
        let starts = address.segments();
        address.is_unicast_link_local() || matches!((starts[0], starts[1]), (0xfd00, 0x0ec2) | (0xfd20, 0x00ce))
    };
    match address {
        IpAddr::V4(address) => four(address),
        // Networks reach all of IPv4 at 64:ff9b::/96 and 64:ff9b:1::/48 (RFC 6052, 8215), and at 2002::/16 (RFC 3056).
        IpAddr::V6(address) => {
            let parts = address.segments();
            let within = |at: usize| Ipv4Addr::from((u32::from(parts[at]) << 16) | u32::from(parts[at + 1]));
            let translated = (parts[0], parts[1]) == (0x64, 0xff9b) && four(within(6));
            let tunnelled = parts[0] == 0x2002 && four(within(1));
            six(address) || address.to_ipv4().is_some_and(four) || translated || tunnelled
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_services_are_known_however_they_are_written() {
        for there in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fe80::1",
            "::ffff:169.254.169.254",
            "::a9fe:a9fe",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "168.63.129.16",
            "100.100.100.200",
            "fd20:ce::254",
        ] {
            assert!(check(there).is_err(), "{there}");
        }
        for elsewhere in ["127.0.0.1", "10.0.0.1", "169.253.1.1", "fd00:ec3::1", "2001:db8::1", "example.org", "::1"] {
            assert_eq!(check(elsewhere), Ok(()), "{elsewhere}");
        }
    }

    #[tokio::test]
    async fn numbers_that_the_system_takes_for_addresses_lead_nowhere_either() {
        for there in ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518"] {
            let error = NoMetadata(System).resolve_dns(there).await.unwrap_err();
            let source = error.source().map(ToString::to_string).unwrap_or_default();
            // A system that takes it for a name finds nothing, which is as good.
            assert!(source.contains("credentials") || source.contains("lookup"), "{there}: {source}");
        }
        let here = NoMetadata(System).resolve_dns("localhost").await.unwrap();
        assert!(!here.is_empty() && here.iter().all(IpAddr::is_loopback));
    }
}
