//! One request as often as it takes: in its turn, in bounded number at once, and again when that may help.

use super::S3;
use crate::StoreError;
use crate::pace::Request;

impl S3 {
    /// Makes the request until it goes well or trying again is of no use. Every request of a store passes here, so that
    /// the place's pace holds for all of them, retries and parts included.
    pub(super) async fn ask<T, F>(&self, what: Request, request: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut tried = 0;
        loop {
            let outcome = self.ask_once(what, request()).await;
            tried += 1;
            let Err(error) = outcome else { return outcome };
            let Some(pause) = self.place.again(&error, tried) else { return Err(error) };
            tracing::debug!(tried, error = &error as &dyn std::error::Error, "asking again in {pause:?}");
            tokio::time::sleep(pause).await;
        }
    }

    /// Nothing is held while it pauses.
    async fn ask_once<T>(
        &self,
        what: Request,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let _permit = self.in_flight.acquire().await.expect("it is never closed");
        self.place.turn().await;
        let outcome = request.await;
        let counts_as = self.place.note(what, &outcome);
        self.meter.iter().for_each(|meter| meter.note(what, counts_as));
        outcome
    }

    /// Bytes of a body that came or went.
    pub(super) fn moved(&self, read: u64, written: u64) {
        self.place.moved(read, written);
        self.meter.iter().for_each(|meter| meter.moved(read, written));
    }
}
