//! The circumstances of a sign-in: who the person is in general terms, in which capacity they act, where, and when.
//!
//! These are what policy decides on besides assurance. Each is a closed set of words, so that a decision can be recorded and
//! put again later without any personal data: not a date of birth but the highest of the programme's age limits that the
//! person has reached, not an address but the class of the place.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::ProviderId;

/// A closed set of words: an enum whose variants are written as they are in documents and records.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $kind:literal { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant),*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word, as documents and records write it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                const WORDS: &[&str] = &[$($word),*];
                Self::ALL.iter().copied().find(|known| known.as_str() == text).ok_or_else(|| {
                    let hint = crate::document::nearest(text, WORDS).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                    format!("{text} is not a {}: one of {}{hint}", $kind, WORDS.join(", "))
                })
            }
        }
    };
}
pub(crate) use words;

words!(
    /// The class of the place where a person signs in. It belongs to the client: a kiosk is a client of its own.
    Place, "place" {
        /// A browser of their own.
        Browser = "browser",
        /// A portal's app or mini-program on their own phone.
        App = "app",
        /// A machine that many people use.
        Kiosk = "kiosk",
        /// A counter, or an official's terminal.
        Counter = "counter",
    }
);

impl Place {
    /// Whether many people use the same machine there, one after the other. It keeps no session.
    #[must_use]
    pub fn is_shared(self) -> bool {
        matches!(self, Self::Kiosk | Self::Counter)
    }
}

words!(
    /// In which capacity a person acts.
    Capacity, "capacity" {
        /// For themselves.
        Own = "own",
        /// For a legal person: a company, an organisation.
        LegalPerson = "legal-person",
        /// For themselves, helped by staff.
        Assisted = "assisted",
    }
);

words!(
    /// Of which place a person is a resident.
    Population, "population" {
        /// The mainland.
        Mainland = "mainland",
        /// Hong Kong.
        HongKong = "hk",
        /// Macao.
        Macao = "macao",
        /// Taiwan.
        Taiwan = "taiwan",
        /// Any other place.
        Other = "other",
    }
);

words!(
    /// How much harm a datum can do (PIPL article 28 knows the second; the third is the programme's own).
    DataClass, "class of data" {
        /// Neither of the others.
        General = "general",
        /// Sensitive personal information.
        Sensitive = "sensitive",
        /// The full number of an identity document.
        Number = "number",
    }
);

words!(
    /// A place of registration inside the programme: the nine cities of the bay area, the two regions, and the rest of the
    /// province.
    Registered, "place of registration" {
        /// Guangzhou.
        Guangzhou = "guangzhou",
        /// Shenzhen.
        Shenzhen = "shenzhen",
        /// Zhuhai.
        Zhuhai = "zhuhai",
        /// Foshan.
        Foshan = "foshan",
        /// Huizhou.
        Huizhou = "huizhou",
        /// Dongguan.
        Dongguan = "dongguan",
        /// Zhongshan.
        Zhongshan = "zhongshan",
        /// Jiangmen.
        Jiangmen = "jiangmen",
        /// Zhaoqing.
        Zhaoqing = "zhaoqing",
        /// Another city of the province, outside the bay area.
        Zhanjiang = "zhanjiang",
        /// Elsewhere in Guangdong, outside the bay area.
        Elsewhere = "elsewhere",
        /// Hong Kong.
        HongKong = "hong-kong",
        /// Macao.
        Macao = "macao",
    }
);

/// An age limit of the programme that a person has reached: no policy names any other, so nothing more is ever recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct AgeLimit(u8);

impl AgeLimit {
    /// Every limit, from birth on.
    pub const ALL: [Self; 11] =
        [Self(0), Self(6), Self(11), Self(14), Self(16), Self(18), Self(20), Self(22), Self(60), Self(65), Self(70)];

    /// The highest limit that somebody of this age, in years, has reached.
    #[must_use]
    pub fn reached_at(years: u32) -> Self {
        Self::ALL.into_iter().rev().find(|limit| u32::from(limit.0) <= years).unwrap_or(Self(0))
    }

