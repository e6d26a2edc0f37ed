//! Opening a port, with an error that says which setting asked for it.

use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that the kernel keeps waiting for us; Linux caps it at `net.core.somaxconn` (4096 by default).
const BACKLOG: u32 = 4096;

/// A port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{key}: cannot listen on {addr}{hint}")]
pub struct ListenError {
    /// The configuration key that named the address.
    pub key: String,
    /// The address.
    pub addr: SocketAddr,
    hint: &'static str,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Listens on `addr`, which the configuration key `key` asked for. Port 0 takes any free port.
///
/// The address may be reused at once after a restart, and a burst of 4096 connections may wait to be accepted. Must be
/// called within a tokio runtime.
pub fn listen(key: &str, addr: SocketAddr) -> Result<TcpListener, ListenError> {
    let open = || {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => ": another process has the port; expected a free one",
            io::ErrorKind::AddrNotAvailable => ": expected an address of this machine",
            io::ErrorKind::PermissionDenied => {
                ": expected a port from 1024 on, or the right to use lower ones"
            }
            _ => "",
        };
        ListenError { key: key.to_owned(), addr, hint, source }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_reported_with_its_key() {
        let taken = listen("gateway.listen", "127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = taken.local_addr().unwrap();
        let error = listen("gateway.listen", addr).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "gateway.listen: cannot listen on {addr}: another process has the port; expected a free one"
            )
        );
    }
}
