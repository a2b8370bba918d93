//! Reading a peer's answer: status first, then JSON.

use http::StatusCode;
use serde::de::DeserializeOwned;

use crate::error::UpstreamError;
use crate::http::HttpError;

/// The JSON of a 200 answer. A busy or failing peer is unavailable; any other status is a refusal of ours.
///
/// # Errors
/// [`UpstreamError`], which repeats nothing of the answer.
pub(crate) fn json<T: DeserializeOwned>(response: &http::Response<Vec<u8>>) -> Result<T, UpstreamError> {
    let status = response.status();
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        return Err(HttpError::Status(status.as_u16()).into());
    }
    if status != StatusCode::OK {
        return Err(UpstreamError::Refused(format!("status {}", status.as_u16())));
    }
    serde_json::from_slice(response.body())
        .map_err(|_| UpstreamError::misbehaved("the answer is not the JSON expected"))
}
