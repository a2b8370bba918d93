//! `/client/{client}/logo`: the picture that a portal registered (RFC 7591 section 2), handed on by us, so that no page of
//! ours opens anything of somebody else's in a person's browser.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use crate::app::App;
use crate::http::reply;

/// How pictures begin, and what they are then. Drawings are not among them: they can hold scripts.
const PICTURES: [(&[u8], &str); 3] =
    [(b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif")];

/// A picture.
#[derive(Debug, Clone)]
pub struct Logo {
    kind: &'static str,
    bytes: Vec<u8>,
}

impl Logo {
    /// What was fetched, if it is a picture.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (_, kind) = PICTURES.iter().find(|(beginning, _)| bytes.starts_with(beginning))?;
        Some(Self { kind, bytes: bytes.to_vec() })
    }
}

/// `GET /client/{client}/logo`.
pub async fn get(State(app): State<Arc<App>>, Path(client): Path<String>) -> Response {
    let active = app.bundle();
    let registered = client.parse().ok().and_then(|id| active.client(&id));
    let Some(uri) = registered.and_then(|registered| registered.client.pages.logo.as_ref()) else {
        return reply::empty(StatusCode::NOT_FOUND);
    };
    match app.logos.get(uri, app.now()).await {
        Ok(logo) => reply::picture(logo.kind, logo.bytes.clone()),
        Err(error) => {
            tracing::info!(client, %error, "logo");
            reply::empty(StatusCode::NOT_FOUND)
        }
    }
}
