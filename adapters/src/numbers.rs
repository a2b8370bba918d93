//! Document numbers in what a provider says: the claim that holds one says which kind it must be.

use gateway_core::papers::{Bir, CreditCode, Hkid, HomeReturnPermit, ResidentKind, ResidentNumber};

/// True for a claim that holds a document number of a kind we know.
pub(crate) fn is_document(claim: &str) -> bool {
    ["hkid", "resident_id", "residence_permit", "home_return_permit", "credit_code", "bir"].contains(&claim)
}

/// The canonical text of a number under the claim that holds it; `None` when it is not one of that kind. Claims that
/// hold no kind we know keep their text.
pub(crate) fn canonical(claim: &str, number: &str) -> Option<String> {
    match claim {
        "hkid" => Hkid::parse(number).ok().map(|number| number.expose().to_owned()),
        "resident_id" | "residence_permit" => {
            let number = ResidentNumber::parse(number).ok()?;
            // The same form serves both; the area digits tell whose it is.
            let mainland = number.kind() == ResidentKind::Mainland;
            (mainland == (claim == "resident_id")).then(|| number.expose().to_owned())
        }
        "home_return_permit" => HomeReturnPermit::parse(number).ok().map(|number| number.expose().to_owned()),
        "credit_code" => CreditCode::parse(number).ok().map(|number| number.expose().to_owned()),
        "bir" => Bir::parse(number).ok().map(|number| number.expose().to_owned()),
        _ => Some(number.to_owned()),
    }
}
