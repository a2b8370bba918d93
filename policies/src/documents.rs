//! The documents that ship with the product, compiled in so that they can never be missing.

/// What claims, purposes and grounds are called.
pub const VOCABULARY: &str = include_str!("../documents/vocabulary.toml");

/// The documents of a folder: file name and text.
macro_rules! documents {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$((concat!($name, ".toml"), include_str!(concat!("../documents/", $folder, "/", $name, ".toml")))),*]
    };
}

/// The three identity systems, each with its assurance table. `@ORIGIN@` and `@APP@` stand for addresses that only an
/// operator can know.
pub const PROVIDERS: &[(&str, &str)] = documents!["providers": "gd-unified", "hk-iam-smart", "mo-one-account"];

/// The shipped service documents.
pub const SERVICES: &[(&str, &str)] = documents![
    "services":
    "company-registration",
    "driving-licence-exchange",
    "e-invoice",
    "hk-cross-boundary-enquiry",
    "lodging-registration",
    "marriage-registration-appointment",
    "medical-appointment",
    "ratings",
    "school-enrolment",
    "social-insurance-record",
    "transit-card",
];
