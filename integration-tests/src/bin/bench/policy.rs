//! What trust policy costs a login: every question that a whole login asks it, over 100 to 100,000 services.
//!
//! The services are the shipped ones, as often as needed under other names. Instructions are counted where valgrind is
//! installed: the same questions some hundred times more, less the same without them.

use std::collections::HashMap;
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use gateway_core::assertion::{Assertion, UpstreamSubject};
use gateway_core::circumstances::Place;
use gateway_core::claims::{Claims, ClaimsRequest};
use gateway_core::client::Client;
use gateway_core::ids::{ClientId, ProviderId, ServiceId};
use gateway_core::jurisdiction::Jurisdiction;
use gateway_core::time::Timestamp;
use policies::decide::Demand;
use policies::documents::{CLIENTS, GROUPS, INSTRUMENTS, PROVIDERS, SERVICES, VOCABULARY};
use policies::set::{Document, Parts};
use policies::vocabulary::Vocabulary;
use policies::{Facts, PolicySet, Provider};
use serde_json::json;

use crate::{Failed, calibrate};

/// The numbers of services.
const SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];
/// How often the questions of one login are asked when instructions are counted.
const LOOPS: usize = 500;
/// 2026-03-04 10:00 in Guangdong, a Wednesday.
const NOW: Timestamp = Timestamp(1_772_589_600);

/// Prints what is found.
#[expect(clippy::print_stdout, reason = "this is the report")]
pub(crate) fn measure(verify_us: f64) -> Result<(), Failed> {
    println!(
        "services  compiled in  memory   one login           one decision  one release  instructions  dearest login"
    );
    for size in SIZES {
        let before = resident();
        let began = Instant::now();
        let set = catalogue(size)?;
        let (compiled, memory) = (began.elapsed(), resident().saturating_sub(before));
        let people = People::of(&set, size)?;
        let login = per_call(|index| people.login(&set, index));
        let (decision, release) =
            (per_call(|index| people.decide(&set, index)), per_call(|index| people.release(&set, index)));
        let units = login.as_secs_f64() * 1e6 / verify_us;
        let instructions = instructions(size).map_or_else(|| "not counted".to_owned(), |count| count.to_string());
        let dearest =
            dearest(&people, &set).map(|(cost, service)| format!("{:.1} µs, {service}", cost.as_secs_f64() * 1e6));
        println!(
            "{size:>8}  {:>8.0} ms  {:>4} MiB  {:>6.2} µs ({units:.2} units)  {:>6.2} µs  {:>8.2} µs  {instructions:>12}  {}",
            compiled.as_secs_f64() * 1e3,
            memory / 1024,
            login.as_secs_f64() * 1e6,
            decision.as_secs_f64() * 1e6,
            release.as_secs_f64() * 1e6,
            dearest.unwrap_or_default(),
        );
    }
    Ok(())
}

/// Asks the questions of so many logins and ends: for a tool that counts instructions.
pub(crate) fn repeat(size: usize, loops: usize) -> Result<(), Failed> {
    let set = catalogue(size)?;
    let people = People::of(&set, size)?;
    // Everything that is kept after the first question is there.
    (0..people.services.len()).for_each(|index| people.login(&set, index));
    (0..loops).for_each(|index| people.login(&set, index));
    Ok(())
}

/// The instructions of one login, if valgrind is there. Above 1,000 services compiling under it takes too long.
fn instructions(size: usize) -> Option<u64> {
    if size > 1_000 {
        return None;
    }
    let own = std::env::current_exe().ok()?;
    let count = |loops: usize| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&own)
            .args(["--policy-repeat", &format!("{size},{loops}")])
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let (_, after) = text.split_once("Collected : ")?;
        after.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(count(LOOPS)?.saturating_sub(count(0)?) / LOOPS as u64)
}

/// The CPU time of one call, over a second of calls about the services in turn.
fn per_call(mut call: impl FnMut(usize)) -> Duration {
    (0..2_000).for_each(&mut call);
    let mut index = 0;
    let micros = calibrate::per_turn(Duration::from_secs(1), || {
        call(index);
        index += 1;
        true
    });
    Duration::from_secs_f64(micros / 1e6)
}

/// The login that costs most, and its service.
fn dearest<'a>(people: &'a People, set: &PolicySet) -> Option<(Duration, &'a ServiceId)> {
    let cost = |(index, service)| {
        let micros = calibrate::per_turn(Duration::from_millis(20), || {
            people.login(set, index);
            true
        });
        (Duration::from_secs_f64(micros / 1e6), service)
    };
    people.services.iter().enumerate().map(cost).max_by_key(|(cost, _)| *cost)
}

/// Resident memory in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn documents(shipped: &[(&str, &str)]) -> Vec<Document> {
    shipped.iter().map(|(name, text)| Document { file: (*name).to_owned(), text: (*text).to_owned() }).collect()
}

