//! The three jurisdictions between which data travels.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a client or a provider stands in law.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Jurisdiction {
    /// Guangdong Province, mainland China.
    #[serde(rename = "CN-GD")]
    Guangdong,
    /// Hong Kong Special Administrative Region.
    #[serde(rename = "HK")]
    HongKong,
    /// Macao Special Administrative Region.
    #[serde(rename = "MO")]
    Macao,
}

impl Jurisdiction {
    /// All of them, in the order they are listed to people.
    pub const ALL: [Self; 3] = [Self::Guangdong, Self::HongKong, Self::Macao];

    /// The code used in documents and records: ISO 3166 codes, with the province for the mainland.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Guangdong => "CN-GD",
            Self::HongKong => "HK",
            Self::Macao => "MO",
        }
    }
}

impl fmt::Display for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Jurisdiction {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|j| j.code() == text)
            .ok_or_else(|| "jurisdiction must be one of CN-GD, HK, MO".to_owned())
    }
}

/// A border that a release crosses, from the provider's side to the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Crossing {
    /// Where the data comes from.
    pub from: Jurisdiction,
    /// Where the data goes.
    pub to: Jurisdiction,
}

impl Crossing {
    /// The crossing between two places, or nothing when they are the same.
    #[must_use]
    pub fn between(from: Jurisdiction, to: Jurisdiction) -> Option<Self> {
        (from != to).then_some(Self { from, to })
    }
}

impl Crossing {
    /// True between the two regions: no instrument covers that hop by itself.
    #[must_use]
    pub fn is_between_regions(self) -> bool {
        self.from != Jurisdiction::Guangdong && self.to != Jurisdiction::Guangdong
    }
}

impl FromStr for Crossing {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once('>').ok_or("a crossing is written as HK>CN-GD")?;
        Self::between(from.parse()?, to.parse()?).ok_or_else(|| "a crossing has two sides".to_owned())
    }
}

impl fmt::Display for Crossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>{}", self.from, self.to)
    }
}
