//! Refusal on every path: each entry and grant, for each client and provider, before and after the pair is taken out of
//! policy. What is out already, codes, tokens and pages, is refused within the second.

use integration_tests::rp::query;
use integration_tests::world::{SECRET, client_document, secret_line, service_document};
use integration_tests::{Browser, Reply, Rp, World};
use url::Url;

const CLIENTS: [&str; 2] = ["matrix-a", "matrix-b"];
const PROVIDERS: [(&str, &str); 3] =
    [("hk-iam-smart", "hk-chan"), ("mo-one-account", "mo-vong"), ("gd-unified", "gd-li")];

/// Everything of one pair that is under way or out when policy changes.
struct Out {
    rp: Rp,
    provider: &'static str,
    person: &'static str,
    /// A browser whose session was made with this provider.
    session: Browser,
    /// The way to the provider, taken.
    at_provider: (Browser, Url),
    /// A consent page that was shown.
    shown: (Browser, Reply),
    /// A code that was sent.
    code: String,
    access: String,
    refresh: String,
}

fn redirect(client: &str) -> String {
    format!("https://{client}.example/cb")
}

async fn get_out(world: &World, client: &str, provider: &'static str, person: &'static str) -> Out {
    let rp = world.client(client, Some(SECRET), &redirect(client));
    let offline = [("scope", "openid profile offline_access")];
    let mut session = world.browser();
    let back = world.sign_in(&mut session, &rp.authorize("matrix", &offline), provider, person).await;
    let tokens = rp.redeem(&query(&back, "code").unwrap()).await.json();
    let mut leaving = world.browser();
    let address = world.to_provider(&mut leaving, &rp.authorize("matrix", &[]), provider).await;
    let mut asked = world.browser();
    let page = world.to_consent(&mut asked, &rp.authorize("matrix", &[("prompt", "consent")]), provider, person).await;
    let code = world.code(&rp, "matrix", provider, person).await;
    let text = |name: &str| tokens[name].as_str().unwrap_or_else(|| panic!("{name}: {tokens}")).to_owned();
    let (access, refresh) = (text("access_token"), text("refresh_token"));
    Out { rp, provider, person, session, at_provider: (leaving, address), shown: (asked, page), code, access, refresh }
}

/// What each path answers: true when it lets the pair through. Each is asked about things of its own, so the order does not
/// matter.
async fn answers(world: &World, mut out: Out) -> Vec<(&'static str, bool)> {
    let (rp, provider) = (out.rp.clone(), out.provider);
    let mut answers = Vec::new();
    let mut note = |path, through| answers.push((path, through));
    // Entries.
    let chooser = world.browser().get(rp.authorize("matrix", &[])).await;
    note("chooser", chooser.body.contains(&format!("/to/{provider}\"")));
    let mut posting = world.browser();
    let address = rp.authorize("matrix", &[]);
    let (at, form) = address.split_once('?').unwrap();
    let posted = posting.send(http::Method::POST, at, Some(form.to_owned()), &[]).await.target();
    note("authorize by POST", posting.get(posted).await.body.contains(&format!("/to/{provider}\"")));
    let id = chooser.body.split("/login/").nth(1).unwrap().split(['"', '?', '/']).next().unwrap().to_owned();
    let mut direct = world.browser();
    let fresh = direct.get(rp.authorize("matrix", &[])).await;
    let own = fresh.body.split("/login/").nth(1).unwrap().split(['"', '?', '/']).next().unwrap().to_owned();
    assert_ne!(id, own);
    let step = direct.get(format!("{}/login/{own}/to/{provider}", world.issuer())).await;
    note("address of the provider's step", step.location().is_some());
    for (path, extra) in [
        ("session", vec![("prompt", "none")]),
        ("session with a hint", vec![("prompt", "none"), ("login_hint", "somebody")]),
        (
            "session with an essential acr",
            vec![
                ("prompt", "none"),
                ("claims", "{\"id_token\":{\"acr\":{\"essential\":true,\"values\":[\"urn:cbid:acr:i1a1\"]}}}"),
            ],
        ),
    ] {
        let back = out.session.get(rp.authorize("matrix", &extra)).await.target();
        note(path, query(&back, "code").is_some());
    }
    // What was under way.
    let (mut leaving, address) = out.at_provider;
    let callback = world.sign_in_at_provider(&mut leaving, &address, out.person).await;
    let page = world.past_waiting(&mut leaving, callback).await;
    note("callback", page.failure().is_none());
    let (mut asked, page) = out.shown;
    let question = page.field("question").unwrap();
    let form = [("question", question.as_str()), ("decision", "allow"), ("export", "yes")];
    let agreed = asked.post(&page.url, &form).await;
    note("consent", agreed.location().is_some_and(|back| query(&back, "code").is_some()));
    // What was out.
    note("code", rp.redeem(&out.code).await.status == 200);
    note("userinfo", rp.userinfo(&out.access).await.status == 200);
    let form = [("grant_type", "refresh_token"), ("refresh_token", out.refresh.as_str())];
    note("refresh", rp.token(&form).await.status == 200);
    answers
}

async fn world() -> World {
    let clients = CLIENTS.map(|id| {
        let more = format!("refresh_lifetime = \"1h\"\n{}", secret_line());
        (format!("clients/{id}.toml"), client_document(id, &redirect(id), "client_secret_basic", &more))
    });
    let providers: Vec<&str> = PROVIDERS.iter().map(|(id, _)| *id).collect();
    let service = service_document("matrix", &CLIENTS, &providers, "remember_consent = \"90d\"");
    let documents = [
        (clients[0].0.as_str(), clients[0].1.as_str()),
        (clients[1].0.as_str(), clients[1].1.as_str()),
        ("services/matrix.toml", service.as_str()),
    ];
    World::with(&documents).await
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_46999_every_path_refuses_a_pair_that_was_taken_out_of_policy() {
    for (provider, _) in PROVIDERS {
        for client in CLIENTS {
            let world = world().await;
            let mut out = Vec::new();
            for other in CLIENTS {
                for (at, person) in PROVIDERS {
                    out.push((other == client && at == provider, get_out(&world, other, at, person).await));
                }
            }
            world.edit("services/matrix.toml", |text| {
                format!("{text}\n[[forbid]]\nproviders = [\"{provider}\"]\nclients = [\"{client}\"]\n")
            });
            world.demo.gateway.app().tend(None).await;
            for (taken_out, out) in out {
                let (who, at) = (out.rp.client_id.clone(), out.provider);
                for (path, through) in answers(&world, out).await {
                    assert_eq!(through, !taken_out, "{path}: {who} with {at} after {client} with {provider} went");
                }
            }
        }
    }
}
