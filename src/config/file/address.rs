//! Addresses as they are written: `10.0.0.1:5432`, `[::1]:5432`, `db.example.com:5432`, `unix:/path`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;

use super::keys::{Shape, Text};
use super::read::{Raw, Read, Reader, Refusal};
use crate::config::error::quote;
use crate::config::types::{BackendAddr, BackendName};

/// `sun_path` of a unix address is 108 bytes, the last of them 0 (unix(7)).
const MAX_UNIX_PATH: usize = 107;

/// Of a host name (RFC 1035, 2.3.4, without the length bytes).
const MAX_HOST: usize = 253;

/// Of one label of a host name (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;

/// Where a listener is; what is spoken there is said elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Inet(SocketAddr),
    Unix(PathBuf),
}

/// An address that only this machine can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loopback(pub(crate) SocketAddr);

/// The path of a unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnixPath(pub(crate) PathBuf);

/// Where a backend is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) addr: BackendAddr,
    /// What a backend there is called unless it has a name of its own: the address as it stands in the file.
    pub(crate) name: BackendName,
}

impl Read for Endpoint {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(raw, endpoint)
    }

    fn shape((): &()) -> Shape {
        Shape::Text(Text { what: "address", pattern: Some("^(unix:/.*[^/]|.+:[0-9]+)$") })
    }
}

impl Read for Loopback {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(raw, loopback).map(Self)
    }

    fn shape((): &()) -> Shape {
        Shape::Text(Text { what: "loopback address", pattern: Some("^(127\\.[0-9.]+|\\[.+\\]):[0-9]+$") })
    }
}

impl Read for UnixPath {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(raw, unix_path).map(Self)
    }

    fn shape((): &()) -> Shape {
        Shape::Text(Text { what: "path", pattern: Some("^/.*[^/]$") })
    }
}

impl Read for Address {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(raw, |text| Ok(Self { addr: backend(text)?, name: BackendName::from(text) }))
    }

    fn shape((): &()) -> Shape {
        Shape::Text(Text { what: "address", pattern: Some("^(unix:/.*[^/]|.+:[0-9]+)$") })
    }
}

/// What a listener binds.
fn endpoint(text: &str) -> Result<Endpoint, Refusal> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path).map(Endpoint::Unix);
    }
    match inet(text)? {
        (Host::Ip(ip), port) => bindable(SocketAddr::new(ip, port.get())).map(Endpoint::Inet),
        (Host::Scoped(addr), _) => Ok(Endpoint::Inet(addr)),
        (Host::Name(name), port) => Err((
            format!("a listener binds an IP address, and {} is a name", quote(name)),
            Some(format!("`127.0.0.1:{port}` for this machine alone, `0.0.0.0:{port}` and `[::]:{port}` for all")),
        )),
    }
}

fn backend(text: &str) -> Result<BackendAddr, Refusal> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path).map(BackendAddr::Unix);
    }
    Ok(match inet(text)? {
        (Host::Ip(ip), port) => BackendAddr::Inet(SocketAddr::new(ip, port.get())),
        (Host::Scoped(addr), _) => BackendAddr::Inet(addr),
        (Host::Name(name), port) => BackendAddr::Name { host: host_name(name)?.to_owned(), port },
    })
}

/// Where the read-only HTTP side listens: on this machine alone, because it does not authenticate its clients.
fn loopback(text: &str) -> Result<SocketAddr, Refusal> {
    match endpoint(text)? {
        Endpoint::Inet(addr) if addr.ip().is_loopback() => Ok(addr),
        Endpoint::Inet(addr) => Err((
            format!("{} is not a loopback address, and HTTP asks nobody who they are", quote(text)),
            Some(format!("`127.0.0.1:{0}` or `[::1]:{0}`", addr.port())),
        )),
        Endpoint::Unix(_) => Err(("`http` listens on an IP address; `socket` is the key for a path".to_owned(), None)),
    }
}

fn unix_path(path: &str) -> Result<PathBuf, Refusal> {
    let refuse = |why: String| Err((why, None));
    if !path.starts_with('/') {
        return refuse(format!("the path of a unix socket must be absolute, and {} is not", quote(path)));
    }
    if path.len() > MAX_UNIX_PATH {
        return refuse(format!("the path of a unix socket holds {MAX_UNIX_PATH} bytes, and this is {}", path.len()));
    }
    if path.chars().any(char::is_control) {
        return refuse(format!("{} has a control character in it", quote(path)));
    }
    if path.ends_with('/') {
        return refuse(format!("{} is a directory, not a socket", quote(path)));
    }
    Ok(PathBuf::from(path))
}

