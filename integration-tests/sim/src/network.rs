//! A network that loses, repeats, delays and so reorders what is said, and that can be cut.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use rand::{Rng, rngs::StdRng};
use uuid::Uuid;

use crate::{
    count::Counts,
    transport::{Body, Message},
};

/// How bad the network is, in percent of messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Lost.
    pub dropped: u32,
    /// Delivered twice.
    pub repeated: u32,
    /// Delivered up to 20 s late.
    pub delayed: u32,
}

/// Messages on their way.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// How bad it is now.
    pub weather: Weather,
    cut: BTreeSet<Uuid>,
    under_way: Vec<(Timestamp, u64, Message)>,
    number: u64,
}

impl Network {
    /// Cuts a cluster off.
    pub fn cut(&mut self, cluster: Uuid) {
        self.cut.insert(cluster);
    }

    /// Heals everything.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.weather = Weather::default();
    }

    /// Heals one cluster's link.
    pub fn mend(&mut self, cluster: Uuid) {
        self.cut.remove(&cluster);
    }

    /// Tells whether nothing is on its way but signs of life, of which there is no end.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.under_way
            .iter()
            .all(|(_, _, message)| matches!(message.body, Body::Beat { .. } | Body::Pong { .. }))
    }

    /// Sends a message.
    pub fn send(
        &mut self,
        now: Timestamp,
        message: Message,
        rng: &mut StdRng,
        counts: &mut Counts,
    ) {
        if self.cut.contains(&message.cluster) {
            return;
        }
        let mut chance = |percent: u32| rng.random_range(0..100) < percent;
        if chance(self.weather.dropped) {
            counts.one("fault/message-dropped");
            return;
        }
        let copies = if chance(self.weather.repeated) {
            counts.one("fault/message-repeated");
            2
        } else {
            1
        };
        for _ in 0..copies {
            let late = rng.random_range(0..100) < self.weather.delayed;
            let millis = if late {
                counts.one("fault/message-delayed");
                rng.random_range(1_000..20_000)
            } else {
                rng.random_range(10..300)
            };
            let at = now
                .saturating_add(SignedDuration::from_millis(millis))
                .unwrap_or(now);
            self.number += 1;
            self.under_way.push((at, self.number, message.clone()));
        }
    }

    /// Takes what arrives by `now`, in the order of its arrival. What is on its way when a link
    /// is cut is lost.
    pub fn arrivals(&mut self, now: Timestamp) -> Vec<Message> {
        let (mut due, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.under_way)
            .into_iter()
            .partition(|(at, _, _)| *at <= now);
        self.under_way = rest;
        due.sort_by_key(|(at, number, _)| (*at, *number));
        due.into_iter()
            .map(|(_, _, message)| message)
            .filter(|message| !self.cut.contains(&message.cluster))
            .collect()
    }
}
