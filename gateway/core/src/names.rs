//! Names as their sources wrote them, and whether two of them may be the same name.
//!
//! Hong Kong and Macao write names in traditional characters, the mainland in simplified ones, and a mainland permit
//! may print another character than the identity card of the same person, or than their permit before it. So two
//! spellings meet under a [`MatchKey`]. What it says is a **supporting signal only**, beside document number and birth
//! date: many traditional characters share a simplified one, so equal keys do not prove equal names, and unlike keys
//! belong to manual review or to a link that the person approves. Nothing here accepts or refuses anybody.
//!
//! Invariant: a name is shown and stored as it came. Nothing here converts towards traditional characters, which would
//! destroy surnames, and no converted text leaves this module.

use std::sync::LazyLock;

use ferrous_opencc::OpenCC;
use ferrous_opencc::config::BuiltinConfig;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use crate::ids::ProviderId;
use crate::secret::Secret;

/// What decided: the rules of this file, the crate with its dictionaries, and the Unicode version of the normalization.
/// Stored with every match decision; changes whenever a key could.
pub const MATCHER_VERSION: &str = "gateway-names 1; ferrous-opencc 0.4.0 hk2s; NFKC of Unicode 18.0.0";

/// A longer text, in bytes, is no name and gets no key.
const LONGEST: usize = 512;

/// What a source says about the script of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScriptTag {
    /// Romanised.
    Latin,
    /// Chinese characters; the source does not say in which form.
    Han,
    /// Simplified characters.
    Hans,
    /// Traditional characters.
    Hant,
}

/// A name, byte for byte as its source sent it. `Debug` does not show it.
#[derive(Debug, Clone)]
pub struct Name {
    text: Secret<String>,
    script: ScriptTag,
    source: ProviderId,
}

/// A normal form under which different spellings of a name may meet. It is compared and nothing else: it has no text to
/// show, because a converted name is nobody's legal name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchKey {
    writing: Writing,
    text: Secret<String>,
}

/// What two names say about each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// The same bytes.
    Same,
    /// Other bytes under the same key.
    SameKey,
    /// Other keys. Not a proof of two people.
    Different,
    /// Nothing can be said.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    Latin,
    Han,
}

impl Name {
    /// Takes a name from a source, unchanged.
    #[must_use]
    pub fn new(text: String, script: ScriptTag, source: ProviderId) -> Self {
        Self { text: Secret::new(text), script, source }
    }

    /// The name as the source wrote it, the only form to show or to store.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// What the source says about its script.
    #[must_use]
    pub fn script(&self) -> ScriptTag {
        self.script
    }

    /// Who sent it.
    #[must_use]
    pub fn source(&self) -> &ProviderId {
        &self.source
    }

    /// The key of a name that is written in the script its source says.
    fn key(&self) -> Option<MatchKey> {
        let told = match self.script {
            ScriptTag::Latin => Writing::Latin,
            ScriptTag::Han | ScriptTag::Hans | ScriptTag::Hant => Writing::Han,
        };
        MatchKey::of(self.expose()).filter(|key| key.writing == told)
    }
}

impl MatchKey {
    /// The key of a name: NFKC without spaces and middle dots; then, for Chinese characters, simplified, and for a
    /// romanised name in lower case.
    ///
    /// `None` for what cannot be compared: an empty or very long text, scripts mixed or other than these two, masked or
    /// described characters, and private-use code points, which mean another character in each system that uses them.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        if name.len() > LONGEST {
            return None;
        }
        let plain = Zeroizing::new(name.nfkc().filter(|c| !is_gap(*c)).collect::<String>());
        let writing = Writing::of(&plain)?;
        let text = match writing {
            Writing::Latin => plain.to_lowercase(),
            Writing::Han => simplified(&plain)?,
        };
        Some(Self { writing, text: Secret::new(text) })
    }
}

/// Compares two names. A supporting signal only: see the head of this module.
///
/// A romanised name is never compared with one in Chinese characters, nor held against a romanisation by another
/// source: Hong Kong's follows Cantonese without a standard, Macao's Portuguese, the mainland's pinyin, so that unlike
/// spellings between them say nothing.
#[must_use]
pub fn compare(a: &Name, b: &Name) -> Comparison {
    let (Some(left), Some(right)) = (a.key(), b.key()) else { return Comparison::Unknown };
    if left.writing != right.writing {
        return Comparison::Unknown;
    }
    if a.text == b.text {
        return Comparison::Same;
    }
    if left == right {
        return Comparison::SameKey;
    }
    match left.writing {
        Writing::Latin if a.source != b.source => Comparison::Unknown,
        Writing::Latin | Writing::Han => Comparison::Different,
    }
}

impl Writing {
    /// The one script that all of `text` is written in.
    fn of(text: &str) -> Option<Self> {
        if text.is_empty() {
            None
        } else if text.chars().all(is_han) {
            Some(Self::Han)
        } else if text.chars().all(|c| is_latin(c) || ",.'’-".contains(c)) && text.chars().any(is_latin) {
            Some(Self::Latin)
        } else {
            None
        }
    }
}

