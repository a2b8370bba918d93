//! The four languages of the pages, and which one a person gets.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A language that every page, text and document exists in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Locale {
    /// Simplified Chinese, the mainland's form and the default.
    #[serde(rename = "zh-Hans")]
    ZhHans,
    /// Traditional Chinese as written in Hong Kong; also given to Macao readers of Chinese.
    #[serde(rename = "zh-Hant-HK")]
    ZhHantHk,
    /// Portuguese, for Macao.
    #[serde(rename = "pt")]
    Pt,
    /// English.
    #[serde(rename = "en")]
    En,
}

impl Locale {
    /// All four, in the order of the language switch.
    pub const ALL: [Self; 4] = [Self::ZhHans, Self::ZhHantHk, Self::Pt, Self::En];

    /// The BCP 47 tag used in documents, pages and receipts.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::ZhHans => "zh-Hans",
            Self::ZhHantHk => "zh-Hant-HK",
            Self::Pt => "pt",
            Self::En => "en",
        }
    }

    /// The language's own name for itself.
    #[must_use]
    pub fn own_name(self) -> &'static str {
        match self {
            Self::ZhHans => "简体中文",
            Self::ZhHantHk => "繁體中文",
            Self::Pt => "Português",
            Self::En => "English",
        }
    }

    /// The locale for one BCP 47 tag, by language, script and region; `None` when the language is not ours.
    ///
    /// A bare `zh` is Simplified; Hong Kong, Macao and Taiwan imply the traditional script unless `Hans` is named.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        let mut parts = tag.split(['-', '_']);
        let language = parts.next()?.to_ascii_lowercase();
        let rest: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
        let has = |name: &str| rest.iter().any(|part| part == name);
        match language.as_str() {
            "zh" | "yue" if has("hans") => Some(Self::ZhHans),
            "zh" if has("hant") || has("hk") || has("mo") || has("tw") => Some(Self::ZhHantHk),
            "zh" => Some(Self::ZhHans),
            "yue" => Some(Self::ZhHantHk),
            "pt" => Some(Self::Pt),
            "en" => Some(Self::En),
            _ => None,
        }
    }

    /// The first of `wanted` (tags in order of preference, quality values ignored) that we speak.
    pub fn negotiate<'a>(wanted: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        wanted.into_iter().find_map(|tag| Self::from_tag(tag.split(';').next().unwrap_or(tag).trim()))
    }
}

impl FromStr for Locale {
    type Err = String;
    fn from_str(tag: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|locale| locale.tag() == tag)
            .ok_or_else(|| "language must be one of zh-Hans, zh-Hant-HK, pt, en".to_owned())
    }
}

/// A text in all four languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Texts {
    /// Simplified Chinese.
    pub zh_hans: String,
    /// Traditional Chinese.
    pub zh_hant_hk: String,
    /// Portuguese.
    pub pt: String,
    /// English.
    pub en: String,
}

impl Texts {
    /// The text in one language.
    #[must_use]
    pub fn get(&self, locale: Locale) -> &str {
        match locale {
            Locale::ZhHans => &self.zh_hans,
            Locale::ZhHantHk => &self.zh_hant_hk,
            Locale::Pt => &self.pt,
            Locale::En => &self.en,
        }
    }
}

/// A text for people that they can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readable(pub String);

impl FromStr for Readable {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match is_readable(text) {
            true => Ok(Self(text.to_owned())),
            false => Err("is empty, or holds characters that show nothing or turn around what stands beside them"),
        }
    }
}

/// Whether people see all of a text, in the order in which it is written, and see something.
#[must_use]
pub fn is_readable(text: &str) -> bool {
    !text.chars().any(is_unreadable) && text.chars().any(|c| !c.is_whitespace())
}

/// Characters that show nothing, or turn what stands beside them around (Unicode: Cf, Zl, Zp, `Default_Ignorable`).
fn is_unreadable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_readers_get_their_own_script() {
        for tag in ["zh-HK", "zh-MO", "zh-TW", "zh-Hant", "zh-Hant-MO", "yue"] {
            assert_eq!(Locale::from_tag(tag), Some(Locale::ZhHantHk), "{tag}");
        }
        for tag in ["zh", "zh-CN", "zh-SG", "zh-Hans-HK"] {
            assert_eq!(Locale::from_tag(tag), Some(Locale::ZhHans), "{tag}");
        }
        assert_eq!(Locale::from_tag("fr"), None);
    }

    #[test]
    fn the_first_language_we_speak_wins() {
        assert_eq!(Locale::negotiate(["fr-FR", "pt-PT;q=0.8", "en;q=0.7"]), Some(Locale::Pt));
        assert_eq!(Locale::negotiate([]), None);
    }
}
