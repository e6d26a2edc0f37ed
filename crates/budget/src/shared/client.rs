//! How Redis is reached, over TLS where its URL says `rediss://`.

use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisError, TlsCertificates};

/// A client of the Redis at `url`. Its certificate must come from one of the authorities in `ca`, which is PEM, or without it from a public one.
pub fn redis_client(url: &str, ca: Option<&[u8]>) -> Result<Client, RedisError> {
    let info = url.into_connection_info()?;
    match ca {
        Some(ca) if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) => {
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca.to_vec()) };
            Client::build_with_tls(info, certificates)
        }
        Some(_) | None => Client::open(info),
    }
}
