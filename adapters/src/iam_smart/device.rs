//! Which of the provider's `source` values a browser is, by what it says of itself.

/// The names that browsers give themselves on Android, most particular first: all of them also say `Chrome`.
const ANDROID: [(&str, &str); 6] = [
    ("EdgA/", "Android_Edge"),
    ("SamsungBrowser/", "Android_Samsung"),
    ("HuaweiBrowser/", "Android_Huawei"),
    ("MiuiBrowser/", "Android_Xiaomi"),
    ("Firefox/", "Android_Firefox"),
    ("Chrome/", "Android_Chrome"),
];

/// The same on iOS, where all of them also say `Safari`.
const IOS: [(&str, &str); 3] = [("CriOS/", "iOS_Chrome"), ("FxiOS/", "iOS_Firefox"), ("EdgiOS/", "iOS_Edge")];

/// The value of a browser that is on no phone.
pub(super) const DESKTOP: &str = "PC_Browser";

/// The `source` of a browser. It decides only whether a page offers to open the app on the same device; whoever lies
/// about it deceives nobody but themselves.
pub(super) fn source(user_agent: &str) -> &'static str {
    let first =
        |table: &[(&str, &'static str)]| table.iter().find(|(mark, _)| user_agent.contains(mark)).map(|row| row.1);
    if user_agent.contains("Android") {
        first(&ANDROID).unwrap_or("Android_Chrome")
    } else if ["iPhone", "iPad", "iPod"].iter().any(|device| user_agent.contains(device)) {
        first(&IOS).unwrap_or("iOS_Safari")
    } else {
        DESKTOP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_and_desktops_are_told_apart() {
        let linux = "Mozilla/5.0 (Linux; Android 15; X) AppleWebKit/537.36 (KHTML, like Gecko)";
        let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)";
        let cases = [
            (format!("{linux} Chrome/140.0 Mobile Safari/537.36"), "Android_Chrome"),
            (format!("{linux} Chrome/140.0 Mobile Safari/537.36 EdgA/140.0"), "Android_Edge"),
            (format!("{linux} SamsungBrowser/28.0 Chrome/130.0 Mobile Safari/537.36"), "Android_Samsung"),
            (format!("{linux} HuaweiBrowser/15.0 Chrome/114.0 Mobile Safari/537.36"), "Android_Huawei"),
            (format!("{linux} Chrome/130.0 Mobile Safari/537.36 XiaoMi/MiuiBrowser/18"), "Android_Xiaomi"),
            ("Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0".to_owned(), "Android_Firefox"),
            (format!("{iphone} Version/18.0 Mobile/15E148 Safari/604.1"), "iOS_Safari"),
            (format!("{iphone} CriOS/140.0 Mobile/15E148 Safari/604.1"), "iOS_Chrome"),
            (format!("{iphone} FxiOS/140.0 Mobile/15E148 Safari/605.1.15"), "iOS_Firefox"),
            (format!("{iphone} Version/18.0 EdgiOS/140.0 Mobile/15E148 Safari/605.1.15"), "iOS_Edge"),
            ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36".to_owned(), DESKTOP),
            (String::new(), DESKTOP),
        ];
        for (user_agent, expected) in cases {
            assert_eq!(source(&user_agent), expected, "{user_agent}");
        }
    }
}
