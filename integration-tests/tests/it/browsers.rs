//! Whole logins at the three identity systems in a real browser: desktop and phone, with and without JavaScript, in four
//! languages, by keyboard where it matters; accessibility of every page; the screenshots are kept.

use std::time::Duration;

use integration_tests::World;
use integration_tests::peers::{chromium, screenshots};
use sandbox::iam_smart::Approval;
use serde_json::{Value, json};

const ANDROID: &str = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36";

/// One run: who, where, how.
struct Run<'a> {
    name: &'a str,
    locale: &'a str,
    phone: bool,
    javascript: bool,
}

impl Run<'_> {
    fn look(&self, page: &str) -> Vec<Value> {
        let name = format!("{}-{page}", self.name);
        // Without a script the page has to load itself again (WCAG 2.2.1 excepts what is waited for in real time).
        let axe =
            json!({"axe": {"name": name, "except": if page == "waiting" { vec!["meta-refresh"] } else { vec![] }}});
        vec![json!({"screenshot": name}), axe, json!({"noHorizontalScroll": true})]
    }

    fn steps(&self, parts: Vec<Vec<Value>>) -> Value {
        let (viewport, agent) = if self.phone {
            (json!({"width": 390, "height": 844}), Some(ANDROID))
        } else {
            (json!({"width": 1100, "height": 900}), None)
        };
        let mut steps = parts.concat();
        if self.javascript {
            // A page with an error status is an error to the browser as well.
            steps.push(json!({"consoleClean": {"allow": ["status of 403", "status of 400"]}}));
        }
        let mut run =
            json!({"javascript": self.javascript, "locale": self.locale, "viewport": viewport, "steps": steps});
        if let Some(agent) = agent {
            run["userAgent"] = agent.into();
            run["mobile"] = true.into();
        }
        run
    }
}

fn portal(world: &World, id: &str) -> String {
    world.demo.portals.iter().find(|portal| portal.client_id == id).unwrap().url.clone()
}

fn choose(provider: &str) -> Value {
    json!({"click": format!("a.choice[href$='/to/{provider}']")})
}

fn agree(portal: &str, seen: &str) -> Vec<Value> {
    vec![
        json!({"expectNo": "input:checked"}),
        json!({"check": "input[name=export]"}),
        json!({"click": "button[value=allow]"}),
        json!({"expectUrl": portal}),
        json!({"expectText": {"text": seen}}),
    ]
}

