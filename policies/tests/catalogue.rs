//! The shipped documents: they compile together, their examples hold, and they describe the programme.
#![expect(clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use gateway_core::circumstances::{AgeLimit, Capacity, Login, Person, Place, WeekMinute};
use gateway_core::client::Client;
use gateway_core::consent::Mode;
use policies::decide::Demand;
use policies::documents::{CLIENTS, GROUPS, INSTRUMENTS, PROVIDERS, SERVICES, VOCABULARY};
use policies::set::{Document, Parts};
use policies::vocabulary::Vocabulary;
use policies::{Facts, PolicySet, Provider};

fn documents(kind: &str, shipped: &[(&str, &str)]) -> Vec<Document> {
    let document = |(name, text): &(&str, &str)| Document { file: format!("{kind}/{name}"), text: (*text).to_owned() };
    shipped.iter().map(document).collect()
}

/// The shipped clients, with what an operator would fill in.
fn clients() -> Vec<Client> {
    let read = |(name, text): &(&str, &str)| {
        let text = text
            .replace("@PORTAL@", "https://portal.example")
            .replace("@JWKS@", "{}")
            .replace("@SECRET@", &"A".repeat(43));
        Client::from_document(name, &text).unwrap_or_else(|problems| panic!("{problems:?}"))
    };
    CLIENTS.iter().map(read).collect()
}

fn catalogue() -> PolicySet {
    let mut vocabulary = Vocabulary::default();
    vocabulary.add_document("vocabulary.toml", VOCABULARY).unwrap_or_else(|problems| panic!("{problems:?}"));
    let clients = clients();
    let provider = |(name, text): &(&str, &str)| {
        // The adapter's own part is none of policy's business.
        let read = Provider::from_document(name, text, |doc| {
            for field in ["kind", "iam_smart", "oauth", "guangdong"] {
                let _ = doc.has(field);
            }
            Some(())
        });
        read.unwrap_or_else(|problems| panic!("{problems:?}")).0
    };
    PolicySet::compile(Parts {
        version: "shipped".into(),
        services: &documents("services", SERVICES),
        groups: &documents("groups", GROUPS),
        instruments: &documents("instruments", INSTRUMENTS),
        clients: clients.iter().collect(),
        providers: PROVIDERS.iter().map(provider).collect(),
        vocabulary,
    })
    .unwrap_or_else(|problems| panic!("{}", problems.iter().map(|p| format!("{p}\n")).collect::<String>()))
}

#[test]
fn every_example_of_every_document_holds() {
    let problems = catalogue().test();
    assert!(problems.is_empty(), "{}", problems.iter().map(|p| format!("{p}\n")).collect::<String>());
}

#[test]
fn the_programme_is_described_in_full() {
    let set = catalogue();
    let services: Vec<_> = set.services().collect();
    assert!(services.len() >= 100, "{}", services.len());
    let mut domains: BTreeMap<&str, usize> = BTreeMap::new();
    for service in &services {
        *domains.entry(service.domain.as_deref().unwrap_or("none")).or_default() += 1;
    }
    let expected = [
        "government",
        "company",
        "lodging",
        "marriage",
        "social-security",
        "transport",
        "schooling",
        "medical",
        "housing",
        "tax",
        "driving",
        "customs",
    ];
    assert!(expected.iter().all(|domain| domains.get(domain).is_some_and(|count| *count >= 6)), "{domains:?}");
    assert_eq!(domains.len(), expected.len(), "{domains:?}");
    for mode in [Mode::Required, Mode::Notice, Mode::Anonymous] {
        assert!(services.iter().any(|service| service.consent == mode), "{mode}");
    }
    let clients = clients();
    for client in &clients {
        assert!(set.services_of(&client.id).next().is_some(), "{} offers nothing", client.id);
    }
    let abroad: BTreeSet<&str> = clients
        .iter()
        .filter(|client| client.jurisdiction.code() != "CN-GD")
        .map(|client| client.id.as_str())
        .collect();
    assert!(abroad.iter().filter(|id| id.starts_with("hk-")).count() >= 3);
    assert!(abroad.iter().filter(|id| id.starts_with("mo-")).count() >= 2);
}

#[test]
fn names_are_there_in_four_languages_and_are_not_shared() {
    let set = catalogue();
    for read in [
        |s: &policies::Service| s.name.zh_hans.clone(),
        |s: &policies::Service| s.name.zh_hant_hk.clone(),
        |s: &policies::Service| s.name.pt.clone(),
        |s: &policies::Service| s.name.en.clone(),
    ] {
        let mut names = BTreeSet::new();
        for service in set.services() {
            assert!(names.insert(read(service)), "{} shares its name", service.id);
        }
    }
}

/// The chooser asks about one of all people whom the rows do not tell apart; asking about everybody says the same.
#[test]
fn who_may_be_chosen_is_who_could_get_in() {
    let set = catalogue();
    let moments = [WeekMinute::at(2, 10 * 60), WeekMinute::at(2, 23 * 60), WeekMinute::at(6, 12 * 60)];
    let mut choices = 0;
    for service in set.services() {
        for (client, provider) in service.clients.iter().flat_map(|client| set.providers().map(move |p| (client, p))) {
            for at in moments {
                let someone = everybody(provider, at).into_iter().any(|login| {
                    let facts = Facts { client, service: &service.id, login: &login, demand: Demand::NONE };
                    set.decide(&facts).is_ok()
                });
                let fit = set.fit(client, &service.id, &provider.id, Demand::NONE, at);
                assert_eq!(fit.is_ok(), someone, "{} {client} {} {at}", service.id, provider.id);
                choices += usize::from(someone);
            }
        }
    }
    assert!(choices > 100, "{choices}");
}

/// Everybody whom a provider may vouch for, with every word of its table.
fn everybody(provider: &Provider, at: WeekMinute) -> Vec<Login> {
    let known = provider.person.populations.iter().copied().map(Some);
    let populations: Vec<_> = if known.len() == 0 { vec![None] } else { known.collect() };
    let mut logins = Vec::new();
    for (population, age) in populations.iter().flat_map(|p| AgeLimit::ALL.map(|age| (*p, Some(age)))) {
        for capacity in [Capacity::Own, Capacity::LegalPerson] {
            logins.extend(provider.table.iter().map(|words| Login {
                provider: provider.id.clone(),
                acr: words.acr.clone(),
                amr: words.amr_any.first().cloned().into_iter().collect(),
                age: 0,
                time_stated: true,
                person: Person { population, age, capacity },
                at,
                signed_in_at: Place::Browser,
            }));
        }
    }
    logins
}