    /// The limit in years.
    #[must_use]
    pub fn years(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for AgeLimit {
    type Error = String;
    fn try_from(years: u8) -> Result<Self, String> {
        Self::ALL.into_iter().find(|limit| limit.0 == years).ok_or_else(|| {
            let known: Vec<String> = Self::ALL.iter().map(|limit| limit.0.to_string()).collect();
            format!("must be one of the programme's age limits: {}", known.join(", "))
        })
    }
}

impl From<AgeLimit> for u8 {
    fn from(limit: AgeLimit) -> Self {
        limit.0
    }
}

/// What policy knows of a person. Nothing of it leads to who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Person {
    /// Where they are a resident, when that is known.
    pub population: Option<Population>,
    /// How old they are, in steps, when that is known.
    pub age: Option<AgeLimit>,
    /// In which capacity they act.
    pub capacity: Capacity,
}

/// What policy knows of one login: enough to decide about it again later, and nothing that leads to the person. The
/// provider's words are kept and not our levels, so that a table made stricter holds for logins already made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Who vouched.
    pub provider: ProviderId,
    /// The provider's own word for how surely, when it gave one.
    pub acr: Option<String>,
    /// The authentication methods it named.
    pub amr: Vec<String>,
    /// Seconds since the person authenticated.
    pub age: u64,
    /// Whether the provider said when that was.
    pub time_stated: bool,
    /// Who they are, in general terms.
    pub person: Person,
    /// When the service was asked for.
    pub at: WeekMinute,
    /// The class of the place where the person signed in: where the client stands, or where the session was made that served.
    #[serde(default = "own_browser")]
    pub signed_in_at: Place,
}

/// Logins and sessions of an earlier release do not say where they were made.
#[must_use]
pub fn own_browser() -> Place {
    Place::Browser
}

/// A minute of the week: minutes since Monday 00:00 in the zone of all three jurisdictions, UTC+8. The week goes round: what
/// follows the last minute of Sunday is Monday 00:00, so every count of minutes is one moment and no two moments share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct WeekMinute(u16);

/// Minutes of a day.
pub const DAY: u16 = 24 * 60;

/// Minutes of a week.
const WEEK: u16 = 7 * DAY;

impl WeekMinute {
    /// The first minute of the week.
    pub const FIRST: Self = Self(0);

    /// The moment so many minutes after a Monday 00:00.
    #[must_use]
    pub fn after(minutes: u64) -> Self {
        // Less than a week, which fits.
        Self((minutes % u64::from(WEEK)) as u16)
    }

    /// The moment so many minutes after the midnight that begins a weekday, Monday being 0. 24:00 is 00:00 of the next day.
    #[must_use]
    pub fn at(weekday: u16, minute: u16) -> Self {
        Self::after(u64::from(weekday) * u64::from(DAY) + u64::from(minute))
    }

    /// From 1, Monday, to 7, Sunday.
    #[must_use]
    pub fn weekday(self) -> u16 {
        self.0 / DAY + 1
    }

    /// Minutes since midnight.
    #[must_use]
    pub fn minute(self) -> u16 {
        self.0 % DAY
    }
}

impl TryFrom<u16> for WeekMinute {
    type Error = &'static str;
    fn try_from(minutes: u16) -> Result<Self, &'static str> {
        if minutes < WEEK { Ok(Self(minutes)) } else { Err("a week has 10080 minutes") }
    }
}

impl From<WeekMinute> for u16 {
    fn from(moment: WeekMinute) -> Self {
        moment.0
    }
}

impl fmt::Display for WeekMinute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = DAYS.get(usize::from(self.weekday()) - 1).copied().unwrap_or_default();
        write!(f, "{day} {:02}:{:02}", self.minute() / 60, self.minute() % 60)
    }
}

/// Opening hours on some days of the week: `Mon-Fri 09:00-17:30`, `Sat,Sun 10:00-16:00`, `daily 06:00-23:00`. They open and close
/// on the same day, at 24:00 at the latest; hours over midnight are written as two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hours {
    /// One bit a day, Monday the lowest.
    days: u8,
    /// The first minute of the day.
    opens: u16,
    /// The minute after the last, at most [`DAY`].
    closes: u16,
}

/// The days as documents write them.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

impl Hours {
    /// True while it is open.
    #[must_use]
    pub fn contain(self, moment: WeekMinute) -> bool {
        self.days & (1 << (moment.weekday() - 1)) != 0 && self.minutes().contains(&moment.minute())
    }

    /// Its days, from 1, Monday, to 7, Sunday.
    pub fn weekdays(self) -> impl Iterator<Item = u16> {
        (1..=7).filter(move |day| self.days & (1 << (day - 1)) != 0)
    }

    /// The minutes of each of its days, since midnight.
    #[must_use]
    pub fn minutes(self) -> Range<u16> {
        self.opens..self.closes
    }

    /// The moments at which it opens or closes.
    pub fn limits(self) -> impl Iterator<Item = WeekMinute> {
        self.weekdays().flat_map(move |day| [self.opens, self.closes].map(|minute| WeekMinute::at(day - 1, minute)))
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<&str> = self.weekdays().filter_map(|day| DAYS.get(usize::from(day) - 1)).copied().collect();
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(f, "{} {}-{}", days.join(","), clock(self.opens), clock(self.closes))
    }
}

