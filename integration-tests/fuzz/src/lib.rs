//! What takes bytes from outside, as functions that any bytes may be thrown at. A target panics when something does not hold
//! that has to hold for every input; what it takes in is compared with itself, with another reader, or with what may never be.

mod targets {
    pub mod answers;
    pub mod documents;
    pub mod federation;
    pub mod registration;
    pub mod tokens;
    pub mod web;
}

/// A target: one kind of outside bytes.
pub type Target = fn(&[u8]);

/// Every target by its name, which is the name of its folder of seeds as well.
pub const TARGETS: [(&str, Target); 12] = [
    ("jose", targets::tokens::jose),
    ("dpop", targets::tokens::dpop),
    ("request-object", targets::tokens::request_object),
    ("certificate", targets::tokens::certificate),
    ("form", targets::web::form),
    ("url", targets::web::url),
    ("document", targets::documents::document),
    ("expression", targets::documents::expression),
    ("number", targets::documents::number),
    ("answer", targets::answers::answer),
    ("registration", targets::registration::registration),
    ("federation", targets::federation::federation),
];
