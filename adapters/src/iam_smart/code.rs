//! Return codes, and what each means for the person and for the operator.

use crate::error::UpstreamError;

/// Everything went well.
pub(super) const SUCCESS: &str = "D00000";

/// A return code of the right shape: `D` and five digits. Codes are logged; nothing else that a peer sends is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code(u32);

impl Code {
    /// Reads a code.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('D').filter(|d| d.len() == 5 && d.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse().ok().map(Self)
    }

    /// True for a problem with a key or with encryption: the content key has to be renewed, and the call made again.
    pub(super) fn is_key_problem(self) -> bool {
        (30_001..=30_004).contains(&self.0)
    }

    /// True for a header that was refused before anything was looked at: an invalid value, which a time stamp that others
    /// have overtaken is as well.
    pub(super) fn is_stale_stamp(self) -> bool {
        self.0 == 20_003
    }

    /// What the code means in the answer to a request or in a delivery.
    ///
    /// A person who says no, or not in time, is never an outage; and a refusal of our own request is never the person's.
    pub(super) fn error(self) -> UpstreamError {
        match self.0 {
            40_000 | 40_001 | 50_001 | 80_001 => UpstreamError::Denied,
            40_003 | 40_004 | 50_003 | 80_003 => UpstreamError::TimedOut,
            40_002 | 50_002 | 80_002 => UpstreamError::Failed(self.to_string()),
            _ => UpstreamError::Refused(self.to_string()),
        }
    }

    /// What the code means in the callback that a browser brings. There, a sample shows a refusal as a missing parameter.
    pub(super) fn callback_error(self) -> UpstreamError {
        if self.0 == 20_001 { UpstreamError::Denied } else { self.error() }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "D{:05}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use gateway_core::error::{Failure, Side};

    use super::*;

    fn failure(code: &str) -> Failure {
        Code::parse(code).unwrap().error().failure()
    }

    #[test]
    fn a_person_who_says_no_or_is_late_is_never_an_outage() {
        for code in ["D40000", "D40001", "D50001", "D80001"] {
            assert_eq!(failure(code), Failure::Cancelled, "{code}");
        }
        for code in ["D40003", "D40004", "D50003", "D80003"] {
            assert_eq!(failure(code), Failure::NotApproved, "{code}");
            assert_eq!(failure(code).row().1, Side::You);
        }
    }

    #[test]
    fn our_own_mistakes_are_never_the_persons() {
        let ours = ["D20001", "D20002", "D20003", "D20004", "D20005", "D20006", "D20007", "D20008", "D20009"];
        let more = ["D20010", "D20011", "D20012", "D20015", "D30001", "D30002", "D30003", "D30004", "D70004", "D99999"];
        for code in ours.iter().chain(&more) {
            assert_eq!(failure(code), Failure::ProviderRefused, "{code}");
        }
        for code in ["D50002", "D80002"] {
            assert_eq!(failure(code), Failure::ProviderUnavailable, "{code}");
        }
    }

    #[test]
    fn only_a_code_is_a_code() {
        for text in ["", "D", "D0000", "D000000", "M00000", "D4000x", "d40000", "D+4000", "D４００００"] {
            assert!(Code::parse(text).is_none(), "{text}");
        }
    }
}