impl FromStr for Hours {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        const RULE: &str = "expected days and times within one day, such as Mon-Fri 09:00-17:30 or daily 06:00-23:00; hours over \
             midnight are two: Mon 22:00-24:00 and Tue 00:00-06:00";
        let (days, times) = text.split_once(' ').ok_or(RULE)?;
        let (opens, closes) = times.split_once('-').ok_or(RULE)?;
        let hours = Self {
            days: read_days(days).ok_or(RULE)?,
            opens: clock(opens).ok_or(RULE)?,
            closes: clock(closes).ok_or(RULE)?,
        };
        if hours.opens < hours.closes { Ok(hours) } else { Err(RULE) }
    }
}

fn read_days(text: &str) -> Option<u8> {
    if text == "daily" {
        return Some(0b111_1111);
    }
    let index = |day: &str| DAYS.iter().position(|known| *known == day);
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (index(first)?, index(last)?);
        if first > last {
            return None;
        }
        days |= (first..=last).fold(0, |days, day| days | (1 << day));
    }
    Some(days)
}

fn clock(text: &str) -> Option<u16> {
    let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    let (hour, minute) = text.split_once(':').filter(|(hour, minute)| two_digits(hour) && two_digits(minute))?;
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    ((hour < 24 && minute < 60) || (hour, minute) == (24, 0)).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_read_as_officers_write_them() {
        let hours: Hours = "Mon-Fri 09:00-17:30".parse().unwrap();
        assert!(hours.contain(WeekMinute::at(0, 540)) && hours.contain(WeekMinute::at(4, 1_049)));
        assert!(!hours.contain(WeekMinute::at(4, 1_050)) && !hours.contain(WeekMinute::at(5, 600)));
        assert_eq!("Tue,Sat-Sun 00:00-24:00".parse::<Hours>().unwrap().weekdays().collect::<Vec<_>>(), [2, 6, 7]);
        for bad in [
            "",
            "Mon",
            "Mon 9:00-17:00",
            "Fri-Mon 09:00-17:00",
            "Mon 17:00-09:00",
            "Mon 09:00-24:01",
            "mon 09:00-10:00",
            "Mon 09:00-09:00",
            "Mon 24:00-24:00",
            "Mon +9:00-10:00",
            "Sun-Mon 00:00-24:00",
            "daily 22:00-06:00",
        ] {
            assert!(bad.parse::<Hours>().is_err(), "{bad}");
        }
        assert_eq!(hours.to_string().parse(), Ok(hours));
    }

    #[test]
    fn the_week_goes_round_and_no_two_moments_share_an_encoding() {
        assert_eq!(WeekMinute::at(4, DAY), WeekMinute::at(5, 0));
        assert_eq!([WeekMinute::at(6, DAY), WeekMinute::at(7, 0), WeekMinute::after(10_080)], [WeekMinute::FIRST; 3]);
        assert_eq!(WeekMinute::at(u16::MAX, u16::MAX), WeekMinute::after(65_535 * 1_440 + 65_535));
        let week: Vec<WeekMinute> = (0..10_080).map(WeekMinute::after).collect();
        assert!(week.is_sorted_by(|a, b| a < b));
        for moment in week {
            assert_eq!(WeekMinute::at(moment.weekday() - 1, moment.minute()), moment);
            assert_eq!(serde_json::from_str::<WeekMinute>(&serde_json::to_string(&moment).unwrap()).unwrap(), moment);
        }
        assert!(serde_json::from_str::<WeekMinute>("10080").is_err());
    }

    /// Between two limits it is always open or always closed.
    #[test]
    fn hours_change_at_their_limits_and_nowhere_else() {
        for text in
            ["Mon-Fri 00:00-24:00", "Sun 23:59-24:00", "Mon,Sun 00:00-00:01", "daily 00:00-24:00", "Sat 09:00-17:30"]
        {
            let hours: Hours = text.parse().unwrap();
            let limits: Vec<WeekMinute> = hours.limits().collect();
            for minute in 0..10_080 {
                let (before, moment) = (WeekMinute::after(minute + 10_079), WeekMinute::after(minute));
                let changes = hours.contain(before) != hours.contain(moment);
                assert!(!changes || limits.contains(&moment), "{text}: {moment}");
            }
            let sunday = hours.weekdays().any(|day| day == 7) && hours.minutes().end == DAY;
            assert_eq!(limits.contains(&WeekMinute::FIRST), sunday || hours.contain(WeekMinute::FIRST), "{text}");
        }
    }

    #[test]
    fn an_age_is_known_in_steps_only() {
        let steps: Vec<u8> =
            [0, 5, 6, 13, 14, 17, 18, 19, 64, 69, 120].map(|age| AgeLimit::reached_at(age).years()).into();
        assert_eq!(steps, [0, 0, 6, 11, 14, 16, 18, 18, 60, 65, 70]);
        assert!(AgeLimit::try_from(17).is_err());
    }

    #[test]
    fn an_unknown_word_is_refused_with_the_nearest_known_one() {
        assert!("brwser".parse::<Place>().unwrap_err().ends_with("did you mean browser?"));
        assert!("HK".parse::<Population>().is_err());
    }
}
