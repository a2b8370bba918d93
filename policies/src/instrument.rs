//! Legal instruments: under which contract or assessment which data may cross which border, and to whom.

use gateway_core::circumstances::{DataClass, Registered};
use gateway_core::client::Filing;
use gateway_core::document::{Problems, Section, Source};
use gateway_core::ids::ServiceId;
use gateway_core::jurisdiction::Crossing;
use gateway_core::locale::Texts;
use gateway_core::time::Date;

/// A legal instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrument {
    /// Its code.
    pub id: String,
    /// What people read.
    pub name: Texts,
    /// The borders that it covers, each in one direction.
    pub crossings: Vec<Crossing>,
    /// The data that it covers.
    pub classes: Vec<DataClass>,
    /// Where a recipient has to be registered.
    pub registered_in: Vec<Registered>,
    /// Its first day.
    pub in_force_from: Date,
    /// How many people's data may cross in a year before more is needed.
    pub volumes: Vec<Volume>,
}

/// A yearly band of an instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    /// Of which data.
    pub class: DataClass,
    /// Of how many distinct people in one calendar year.
    pub people_a_year: u64,
    /// The share of it, in percent, at which somebody has to look.
    pub alarm_share: u8,
}

impl Volume {
    /// The number of people at which somebody has to look.
    #[must_use]
    pub fn alarm_at(&self) -> u64 {
        self.people_a_year.saturating_mul(self.alarm_share.into()).div_ceil(100)
    }
}

impl Instrument {
    /// Reads an instrument's document.
    ///
    /// # Errors
    /// Every problem in the document.
    pub fn from_document(file: &str, text: &str) -> Result<Self, Problems> {
        Source::new(file, text).read(|doc| {
            let (id, name, in_force_from) =
                (doc.require::<ServiceId>("instrument"), doc.texts("name"), doc.require("in_force_from"));
            let (crossings, classes) = (doc.list("crossings"), doc.list("classes"));
            let registered_in = doc.list("registered_in");
            for (field, empty) in [
                ("crossings", crossings.is_empty()),
                ("classes", classes.is_empty()),
                ("registered_in", registered_in.is_empty()),
            ] {
                if empty {
                    doc.refuse_field(field, "at least one is needed: without it the instrument covers nothing");
                }
            }
            let volumes = doc.sections("volume").iter().filter_map(read_volume).collect();
            Some(Self {
                id: id?.to_string(),
                name: name?,
                crossings,
                classes,
                registered_in,
                in_force_from: in_force_from?,
                volumes,
            })
        })
    }

    /// Whether data of this class may cross this border to a recipient registered there, on this day, with this filing.
    #[must_use]
    pub fn covers(
        &self,
        crossing: Crossing,
        class: DataClass,
        registered: Registered,
        filing: &Filing,
        today: Date,
    ) -> bool {
        self.crossings.contains(&crossing)
            && self.classes.contains(&class)
            && self.registered_in.contains(&registered)
            && self.in_force_from <= today
            && filing.instrument == self.id
            && today <= filing.valid_until
    }
}

fn read_volume(row: &Section<'_>) -> Option<Volume> {
    let (class, people_a_year) = (row.require("class"), row.require_number("people_a_year", 1..=u64::from(u32::MAX)));
    let share = row.require_number("alarm_share", 1..=100).and_then(|share| u8::try_from(share).ok());
    Some(Volume { class: class?, people_a_year: people_a_year?, alarm_share: share? })
}
