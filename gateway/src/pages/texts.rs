//! Texts in four languages, from Fluent files that are compiled in.

use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource};
use gateway_core::locale::Locale;

type Bundle = FluentBundle<FluentResource>;

fn source(locale: Locale) -> &'static str {
    match locale {
        Locale::ZhHans => include_str!("texts/zh-Hans.ftl"),
        Locale::ZhHantHk => include_str!("texts/zh-Hant-HK.ftl"),
        Locale::Pt => include_str!("texts/pt.ftl"),
        Locale::En => include_str!("texts/en.ftl"),
    }
}

fn load(locale: Locale) -> Bundle {
    let languages = locale.tag().parse().ok().into_iter().collect();
    let mut bundle = Bundle::new_concurrent(languages);
    // Marks that isolate directions change nothing for Chinese and Portuguese, and end up in copied text.
    bundle.set_use_isolating(false);
    let resource = FluentResource::try_new(source(locale).to_owned()).unwrap_or_else(|(sound, _)| sound);
    let _ = bundle.add_resource(resource);
    bundle
}

static BUNDLES: LazyLock<[Bundle; 4]> = LazyLock::new(|| Locale::ALL.map(load));

/// The texts of one language, for templates.
#[derive(Debug, Clone, Copy)]
pub struct Texts(pub Locale);

impl Texts {
    /// A text without variables. A missing one shows as its key; a test sees to it that none is missing.
    #[must_use]
    pub fn get(&self, key: &str) -> String {
        self.format(key, None)
    }

    /// A text with one variable.
    #[must_use]
    pub fn with(&self, key: &str, name: &str, value: &str) -> String {
        self.format(key, Some(&FluentArgs::from_iter([(name.to_owned(), value.to_owned())])))
    }

    /// A text with several variables.
    #[must_use]
    pub fn with_all(&self, key: &str, variables: &[(&str, &str)]) -> String {
        let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), isolated(value)));
        self.format(key, Some(&FluentArgs::from_iter(pairs)))
    }

    /// The language's tag, for `lang` attributes.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        self.0.tag()
    }

    fn format(&self, key: &str, args: Option<&FluentArgs<'_>>) -> String {
        let index = Locale::ALL.iter().position(|locale| *locale == self.0).unwrap_or_default();
        let bundle = BUNDLES.get(index);
        let pattern = bundle.and_then(|bundle| bundle.get_message(key)).and_then(|message| message.value());
        match (bundle, pattern) {
            (Some(bundle), Some(pattern)) => bundle.format_pattern(pattern, args, &mut Vec::new()).into_owned(),
            _ => key.to_owned(),
        }
    }
}

/// A name that is written from right to left, so that it does not turn around the sentence that it is put into (Unicode UAX #9, X5a).
fn isolated(value: &str) -> String {
    let turns = |c| matches!(c, '\u{590}'..='\u{8FF}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}' | '\u{10800}'..='\u{10FFF}' | '\u{1E800}'..='\u{1EFFF}');
    if value.contains(turns) { format!("\u{2068}{value}\u{2069}") } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gateway_core::error::Failure;

    use super::*;

    fn keys(locale: Locale) -> BTreeSet<&'static str> {
        source(locale).lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key).collect()
    }

    #[test]
    fn every_text_exists_in_every_language_and_takes_the_same_variables() {
        let variables = |locale, key: &str| {
            let prefix = format!("{key} = ");
            let line = source(locale).lines().find(|line| line.starts_with(&prefix)).unwrap().to_owned();
            line.split('$').skip(1).map(|part| part.split(' ').next().unwrap().to_owned()).collect::<BTreeSet<_>>()
        };
        for locale in Locale::ALL {
            assert_eq!(keys(locale), keys(Locale::En), "{locale:?}");
            for key in keys(Locale::En) {
                assert_eq!(variables(locale, key), variables(Locale::En, key), "{locale:?} {key}");
                assert_ne!(Texts(locale).get(key), key, "{locale:?} {key}");
            }
        }
    }

    #[test]
    fn every_failure_has_its_words() {
        for failure in Failure::ALL {
            assert!(keys(Locale::En).contains(format!("failure-{}", failure.code()).as_str()), "{}", failure.code());
        }
    }

    #[test]
    fn traditional_texts_hold_no_simplified_form() {
        // Simplified characters whose traditional form differs, as far as these texts could need them.
        let simplified = "录选择请级别无须现这个务认证发来从边将应该处时间过没规则为门东报备资讯们满续实条订图书车专业权限产识误编码";
        let found: Vec<char> = simplified.chars().filter(|c| source(Locale::ZhHantHk).contains(*c)).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}
