//! How many distinct people's data crossed a border: counted by year, instrument and class of data, because the law counts
//! them so.
//!
//! A release that crosses leaves one mark a person, year, instrument and class. The mark rides in the commit of the release
//! and is the same however often it is made, so counting costs a login nothing but a few bytes. Marks are keyed: they lead
//! nobody back to the person.

use std::collections::BTreeMap;

use gateway_core::circumstances::DataClass;
use gateway_core::digest::keyed;
use gateway_core::ids::{PersonId, base64url};
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use policies::PolicySet;
use policies::release::Released;
use serde::Serialize;

use crate::store::{Key, RETENTION, Store, StoreError, Write};

const TABLE: &str = "export";
/// How many marks are read at a time.
const PAGE: usize = 5_000;

/// The people of one year, instrument and class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Count {
    /// The legal instrument.
    pub instrument: String,
    /// The class of data.
    pub class: String,
    /// How many distinct people.
    pub people: u64,
}

/// The counts, over one store.
pub struct Exports<'a> {
    store: &'a Store,
}

/// The marks of a release.
#[must_use]
pub fn marks(released: &[&Released], person: &PersonId, key: &Secret<Vec<u8>>, now: Timestamp) -> Vec<Write> {
    let crossed =
        |released: &&&Released| released.cover.as_ref().map(|cover| (cover.instrument.clone(), released.row.class));
    let classes: std::collections::BTreeSet<(String, DataClass)> =
        released.iter().filter_map(|r| crossed(&r)).collect();
    let year = now.date().year;
    let mark = |(instrument, class): (String, DataClass)| {
        let place = format!("{year}/{instrument}/{class}");
        let who = keyed(key.expose(), &[b"export", place.as_bytes(), person.as_str().as_bytes()]);
        Write::Put(Key::new(TABLE, &format!("{place}/{}", base64url(&who))), Vec::new(), Some(now.plus(RETENTION)))
    };
    classes.into_iter().map(mark).collect()
}

impl<'a> Exports<'a> {
    /// The counts in `store`.
    #[must_use]
    pub fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// The counts of one year. It reads every mark of that year: not for a path that serves a person.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count(&self, year: i64, now: Timestamp) -> Result<Vec<Count>, StoreError> {
        let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
        let (start, end) = (format!("{year}/"), format!("{}/", year + 1));
        let mut after = Key::new(TABLE, &start);
        loop {
            let page = self.store.list(TABLE, Some(&after), PAGE, now).await?;
            for (key, _) in &page {
                let mut parts = key.id().split('/').skip(1);
                let (Some(instrument), Some(class)) = (parts.next(), parts.next()) else { continue };
                if key.id() >= end.as_str() {
                    continue;
                }
                *counts.entry((instrument.to_owned(), class.to_owned())).or_default() += 1;
            }
            match page.last() {
                Some((key, _)) if page.len() == PAGE && key.id() < end.as_str() => after = key.clone(),
                _ => break,
            }
        }
        Ok(counts.into_iter().map(|((instrument, class), people)| Count { instrument, class, people }).collect())
    }

    /// Says in the log which bands are filled to the share at which somebody has to look; how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn alarm(&self, policies: &PolicySet, now: Timestamp) -> Result<usize, StoreError> {
        let counts = self.count(now.date().year, now).await?;
        let mut alarms = 0;
        for count in &counts {
            let volumes = policies.instrument(&count.instrument).map(|instrument| instrument.volumes.as_slice());
            let volume = volumes.unwrap_or_default().iter().find(|volume| volume.class.as_str() == count.class);
            if let Some(volume) = volume.filter(|volume| count.people >= volume.alarm_at()) {
                alarms += 1;
                tracing::error!(
                    instrument = count.instrument,
                    class = count.class,
                    people = count.people,
                    band = volume.people_a_year,
                    "this year's exports near their band"
                );
            }
        }
        Ok(alarms)
    }
}
