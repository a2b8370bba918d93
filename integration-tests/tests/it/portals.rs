//! The few lines that a portal's developer writes, run as the documentation has them.

use std::os::unix::fs::PermissionsExt as _;

use integration_tests::World;
use integration_tests::peers::{Sample, certificate, code_of, folder, python};
use integration_tests::servers::free_port;
use integration_tests::world::{SECRET, client_document, secret_line, service_document};
use serde_json::Value;
use tokio::process::Command;

const SERVICE: &str = "sample-matter";

/// A world with a client whose callback is at this port.
async fn world(port: u16, profile: &str) -> World {
    let portal = format!("https://localhost:{port}");
    let lines = format!("{}\nprofile = \"{profile}\"\npost_logout_redirect_uris = [\"{portal}/bye\"]", secret_line());
    let client = client_document("sample", &format!("{portal}/callback"), "client_secret_basic", &lines);
    let service = service_document(SERVICE, &["sample"], &["hk-iam-smart"], "");
    World::with(&[("clients/sample.toml", &client), (&format!("services/{SERVICE}.toml"), &service)]).await
}

/// A whole login at a portal that runs at this port; what it shows at the end.
async fn login(world: &World, port: u16) -> Value {
    let mut browser = world.browser();
    let start = browser.get(format!("https://localhost:{port}/login")).await.target();
    let back = world.sign_in(&mut browser, start.as_str(), "hk-iam-smart", "hk-chan").await;
    let shown = browser.get(back).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    shown.json()
}

