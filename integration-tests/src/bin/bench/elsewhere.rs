//! What portals do for which no browser of theirs is needed: back ends for themselves, terminals, counters. Ten thousand
//! terminals, and as many requests to people, wait and are come for all at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::login::{Browser, Fault, code};
use crate::operations::{COUNTER, Price, many, offline, repeated};
use crate::portal::{CLIENT, Profile, Rp};
use crate::process::Usage;
use crate::site::Site;

/// How many wait at once.
const WAITING: usize = 10_000;
/// How many of those who were asked agree.
const AGREE: usize = 400;
/// How long a round of polling by everybody may take.
const ROUND: Duration = Duration::from_secs(180);

/// The grant type, and the parameter that says whose answer it is.
type Grant = (&'static str, &'static str);
const DEVICE: Grant = ("urn:ietf:params:oauth:grant-type:device_code", "device_code");
const CIBA: Grant = ("urn:openid:params:grant-type:ciba", "auth_req_id");

type Gathered<T> = Arc<Mutex<Vec<T>>>;

async fn all_of<T>(gathered: &Gathered<T>) -> Arc<Vec<T>> {
    Arc::new(std::mem::take(&mut *gathered.lock().await))
}

/// Everything.
pub(crate) async fn without_a_browser(site: &Arc<Site>, pid: u32, each: Duration) -> Result<Vec<Price>, Fault> {
    let rp = Arc::new(Rp::new(CLIENT, Profile::Baseline)?);
    let tokens = Arc::new(offline(site, &rp).await?);
    let shared = || (Arc::clone(site), Arc::clone(&rp));
    let itself = many(pid, "client credentials, baseline", each, |_| {
        let (site, rp) = shared();
        async move { rp.client_credentials(&site).await }
    });
    let mut prices = vec![itself.await?];
    let exchanged = many(pid, "token exchange, baseline", each, |_| {
        let ((site, rp), tokens) = (shared(), Arc::clone(&tokens));
        async move { rp.exchange(&site, &tokens).await }
    });
    prices.push(exchanged.await?);
    site.back_end.widen(WAITING).await?;
    prices.extend(terminals(site, pid, &rp).await?);
    prices.extend(people(site, pid).await?);
    Ok(prices)
}

/// Terminals that ask, and whose people agree on their phones.
async fn terminals(site: &Arc<Site>, pid: u32, rp: &Arc<Rp>) -> Result<Vec<Price>, Fault> {
    let codes = Gathered::default();
    let before = Usage::of(pid).resident;
    let asked = repeated(pid, "device authorization, baseline", WAITING, |_| {
        let (site, rp, codes) = (Arc::clone(site), Arc::clone(rp), Arc::clone(&codes));
        async move {
            let (code, _) = rp.device(&site).await?;
            codes.lock().await.push(code);
            Ok(())
        }
    });
    let mut prices = vec![asked.await?];
    prices.push(polled(site, pid, rp, "device poll, baseline", (DEVICE, before), &codes).await?);
    let agreed = Gathered::default();
    let signed_in = repeated(pid, "sign-in for a terminal, on a phone", AGREE, |_| {
        let (site, rp, agreed) = (Arc::clone(site), Arc::clone(rp), Arc::clone(&agreed));
        async move {
            let (code, address) = rp.device(&site).await?;
            Browser::new(&site, Instant::now()).answer(address).await?;
            agreed.lock().await.push(code);
            Ok(())
        }
    });
    prices.push(signed_in.await?);
    prices.push(collected(site, pid, rp, "device code, baseline", DEVICE, &agreed).await?);
    Ok(prices)
}

/// A counter that asks people whom it knows, and who agree.
async fn people(site: &Arc<Site>, pid: u32) -> Result<Vec<Price>, Fault> {
    let rp = Arc::new(Rp::new(COUNTER, Profile::Baseline)?);
    let known = Gathered::default();
    let signed_in = repeated(pid, "login at a counter that may ask again", WAITING / 2, |_| {
        let (site, rp, known) = (Arc::clone(site), Arc::clone(&rp), Arc::clone(&known));
        async move {
            let asked = rp.ask(&site, &[]).await?;
            let code = code(&site, &asked).await?;
            let tokens = rp.redeem(&site, &code, &asked).await?;
            known.lock().await.push(tokens.subject);
            Ok(())
        }
    });
    let mut prices = vec![signed_in.await?];
    let (known, ids) = (all_of(&known).await, Gathered::default());
    let before = Usage::of(pid).resident;
    let asked = repeated(pid, "back-channel authentication, baseline", 2 * known.len(), |at| {
        let (site, rp, known, ids) = (Arc::clone(site), Arc::clone(&rp), Arc::clone(&known), Arc::clone(&ids));
        async move {
            let Some(subject) = known.get(at % known.len()) else { return Ok(()) };
            let id = rp.backchannel(&site, subject).await?;
            ids.lock().await.push(id);
            Ok(())
        }
    });
    prices.push(asked.await?);
    prices.push(polled(site, pid, &rp, "back-channel poll, baseline", (CIBA, before), &ids).await?);
    prices.extend(agreeing(site, pid, &rp).await?);
    Ok(prices)
}