enum Host<'t> {
    Ip(IpAddr),
    /// IPv6 with a scope, `[fe80::1%2]:80`.
    Scoped(SocketAddr),
    Name(&'t str),
}

/// Splits at the port and tells addresses from names.
fn inet(text: &str) -> Result<(Host<'_>, NonZeroU16), Refusal> {
    if let Ok(ip) = text.parse::<Ipv6Addr>() {
        return Err(without_brackets(text, ip));
    }
    if let Some((_, rest)) = text.split_once("://") {
        let addr = rest.split('/').next().unwrap_or(rest);
        let help = format!("an address has no scheme: {}", quote(addr));
        return Err((format!("{} is a URL, not an address", quote(text)), Some(help)));
    }
    let Some((host, port)) = text.rsplit_once(':').filter(|_| !text.ends_with(']')) else {
        return Err((format!("{} has no port", quote(text)), Some(no_port_help(text))));
    };
    let port = parse_port(port)?;
    if host.is_empty() || host == "*" {
        return Err((
            format!("{} has no address before the port", quote(text)),
            Some(format!("`0.0.0.0:{port}` is every IPv4 address, `[::]:{port}` every IPv6 address")),
        ));
    }
    if let Ok(addr @ SocketAddr::V6(v6)) = text.parse::<SocketAddr>()
        && v6.scope_id() != 0
    {
        return Ok((Host::Scoped(addr), port));
    }
    if let Some(inside) = host.strip_prefix('[') {
        let ip = inside.strip_suffix(']').and_then(|inside| inside.parse::<Ipv6Addr>().ok());
        let ip = ip.ok_or_else(|| (format!("{} is not an IPv6 address", quote(host)), None))?;
        return Ok((Host::Ip(ip.into()), port));
    }
    if host.contains(':') {
        let help = host.parse::<Ipv6Addr>().ok().map(|ip| format!("`[{ip}]:{port}`"));
        return Err((format!("the IPv6 address in {} needs brackets", quote(text)), help));
    }
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok((Host::Ip(ip.into()), port));
    }
    // A last label of digits can only be an IPv4 address (RFC 1123, 2.1); resolving it would hide the mistake.
    let last_label = host.trim_end_matches('.').rsplit('.').next().unwrap_or(host);
    if !last_label.is_empty() && last_label.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err((format!("{} is not an IPv4 address", quote(host)), None));
    }
    Ok((Host::Name(host), port))
}

/// For what is an IPv6 address as a whole, be its last group meant as a port or not.
fn without_brackets(text: &str, whole: Ipv6Addr) -> Refusal {
    let parts = text.rsplit_once(':').map(|(host, port)| (host.parse::<Ipv6Addr>(), parse_port(port)));
    match parts {
        Some((Ok(host), Ok(port))) => {
            (format!("the IPv6 address in {} needs brackets", quote(text)), Some(format!("`[{host}]:{port}`")))
        }
        _ => (format!("{} has no port", quote(text)), Some(format!("`[{whole}]:PORT`"))),
    }
}

fn no_port_help(text: &str) -> String {
    if text.starts_with('/') {
        return format!("a unix socket is written {}", quote(&format!("unix:{text}")));
    }
    quote(&format!("{text}:PORT"))
}

fn parse_port(text: &str) -> Result<NonZeroU16, Refusal> {
    if !text.is_empty() && text.bytes().all(|byte| byte == b'0') {
        return Err(("port 0 is no port".to_owned(), Some("ports are 1 to 65535".to_owned())));
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = if digits { text.parse().ok() } else { None };
    port.ok_or_else(|| (format!("{} is not a port", quote(text)), Some("ports are 1 to 65535".to_owned())))
}

/// A listener's IPv6 sockets are IPv6 only, so a mapped address could never be bound.
fn bindable(addr: SocketAddr) -> Result<SocketAddr, Refusal> {
    let mapped = match addr.ip() {
        IpAddr::V6(v6) => v6.to_ipv4_mapped(),
        IpAddr::V4(_) => None,
    };
    match mapped {
        Some(v4) => Err((format!("`{addr}` is an IPv4 address in disguise"), Some(format!("`{v4}:{}`", addr.port())))),
        None => Ok(addr),
    }
}

fn host_name(name: &str) -> Result<&str, Refusal> {
    let labels = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if labels.len() <= MAX_HOST && labels.split('.').all(is_label) {
        Ok(name)
    } else {
        Err((format!("{} is neither an IP address nor a host name", quote(name)), None))
    }
}
