//! How a command ends when it does not end well: one sentence and an exit code.

use bellwether_api::call::Problem;

/// Exit codes: 0 done, 1 error, 2 usage, 3 failed or aborted, 4 waits for a human, 5 timeout,
/// 6 conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// It worked.
    Done = 0,
    /// It did not.
    Error = 1,
    /// It was not understood.
    Usage = 2,
    /// The run failed or was aborted.
    Failed = 3,
    /// The run waits for a human.
    WaitsForHuman = 4,
    /// It took too long.
    Timeout = 5,
    /// Something else changed it first.
    Conflict = 6,
}

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command makes no sense as it was written.
    #[error("{0}")]
    Usage(String),
    /// The hub refused.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// It took longer than `--timeout`.
    #[error("{0}")]
    Timeout(String),
    /// Anything else.
    #[error("{0:#}")]
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) => Self::Other(error),
        }
    }
}

impl Failure {
    /// Returns the exit code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Usage(_) => Code::Usage,
            Self::Refused(problem) if matches!(problem.status, 409 | 412 | 428) => Code::Conflict,
            Self::Refused(_) | Self::Other(_) => Code::Error,
            Self::Timeout(_) => Code::Timeout,
        }
    }

    /// Writes what went wrong, line by line, as it is shown on stderr.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Refused(problem) => problem_lines(problem, &|line| (String::new(), line)),
            _ => vec![format!("error: {self}")],
        }
    }
}

/// Writes a problem line by line. `place` maps a line of the body to its file and line there.
#[must_use]
pub fn problem_lines(problem: &Problem, place: &dyn Fn(u32) -> (String, u32)) -> Vec<String> {
    if problem.errors.is_empty() {
        return vec![format!("error: {}", problem.detail)];
    }
    let mut lines = Vec::with_capacity(problem.errors.len());
    for item in &problem.errors {
        let mut text = String::from("error: ");
        if item.line > 0 {
            let (file, line) = place(item.line);
            if !file.is_empty() {
                text.push_str(&file);
                text.push(':');
            }
            text.push_str(&format!("{line}:{} ", item.column.max(1)));
        }
        if !item.path.is_empty() {
            text.push_str(&item.path);
            text.push_str(": ");
        }
        text.push_str(&item.detail);
        if let Some(suggestion) = &item.suggestion
            && !item.detail.contains("did you mean")
        {
            text.push_str(&format!("; did you mean {suggestion:?}?"));
        }
        lines.push(text);
    }
    lines
}

#[cfg(test)]
mod tests {
    use bellwether_api::call::{Problem, ProblemItem};

    use super::{Code, Failure, problem_lines};

    #[test]
    fn field_errors_name_file_line_and_suggestion() {
        let problem = Problem {
            detail: "2 documents are wrong".into(),
            status: 422,
            errors: vec![
                ProblemItem {
                    path: "spec.waves[1].maxConcurent".into(),
                    line: 31,
                    column: 13,
                    detail: "unknown field".into(),
                    suggestion: Some("maxConcurrent".into()),
                    ..ProblemItem::default()
                },
                ProblemItem {
                    detail: "no such fleet".into(),
                    ..ProblemItem::default()
                },
            ],
            ..Problem::default()
        };
        let lines = problem_lines(&problem, &|line| ("checkout.yaml".into(), line - 1));
        assert_eq!(
            lines,
            [
                "error: checkout.yaml:30:13 spec.waves[1].maxConcurent: unknown field; did you mean \
                 \"maxConcurrent\"?",
                "error: no such fleet",
            ]
        );
    }

    #[test]
    fn conflicts_have_their_own_exit_code() {
        for (status, code) in [
            (409, Code::Conflict),
            (412, Code::Conflict),
            (422, Code::Error),
        ] {
            let problem = Problem {
                status,
                ..Problem::default()
            };
            assert_eq!(Failure::Refused(Box::new(problem)).code(), code);
        }
    }
}