/// People whose phones are signed in, who are asked and agree.
async fn agreeing(site: &Arc<Site>, pid: u32, rp: &Arc<Rp>) -> Result<[Price; 2], Fault> {
    let mut phones = Vec::new();
    for _ in 0..AGREE {
        let mut phone = Browser::new(site, Instant::now());
        let asked = rp.ask(site, &[]).await?;
        let code = phone.sign_in(asked.url.clone(), &asked.state).await?;
        let tokens = rp.redeem(site, &code, &asked).await?;
        phones.push((phone.put_down(), tokens.subject));
    }
    let (phones, agreed) = (Arc::new(Mutex::new(phones)), Gathered::default());
    let answered = repeated(pid, "back-channel request, asked and agreed to", AGREE, |_| {
        let (site, rp, phones, agreed) = (Arc::clone(site), Arc::clone(rp), Arc::clone(&phones), Arc::clone(&agreed));
        async move {
            let Some((phone, subject)) = phones.lock().await.pop() else { return Ok(()) };
            let id = rp.backchannel(&site, &subject).await?;
            Browser::picked_up(&site, phone).answer(format!("{}/requests", site.issuer)).await?;
            agreed.lock().await.push(id);
            Ok(())
        }
    });
    let answered = answered.await?;
    Ok([answered, collected(site, pid, rp, "back-channel answer, baseline", CIBA, &agreed).await?])
}

/// Everybody's answer is come for, once.
async fn collected(
    site: &Arc<Site>,
    pid: u32,
    rp: &Arc<Rp>,
    name: &'static str,
    by: Grant,
    agreed: &Gathered<String>,
) -> Result<Price, Fault> {
    let codes = all_of(agreed).await;
    let price = repeated(pid, name, codes.len(), |at| {
        let (site, rp, codes) = (Arc::clone(site), Arc::clone(rp), Arc::clone(&codes));
        async move {
            match codes.get(at) {
                Some(code) => rp.collect(&site, by, code).await,
                None => Ok(()),
            }
        }
    });
    price.await
}

/// Three rounds of polling, in each of which everybody who waits asks at once; the last one's price, and what memory did.
async fn polled(
    site: &Arc<Site>,
    pid: u32,
    rp: &Arc<Rp>,
    name: &'static str,
    (by, before): (Grant, u64),
    codes: &Gathered<String>,
) -> Result<Price, Fault> {
    let (codes, waiting) = (all_of(codes).await, Usage::of(pid).resident);
    let mut price = Price { name, cpu_us: 0.0, count: 0 };
    let mut rounds = Vec::new();
    for _ in 0..3 {
        let (from, began) = (Usage::of(pid).cpu(), Instant::now());
        let mut asking = JoinSet::new();
        for at in 0..codes.len() {
            let (site, rp, codes) = (Arc::clone(site), Arc::clone(rp), Arc::clone(&codes));
            asking.spawn(async move {
                match codes.get(at) {
                    Some(code) => rp.poll(&site, by, code).await,
                    None => Ok(()),
                }
            });
        }
        let all = async {
            while let Some(done) = asking.join_next().await {
                done.map_err(|error| Fault::from(error.to_string()))??;
            }
            Ok::<_, Fault>(())
        };
        tokio::time::timeout(ROUND, all).await.map_err(|_| Fault::from("not finished in time".to_owned()))??;
        price.count = u32::try_from(codes.len()).unwrap_or(u32::MAX);
        price.cpu_us = (Usage::of(pid).cpu() - from) * 1e6 / f64::from(price.count);
        rounds.push(format!("{} MiB after {:.1} s", Usage::of(pid).resident / 1024, began.elapsed().as_secs_f64()));
    }
    eprintln!(
        "{name}: memory with {} that wait: {} MiB before, {} MiB when all wait; rounds of all at once: {}",
        codes.len(),
        before / 1024,
        waiting / 1024,
        rounds.join(", ")
    );
    Ok(price)
}
