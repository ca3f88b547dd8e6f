//! Server-sent events from bytes.

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// The cursor; empty = none.
    pub id: String,
    /// What it is; `message` unless said.
    pub event: String,
    /// The lines of data, joined.
    pub data: String,
}

/// Reads events from the chunks of a response; the stream ends with the response.
pub fn server_events<S>(chunks: S) -> impl Stream<Item = anyhow::Result<ServerEvent>> + Send
where
    S: Stream<Item = anyhow::Result<Bytes>> + Send + Unpin + 'static,
{
    stream::unfold(
        (chunks, Vec::<u8>::new(), false),
        |(mut chunks, mut buffer, ended)| async move {
            if ended {
                return None;
            }
            loop {
                if let Some(event) = take_event(&mut buffer) {
                    return Some((Ok(event), (chunks, buffer, false)));
                }
                match chunks.next().await {
                    Some(Ok(chunk)) => buffer.extend_from_slice(&chunk),
                    Some(Err(error)) => return Some((Err(error), (chunks, buffer, true))),
                    None => return None,
                }
            }
        },
    )
}

/// Takes the first complete event with data off the buffer; comments are dropped.
fn take_event(buffer: &mut Vec<u8>) -> Option<ServerEvent> {
    loop {
        let end = buffer.windows(2).position(|pair| pair == b"\n\n")?;
        let block: Vec<u8> = buffer.drain(..end + 2).collect();
        let event = parse_block(&String::from_utf8_lossy(&block));
        if !event.data.is_empty() || event.event != "message" {
            return Some(event);
        }
    }
}

fn parse_block(block: &str) -> ServerEvent {
    let mut event = ServerEvent {
        event: "message".to_owned(),
        ..ServerEvent::default()
    };
    let mut data: Vec<&str> = Vec::new();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => value.clone_into(&mut event.id),
            "event" => value.clone_into(&mut event.event),
            "data" => data.push(value),
            _ => {}
        }
    }
    event.data = data.join("\n");
    event
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{StreamExt as _, stream};

    use super::server_events;

    #[tokio::test]
    async fn events_survive_any_cut() {
        let text = ": hello\n\nid: 1\nevent: added\ndata: {\"a\":\ndata: 1}\n\nevent: bookmark\n\n";
        for cut in 1..text.len() {
            let chunks: Vec<anyhow::Result<Bytes>> = text
                .as_bytes()
                .chunks(cut)
                .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
                .collect();
            let events: Vec<_> = server_events(stream::iter(chunks))
                .map(|event| event.expect("no chunk fails"))
                .collect()
                .await;
            assert_eq!(events.len(), 2, "cut {cut}");
            assert_eq!(
                (
                    events[0].id.as_str(),
                    events[0].event.as_str(),
                    events[0].data.as_str()
                ),
                ("1", "added", "{\"a\":\n1}")
            );
            assert_eq!(events[1].event, "bookmark");
        }
    }
}
