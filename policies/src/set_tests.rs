use gateway_core::assurance::Level;
use gateway_core::authorize::AcrRequest;
use gateway_core::jurisdiction::Jurisdiction;
use proptest::prelude::*;

use super::*;
use crate::provider::tests::provider;

/// A vocabulary that knows a few words.
pub(crate) fn words() -> Vocabulary {
    let texts = "{ zh-Hans = \"甲\", zh-Hant-HK = \"甲\", pt = \"A\", en = \"A\" }";
    let claims: String = ["name", "email", "gender"].iter().map(|name| format!("{name} = {texts}\n")).collect();
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
    Service::from_document("s.toml", &text(id, rows), &words()).unwrap()
}

fn compile(documents: &[(&str, &str)]) -> Result<PolicySet, Vec<String>> {
    let documents: Vec<Document> =
        documents.iter().map(|(id, rows)| Document { file: format!("{id}.toml"), text: text(id, rows) }).collect();
    let providers = vec![provider("hk", "HK"), provider("mo", "MO")];
    PolicySet::compile("v1".into(), &documents, providers, words())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn acr(pair: &str) -> Assurance {
    Assurance::from_acr(&format!("urn:cbid:acr:{pair}")).unwrap()
}

const NO_ACR: &AcrRequest = &AcrRequest { essential: false, values: Vec::new() };

fn judge(
    set: &PolicySet,
    provider: &str,
    assurance: Assurance,
    age: u64,
    stated: bool,
    demand: Demand<'_>,
) -> Result<Permit, Refusal> {
    set.decide(&Facts {
        client: &"portal".parse().unwrap(),
        service: &"s".parse().unwrap(),
        provider: &provider.parse().unwrap(),
        jurisdiction: Jurisdiction::HongKong,
        assurance,
        age: Duration::from_secs(age),
        time_stated: stated,
        demand,
    })
}

const ROWS: &str = "[[allow]]\nproviders = [\"hk\"]\nidentity = 2\nauthentication = 2\nmax_age = \"10m\"\n\
    [[allow]]\nproviders = [\"mo\"]\nidentity = 2\nauthentication = 1\n[[forbid]]\nunstated_time = true\n";

#[test]
fn refusals_say_why() {
    let set = compile(&[("s", ROWS)]).unwrap();
    let none = Demand { acr: NO_ACR, max_age: None };
    let why = |provider, pair, age, stated| {
        judge(&set, provider, acr(pair), age, stated, none).map_err(|r| (r.failure, r.rules))
    };
    assert_eq!(why("hk", "i2a2", 600, true).unwrap().rules(), ["allow-1"]);
    assert_eq!(why("hk", "i3a1", 0, true).unwrap_err(), (Failure::AssuranceTooLow, vec!["allow-1".into()]));
    assert_eq!(why("hk", "i2a2", 601, true).unwrap_err(), (Failure::NotFresh, vec!["allow-1".into()]));
    assert_eq!(why("hk", "i2a2", 0, false).unwrap_err(), (Failure::PolicyRefused, vec!["forbid-1".into()]));
    assert_eq!(why("gd", "i3a3", 0, true).unwrap_err().0, Failure::PolicyRefused);
    let nobody = compile(&[("s", "[[allow]]\nproviders = [\"mo\"]\nidentity = 1\nauthentication = 1\n")]).unwrap();
    assert_eq!(judge(&nobody, "hk", acr("i3a3"), 0, true, none).unwrap_err().failure, Failure::ProviderNotAccepted);
    let empty = compile(&[("s", "")]).unwrap();
    assert_eq!(judge(&empty, "hk", acr("i3a3"), 0, true, none).unwrap_err().failure, Failure::ProviderNotAccepted);
}

/// CVE-2025-64103: an assurance that was asked for as essential is never quietly lowered.
#[test]
fn cve_2025_64103_what_the_client_asks_for_only_narrows() {
    let set = compile(&[("s", ROWS)]).unwrap();
    let essential = AcrRequest { essential: true, values: vec![acr("i3a2")] };
    let demand = Demand { acr: &essential, max_age: None };
    assert_eq!(judge(&set, "hk", acr("i2a2"), 0, true, demand).unwrap_err().failure, Failure::AssuranceTooLow);
    assert_eq!(judge(&set, "hk", acr("i3a2"), 0, true, demand).unwrap().stated(), acr("i3a2"));
    let weak = AcrRequest { essential: true, values: vec![acr("i1a1")] };
    let demand = Demand { acr: &weak, max_age: None };
    assert_eq!(judge(&set, "hk", acr("i1a1"), 0, true, demand).unwrap_err().failure, Failure::AssuranceTooLow);
    let fresh = Demand { acr: NO_ACR, max_age: Some(5) };
    assert_eq!(judge(&set, "mo", acr("i2a1"), 6, true, fresh).unwrap_err().failure, Failure::NotFresh);
}

#[test]
fn candidates_and_asks_tell_what_each_provider_can_do() {
    let set = compile(&[("s", ROWS)]).unwrap();
    let (client, id) = ("portal".parse().unwrap(), "s".parse().unwrap());
    let high = AcrRequest { essential: true, values: vec![acr("i2a2")] };
    let out_of_reach = AcrRequest { essential: true, values: vec![acr("i3a3")] };
    let fits = |acr| -> Vec<_> {
        set.candidates(&client, &id, Demand { acr, max_age: None }).into_iter().map(|c| c.fit).collect()
    };
    assert_eq!(fits(NO_ACR), [Ok(()), Ok(())]);
    assert_eq!(fits(&high), [Ok(()), Ok(())]);
    assert_eq!(fits(&out_of_reach), [Err(Failure::AssuranceTooLow), Err(Failure::AssuranceTooLow)]);
    let ask = |provider: &str, acr, max_age| set.ask(&id, &provider.parse().unwrap(), Demand { acr, max_age }).unwrap();
    assert_eq!(ask("mo", NO_ACR, None), Ask { assurance: acr("i2a1"), max_age: None });
    assert_eq!(ask("mo", &high, Some(30)), Ask { assurance: acr("i2a2"), max_age: Some(Duration::from_secs(30)) });
    assert_eq!(ask("hk", NO_ACR, Some(9_999)).max_age, Some(Duration::from_secs(600)));
}

#[test]
fn documents_that_would_mislead_are_refused_with_a_reason() {
    for (rows, reason) in [
        ("[[allow]]\nproviders = [\"nobody\"]\nidentity = 1\nauthentication = 1", "nobody is not a provider"),
        ("[[allow]]\nidentity = 1\nauthentication = 4\nproviders = [\"hk\"]", "between 1 and 3"),
        ("[[allow]]\nproviders = []\nidentity = 1\nauthentication = 1", "at least one is needed"),
        ("[[forbid]]", "forbid everybody"),
        ("[[forbit]]", "did you mean forbid?"),
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
    let none = Demand { acr: NO_ACR, max_age: None };
    let overflow = "cedar = 'permit(principal, action, resource == Service::\"s\") when { context.age * 9223372036854775807 > 0 };'\n";
    let rows = format!("{overflow}[[allow]]\nproviders = [\"hk\"]\nidentity = 1\nauthentication = 1\n");
    let set = compile(&[("s", &rows)]).unwrap();
    assert!(judge(&set, "hk", acr("i1a1"), 1, true, none).is_ok());
    assert_eq!(judge(&set, "hk", acr("i1a1"), 2, true, none).unwrap_err().failure, Failure::PolicyRefused);
}

#[test]
fn the_shipped_documents_compile() {
    let documents: Vec<Document> = crate::documents::SERVICES
        .iter()
        .map(|(file, text)| Document { file: (*file).to_owned(), text: (*text).to_owned() })
        .collect();
    let mut words = Vocabulary::default();
    words.add_document("vocabulary.toml", crate::documents::VOCABULARY).unwrap();
    let providers =
        vec![provider("hk-iam-smart", "HK"), provider("mo-one-account", "MO"), provider("gd-unified", "CN-GD")];
    let set = PolicySet::compile("v".into(), &documents, providers, words).unwrap();
    assert!(set.services().count() >= 10);
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/documents/services")).unwrap().count();
    assert_eq!(folder, documents.len(), "every document in the folder is compiled in");
}

/// The decision in a few lines, written apart from the engine.
fn model(
    rows: &[(bool, bool, u8, u8, Option<u64>)],
    forbid_unstated: bool,
    hk: bool,
    reached: (u8, u8),
    age: u64,
    stated: bool,
) -> bool {
    let allowed = rows.iter().any(|(for_hk, for_mo, identity, authentication, most)| {
        (if hk { *for_hk } else { *for_mo })
            && reached.0 >= *identity
            && reached.1 >= *authentication
            && most.is_none_or(|most| age <= most)
    });
    allowed && (stated || !forbid_unstated)
}

fn level(number: u8) -> Level {
    Level::try_from(number).unwrap()
}

proptest! {
    /// The engine agrees with the model, and nobody gains from less trust.
    #[test]
    fn the_engine_agrees_with_the_model_and_more_never_hurts(
        rows in proptest::collection::vec((any::<bool>(), any::<bool>(), 1u8..4, 1u8..4, proptest::option::of(0u64..100)), 0..4),
        forbid in any::<bool>(), hk in any::<bool>(), identity in 1u8..4, authentication in 1u8..4, age in 0u64..120, stated in any::<bool>(),
    ) {
        let rows: Vec<_> = rows.into_iter().filter(|row| row.0 || row.1).collect();
        let mut text = String::new();
        for (for_hk, for_mo, identity, authentication, most) in &rows {
            let names: Vec<&str> = [(*for_hk, "\"hk\""), (*for_mo, "\"mo\"")].iter().filter(|(on, _)| *on).map(|(_, n)| *n).collect();
            text += &format!("[[allow]]\nproviders = [{}]\nidentity = {identity}\nauthentication = {authentication}\n", names.join(","));
            if let Some(most) = most {
                text += &format!("max_age = \"{most}s\"\n");
            }
        }
        if forbid {
            text += "[[forbid]]\nunstated_time = true\n";
        }
        let set = compile(&[("s", &text)]).unwrap();
        let provider = if hk { "hk" } else { "mo" };
        let none = Demand { acr: NO_ACR, max_age: None };
        let permitted = |identity, authentication, age| {
            let assurance = Assurance { identity: level(identity), authentication: level(authentication) };
            judge(&set, provider, assurance, age, stated, none).is_ok()
        };
        let answer = permitted(identity, authentication, age);
        prop_assert_eq!(answer, model(&rows, forbid, hk, (identity, authentication), age, stated));
        prop_assert!(!answer || permitted(3, 3, 0));
    }
}
