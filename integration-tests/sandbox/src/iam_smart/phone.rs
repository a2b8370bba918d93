//! The person's phone: a list of open requests, and the page the app opens for one of them.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::StatusCode;

use super::tickets::Ticket;
use super::{Shared, callback, page};
use crate::web::{self, Params};

/// `GET /phone`
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    web::html(StatusCode::OK, page::phone(&shared, &shared.tickets.waiting()))
}

/// `GET /app/{profile|re-auth}?ticketID=`: what a link into the app opens.
pub(super) async fn app(
    State(shared): State<Arc<Shared>>,
    Path(kind): Path<String>,
    RawQuery(raw): RawQuery,
) -> Response {
    let params = Params::parse(&raw.unwrap_or_default());
    let id = params.as_ref().and_then(|params| params.get("ticketID")).unwrap_or_default();
    match shared.tickets.get(id).filter(|ticket| ticket.kind.app_page() == kind) {
        None => page::problem("There is no such request, or it is over."),
        Some(ticket) if ticket.decided => back_to_service(&ticket),
        Some(ticket) => web::html(StatusCode::OK, page::app(&shared, &ticket)),
    }
}

/// `POST /phone/decide`: `ticketID`, `decision` (`approve` or `reject`), and `from=app` on the app's page.
pub(super) async fn decide(State(shared): State<Arc<Shared>>, body: String) -> Response {
    let params = Params::parse(&body);
    let chosen = |name: &str| params.as_ref().and_then(|params| params.get(name)).unwrap_or_default();
    let approved = match chosen("decision") {
        "approve" => true,
        "reject" => false,
        _ => return page::problem("Neither approved nor rejected."),
    };
    let Some(ticket) = shared.tickets.get(chosen("ticketID")) else {
        return page::problem("There is no such request, or it is over.");
    };
    let response = if chosen("from") == "app" { back_to_service(&ticket) } else { web::redirect("/phone") };
    // The browser does not wait for the result to arrive, as an app would not.
    tokio::spawn(async move { settle(&shared, &ticket.id, approved).await });
    response
}

/// Ends a request, once, and sends the result.
pub(super) async fn settle(shared: &Shared, id: &str, approved: bool) {
    if let Some(ticket) = shared.tickets.decide(id) {
        callback::deliver(shared, &ticket, approved).await;
    }
}

fn back_to_service(ticket: &Ticket) -> Response {
    web::redirect(&web::with_query(&ticket.redirect_uri, &[("state", &ticket.state)]))
}
