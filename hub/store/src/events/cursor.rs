use std::{collections::BTreeSet, fmt, str::FromStr};

use super::EventRow;

/// Events that a cursor remembers at most beyond the place that nothing can come before any more.
pub(super) const MAX_AHEAD: usize = 100;

/// Where an event stands: its transaction, then its id.
pub(super) type Place = (u64, u64);

/// How far a reader has read. Nothing that is committed later is behind it: it stands where no
/// transaction was running any more, and names what was read beyond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventCursor {
    pub(super) place: Place,
    /// Events behind `place` that were read already.
    pub(super) ahead: BTreeSet<Place>,
}

impl EventCursor {
    /// Right behind one event. Only for reading backwards: what a slower transaction commits
    /// before it is not seen from there.
    #[must_use]
    pub const fn at(row: &EventRow) -> Self {
        Self {
            place: (row.tx, row.id),
            ahead: BTreeSet::new(),
        }
    }

    /// The cursor after a page. `xmin` is the oldest transaction that was running when the page
    /// was read; `whole` tells whether the page holds everything that there was.
    pub(super) fn after(&self, read: &[Place], xmin: u64, whole: bool) -> Self {
        // Every event of a transaction below xmin is there to be read, or will never be.
        let settled = (xmin, 0);
        let reached = match read.last() {
            Some(last) if !whole => settled.min(*last),
            _ => settled,
        };
        let place = self.place.max(reached);
        let ahead = self
            .ahead
            .iter()
            .chain(read)
            .copied()
            .filter(|one| *one > place)
            .collect();
        Self { place, ahead }
    }
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.place.0, self.place.1)?;
        for (tx, id) in &self.ahead {
            write!(f, "_{tx}.{id}")?;
        }
        Ok(())
    }
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to read the cursor of a list of events")]
pub struct ParseCursorError;

impl FromStr for EventCursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        let place = |part: &str| -> Option<Place> {
            let (tx, id) = part.split_once('.')?;
            Some((tx.parse().ok()?, id.parse().ok()?))
        };
        let mut places = text.split('_').map(place);
        let first = places.next().flatten().ok_or(ParseCursorError)?;
        let ahead: Option<BTreeSet<Place>> = places.collect();
        let ahead = ahead.ok_or(ParseCursorError)?;
        // A page adds at most its own events to those that were remembered.
        if ahead.len() > MAX_AHEAD {
            return Err(ParseCursorError);
        }
        Ok(Self {
            place: first,
            ahead,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{EventCursor, Place};

    fn cursor(place: Place, ahead: &[Place]) -> EventCursor {
        EventCursor {
            place,
            ahead: ahead.iter().copied().collect(),
        }
    }

    #[test]
    fn cursors_are_read_back() {
        for one in [
            EventCursor::default(),
            cursor((7, 3), &[(8, 1), (u64::MAX, 2)]),
        ] {
            assert_eq!(one.to_string().parse(), Ok(one));
        }
        for bad in ["", "7", "7.", "7.3_", "7.3_x", "-1.0"] {
            assert!(bad.parse::<EventCursor>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_cursor_stands_where_nothing_can_come_before_it() {
        let start = EventCursor::default();
        // Transaction 5 still runs: what 6 wrote is remembered one by one.
        let next = start.after(&[(4, 1), (6, 3)], 5, true);
        assert_eq!(next, cursor((5, 0), &[(6, 3)]));
        // It has ended, and 7 runs.
        let next = next.after(&[(5, 2)], 7, true);
        assert_eq!(next, cursor((7, 0), &[]));
        // A page that was cut short stands at its end, wherever transactions are.
        let next = next.after(&[(8, 9), (9, 1)], 20, false);
        assert_eq!(next, cursor((9, 1), &[]));
        // Nothing new: it moves on all the same, and never back.
        assert_eq!(next.after(&[], 30, true), cursor((30, 0), &[]));
        assert_eq!(
            cursor((30, 0), &[]).after(&[], 20, true),
            cursor((30, 0), &[])
        );
    }
}
