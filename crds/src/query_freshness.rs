//! Whether the series that a query of one's own reads are fresh: Prometheus answers for minutes with
//! the last sample of a target that is gone.

use std::collections::BTreeMap;

use crate::{
    duration::Dur,
    number::{count_of, milliseconds_of},
    query_template::{QueryError, Selector, selectors},
};

/// Samples below which a change over a range says nothing.
pub const MIN_SCRAPES: u32 = 2;

/// The label that tells the parts of an answer to [`Freshness::query`] apart.
pub const PART: &str = "bellwether_part";
/// Moments of a range at which is looked for the newest sample of a series that is gone by now.
const LOOKS_PER_RANGE: i64 = 12;
const SHORTEST_STEP_MS: i64 = 1_000;

/// What is asked beside a query of one's own, so that an old value is not taken for one of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// One query for all selectors. Its answer is a series for each thing that is known, told apart by
    /// [`PART`]; of a selector that matches nothing there is none.
    pub query: String,
    /// What the value's query reads, in the order of the parts' numbers.
    selectors: Vec<Selector>,
    /// The metric's window.
    window: Dur,
}

/// What is known of one selector's series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The metric that it selects, for people; empty = it selects by other labels.
    pub name: String,
    /// How old the newest sample is, as seen from the moment that the query looks at, in milliseconds;
    /// absent = nothing matches.
    pub age_ms: Option<i64>,
    /// The oldest that it may be.
    pub oldest: Dur,
    /// For how long the weight has been in force, of which the sample is to tell; absent = the query
    /// looks at another moment, and means to, or there is no weight.
    pub in_force: Option<Dur>,
    /// Samples in the range of the series that has most; absent = the query takes the newest alone, or
    /// nothing matches.
    pub scrapes: Option<u32>,
    /// How many of them it takes.
    pub wanted: u32,
    /// How far back the query looks.
    pub range: Dur,
}

impl Freshness {
    /// Makes up what is to be asked beside `query`, which is filled in, of a metric with this window;
    /// `None` = it reads no series.
    ///
    /// # Errors
    /// The query cannot be read.
    pub fn of(query: &str, window: Dur) -> Result<Option<Self>, QueryError> {
        let selectors = selectors(query)?;
        let parts: Vec<String> = selectors
            .iter()
            .enumerate()
            .flat_map(|(number, selector)| parts(number, selector))
            .collect();
        Ok((!parts.is_empty()).then(|| Self {
            query: parts.join(" or "),
            selectors,
            window,
        }))
    }

    /// Takes an answer in: values in seconds or samples by their [`PART`]. `in_force` says for how
    /// long the weight has been in force; absent = the value is to tell of no weight.
    #[must_use]
    pub fn read(&self, answer: &BTreeMap<String, f64>, in_force: Option<Dur>) -> Vec<Read> {
        let value = |part: &str, number: usize| {
            let value = answer.get(&format!("{part}-{number}")).copied();
            value.filter(|value| value.is_finite())
        };
        let looks_at_now = |selector: &Selector| selector.at.is_none() && selector.offset_ms == 0;
        self.selectors
            .iter()
            .enumerate()
            .map(|(number, selector)| Read {
                name: selector.name.clone(),
                age_ms: value("age", number).map(milliseconds_of),
                oldest: oldest(selector, self.window),
                in_force: in_force.filter(|_| looks_at_now(selector)),
                scrapes: value("scrapes", number).map(count_of),
                wanted: if selector.is_change { MIN_SCRAPES } else { 1 },
                range: selector.range.unwrap_or_default(),
            })
            .collect()
    }
}

/// Judges what is known of all selectors; what matches nothing is not old.
///
/// # Errors
/// Why the value tells nothing of now.
pub fn judge(read: &[Read]) -> Result<(), String> {
    read.iter().try_for_each(one)
}

fn one(read: &Read) -> Result<(), String> {
    let of = if read.name.is_empty() {
        String::new()
    } else {
        format!(" of {}", read.name)
    };
    let Some(age) = read.age_ms else {
        return match read.scrapes {
            // Samples of a series that was gone before anybody could say of when they are.
            Some(_) => Err(format!("StaleSample: nothing{of} is measured any more")),
            None => Ok(()),
        };
    };
    let span = Dur::from_millis(age.unsigned_abs());
    if age > read.oldest.as_millis() {
        return Err(format!(
            "StaleSample: the newest measurement{of} is {span} old; {} would do (a longer window \
             allows more)",
            read.oldest
        ));
    }
    if read.in_force.is_some_and(|since| age > since.as_millis()) {
        return Err(format!(
            "StaleSample: the newest measurement{of} is {span} old, from before the weight was in \
             force"
        ));
    }
    match read.scrapes {
        Some(scrapes) if scrapes < read.wanted => Err(format!(
            "TooFewScrapes: {scrapes} of at least {}{of} in {}",
            read.wanted, read.range
        )),
        _ => Ok(()),
    }
}

/// How old the newest sample of a selector may be. A change rests on all of its range, so that half of
/// it is the most, as for what is built in. A level is right for as long as nothing newer could have
/// come: whoever has it scraped less than once a window is not left without a verdict by that alone.
fn oldest(selector: &Selector, window: Dur) -> Dur {
    let range = selector.range.unwrap_or_default();
    let half = Dur::from(range.max(window).as_std() / 2);
    if selector.is_change {
        half
    } else {
        half.max(Dur::from(window.as_std().saturating_mul(2)))
    }
}

/// What is asked about one selector: the age of its newest sample, and how many there are in its
/// range.
fn parts(number: usize, selector: &Selector) -> Vec<String> {
    let moment = moment(selector);
    let part = |name: &str, value: String| {
        format!("label_replace({value}, \"{PART}\", \"{name}-{number}\", \"\", \"\")")
    };
    let age = format!("{} - {}", seen_from(selector), newest(selector, &moment));
    let mut parts = vec![part("age", age)];
    if let Some(range) = selector.range {
        let (text, range) = (&selector.text, range.as_millis());
        let count = format!("max(count_over_time({text}[{range}ms]{moment}))");
        parts.push(part("scrapes", count));
    }
    parts
}

/// The time of the newest sample. A series whose target is gone is marked so, and is not there any
/// more, but the samples of a range are: of those the last moments are looked at.
fn newest(selector: &Selector, moment: &str) -> String {
    let text = &selector.text;
    let now = format!("max(timestamp({text}{moment}))");
    let Some(range) = selector.range else {
        return now;
    };
    let range = range.as_millis();
    let step = (range / LOOKS_PER_RANGE).max(SHORTEST_STEP_MS);
    format!("({now} or max(max_over_time(timestamp({text})[{range}ms:{step}ms]{moment})))")
}

/// The modifiers of a selector.
fn moment(selector: &Selector) -> String {
    let at = selector.at.as_ref().map(|at| format!(" @ {at}"));
    let offset = match selector.offset_ms {
        0 => None,
        ms => Some(format!(" offset {ms}ms")),
    };
    at.into_iter().chain(offset).collect()
}

/// The moment that a selector looks at, in seconds by the server's own clock.
fn seen_from(selector: &Selector) -> String {
    let at = selector.at.as_deref().unwrap_or("time()");
    let seconds = |ms: u64| format!("{}.{:03}", ms / 1_000, ms % 1_000);
    let distance = seconds(selector.offset_ms.unsigned_abs());
    match selector.offset_ms.signum() {
        0 => at.to_owned(),
        1 => format!("{at} - {distance}"),
        _ => format!("{at} + {distance}"),
    }
}

#[cfg(test)]
mod tests;
