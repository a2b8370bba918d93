//! The HTTP port in the shape that the protocol libraries call.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::http::{Http, HttpError};

/// An answer on its way.
pub(crate) type PortFuture = Pin<Box<dyn Future<Output = Result<oauth2::HttpResponse, HttpError>> + Send>>;

/// Sends through the port.
pub(crate) fn port(http: &Arc<dyn Http>) -> impl Fn(oauth2::HttpRequest) -> PortFuture + use<> {
    let http = Arc::clone(http);
    move |request| {
        let port = Arc::clone(&http);
        Box::pin(async move { answered(&*port, request).await })
    }
}

/// Sends a request; a busy or failing peer is no answer.
pub(crate) async fn answered(http: &dyn Http, request: oauth2::HttpRequest) -> Result<oauth2::HttpResponse, HttpError> {
    let response = http.send(request).await?;
    let status = response.status();
    let busy = status == http::StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
    if busy { Err(HttpError::Status(status.as_u16())) } else { Ok(response) }
}