/// What the environment of a sample says.
fn settings(command: &mut Command, world: &World) {
    command
        .env("ISSUER", world.issuer())
        .env("CLIENT_ID", "sample")
        .env("CLIENT_SECRET", SECRET)
        .env("SERVICE", format!("https://services.example/{SERVICE}"))
        .env("SESSION_SECRET", "of this test alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn python_authlib() {
    let port = free_port();
    let world = world(port, "baseline").await;
    let file = world.data.join("portal.py");
    std::fs::write(&file, code_of("portals/python-authlib.md", "python")).unwrap();
    let (cert, key) = certificate(&world.data, "python");
    let mut command = Command::new(python());
    command.args(["-m", "flask", "--app"]).arg(&file).args(["run", "--port", &port.to_string(), "--cert"]);
    command.arg(cert).arg("--key").arg(key).env("REQUESTS_CA_BUNDLE", &world.demo.ca);
    settings(&mut command, &world);
    let _portal = Sample::start(command, port).await;
    let shown = login(&world, port).await;
    assert_eq!(shown["userinfo"]["name"], "CHAN, Tai Man", "{shown}");
    assert_eq!(shown["id_token"]["sub"], shown["userinfo"]["sub"]);
    assert_eq!(shown["id_token"]["iss"], world.issuer());
}

#[tokio::test(flavor = "multi_thread")]
async fn ruby_openid_connect() {
    let port = free_port();
    let world = world(port, "baseline").await;
    let file = world.data.join("portal.rb");
    std::fs::write(&file, code_of("portals/ruby-openid-connect.md", "ruby")).unwrap();
    let (cert, key) = certificate(&world.data, "ruby");
    let mut command = Command::new("ruby");
    command.arg(file).env("PORTAL", format!("https://localhost:{port}")).env("SSL_CERT_FILE", &world.demo.ca);
    command.env("TLS_CERT", cert).env("TLS_KEY", key);
    settings(&mut command, &world);
    let _portal = Sample::start(command, port).await;
    let shown = login(&world, port).await;
    assert_eq!(shown["userinfo"]["name"], "CHAN, Tai Man", "{shown}");
    assert_eq!(shown["id_token"]["sub"], shown["userinfo"]["sub"]);
}

/// The old module, as Debian has it: no PKCE, its own defaults, and a whole sign-out.
#[tokio::test(flavor = "multi_thread")]
async fn apache_mod_auth_openidc() {
    let port = free_port();
    let world = world(port, "legacy").await;
    let (cert, key) = certificate(&world.data, "apache");
    let folder = world.data.join("apache");
    std::fs::create_dir_all(folder.join("htdocs")).unwrap();
    std::fs::write(folder.join("htdocs/index.html"), "signed in").unwrap();
    let ca = folder.join("ca.pem");
    std::fs::write(&ca, std::fs::read(&world.demo.ca).unwrap()).unwrap();
    // Its workers are somebody else.
    for path in [world.data.parent().unwrap(), &world.data, &folder] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let modules: String =
        ["mpm_event", "authn_core", "authz_core", "authz_user", "dir", "headers", "ssl", "auth_openidc"]
            .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
            .concat();
    let at = |path: &std::path::Path| path.display().to_string();
    let base = format!(
        "{modules}ServerName localhost\nListen 127.0.0.1:{port}\nUser www-data\nGroup www-data\n\
         PidFile {folder}/pid\nDefaultRuntimeDir {folder}\nErrorLog {folder}/error.log\nDocumentRoot {folder}/htdocs\n\
         SSLEngine on\nSSLCertificateFile {cert}\nSSLCertificateKeyFile {key}\nOIDCCABundlePath {ca}\n\
         Header always set x-name \"expr=%{{reqenv:OIDC_CLAIM_name}}\"\n",
        folder = at(&folder),
        cert = at(&cert),
        key = at(&key),
        ca = at(&ca),
    );
    let file = folder.join("apache.conf");
    std::fs::write(&file, base + &code_of("portals/apache.md", "apache")).unwrap();
    let mut command = Command::new("/usr/sbin/apache2");
    command.arg("-f").arg(&file).arg("-DFOREGROUND");
    settings(&mut command, &world);
    command
        .env("PORTAL", format!("https://localhost:{port}"))
        .env("SERVICE", format!("https%3A%2F%2Fservices.example%2F{SERVICE}"));
    let _portal = Sample::start(command, port).await;
    let (mut browser, home) = (world.browser(), format!("https://localhost:{port}/"));
    // The module sends nobody on who does not look like a browser.
    browser.headers.push(("accept", "text/html".to_owned()));
    let log = || std::fs::read_to_string(folder.join("error.log")).unwrap_or_default();
    let start = browser.get(&home).await;
    let start = start.location().unwrap_or_else(|| panic!("{}", log()));
    let back = world.sign_in(&mut browser, start.as_str(), "hk-iam-smart", "hk-chan").await;
    let shown = browser.follow_within(back, &home).await;
    assert_eq!(shown.body, "signed in", "{}", log());
    assert_eq!(shown.headers["x-name"], "CHAN, Tai Man");
    let bye = format!("{home}callback?logout=https%3A%2F%2Flocalhost%3A{port}%2Fbye");
    let end = browser.get(bye).await.target();
    assert!(end.as_str().starts_with(&format!("{}/logout?", world.issuer())), "{end}");
    assert_eq!(browser.get(&end).await.target().as_str(), format!("{home}bye"));
    assert!(browser.get(&home).await.target().as_str().starts_with(world.issuer()), "signed out there as well");
}

/// FAPI 2.0 in fifty lines.
#[tokio::test(flavor = "multi_thread")]
async fn javascript_openid_client() {
    let port = free_port();
    let key = josekit::jwk::Jwk::generate_ec_key(josekit::jwk::alg::ec::EcCurve::P256).unwrap();
    let public = Value::Object(key.to_public_key().unwrap().into());
    let lines = format!("profile = \"fapi2\"\njwks = '{}'", serde_json::json!({"keys": [public]}));
    let redirect = format!("https://localhost:{port}/callback");
    let client = client_document("sample", &redirect, "private_key_jwt", &lines);
    let service = service_document(SERVICE, &["sample"], &["hk-iam-smart"], "");
    let documents = [("clients/sample.toml", client.as_str()), (&format!("services/{SERVICE}.toml"), service.as_str())];
    let world = World::with(&documents).await;
    let (cert, tls_key) = certificate(&world.data, "node");
    let client_key = world.data.join("client.jwk");
    std::fs::write(&client_key, Value::Object(key.into()).to_string()).unwrap();
    let mut command = Command::new("node");
    // Its packages are found from where the peers are installed.
    let code = code_of("portals/javascript-openid-client.md", "js");
    command.current_dir(folder()).args(["--input-type=module", "--eval", &code]);
    settings(&mut command, &world);
    command
        .env("PORTAL", format!("https://localhost:{port}"))
        .env("NODE_EXTRA_CA_CERTS", &world.demo.ca)
        .env("CLIENT_KEY", &client_key)
        .env("TLS_CERT", cert)
        .env("TLS_KEY", tls_key);
    let _portal = Sample::start(command, port).await;
    let shown = login(&world, port).await;
    assert_eq!(shown["userinfo"]["name"], "CHAN, Tai Man", "{shown}");
    assert_eq!(shown["id_token"]["sub"], shown["userinfo"]["sub"]);
}

/// What stands behind a portal: it reads tokens by themselves, and asks about them; whatever is not for it is refused.
#[tokio::test(flavor = "multi_thread")]
async fn python_resource_server() {
    let (port, secret) = (free_port(), secret_line());
    let server = client_document(
        "server",
        "",
        "client_secret_basic",
        &format!("{secret}\ngrant_types = [\"client_credentials\"]"),
    )
    .replace("redirect_uris = [\"\"]\n", "")
    .replace("sector = \"server\"", "sector = \"shared\"");
    let portal = client_document("sample", "https://sample.example/cb", "client_secret_basic", &secret)
        .replace("sector = \"sample\"", "sector = \"shared\"");
    let more = "access_token = \"jwt\"\nresource_servers = [\"server\"]";
    let service = service_document(SERVICE, &["sample"], &["hk-iam-smart"], more);
    let other = service_document("another-matter", &["sample"], &["hk-iam-smart"], more);
    let world = World::with(&[
        ("clients/server.toml", &server),
        ("clients/sample.toml", &portal),
        (&format!("services/{SERVICE}.toml"), &service),
        ("services/another-matter.toml", &other),
    ])
    .await;
    let file = world.data.join("server.py");
    std::fs::write(&file, code_of("portals/python-resource-server.md", "python")).unwrap();
    let (cert, key) = certificate(&world.data, "server");
    let mut command = Command::new(python());
    command.args(["-m", "flask", "--app"]).arg(&file).args(["run", "--port", &port.to_string(), "--cert"]);
    command.arg(cert).arg("--key").arg(key).env("REQUESTS_CA_BUNDLE", &world.demo.ca);
    settings(&mut command, &world);
    command.env("CLIENT_ID", "server");
    let _server = Sample::start(command, port).await;
    let rp = world.client("sample", Some(SECRET), "https://sample.example/cb");
    let tokens = |code: String| async move { rp.redeem(&code).await.json() };
    let portal = world.client("sample", Some(SECRET), "https://sample.example/cb");
    let own = tokens.clone()(world.code(&portal, SERVICE, "hk-iam-smart", "hk-chan").await).await;
    let foreign = tokens(world.code(&portal, "another-matter", "hk-iam-smart", "hk-chan").await).await;
    let call = async |path: &str, token: &str| {
        let (url, bearer) = (format!("https://localhost:{port}{path}"), format!("Bearer {token}"));
        world.browser().send(http::Method::GET, &url, None, &[("authorization", &bearer)]).await
    };
    let text = |tokens: &Value, name: &str| tokens[name].as_str().unwrap_or_else(|| panic!("{tokens}")).to_owned();
    let (access, id) = (text(&own, "access_token"), text(&own, "id_token"));
    let person = integration_tests::rp::claims(&id)["sub"].clone();
    for path in ["/record", "/licence"] {
        let answer = call(path, &access).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["person"]), (200, &person), "{path} {}", answer.body);
        let cut = &access[..access.len() - 2];
        for (what, wrong) in [
            ("none", ""),
            ("garbage", "x.y.z"),
            ("another service's", &text(&foreign, "access_token")),
            ("an ID token", &id),
            ("a cut one", cut),
        ] {
            assert_eq!(call(path, wrong).await.status, 401, "{path} {what}");
        }
    }
    // Whoever asks knows that it was given back; whoever only reads learns it when the five minutes are over.
    assert_eq!(portal.post("/revoke", &[("token", &access)]).await.status, 200);
    assert_eq!(
        (call("/licence", &access).await.status.as_u16(), call("/record", &access).await.status.as_u16()),
        (401, 200)
    );
}
