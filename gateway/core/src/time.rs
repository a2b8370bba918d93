//! Points in time, in whole seconds. `now` is always an argument.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::circumstances::{DAY, WeekMinute};

/// Seconds since 1970-01-01 UTC, the unit of every time in OpenID Connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// The one clock-skew allowance between us and any peer, in both directions.
pub const SKEW: Duration = Duration::from_secs(60);

impl Timestamp {
    /// This time plus `span`; stops at the end of time instead of wrapping.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_secs()))
    }

    /// This time minus `span`; stops at 1970.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span.as_secs()))
    }

    /// How long before `now` this was; zero when it lies in the future.
    #[must_use]
    pub fn age(self, now: Self) -> Duration {
        Duration::from_secs(now.0.saturating_sub(self.0))
    }

    /// True once the thing that ends at this time has ended.
    #[must_use]
    pub fn is_past(self, now: Self) -> bool {
        now >= self
    }
}

/// How far the civil time of all three jurisdictions is ahead of UTC, in minutes.
const ZONE: u64 = 8 * 60;

/// A civil date in the zone of all three jurisdictions, UTC+8. Written `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date {
    /// The year.
    pub year: i64,
    /// From 1 to 12.
    pub month: i64,
    /// From 1 to 31.
    pub day: i64,
}

impl Date {
    /// Whole years from this date to `later`; negative when `later` is earlier.
    #[must_use]
    pub fn years_until(self, later: Self) -> i64 {
        let before_anniversary = (later.month, later.day) < (self.month, self.day);
        later.year - self.year - i64::from(before_anniversary)
    }

    /// The day after.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self { year, month, day } if day < days_of(year, month) => Self { year, month, day: day + 1 },
            Self { year, month, .. } if month < 12 => Self { year, month: month + 1, day: 1 },
            Self { year, .. } => Self { year: year + 1, month: 1, day: 1 },
        }
    }
}

/// The days of a month of a year.
fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

impl FromStr for Date {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        const RULE: &str = "expected a date such as 2026-03-04";
        let digits = |range: std::ops::Range<usize>| {
            let part = text.get(range).filter(|part| part.bytes().all(|b| b.is_ascii_digit()));
            part.and_then(|part| part.parse::<i64>().ok())
        };
        let shaped = text.len() == 10 && text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
        let (Some(year), Some(month), Some(day)) = (digits(0..4), digits(5..7), digits(8..10)) else {
            return Err(RULE);
        };
        let exists = shaped && (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
        if exists { Ok(Self { year, month, day }) } else { Err(RULE) }
    }
}

impl TryFrom<String> for Date {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        text.parse()
    }
}

impl From<Date> for String {
    fn from(date: Date) -> Self {
        date.to_string()
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Timestamp {
    /// Minutes since the civil 1970-01-01 00:00.
    fn civil_minutes(self) -> u64 {
        self.0 / 60 + ZONE
    }

    /// The civil date, by the usual 400-year cycle of the Gregorian calendar.
    #[must_use]
    pub fn date(self) -> Date {
        let days = (self.civil_minutes() / u64::from(DAY)).cast_signed() + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Date { year, month, day: day_of_year - (153 * shifted + 2) / 5 + 1 }
    }

    /// The moment of the week.
    #[must_use]
    pub fn week_minute(self) -> WeekMinute {
        // 1970-01-01 was a Thursday.
        WeekMinute::after(self.civil_minutes() + 3 * u64::from(DAY))
    }

    /// The moment of a civil date and minute of the day.
    #[must_use]
    pub fn of(date: Date, minute: u16) -> Self {
        let (year, shifted) =
            if date.month <= 2 { (date.year - 1, date.month + 9) } else { (date.year, date.month - 3) };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_era =
            year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * shifted + 2) / 5 + date.day - 1;
        let seconds = (era * 146_097 + day_of_era - 719_468) * 86_400 + i64::from(minute) * 60;
        Self(u64::try_from(seconds).unwrap_or(0).saturating_sub(ZONE * 60))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp(5).minus(Duration::from_secs(9)), Timestamp(0));
        assert_eq!(Timestamp(u64::MAX).plus(Duration::from_secs(1)), Timestamp(u64::MAX));
        assert_eq!(Timestamp(9).age(Timestamp(5)), Duration::ZERO);
    }

    #[test]
    fn dates_and_weekdays_are_those_of_the_calendar() {
        // 2026-11-22 00:00 in Guangdong, a Sunday.
        let moment = Timestamp(1_795_276_800);
        assert_eq!(moment.date().to_string(), "2026-11-22");
        assert_eq!(Timestamp(moment.0 - 1).date().to_string(), "2026-11-21");
        assert_eq!(moment.week_minute().to_string(), "Sun 00:00");
        assert_eq!(Timestamp::of("2026-11-22".parse().unwrap(), 61).week_minute().to_string(), "Sun 01:01");
        for day in (0..40_000).map(|day| Timestamp(day * 86_400)) {
            assert_eq!(Timestamp::of(day.date(), day.week_minute().minute()), day);
            assert_eq!(day.date().next(), Timestamp(day.0 + 86_400).date());
        }
        assert!(Timestamp(u64::MAX).date() > moment.date(), "the end of time has a date");
        for bad in ["", "2026-02-29", "2026-13-01", "2026-1-01", "2026-04-31", "2026-00-10", "+026-01-01", "2026/01/01"]
        {
            assert!(bad.parse::<Date>().is_err(), "{bad}");
        }
        let age = |from: &str, to: &str| from.parse::<Date>().unwrap().years_until(to.parse().unwrap());
        assert_eq!(
            [age("2008-02-29", "2026-02-28"), age("2008-02-29", "2026-03-01"), age("2026-01-01", "2025-06-01")],
            [17, 18, -1]
        );
    }

    #[test]
    fn a_thing_ends_at_its_end_not_after() {
        assert!(Timestamp(10).is_past(Timestamp(10)));
        assert!(!Timestamp(10).is_past(Timestamp(9)));
    }
}