/// The ideographs of Unicode: the blocks of the basic plane, and all of planes 2 and 3, where part of HKSCS stands.
fn is_han(c: char) -> bool {
    matches!(c,
        '〇' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3fffd}')
}

fn is_latin(c: char) -> bool {
    c.is_alphabetic() && (c <= '\u{24f}' || matches!(c, '\u{1e00}'..='\u{1eff}'))
}

/// Spaces, and the middle dots that sources put between the parts of a transcribed name.
fn is_gap(c: char) -> bool {
    // U+00B7 middle dot, bullet, hyphenation point, bullet operator, dot operator, word separator, katakana dot.
    c.is_whitespace() || matches!(c, '·' | '•' | '‧' | '∙' | '⋅' | '\u{2e31}' | '・')
}

/// OpenCC's conversion of Hong Kong traditional characters, whose plain traditional one leaves 衞 as it is. The
/// dictionaries are part of the program; should they not load, no Chinese name has a key.
static HK2S: LazyLock<Option<OpenCC>> = LazyLock::new(|| OpenCC::from_config(BuiltinConfig::Hk2s).ok());

/// What the dictionary leaves apart, as simplified characters, with the reason for joining it. Every addition is
/// reviewed and raises the number in [`MATCHER_VERSION`]. The variants seen on real permits (詠 咏, 鑑 鑒, 衞 卫) and
/// those that libraries disagree on (峯 峰, 裡 裏) need no entry: the dictionary joins them, and a test holds it to that.
const VARIANTS: &[(char, char)] = &[
    // The dictionary turns 薴 into 苧 but 苧 into 苎: a simplified 薴 would not meet its own traditional form.
    ('苧', '苎'),
];

/// One character at a time: OpenCC's phrases are for running text, and would read one across surname and given name
/// (鍾鍛 becomes 锺锻, but 鍾 alone 钟).
fn simplified(plain: &str) -> Option<String> {
    let converter = HK2S.as_ref()?;
    let convert = |c: char| converter.convert(c.encode_utf8(&mut [0; 4]));
    Some(plain.chars().flat_map(|c| convert(c).chars().map(joined).collect::<Vec<_>>()).collect())
}

