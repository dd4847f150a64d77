//! One POST per request.

use super::{
    Asks, BadUrl,
    failure::{Failure, beginning, wordless},
    secrets::Secrets,
};
use alloy::{
    rpc::json_rpc::{RequestPacket, ResponsePacket, RpcError},
    transports::{
        TransportError, TransportErrorKind, TransportFut,
        http::reqwest::{Client, Response, Url, header::RETRY_AFTER, redirect::Policy},
    },
};
use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tower::Service;

/// A node behind HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: Client,
    url: Url,
    host: Arc<str>,
    secrets: Arc<Secrets>,
    asks: Asks,
}

impl Http {
    pub(crate) fn new(url: Url, host: String, asks: Asks) -> Result<Self, BadUrl> {
        // Decompression is a feature that some other package could turn on.
        let client = Client::builder().no_gzip().no_brotli().no_deflate().no_zstd();
        // Or a node could have others asked in our name, also those that only we can reach.
        let client = client.redirect(Policy::none());
        Ok(Self {
            client: client.build().map_err(|_| BadUrl)?,
            secrets: Arc::new(Secrets::of(&url)),
            url,
            host: host.into(),
            asks,
        })
    }

    async fn request(self, request: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let bytes_max = self.asks.answer_max(&request);
        let post = self.client.post(self.url.clone()).json(&request);
        let sent = post.headers(request.headers()).send().await;
        let response = sent.map_err(|error| Failure::lost(&self.host, &error))?;
        let (status, wait) = (response.status(), retry_after(&response));
        if status.is_redirection() {
            let elsewhere = "it sends elsewhere, which is not followed; use the address that it means";
            return Err(Failure::because(&self.host, elsewhere).into());
        }
        let body = self.read(response, bytes_max).await;
        if status.is_success() {
            let body = body?;
            let answer = serde_json::from_slice(&body)
                .map(|answer| self.secrets.hide_in(answer))
                .map_err(|error| RpcError::deser_err(wordless(error), self.said(&body)))?;
            return match is_astray(&request, &answer) {
                false => Ok(answer),
                true => Err(Failure::because(&self.host, "the node answers another request").into()),
            };
        }
        let body = body.unwrap_or_default();
        match serde_json::from_slice::<ResponsePacket>(&body) {
            Ok(answer) if answer.is_error() => Ok(self.secrets.hide_in(answer)),
            _ => {
                let said = self.said(&body);
                Err(TransportErrorKind::http_error_with_retry_after(
                    status.as_u16(),
                    said,
                    wait,
                ))
            }
        }
    }

    /// For people. Error pages repeat the path that was asked for, which may hold a key.
    fn said(&self, body: &[u8]) -> String {
        beginning(self.secrets.hide(&String::from_utf8_lossy(body)).as_bytes())
    }

    async fn read(&self, mut response: Response, bytes_max: usize) -> Result<Vec<u8>, Failure> {
        let too_large = || Failure::TooLarge {
            host: self.host.to_string(),
            bytes_max,
        };
        let announced = response.content_length().unwrap_or_default();
        if usize::try_from(announced).map_or(true, |announced| announced > bytes_max) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        let lost = |error| Failure::lost(&self.host, &error);
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if chunk.len() > bytes_max.saturating_sub(body.len()) {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Whether it is the result of another request, as something between a node and us may mix them up. Errors may have no
/// number, and alloy puts batches in order by their numbers.
fn is_astray(request: &RequestPacket, answer: &ResponsePacket) -> bool {
    match (request, answer) {
        (RequestPacket::Single(request), ResponsePacket::Single(answer)) => {
            answer.is_success() && answer.id != *request.id()
        }
        _ => false,
    }
}

/// In its form of seconds.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

impl Service<RequestPacket> for Http {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        Box::pin(self.clone().request(request))
    }
}
