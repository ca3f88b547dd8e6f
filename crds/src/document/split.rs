//! Cuts an input into its documents, so that a fault in one hides nothing in the others.
//!
//! YAML forbids document markers at the start of a line inside any scalar, hence looking at the
//! starts of lines is enough.

/// The text of one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    /// The line that `text` starts at, from 1.
    pub(super) first_line: u32,
    pub(super) text: &'a str,
}

/// Returns the documents that hold anything but comments.
pub(super) fn split(text: &str) -> impl Iterator<Item = Chunk<'_>> {
    let mut chunks = Vec::new();
    let (mut start, mut first_line) = (0, 1);
    let (mut offset, mut line) = (0, 1);
    for piece in text.split_inclusive('\n') {
        if is_marker(piece, "---") {
            chunks.push((start, offset, first_line));
            (start, first_line) = (offset, line);
        } else if is_marker(piece, "...") {
            chunks.push((start, offset, first_line));
            (start, first_line) = (offset + piece.len(), line + 1);
        }
        offset += piece.len();
        line += 1;
    }
    chunks.push((start, offset, first_line));
    chunks
        .into_iter()
        .map(move |(start, end, first_line)| Chunk {
            first_line,
            text: &text[start..end],
        })
        .filter(|chunk| chunk.text.lines().any(has_content))
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

fn has_content(line: &str) -> bool {
    // A directive belongs to the document after the next marker; none changes what we read.
    if line.starts_with('%') {
        return false;
    }
    let line = if is_marker(line, "---") {
        &line[3..]
    } else {
        line
    };
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::{Chunk, split};

    #[test]
    fn cuts_at_markers_and_drops_empty_documents() {
        let text =
            "# only a comment\n---\na: 1\n---\n\n--- \n%YAML 1.2\n---\nb: |\n  ---\n...\nc: 2";
        let chunks: Vec<Chunk<'_>> = split(text).collect();
        assert_eq!(
            chunks,
            [
                Chunk {
                    first_line: 2,
                    text: "---\na: 1\n"
                },
                Chunk {
                    first_line: 8,
                    text: "---\nb: |\n  ---\n"
                },
                Chunk {
                    first_line: 12,
                    text: "c: 2"
                },
            ]
        );
    }
}
