//! What a TLS client says first, looked at before its handshake costs anything.

use std::time::Duration;

use tls_parser::{
    TlsExtension, TlsMessage, TlsMessageHandshake, parse_tls_client_hello_extensions, parse_tls_plaintext,
};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// More than a first message has, in bytes.
const MOST: usize = 4_096;
/// How long the first message may take.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long to wait for the rest of it.
const REST: Duration = Duration::from_millis(2);

/// Whether a client offers to resume a session (RFC 8446 section 4.2.11, RFC 5077 section 3.2): it was here lately. It may not be
/// true; it makes it likelier to be let in, and is no other evidence.
pub(super) async fn resumes(tcp: &TcpStream) -> bool {
    let mut first = vec![0; MOST];
    let said = async {
        loop {
            let read = tcp.peek(&mut first).await.ok().filter(|read| *read > 0)?;
            match offers_session(first.get(..read)?) {
                Some(offers) => return Some(offers),
                None if read == MOST => return None,
                None => sleep(REST).await,
            }
        }
    };
    timeout(PATIENCE, said).await.ok().flatten().unwrap_or(false)
}

/// The same of the bytes that came so far; nothing, while the message is not whole.
fn offers_session(bytes: &[u8]) -> Option<bool> {
    let record = match parse_tls_plaintext(bytes) {
        Ok((_, record)) => record,
        Err(tls_parser::nom::Err::Incomplete(_)) => return None,
        Err(_) => return Some(false),
    };
    let Some(TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello))) = record.msg.first() else {
        return Some(false);
    };
    let extensions = parse_tls_client_hello_extensions(hello.ext.unwrap_or_default());
    let offers = |extension: &TlsExtension<'_>| match extension {
        TlsExtension::PreSharedKey(_) => true,
        TlsExtension::SessionTicket(ticket) => !ticket.is_empty(),
        _ => false,
    };
    Some(extensions.is_ok_and(|(_, extensions)| extensions.iter().any(offers)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use certs::devca::DevCa;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, ServerConnection};

    use super::*;

    /// What a client says first; then the handshake is done, so that its next one can resume.
    fn first_message(client: &Arc<ClientConfig>, server: &Arc<rustls::ServerConfig>) -> Vec<u8> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
        let mut first = Vec::new();
        client.write_tls(&mut first).unwrap();
        server.read_tls(&mut first.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        for _ in 0..4 {
            let (mut to_client, mut to_server) = (Vec::new(), Vec::new());
            while server.wants_write() {
                server.write_tls(&mut to_client).unwrap();
            }
            let mut rest = to_client.as_slice();
            while client.read_tls(&mut rest).unwrap() > 0 {
                client.process_new_packets().unwrap();
            }
            while client.wants_write() {
                client.write_tls(&mut to_server).unwrap();
            }
            let mut rest = to_server.as_slice();
            while server.read_tls(&mut rest).unwrap() > 0 {
                server.process_new_packets().unwrap();
            }
        }
        first
    }

    #[test]
    fn who_was_here_before_is_known_by_its_first_message() {
        let folder = tempfile::tempdir().unwrap();
        let ca = DevCa::open(folder.path(), 1_800_000_000).unwrap();
        let (chain, key) = ca.issue("server", &["localhost"]).unwrap();
        let certificate = certs::tls::ReloadingCert::load(&chain, &key).unwrap();
        let server = certs::tls::server(certificate).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        for root in certs::tls::read_certificates(&ca.certificate()).unwrap() {
            roots.add(root).unwrap();
        }
        let when = Arc::new(At(1_800_000_000));
        let config = ClientConfig::builder_with_details(certs::tls::provider(), when);
        let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let client = Arc::new(config.with_no_client_auth());
        let (first, again) = (first_message(&client, &server), first_message(&client, &server));
        assert_eq!((offers_session(&first), offers_session(&again)), (Some(false), Some(true)));
        for part in 0..again.len() {
            assert_eq!(offers_session(&again[..part]), None, "{part} of {}", again.len());
        }
        for other in [&b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"[..], &[22; 600], &[0; 600]] {
            assert_ne!(offers_session(other), Some(true));
        }
    }

    /// A clock that stands still.
    #[derive(Debug)]
    struct At(u64);

    impl rustls::time_provider::TimeProvider for At {
        fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
            Some(rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
        }
    }
}
