//! Beneath HTTP: frames that flood, versions that are too old, certificates of nobody's.

use std::sync::Arc;
use std::time::Duration;

use integration_tests::World;
use integration_tests::servers::{Site, free_port};
use integration_tests::world::{SECRET, client_document, secret_line, service_document};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use url::Url;

/// Kinds of frames (RFC 9113 section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
/// Flags.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET /jwks` at `localhost`, compressed by hand (RFC 7541 appendix A: 2, 7, and literals under the names 1 and 4).
fn request() -> Vec<u8> {
    [&[0x82, 0x87][..], &[0x41, 9], b"localhost", &[0x44, 5], b"/jwks"].concat()
}

/// An HTTP/2 connection that says exactly what a test wants it to say.
struct Raw(TlsStream<TcpStream>);

impl Raw {
    async fn open(world: &World) -> Self {
        let port = Url::parse(world.issuer()).unwrap().port().unwrap();
        let mut config = (*world.browser().tls).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = TcpStream::connect(("localhost", port)).await.unwrap();
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut tls = tls.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        tls.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        Self(tls)
    }

    /// Whether the other side has had enough of these frames before they end: it says so, or is gone.
    async fn turned_out_by(mut self, frames: impl Iterator<Item = Vec<u8>>) -> bool {
        let (mut reading, mut writing) = tokio::io::split(&mut self.0);
        let gone = async {
            let mut heard = Vec::new();
            let mut buffer = [0; 4_096];
            loop {
                match reading.read(&mut buffer).await {
                    Ok(0) | Err(_) => return true,
                    Ok(read) => heard.extend_from_slice(&buffer[..read]),
                }
                // Frames that are whole, one after the other.
                while let Some(length) = heard.first_chunk::<3>().map(|[a, b, c]| u32::from_be_bytes([0, *a, *b, *c])) {
                    let whole = 9 + usize::try_from(length).unwrap();
                    if heard.len() < whole {
                        break;
                    }
                    if heard[3] == GOAWAY {
                        return true;
                    }
                    heard.drain(..whole);
                }
            }
        };
        let said = async {
            for frame in frames {
                if writing.write_all(&frame).await.is_err() {
                    break;
                }
            }
            let _ = writing.flush().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
        };
        tokio::select! { gone = gone => gone, () = said => false }
    }
}

/// CVE-2023-44487, CVE-2023-26964, CVE-2025-8671, RUSTSEC-2024-0332, RUSTSEC-2026-0258: whoever floods a connection with resets, with
/// headers that never end, with empty data or with pings is turned out, and nobody else notices.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2023_44487_who_floods_a_connection_is_turned_out() {
    let world = World::start().await;
    let odd = |n: u32| 2 * n + 1;
    let headers = |n: u32, flags: u8| frame(HEADERS, flags, odd(n), &request());
    let resets = (0..100_000).flat_map(move |n| {
        [frame(HEADERS, END_HEADERS | END_STREAM, odd(n), &request()), frame(RST_STREAM, 0, odd(n), &[0, 0, 0, 8])]
    });
    assert!(Raw::open(&world).await.turned_out_by(resets).await, "resets");
    let endless = std::iter::once(headers(0, 0)).chain((0..100_000).map(|n| {
        // A header of its own each time, never indexed.
        let name = format!("x-{n}");
        let field = [&[0x10, u8::try_from(name.len()).unwrap()][..], name.as_bytes(), &[1], b"y"].concat();
        frame(CONTINUATION, 0, 1, &field)
    }));
    assert!(Raw::open(&world).await.turned_out_by(endless).await, "headers without end");
    // Streams that nobody opened, and frames where none may be.
    let foreign = (0..100_000).map(|n| frame(RST_STREAM, 0, odd(n + 7), &[0, 0, 0, 8]));
    assert!(Raw::open(&world).await.turned_out_by(foreign).await, "resets of nothing");
    let zero = std::iter::once(frame(DATA, 0, 0, b"x"));
    assert!(Raw::open(&world).await.turned_out_by(zero).await, "data of no stream");
    let long = std::iter::once(frame(PING, 0, 0, &[0; 9]));
    assert!(Raw::open(&world).await.turned_out_by(long).await, "a ping that is none");
    let sound = world.browser().get(format!("{}/jwks", world.issuer())).await;
    assert_eq!(sound.status, 200);
    let good = Raw::open(&world).await;
    assert!(!good.turned_out_by(std::iter::once(headers(0, END_HEADERS | END_STREAM))).await, "who behaves stays");
}

/// CVE-2024-23656 (Dex): TLS 1.3 and 1.2, and nothing older, whatever the machine's own library would still speak.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_23656_old_versions_of_tls_are_not_spoken() {
    let world = World::start().await;
    let port = Url::parse(world.issuer()).unwrap().port().unwrap();
    let speaks = async |version: &str| {
        let mut command = tokio::process::Command::new("openssl");
        command.args(["s_client", "-connect", &format!("localhost:{port}"), version, "-cipher", "ALL:@SECLEVEL=0"]);
        let output = command.stdin(std::process::Stdio::null()).output().await.unwrap();
        output.status.success()
    };
    for (version, spoken) in [("-tls1_3", true), ("-tls1_2", true), ("-tls1_1", false), ("-tls1", false)] {
        assert_eq!(speaks(version).await, spoken, "{version}");
    }
}

/// CVE-2025-66001 (NeuVector), RUSTSEC-2026-0098: nobody is believed for a certificate that an authority of ours did not give them, for
/// this name.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_66001_a_certificate_of_nobodys_is_not_believed() {
    let (port, elsewhere) = (free_port(), tempfile::tempdir().unwrap());
    let lines = format!("{}\ndefault_service = \"matter\"", secret_line());
    let client = client_document("portal", "https://portal.example/cb", "client_secret_basic", &lines);
    let listed = format!("sector_identifier_uri = \"https://localhost:{port}/\"");
    let client = client.replace("sector = \"portal\"", &listed);
    let service = service_document("matter", &["portal"], &["hk-iam-smart"], "");
    let world = World::with(&[("clients/portal.toml", &client), ("services/matter.toml", &service)]).await;
    let rp = world.client("portal", Some(SECRET), "https://portal.example/cb");
    let uris = "[\"https://portal.example/cb\"]";
    let stranger = Site::open(elsewhere.path(), port, 200, uris).await;
    let told = world.browser().get(rp.authorize("matter", &[])).await.target();
    assert!(told.as_str().contains("temporarily_unavailable"), "{told}");
    assert!(stranger.heard().is_empty(), "a request was sent to somebody unknown");
}