async fn drive(world: &World, runs: Vec<Value>) {
    let out = screenshots("providers");
    chromium(&json!({"ca": world.demo.ca, "out": out, "timeout": 20_000, "runs": runs})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn iam_smart_on_a_desktop_and_on_a_phone() {
    let world = World::own(&[]).await;
    world.iam_smart().approval(Approval::After(Duration::from_secs(4)));
    let network = portal(&world, "gd-government-service-network");
    let desktop = Run { name: "iam-smart-desktop", locale: "zh-HK", phone: false, javascript: true };
    let start =
        |service: usize| vec![json!({"goto": format!("{network}/login?service={service}")}), choose("hk-iam-smart")];
    let desktop = desktop.steps(vec![
        start(0),
        desktop.look("qr"),
        vec![json!({"click": "button[value=hk-leung]"}), json!({"expectUrl": "/wait"})],
        desktop.look("waiting"),
        vec![json!({"expectUrl": "/consent"})],
        desktop.look("consent"),
        agree(&network, "𤧬"),
    ]);
    // On a phone the app is on the same device: the link opens it, and it leads back here.
    let phone = Run { name: "iam-smart-phone", locale: "zh-CN", phone: true, javascript: false };
    let phone = phone.steps(vec![
        start(6),
        vec![
            json!({"check": "input[name=hold]"}),
            json!({"click": "button[value=hk-chan]"}),
            json!({"expectUrl": "/wait"}),
        ],
        phone.look("waiting"),
        vec![json!({"click": "main a.button"}), json!({"screenshot": "iam-smart-phone-app"})],
        vec![json!({"click": "button[value=approve]"}), json!({"expectUrl": "/consent"})],
        phone.look("consent"),
        agree(&network, "CHAN, Tai Man"),
    ]);
    let refusing = Run { name: "iam-smart-refused", locale: "en", phone: true, javascript: true };
    let refused = refusing.steps(vec![
        start(6),
        vec![
            json!({"check": "input[name=hold]"}),
            json!({"click": "button[value=hk-wong]"}),
            json!({"click": "main a.button"}),
        ],
        vec![json!({"click": "button[value=reject]"}), json!({"expectText": {"selector": "#code", "text": "CB-205"}})],
        refusing.look("page"),
        vec![json!({"click": "form button.quiet"}), json!({"expectUrl": "error=access_denied"})],
    ]);
    drive(&world, vec![desktop, phone, refused]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_the_face_and_a_linked_account() {
    let world = World::own(&[]).await;
    let network = portal(&world, "gd-government-service-network");
    let run = Run { name: "link", locale: "zh-HK", phone: true, javascript: false };
    // Company registration is for iAM Smart alone, wants the face checked, and offers the link.
    let steps = run.steps(vec![
        vec![json!({"goto": format!("{network}/login?service=4")}), json!({"click": "button[value=hk-chan]"})],
        vec![json!({"expectUrl": "/link"})],
        run.look("offer"),
        vec![
            json!({"focusAndEnter": "button[value=prove]"}),
            json!({"select": {"selector": "select[name=method]", "value": "3"}}),
        ],
        vec![json!({"click": "button[value=gd-chan-tai-man]"}), json!({"expectUrl": "/link"})],
        run.look("question"),
        vec![json!({"click": "button[value=link]"}), json!({"expectUrl": "/consent"})],
        agree(&network, "CHAN, Tai Man"),
        vec![json!({"goto": format!("{}/account", world.issuer())})],
        run.look("ledger"),
        vec![json!({"click": "form[action='/account/sign-out'] button"})],
        run.look("signed-out"),
    ]);
    drive(&world, vec![steps]).await;
    assert_eq!(world.iam_smart().counters().step_up, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn macao_and_guangdong_on_a_desktop_and_on_a_phone() {
    let world = World::own(&[]).await;
    let (network, hong_kong) =
        (portal(&world, "gd-government-service-network"), portal(&world, "hk-cross-boundary-enquiry"));
    let mut runs = Vec::new();
    for (name, locale, phone, javascript, person) in
        [("macao-desktop", "pt-PT", false, true, "mo-lei"), ("macao-phone", "zh-CN", true, false, "mo-vong")]
    {
        let run = Run { name, locale, phone, javascript };
        runs.push(run.steps(vec![
            vec![json!({"goto": format!("{network}/login?service=0")}), choose("mo-one-account")],
            run.look("login"),
            vec![json!({"click": format!("button[value={person}]")}), json!({"expectUrl": "/consent"})],
            run.look("consent"),
            agree(&network, "Userinfo"),
        ]));
    }
    for (name, locale, phone, javascript, person) in
        [("guangdong-desktop", "en", false, false, "gd-li"), ("guangdong-phone", "zh-HK", true, true, "gd-zeng")]
    {
        let run = Run { name, locale, phone, javascript };
        runs.push(run.steps(vec![
            vec![
                json!({"goto": format!("{hong_kong}/login?service=0")}),
                json!({"select": {"selector": "select[name=method]", "value": "3"}}),
            ],
            run.look("login"),
            vec![json!({"click": format!("button[value={person}]")}), json!({"expectUrl": "/consent"})],
            run.look("consent"),
            agree(&hong_kong, "Userinfo"),
        ]));
    }
    let weak = Run { name: "guangdong-password", locale: "zh-CN", phone: true, javascript: true };
    runs.push(weak.steps(vec![
        vec![
            json!({"goto": format!("{hong_kong}/login?service=0")}),
            json!({"select": {"selector": "select[name=method]", "value": "1"}}),
        ],
        vec![json!({"click": "button[value=gd-li]"}), json!({"expectText": {"selector": "#code", "text": "CB-402"}})],
        weak.look("too-weak"),
    ]));
    drive(&world, runs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_begins_in_the_app() {
    let world = World::own(&[]).await;
    let network = portal(&world, "gd-government-service-network");
    let app = world.simulator("hk-iam-smart").url.clone();
    let run = Run { name: "direct", locale: "zh-HK", phone: true, javascript: false };
    let steps = run.steps(vec![
        vec![
            json!({"goto": format!("{app}/direct")}),
            json!({"click": "button[value=hk-chan]"}),
            json!({"expectUrl": "/direct"}),
        ],
        run.look("question"),
        // Ratings is given nothing about the person, so what was proved in the app is enough.
        vec![
            json!({"click": "button[value='gd-government-service-network ratings']"}),
            json!({"expectUrl": network}),
            json!({"expectText": {"text": "Userinfo"}}),
        ],
    ]);
    drive(&world, vec![steps]).await;
    assert_eq!(world.iam_smart().counters().qr, 0);
}