fn lines(problems: gateway_core::document::Problems) -> Failed {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The shipped services, as often as needed.
fn catalogue(size: usize) -> Result<PolicySet, Failed> {
    let mut vocabulary = Vocabulary::default();
    vocabulary.add_document("vocabulary", VOCABULARY).map_err(lines)?;
    let client = |(name, text): &(&str, &str)| {
        let text = text.replace("@PORTAL@", "https://portal.example").replace("@JWKS@", "{}");
        Client::from_document(name, &text.replace("@SECRET@", &"A".repeat(43))).map_err(lines)
    };
    let clients = CLIENTS.iter().map(client).collect::<Result<Vec<_>, _>>()?;
    let provider = |(name, text): &(&str, &str)| {
        let read = Provider::from_document(name, text, |doc| {
            for field in ["kind", "iam_smart", "oauth", "guangdong"] {
                let _ = doc.has(field);
            }
            Some(())
        });
        read.map(|(provider, ())| provider).map_err(lines)
    };
    let providers = PROVIDERS.iter().map(provider).collect::<Result<Vec<_>, _>>()?;
    let services: Vec<Document> = (0..size)
        .zip(SERVICES.iter().cycle())
        .map(|(index, (name, text))| {
            let id = name.trim_end_matches(".toml");
            let text = match index / SERVICES.len() {
                0 => (*text).to_owned(),
                round => text
                    .replace(&format!("service = \"{id}\""), &format!("service = \"{id}-{round}\""))
                    .replace(&format!("/{id}\""), &format!("/{id}-{round}\""))
                    .replace(&format!("Service::\"{id}\""), &format!("Service::\"{id}-{round}\"")),
            };
            Document { file: (*name).to_owned(), text }
        })
        .collect();
    PolicySet::compile(Parts {
        version: "bench".into(),
        services: &services,
        groups: &documents(GROUPS),
        instruments: &documents(INSTRUMENTS),
        clients: clients.iter().collect(),
        providers,
        vocabulary,
    })
    .map_err(lines)
}

/// Somebody who signs in at every shipped service that lets them in, and what their portal asks for.
struct People {
    client: ClientId,
    services: Vec<ServiceId>,
    assertion: Assertion,
    asked: HashMap<ServiceId, ClaimsRequest>,
}

impl People {
    fn of(set: &PolicySet, size: usize) -> Result<Self, Failed> {
        let client: ClientId = "gd-government-service-network".parse().map_err(|_| "the client")?;
        let provider: ProviderId = "hk-iam-smart".parse().map_err(|_| "the provider")?;
        let claims = json!({
            "name": "CHAN, Tai Man", "name_zh": "陳大文", "birthdate": "1979-03-14", "gender": "male", "hkid": "A123456(3)",
        });
        let assertion = Assertion {
            session: None,
            provider,
            jurisdiction: Jurisdiction::HongKong,
            subject: UpstreamSubject::parse("x").ok_or("the subject")?,
            acr: Some("default".to_owned()),
            amr: vec!["FR".to_owned()],
            auth_time: Some(NOW),
            time_stated: false,
            asked_at: NOW,
            received_at: NOW,
            claims: Claims::from_object(claims.as_object().cloned().unwrap_or_default()),
            asked: None,
        };
        let scopes = "openid profile document email phone".split(' ').map(str::to_owned).collect();
        let asked = ClaimsRequest { scopes, ..ClaimsRequest::default() };
        let mut people = Self { client, services: Vec::new(), assertion, asked: HashMap::new() };
        // Every shipped service is there once, under the name of one round or another.
        let rounds = size.div_ceil(SERVICES.len());
        let named = SERVICES.iter().enumerate().map(|(index, (file, _))| match index % rounds {
            0 => file.trim_end_matches(".toml").to_owned(),
            round => format!("{}-{round}", file.trim_end_matches(".toml")),
        });
        let ids: Vec<ServiceId> = named.filter_map(|name| name.parse().ok()).collect();
        people.services = ids.into_iter().filter(|id| people.permitted(set, id)).collect();
        people.asked = people.services.iter().map(|id| (id.clone(), asked.clone())).collect();
        if people.services.is_empty() { Err(format!("nobody is let in at {size} services")) } else { Ok(people) }
    }

    fn permitted(&self, set: &PolicySet, service: &ServiceId) -> bool {
        let login = set.login(&self.assertion, (Duration::ZERO, Place::Browser), (NOW.week_minute(), NOW.date()));
        login.is_ok_and(|login| {
            set.decide(&Facts { client: &self.client, service, login: &login, demand: Demand::NONE }).is_ok()
        })
    }

    fn service(&self, index: usize) -> Option<&ServiceId> {
        self.services.get(index % self.services.len().max(1))
    }

    fn decide(&self, set: &PolicySet, index: usize) {
        black_box(self.service(index).map(|service| self.permitted(set, service)));
    }

    fn release(&self, set: &PolicySet, index: usize) {
        if let Some((service, asked)) =
            self.service(index).and_then(|service| Some((service, self.asked.get(service)?)))
        {
            let _ = black_box(set.release(&self.client, service, &self.assertion, asked, NOW.date()));
        }
    }

    /// Every question of one login: the chooser, leaving for the provider, the callback, the consent page, its answer, the
    /// token and userinfo endpoints.
    fn login(&self, set: &PolicySet, index: usize) {
        let (Some(service), at) = (self.service(index), NOW.week_minute()) else { return };
        black_box(set.candidates(&self.client, service, Demand::NONE, at));
        let _ = black_box(set.fit(&self.client, service, &self.assertion.provider, Demand::NONE, at));
        black_box(set.ask(service, &self.assertion.provider, Demand::NONE, false));
        for _ in 0..3 {
            self.decide(set, index);
            self.release(set, index);
        }
        (0..2).for_each(|_| self.decide(set, index));
    }
}
