//! What every request goes through before its endpoint: its body is read whole, within bounds of size and time. So no endpoint
//! holds a place while a body comes, and an answer is never sent into the middle of one.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tower_service::Service as _;

use super::request::FormError;

/// The largest body, in bytes.
pub const MAX_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// How long the rest of a body that is not wanted is read and thrown away, so that its sender reads our answer.
const LINGER: Duration = Duration::from_secs(2);

/// A request whose body came, or will not.
pub struct Arrived {
    request: Request<Body>,
    is_whole: bool,
}

/// Reads the body.
pub async fn arrived(request: Request<Incoming>) -> Arrived {
    let (parts, body) = request.into_parts();
    let (body, is_whole) = match body.is_end_stream() {
        true => (Body::empty(), true),
        false => match whole(body).await {
            Ok(bytes) => (Body::from(bytes), true),
            Err(error) => (Body::new(Unreadable(Some(error))), false),
        },
    };
    Arrived { request: Request::from_parts(parts, body), is_whole }
}

impl Arrived {
    /// Lets the router answer.
    pub async fn answered(self, mut router: Router) -> Result<Response, Infallible> {
        let in_turn = self.request.version() < Version::HTTP_2;
        let mut answer = router.call(self.request).await?;
        if in_turn && !self.is_whole {
            // What is left of the body stands where the next request would (RFC 9112 section 9.3).
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(answer)
    }
}

async fn whole(mut body: Incoming) -> Result<Bytes, FormError> {
    let too_large = body.size_hint().lower() > MAX_BODY as u64;
    let mut read = Vec::new();
    let collected = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| FormError::Broken)?;
            read.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
            if read.len() > MAX_BODY {
                return Err(FormError::TooLarge);
            }
        }
        Ok(())
    };
    let collected = match too_large {
        true => Err(FormError::TooLarge),
        false => tokio::time::timeout(BODY_DEADLINE, collected).await.unwrap_or(Err(FormError::Slow)),
    };
    match collected {
        Ok(()) => Ok(read.into()),
        Err(error) => {
            tokio::spawn(tokio::time::timeout(LINGER, async move { while let Some(Ok(_)) = body.frame().await {} }));
            Err(error)
        }
    }
}

/// A body that could not be read, and why.
struct Unreadable(Option<FormError>);

impl hyper::body::Body for Unreadable {
    type Data = Bytes;
    type Error = FormError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Poll::Ready(self.0.take().map(Err))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
