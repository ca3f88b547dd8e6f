//! Metric samples on their way to the hub, on a stream of their own. They are for people to look
//! at: the oldest go first when the hub is away, and nothing is sent twice.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bellwether_proto::wire::{BulkMessage, Sample, Samples, bulk_message, link_client::LinkClient};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Channel};

/// Samples that wait at most.
const MAX_WAITING: usize = 1_000;
/// Samples of one message.
const MAX_SAMPLES: usize = 100;
/// Pause after a broken stream.
const RETRY: Duration = Duration::from_secs(30);

/// Samples that wait for the hub; clones share them.
#[derive(Clone, Debug, Default)]
pub struct SampleOutbox {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<VecDeque<Sample>>,
    wake: Notify,
}

impl SampleOutbox {
    /// Takes a sample. Never waits; forgets the oldest beyond the limit.
    pub fn push(&self, sample: Sample) {
        let mut waiting = self.waiting();
        if waiting.len() == MAX_WAITING {
            waiting.pop_front();
        }
        waiting.push_back(sample);
        drop(waiting);
        self.inner.wake.notify_one();
    }

    async fn next(&self) -> Vec<Sample> {
        loop {
            {
                let mut waiting = self.waiting();
                let count = waiting.len().min(MAX_SAMPLES);
                if count > 0 {
                    return waiting.drain(..count).collect();
                }
            }
            self.inner.wake.notified().await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.inner
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends samples for as long as the session lives; drop it to stop.
pub(super) async fn send(mut client: LinkClient<Channel>, outbox: SampleOutbox) {
    loop {
        // Nothing to say, nothing to open.
        let first = outbox.next().await;
        if let Err(status) = converse(&mut client, &outbox, first).await {
            tracing::debug!(code = ?status.code(), "the stream of samples ended");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn converse(
    client: &mut LinkClient<Channel>,
    outbox: &SampleOutbox,
    first: Vec<Sample>,
) -> Result<(), Status> {
    let (messages, receiver) = mpsc::channel(2);
    let ended = |_| Status::cancelled("the stream ended");
    messages.send(message(first)).await.map_err(ended)?;
    let mut acks = client
        .bulk(ReceiverStream::new(receiver))
        .await?
        .into_inner();
    loop {
        tokio::select! {
            ack = acks.message() => {
                if ack?.is_none() {
                    return Ok(());
                }
            }
            samples = outbox.next() => messages.send(message(samples)).await.map_err(ended)?,
        }
    }
}

fn message(samples: Vec<Sample>) -> BulkMessage {
    BulkMessage {
        message: Some(bulk_message::Message::Samples(Samples { samples })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_go_first() {
        let outbox = SampleOutbox::default();
        for step in 0..1_005 {
            outbox.push(Sample {
                step,
                ..Sample::default()
            });
        }
        let batch = outbox.next().await;
        assert_eq!(batch.len(), MAX_SAMPLES);
        assert_eq!(batch[0].step, 5);
    }
}
