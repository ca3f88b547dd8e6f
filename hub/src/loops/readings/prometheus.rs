//! What Prometheus answers to an instant query.

use std::collections::BTreeMap;

use serde::Deserialize;

/// An answer, whether or not it has a result.
#[derive(Deserialize)]
pub struct Answer {
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Series>),
    Scalar((f64, String)),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Answer {
    /// The one number that a query gives.
    ///
    /// # Errors
    /// Why it gives none, for people.
    pub fn value(self) -> Result<f64, String> {
        match self.data()? {
            Data::Scalar((_, text)) => number(&text),
            Data::Vector(series) => match series.as_slice() {
                [] => Err("the query gives no value".to_owned()),
                [one] => number(&one.value.1),
                many => Err(format!("the query gives {} values, not one", many.len())),
            },
            Data::Matrix(_) | Data::String(_) => Err("the query gives no instant value".to_owned()),
        }
    }

    /// The values of several series by their label `label`; a series without it is left out.
    ///
    /// # Errors
    /// Why there are none, for people.
    pub fn values_by(self, label: &str) -> Result<BTreeMap<String, f64>, String> {
        let Data::Vector(series) = self.data()? else {
            return Err("the query gives no series".to_owned());
        };
        let named = series.into_iter().filter_map(|mut series| {
            let name = series.metric.remove(label)?;
            Some(number(&series.value.1).map(|value| (name, value)))
        });
        named.collect()
    }

    fn data(self) -> Result<Data, String> {
        self.data
            .ok_or_else(|| format!("the query is refused: {}", self.error))
    }
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}
