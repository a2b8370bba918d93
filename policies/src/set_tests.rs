use gateway_core::assurance::Assurance;
use gateway_core::authorize::AcrRequest;
use gateway_core::circumstances::{AgeLimit, Population};

use super::*;
use crate::choose::Ask;
use crate::decide::Demand;
use crate::provider::tests::provider;

/// A vocabulary that knows a few words.
pub(crate) fn words() -> Vocabulary {
    let texts = "{ zh-Hans = \"甲\", zh-Hant-HK = \"甲\", pt = \"A\", en = \"A\" }";
    let general = ["name", "email", "gender", "a", "b", "c", "nothing", "empty", "adult", "n", "birthdate", "year"];
    let class = |class: &str, names: &[&str]| -> String {
        names.iter().map(|name| format!("{name} = {{ class = \"{class}\", {}\n", &texts[1..])).collect()
    };
    let claims = class("general", &general)
        + &class("sensitive", &["d", "e"])
        + &format!("over_18 = {{ class = \"general\", yes_no = true, {}\n", &texts[1..]);
    let text = format!("[claims]\n{claims}[purposes]\nuse = {texts}\n[grounds]\nconsent = {texts}\n");
    let mut words = Vocabulary::default();
    words.add_document("v.toml", &text).unwrap();
    words
}

fn text(id: &str, rows: &str) -> String {
    format!(
        "service = \"{id}\"\nresource = \"https://services.example/{id}\"\nclients = [\"portal\"]\n{rows}\n\
         [name]\nzh-Hans = \"甲\"\nzh-Hant-HK = \"甲\"\npt = \"A\"\nen = \"A\"\n"
    )
}

/// A service with these rows.
pub(crate) fn service(id: &str, rows: &str) -> Service {
    Service::from_document("s.toml", &text(id, rows), &words(), &Groups::new()).unwrap()
}

/// A client of any kind.
pub(crate) fn client(id: &str, jurisdiction: &str, more: &str) -> Client {
    let texts = "{ zh-Hans = \"甲\", zh-Hant-HK = \"甲\", pt = \"A\", en = \"A\" }";
    let text = format!(
        "client_id = \"{id}\"\njurisdiction = \"{jurisdiction}\"\nsector = \"{id}\"\nname = {texts}\noperator = {texts}\n\
         redirect_uris = [\"https://portal.example/cb\"]\ntoken_endpoint_auth_method = \"none\"\n{more}\n"
    );
    Client::from_document("c.toml", &text).unwrap()
}

