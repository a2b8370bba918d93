//! The documents that ship with the product, compiled in so that they can never be missing.

/// What claims, purposes and grounds are called.
pub const VOCABULARY: &str = include_str!("../documents/vocabulary.toml");

macro_rules! services {
    ($($name:literal),* $(,)?) => {
        /// The shipped service documents: file name and text.
        pub const SERVICES: &[(&str, &str)] =
            &[$((concat!($name, ".toml"), include_str!(concat!("../documents/services/", $name, ".toml")))),*];
    };
}

services![
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
