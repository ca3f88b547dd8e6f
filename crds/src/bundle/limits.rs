//! How large what one cluster is sent may be. The hub refuses what is larger before it grants anything,
//! an agent before it takes anything.

use super::Bundle;

/// Bytes of a unit's content at most, unpacked: what reading one may cost an agent.
pub const MAX_CONTENT_BYTES: usize = 16 << 20;
/// Bytes of a unit's content at most when packed by zstd: it lies in one Secret, beside its metadata.
pub const MAX_PACKED_BYTES: usize = 1_000_000;
/// Objects of one bundle at most, those that hooks run included.
pub const MAX_BUNDLE_OBJECTS: usize = 10_000;

/// Why no agent takes a content, and what to do instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// It has too many bytes.
    #[error(
        "{bytes} bytes are more than the {MAX_CONTENT_BYTES} that an agent takes of one application; \
         divide it into two applications"
    )]
    Content {
        /// How many; of what was not read to its end, more than the limit.
        bytes: usize,
    },
    /// It has too many bytes even when packed.
    #[error(
        "{bytes} bytes when packed are more than the {MAX_PACKED_BYTES} that an agent keeps of one \
         application; divide it into two applications, or let pods fetch large files themselves (an \
         image, an OCI artifact, a volume) that a ConfigMap or Secret carries now"
    )]
    Packed {
        /// How many.
        bytes: usize,
    },
    /// It has too many objects.
    #[error(
        "{count} objects are more than the {MAX_BUNDLE_OBJECTS} that an agent holds of one \
         application; divide it into two applications"
    )]
    Objects {
        /// How many.
        count: usize,
    },
}

impl TooLarge {
    /// Checks the bytes of a content, unpacked.
    ///
    /// # Errors
    /// They are too many.
    pub const fn check_content(bytes: usize) -> Result<(), Self> {
        if bytes > MAX_CONTENT_BYTES {
            return Err(Self::Content { bytes });
        }
        Ok(())
    }

    /// Checks the bytes of a content as it is packed.
    ///
    /// # Errors
    /// They are too many.
    pub const fn check_packed(bytes: usize) -> Result<(), Self> {
        if bytes > MAX_PACKED_BYTES {
            return Err(Self::Packed { bytes });
        }
        Ok(())
    }

    /// Checks how many objects a bundle has.
    ///
    /// # Errors
    /// They are too many.
    pub fn check_objects(bundle: &Bundle) -> Result<(), Self> {
        let components = bundle.components.iter();
        let count = components
            .map(|one| one.objects.len() + one.hooks.len())
            .sum();
        if count > MAX_BUNDLE_OBJECTS {
            return Err(Self::Objects { count });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_is_taken_and_one_more_is_not() {
        assert_eq!(TooLarge::check_content(16_777_216), Ok(()));
        let error = TooLarge::check_content(16_777_217).expect_err("too many");
        let said = error.to_string();
        assert!(
            said.starts_with("16777217 bytes are more than the 16777216 that"),
            "{said}"
        );
        assert_eq!(TooLarge::check_packed(1_000_000), Ok(()));
        let error = TooLarge::check_packed(1_000_001).expect_err("too many");
        assert_eq!(error, TooLarge::Packed { bytes: 1_000_001 });
        assert!(
            error
                .to_string()
                .contains("divide it into two applications")
        );
    }
}