/// A set of these services, with the clients `portal`, `kiosk` and `macao`, and the providers `hk` and `mo`.
pub(crate) fn compile(documents: &[(&str, &str)]) -> Result<PolicySet, Vec<String>> {
    let documents: Vec<Document> =
        documents.iter().map(|(id, rows)| Document { file: format!("{id}.toml"), text: text(id, rows) }).collect();
    let (portal, kiosk) =
        (client("portal", "CN-GD", ""), client("kiosk", "CN-GD", "place = \"kiosk\"\nstaff_assisted = true"));
    let macao = client("macao", "MO", "");
    PolicySet::compile(Parts {
        version: "v1".into(),
        services: &documents,
        clients: vec![&portal, &kiosk, &macao],
        providers: vec![provider("hk", "HK"), provider("mo", "MO")],
        vocabulary: words(),
        ..Parts::default()
    })
    .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn acr(pair: &str) -> Assurance {
    Assurance::from_acr(&format!("urn:cbid:acr:{pair}")).unwrap()
}

const ADULT: Person = Person { population: None, age: None, capacity: Capacity::Own };

fn login(provider: &str, words: &str, age: u64) -> Login {
    Login {
        provider: provider.parse().unwrap(),
        acr: Some(words.to_owned()),
        amr: vec![],
        age,
        time_stated: true,
        person: ADULT,
        at: WeekMinute::at(2, 600),
        signed_in_at: Place::Browser,
    }
}

fn judge(set: &PolicySet, client: &str, login: &Login, demand: Demand<'_>) -> Result<Permit, Refusal> {
    set.decide(&Facts { client: &client.parse().unwrap(), service: &"s".parse().unwrap(), login, demand })
}

fn why(set: &PolicySet, client: &str, login: &Login) -> Result<Vec<String>, (&'static str, Vec<String>)> {
    judge(set, client, login, Demand::NONE)
        .map(|permit| permit.rules().to_vec())
        .map_err(|refusal| (refusal.failure.code(), refusal.rules))
}

const ROWS: &str = "[[allow]]\nproviders = [\"hk\"]\nidentity = 2\nauthentication = 2\nmax_age = \"10m\"\n\
    [[allow]]\nproviders = [\"mo\"]\nidentity = 2\nauthentication = 1\n[[forbid]]\nunstated_time = true\n";

#[test]
fn refusals_say_why() {
    let set = compile(&[("s", ROWS)]).unwrap();
    let refused = |code, rule: &str| Err((code, vec![rule.to_owned()]));
    assert_eq!(why(&set, "portal", &login("hk", "high", 600)), Ok(vec!["allow-1".to_owned()]));
    assert_eq!(why(&set, "portal", &login("hk", "low", 0)), refused("CB-402", "allow-1"));
    assert_eq!(why(&set, "portal", &login("hk", "high", 601)), refused("CB-403", "allow-1"));
    let unstated = Login { time_stated: false, ..login("hk", "high", 0) };
    assert_eq!(why(&set, "portal", &unstated), refused("CB-404", "forbid-1"));
    assert_eq!(why(&set, "portal", &login("gd", "high", 0)), refused("CB-404", "provider-exists"));
    assert_eq!(why(&set, "portal", &login("hk", "HIGH", 0)), refused("CB-402", "acr-in-provider-table"));
    assert_eq!(why(&set, "kiosk", &login("hk", "high", 0)), refused("CB-404", "client-offers-service"));
    assert_eq!(why(&set, "nobody", &login("hk", "high", 0)), refused("CB-404", "client-exists"));
    for rows in ["", "[[allow]]\nproviders = [\"mo\"]\nidentity = 1\nauthentication = 1\n"] {
        let set = compile(&[("s", rows)]).unwrap();
        assert_eq!(why(&set, "portal", &login("hk", "high", 0)), refused("CB-401", "default-deny"));
    }
}

const MANY: &str = "[[allow]]\nproviders = [\"hk\"]\nidentity = 1\nauthentication = 1\npopulations = [\"hk\"]\n\
    age_from = 18\nage_below = 60\ncapacities = [\"own\", \"legal-person\"]\nplaces = [\"browser\"]\n\
    hours = [\"Mon-Fri 09:00-17:30\", \"Sat 10:00-12:00\"]\nfrom = [\"HK\"]\nto = [\"CN-GD\"]\n\
    [[forbid]]\npopulations = [\"taiwan\", \"other\"]\n[[forbid]]\nage_below = 14\n";

#[test]
fn every_circumstance_can_be_asked_about() {
    let set = compile(&[("s", MANY)]).unwrap();
    let of = |population, years, capacity, at| Login {
        person: Person { population, age: Some(AgeLimit::reached_at(years)), capacity },
        at,
        ..login("hk", "low", 0)
    };
    let (hk, own, noon) = (Some(Population::HongKong), Capacity::Own, WeekMinute::at(2, 720));
    assert_eq!(why(&set, "portal", &of(hk, 18, own, noon)), Ok(vec!["allow-1".to_owned()]));
    let code = |login: &Login| why(&set, "portal", login).unwrap_err().0;
    assert_eq!(code(&of(hk, 17, own, noon)), "CB-407");
    assert_eq!(code(&of(hk, 60, own, noon)), "CB-407");
    assert_eq!(code(&of(Some(Population::Macao), 30, own, noon)), "CB-407");
    assert_eq!(code(&of(hk, 30, Capacity::Assisted, noon)), "CB-407");
    assert_eq!(code(&of(hk, 30, own, WeekMinute::at(5, 720))), "CB-406");
    assert_eq!(code(&of(Some(Population::Other), 30, own, noon)), "CB-404");
    // What is not known lets nobody in, and keeps everybody out.
    assert_eq!(why(&set, "portal", &of(None, 30, own, noon)).unwrap_err(), ("CB-404", vec!["forbid-1".to_owned()]));
    let ageless = Login { person: Person { age: None, ..of(hk, 0, own, noon).person }, ..of(hk, 30, own, noon) };
    assert_eq!(why(&set, "portal", &ageless).unwrap_err(), ("CB-404", vec!["forbid-2".to_owned()]));
}

#[test]
fn helped_by_staff_is_a_capacity_of_its_own() {
    let rows =
        |capacities: &str| format!("[[allow]]\nproviders = [\"hk\"]\nidentity = 1\nauthentication = 1\n{capacities}\n");
    let both = |capacities: &str| {
        let document = text("s", &rows(capacities)).replace("[\"portal\"]", "[\"portal\", \"kiosk\"]");
        let documents = [Document { file: "s.toml".into(), text: document }];
        let (portal, kiosk) =
            (client("portal", "CN-GD", ""), client("kiosk", "CN-GD", "place = \"kiosk\"\nstaff_assisted = true"));
        PolicySet::compile(Parts {
            services: &documents,
            clients: vec![&portal, &kiosk],
            providers: vec![provider("hk", "HK")],
            vocabulary: words(),
            ..Parts::default()
        })
        .unwrap()
    };
    let silent = both("");
    assert!(why(&silent, "portal", &login("hk", "low", 0)).is_ok());
    assert_eq!(why(&silent, "kiosk", &login("hk", "low", 0)).unwrap_err().0, "CB-407");
    let said = both("capacities = [\"assisted\"]");
    assert!(why(&said, "kiosk", &login("hk", "low", 0)).is_ok());
    assert_eq!(why(&said, "portal", &login("hk", "low", 0)).unwrap_err().0, "CB-407");
}

#[test]
fn data_does_not_hop_from_region_to_region_unless_the_service_says_so() {
    let hop = |more: &str| {
        let rows = "[[allow]]\nproviders = [\"hk\", \"mo\"]\nidentity = 1\nauthentication = 1\n";
        let document = text("s", &format!("{more}\n{rows}")).replace("[\"portal\"]", "[\"macao\"]");
        let documents = [Document { file: "s.toml".into(), text: document }];
        let macao = client("macao", "MO", "");
        let set = PolicySet::compile(Parts {
            services: &documents,
            clients: vec![&macao],
            providers: vec![provider("hk", "HK"), provider("mo", "MO")],
            vocabulary: words(),
            ..Parts::default()
        })
        .unwrap();
        (why(&set, "macao", &login("hk", "low", 0)), why(&set, "macao", &login("mo", "low", 0)))
    };
    let (from_hong_kong, at_home) = hop("");
    assert_eq!(from_hong_kong.unwrap_err(), ("CB-404", vec!["regional-hop".to_owned()]));
    assert!(at_home.is_ok());
    assert!(hop("regional_hop = true").0.is_ok());
}

/// A token that can be read names the person to its readers as its client knows them: to nobody of another sector, and of somebody
/// anonymous not at all.
#[test]
fn a_token_that_can_be_read_joins_no_sectors() {
    let rows = |lines: &str| {
        let row = "[[allow]]\nproviders = [\"hk\"]\nidentity = 1\nauthentication = 1\n";
        compile(&[("s", &format!("{lines}\n{row}"))]).map(|_| ()).map_err(|problems| problems.join("\n"))
    };
    assert_eq!(rows("access_token = \"jwt\"\nresource_servers = [\"portal\"]"), Ok(()));
    assert_eq!(rows("access_token = \"opaque\"\nresource_servers = [\"kiosk\"]"), Ok(()));
    let joined = rows("access_token = \"jwt\"\nresource_servers = [\"kiosk\"]").unwrap_err();
    assert!(joined.contains("kiosk would read a `sub` of portal's sector"), "{joined}");
    let unsigned = rows("access_token_signing_alg = \"ES256\"").unwrap_err();
    assert!(unsigned.contains("an opaque token is not signed"), "{unsigned}");
    let anonymous = rows("access_token = \"jwt\"\nconsent = \"anonymous\"").unwrap_err();
    assert!(anonymous.contains("an anonymous service knows nobody"), "{anonymous}");
}

/// OpenID Connect Core section 8: one `sub` for many clients only where policy says so, and never across a border.
#[test]
fn oidc_core_8_public_subjects_only_where_a_service_allows_them() {
    let row = "[[allow]]\nproviders = [\"hk\"]\nidentity = 1\nauthentication = 1\n";
    let portal = Client {
        sector: gateway_core::ids::Sector::public(gateway_core::jurisdiction::Jurisdiction::Guangdong),
        ..client("portal", "CN-GD", "")
    };
    let with = |lines: &str| {
        let service = Document { file: "s.toml".into(), text: text("s", &format!("{lines}\n{row}")) };
        let parts = Parts {
            services: &[service],
            clients: vec![&portal],
            providers: vec![provider("hk", "HK")],
            ..Parts::default()
        };
        PolicySet::compile(Parts { vocabulary: words(), ..parts }).map(|_| ())
    };
    let refused = with("").unwrap_err().first().map(ToString::to_string).unwrap();
    assert!(refused.contains("portal has public subjects"), "{refused}");
    assert_eq!(with("public_subjects = true"), Ok(()));
    // Whoever asks about its tokens hears their own name of the person.
    let own = client("portal", "CN-GD", "");
    let reader = Client { sector: portal.sector.clone(), ..client("kiosk", "CN-GD", "") };
    let read = |lines: &str| {
        let text = text("s", &format!("resource_servers = [\"kiosk\"]\n{lines}\n{row}"));
        let service = Document { file: "s.toml".into(), text };
        let parts =
            Parts { services: &[service], clients: vec![&own, &reader], vocabulary: words(), ..Parts::default() };
        PolicySet::compile(Parts { providers: vec![provider("hk", "HK")], ..parts }).is_ok()
    };
    assert!(!read("") && read("public_subjects = true"));
}

/// CVE-2025-64103: an assurance that was asked for as essential is never quietly lowered.
#[test]
fn cve_2025_64103_what_the_client_asks_for_only_narrows() {
    let set = compile(&[("s", ROWS)]).unwrap();
    let essential = AcrRequest { essential: true, values: vec![acr("i2a2")], old: vec![] };
    let demand = Demand { acr: &essential, max_age: None };
    let refusal = judge(&set, "portal", &login("mo", "low", 0), demand).unwrap_err();
    assert_eq!((refusal.failure, refusal.needed), (Failure::AssuranceTooLow, Some((acr("i2a2"), None))));
    assert_eq!(judge(&set, "portal", &login("mo", "high", 0), demand).unwrap().stated(), acr("i2a2"));
    let weak = AcrRequest { essential: true, values: vec![acr("i1a1")], old: vec![] };
    let demand = Demand { acr: &weak, max_age: None };
    assert_eq!(judge(&set, "portal", &login("hk", "low", 0), demand).unwrap_err().failure, Failure::AssuranceTooLow);
    let fresh = Demand { max_age: Some(5), ..Demand::NONE };
    assert_eq!(judge(&set, "portal", &login("mo", "low", 6), fresh).unwrap_err().failure, Failure::NotFresh);
}

#[test]
fn candidates_and_asks_tell_what_each_provider_can_do() {
    let set = compile(&[("s", ROWS)]).unwrap();
    let (client, id, at) = ("portal".parse().unwrap(), "s".parse().unwrap(), WeekMinute::at(0, 0));
    let no = AcrRequest::default();
    let high = AcrRequest { essential: true, values: vec![acr("i2a2")], old: vec![] };
    let out_of_reach = AcrRequest { essential: true, values: vec![acr("i3a3")], old: vec![] };
    let fits = |acr| -> Vec<_> {
        set.candidates(&client, &id, Demand { acr, max_age: None }, at).into_iter().map(|c| c.fit).collect()
    };
    assert_eq!(fits(&no), [Ok(()), Ok(())]);
    assert_eq!(fits(&high), [Ok(()), Ok(())]);
    assert_eq!(fits(&out_of_reach), [Err(Failure::AssuranceTooLow), Err(Failure::AssuranceTooLow)]);
    let ask = |provider: &str, acr, max_age| {
        set.ask(&id, &provider.parse().unwrap(), Demand { acr, max_age }, false).unwrap()
    };
    assert_eq!(ask("mo", &no, None), Ask { assurance: acr("i2a1"), max_age: None });
    assert_eq!(ask("mo", &high, Some(30)), Ask { assurance: acr("i2a2"), max_age: Some(Duration::from_secs(30)) });
    assert_eq!(ask("hk", &no, Some(9_999)).max_age, Some(Duration::from_secs(600)));
    let closed = compile(&[("s", MANY)]).unwrap();
    let fit = |at| closed.fit(&client, &id, &"hk".parse().unwrap(), Demand::NONE, at);
    assert_eq!(fit(WeekMinute::at(6, 720)), Err(Failure::NotOpen));
}

/// After a login that fell short, the most that any row asks for is asked for: asking the same again would be a loop.
#[test]
fn after_falling_short_more_is_asked_for() {
    let rows = "[[allow]]\nproviders = [\"hk\"]\nidentity = 1\nauthentication = 1\nage_from = 60\n\
        [[allow]]\nproviders = [\"hk\"]\nidentity = 2\nauthentication = 2\n";
    let set = compile(&[("s", rows)]).unwrap();
    let ask = |short| set.ask(&"s".parse().unwrap(), &"hk".parse().unwrap(), Demand::NONE, short).unwrap().assurance;
    assert_eq!([ask(false), ask(true)], [acr("i1a1"), acr("i2a2")]);
}

#[test]
fn documents_that_would_mislead_are_refused_with_a_reason() {
    for (rows, reason) in [
        ("[[allow]]\nproviders = [\"hkk\"]\nidentity = 1\nauthentication = 1", "did you mean hk?"),
        (
            "[[allow]]\nproviders = [\"hk\"]\nclients = [\"potral\"]\nidentity = 1\nauthentication = 1",
            "did you mean portal?",
        ),
        ("instruments = [\"none\"]", "none is not known in this bundle"),
        ("groups = [\"none\"]", "none is not known in this bundle"),
        ("consent = \"notise\"", "did you mean notice?"),
        ("[[allow]]\nproviders = [\"hk\"]\nidentity = 1\nauthentication = 1\nage_from = 17", "age limits: 0, 6, 11"),
        ("[[allow]]\nproviders = [\"hk\"]\nidentity = 1\nauthentication = 1\nhours = [\"Mo 9-5\"]", "such as Mon-Fri"),
        ("[[allow]]\nidentity = 1\nauthentication = 4\nproviders = [\"hk\"]", "between 1 and 3"),
        ("[[allow]]\nproviders = []\nidentity = 1\nauthentication = 1", "at least one is needed"),
        ("[[forbid]]", "forbid everybody"),
        ("[[forbit]]", "did you mean forbid?"),
        ("[[forbid]]\nolder_than = \"49711d\"", "must be at most 49710d"),
        (
            "[[allow]]\nproviders = [\"hk\"]\nidentity = 1\nauthentication = 1\nmax_age = \"4294967295s\"",
            "must be at most 49710d",
        ),
        ("[[forbid]]\nhours = [\"daily 22:00-06:00\"]", "hours over midnight are two"),
        ("cedar = \"permit(principal, action, resource);\"", "must say resource =="),
        ("cedar = 'permit(principal, action, resource == Service::\"s\") when { context.ag > 1 };'", "ag"),
        ("cedar = 'permit(principal, action, resource == Service::\"s\") when { context.age > \"x\" };'", "type"),
        (
            "[[release]]\nclaim = \"sub\"\nfrom = 'claims.a'\non_missing = \"fail\"\npurpose = \"use\"\nground = \"consent\"",
            "reserved",
        ),
        (
            "[[release]]\nclaim = \"name\"\nfrom = 'claims.a'\non_missing = \"fail\"\npurpose = \"user\"\nground = \"consent\"",
            "did you mean use?",
        ),
        (
            "[[release]]\nclaim = \"name\"\nfrom = 'clams.a'\non_missing = \"fail\"\npurpose = \"use\"\nground = \"consent\"",
            "clams is not known",
        ),
        (
            "[[release]]\nclaim = \"name\"\nfrom = 'claims.a'\non_missing = \"fail\"\noptional = true\npurpose = \"use\"\nground = \"consent\"",
            "optional claim",
        ),
        (
            "[[release]]\nclaim = \"name\"\nfrom = 'claims.a'\non_missing = \"set\"\npurpose = \"use\"\nground = \"consent\"",
            "needs a default",
        ),
    ] {
        let problems = compile(&[("s", rows)]).unwrap_err();
        assert!(problems.iter().any(|p| p.contains(reason)), "{rows}: {problems:?}");
    }
    let twice = compile(&[("s", ""), ("s", "")]).unwrap_err();
    assert!(twice.iter().any(|p| p.contains("another document")), "{twice:?}");
}

#[test]
fn raw_cedar_can_forbid_and_an_error_never_permits() {
    let overflow = "cedar = 'permit(principal, action, resource == Service::\"s\") when { context.age * 9223372036854775807 > 0 };'\n";
    let rows = format!("{overflow}[[allow]]\nproviders = [\"hk\"]\nidentity = 1\nauthentication = 1\n");
    let set = compile(&[("s", &rows)]).unwrap();
    assert!(why(&set, "portal", &login("hk", "low", 1)).is_ok());
    assert_eq!(why(&set, "portal", &login("hk", "low", 2)).unwrap_err().0, "CB-404");
}

/// The verdicts that are kept are told apart by everything that rows can tell apart: the second question is answered as a
/// set that never saw the first would answer it.
#[test]
fn a_kept_verdict_answers_only_its_own_class() {
    let rows = format!(
        "{MANY}[[allow]]\nproviders = [\"mo\"]\nidentity = 2\nauthentication = 2\nmax_age = \"10m\"\n\
         signed_in_at = [\"app\", \"counter\"]\n"
    );
    let kept = compile(&[("s", &rows)]).unwrap();
    for age in [0, 599, 600, 601, 86_400] {
        for words in ["low", "high"] {
            for at in [WeekMinute::at(0, 539), WeekMinute::at(0, 540), WeekMinute::at(5, 720), WeekMinute::at(6, 700)] {
                for provider in ["hk", "mo"] {
                    let person = Person {
                        population: Some(Population::HongKong),
                        age: Some(AgeLimit::reached_at(30)),
                        capacity: Capacity::Own,
                    };
                    for signed_in_at in Place::ALL.iter().copied() {
                        let login = Login { at, person, signed_in_at, ..login(provider, words, age) };
                        let fresh = compile(&[("s", &rows)]).unwrap();
                        assert_eq!(why(&kept, "portal", &login), why(&fresh, "portal", &login), "{login:?}");
                    }
                }
            }
        }
    }
}