fn joined(c: char) -> char {
    VARIANTS.iter().find(|(variant, _)| *variant == c).map_or(c, |(_, usual)| *usual)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str, script: ScriptTag, source: &str) -> Name {
        Name::new(text.to_owned(), script, source.parse().unwrap())
    }

    fn han(hong_kong: &str, mainland: &str) -> Comparison {
        compare(&name(hong_kong, ScriptTag::Hant, "hk"), &name(mainland, ScriptTag::Han, "gd"))
    }

    fn latin(a: &str, b: &str) -> Comparison {
        compare(&name(a, ScriptTag::Latin, "hk"), &name(b, ScriptTag::Latin, "hk"))
    }

    /// Looks inside a key, which only tests may.
    fn key(text: &str) -> Option<String> {
        MatchKey::of(text).map(|key| key.text.expose().clone())
    }

    #[test]
    fn the_version_names_what_decides() {
        let (major, minor, patch) = unicode_normalization::UNICODE_VERSION;
        assert!(MATCHER_VERSION.ends_with(&format!("; NFKC of Unicode {major}.{minor}.{patch}")));
        let lock = include_str!("../../../Cargo.lock").replace("\"\nversion = \"", " ");
        let at = lock.find("name = \"ferrous-opencc ").unwrap() + "name = \"".len();
        let package = lock[at..].split('"').next().unwrap();
        assert!(MATCHER_VERSION.contains(&format!("; {package} hk2s; ")), "{package}");
    }

    #[test]
    fn spellings_of_one_name_meet() {
        for (hong_kong, mainland) in [
            ("衞詠鑑", "卫咏鉴"),
            ("陳詠", "陈咏"),
            ("李鑑", "李鑒"),
            ("張峯", "张峰"),
            ("裡", "裏"),
            ("歐陽 · 大文", "欧阳大文"),
            ("欧阳·大文", "欧阳・大文"),
            ("欧阳•大文", "欧阳‧大文"),
            ("歐陽\u{3000}大文", "欧阳大文"),
            ("\u{f9dd}", "利"), // a compatibility ideograph
        ] {
            assert_eq!(han(hong_kong, mainland), Comparison::SameKey, "{hong_kong} {mainland}");
        }
        assert_eq!(han("陳大文", "陳大文"), Comparison::Same);
        assert_eq!(han("陳大文", "陈小文"), Comparison::Different);
    }

    #[test]
    fn surnames_that_are_simplified_already_stay() {
        for surname in ["余", "范", "叶", "里", "于", "后", "岳", "仇", "区", "曾", "解", "查", "单", "翟"]
        {
            assert_eq!(key(surname).unwrap(), surname);
        }
    }

    #[test]
    fn equal_keys_do_not_prove_equal_names() {
        for (a, b) in [("鍾", "鐘"), ("昇", "陞"), ("昇", "升"), ("乾", "幹"), ("乾", "干"), ("余", "餘")] {
            assert_eq!(han(a, b), Comparison::SameKey, "{a} {b}");
        }
    }

    #[test]
    fn characters_outside_the_basic_plane_survive() {
        assert_eq!(key("𠮷").unwrap(), "𠮷");
        assert_eq!(key("邨").unwrap(), "邨");
        assert_eq!(key("𨋢").unwrap(), "䢂");
        assert_eq!(han("𠮷", "吉"), Comparison::Different);
        assert_eq!(name("陳𨋢𠮷", ScriptTag::Hant, "hk").expose(), "陳𨋢𠮷");
    }

    #[test]
    fn a_phrase_across_the_parts_of_a_name_is_not_read() {
        assert_eq!(key("鍾鍛").unwrap(), key("鍾").unwrap() + &key("鍛").unwrap());
        assert_eq!(han("鍾鍛", "钟锻"), Comparison::SameKey);
    }

    #[test]
    fn what_cannot_be_compared_is_unknown_even_to_itself() {
        for text in ["", " ", "·", "陳\u{e000}", "\u{f0000}", "\u{10fffd}", "陈*明", "陈?", "⿰木木", "陳Peter", "陳1"]
        {
            assert_eq!(han(text, text), Comparison::Unknown, "{text:?}");
        }
        for text in ["", ",", "CHAN 1", "Чан", "CH*N", "CHAN\u{0}"] {
            assert_eq!(latin(text, text), Comparison::Unknown, "{text:?}");
        }
        let long = "陳".repeat(LONGEST);
        assert_eq!(han(&long, &long), Comparison::Unknown);
    }

    #[test]
    fn romanised_names_and_characters_are_never_compared() {
        let (latin, han) = (name("CHAN", ScriptTag::Latin, "hk"), name("陳", ScriptTag::Hant, "hk"));
        assert_eq!(compare(&latin, &han), Comparison::Unknown);
        // A tag that the text belies is not believed either.
        let belied = name("CHAN", ScriptTag::Han, "hk");
        assert_eq!(compare(&latin, &belied), Comparison::Unknown);
        assert_eq!(compare(&belied, &belied), Comparison::Unknown);
    }

    #[test]
    fn romanised_names_differ_only_within_one_source() {
        assert_eq!(latin("SAN, Chi Nan", "SAN, Chi Nan"), Comparison::Same);
        assert_eq!(latin("SAN, Chi Nan", "San, CHI NAN"), Comparison::SameKey);
        assert_eq!(latin("João da Conceição", "JOÃO DA CONCEIÇA\u{303}O"), Comparison::SameKey);
        assert_eq!(latin("CHAN", "CHEN"), Comparison::Different);
        let elsewhere = name("CHEN", ScriptTag::Latin, "gd");
        assert_eq!(compare(&name("CHAN", ScriptTag::Latin, "hk"), &elsewhere), Comparison::Unknown);
        assert_eq!(compare(&name("Chen", ScriptTag::Latin, "mo"), &elsewhere), Comparison::SameKey);
    }

    #[test]
    fn debug_shows_no_name() {
        let secret = name("陳大文", ScriptTag::Hant, "hk");
        let shown = format!("{secret:?} {:?}", secret.key());
        assert!(!shown.contains(|c| "陳陈大文".contains(c)), "{shown}");
    }

    #[test]
    fn the_key_of_every_ideograph_is_one_stable_ideograph() {
        for c in ('\u{3007}'..='\u{3fffd}').filter(|c| is_han(*c)) {
            let once = key(&c.to_string()).unwrap();
            assert_eq!(once.chars().count(), 1, "{c}");
            assert_eq!(key(&once).unwrap(), once, "{c}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_order_does_not_matter(a in any::<String>(), b in any::<String>()) {
            for script in [ScriptTag::Latin, ScriptTag::Han] {
                let (a, b) = (name(&a, script, "hk"), name(&b, script, "gd"));
                prop_assert_eq!(compare(&a, &b), compare(&b, &a));
            }
        }

        #[test]
        fn private_use_code_points_have_no_key(head in "[一-龥]{0,3}", code in 0xe000u32..=0xf8ff) {
            let private = char::from_u32(code).unwrap();
            prop_assert_eq!(key(&format!("{head}{private}")), None);
        }

        #[test]
        fn a_name_is_the_sum_of_its_characters(text in "[一-龥𠀀-𠿿]{1,8}") {
            let by_character: String = text.chars().filter_map(|c| key(&c.to_string())).collect();
            prop_assert_eq!(key(&text), Some(by_character));
        }
    }
}
