//! The root digest of a cluster's desired state: one number for a set of units.
//!
//! An additive multiset hash: each live unit is hashed to a 256-bit number, and the root is their
//! sum modulo 2^256. A change costs one subtraction and one addition, whatever the size of the set.
//! It finds loss and corruption; it is no defence against somebody who may choose the units.

use sha2::{Digest, Sha256};

/// The sum over all live units; the default is the empty set.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Root([u8; 32]);

impl Root {
    /// The root of no units: 32 zero bytes.
    pub const EMPTY: Self = Self([0; 32]);

    /// Reads a root as it travels and is stored: 32 bytes, least significant first.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads a root from a slice; absent when it has not 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes, least significant first.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Takes a unit in.
    pub fn add(&mut self, key: &str, digest: &[u8; 32]) {
        let mut carry = 0u16;
        for (sum, term) in self.0.iter_mut().zip(term(key, digest)) {
            let value = u16::from(*sum) + u16::from(term) + carry;
            *sum = value.to_le_bytes()[0];
            carry = value >> 8;
        }
    }

    /// Takes a unit out that was taken in with the same key and digest.
    pub fn remove(&mut self, key: &str, digest: &[u8; 32]) {
        let mut borrow = false;
        for (sum, term) in self.0.iter_mut().zip(term(key, digest)) {
            let (value, first) = sum.overflowing_sub(term);
            let (value, second) = value.overflowing_sub(u8::from(borrow));
            *sum = value;
            borrow = first || second;
        }
    }

    /// The root of these live units, in any order.
    pub fn of<'a>(units: impl IntoIterator<Item = (&'a str, &'a [u8; 32])>) -> Self {
        let mut root = Self::EMPTY;
        for (key, digest) in units {
            root.add(key, digest);
        }
        root
    }
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Root({})", hex::encode(self.0))
    }
}

impl std::fmt::Display for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The number of one unit. The key's length goes first, so that no two pairs of key and digest
/// read as the same bytes.
fn term(key: &str, digest: &[u8; 32]) -> [u8; 32] {
    let length = u32::try_from(key.len()).expect("a unit key is shorter than 4 GiB");
    let mut hash = Sha256::new();
    hash.update(length.to_be_bytes());
    hash.update(key.as_bytes());
    hash.update(digest);
    hash.finalize().into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units() -> impl Strategy<Value = Vec<(String, [u8; 32])>> {
        prop::collection::vec(("[a-z/]{0,12}", any::<[u8; 32]>()), 0..20)
    }

    fn root(units: &[(String, [u8; 32])]) -> Root {
        Root::of(units.iter().map(|(key, digest)| (key.as_str(), digest)))
    }

    proptest! {
        #[test]
        fn order_does_not_matter(mut units in units(), turn in 0usize..20) {
            let before = root(&units);
            if !units.is_empty() {
                let by = turn % units.len();
                units.rotate_left(by);
            }
            prop_assert_eq!(root(&units), before);
            units.reverse();
            prop_assert_eq!(root(&units), before);
        }

        #[test]
        fn remove_undoes_add(units in units(), key in "[a-z/]{0,12}", digest: [u8; 32]) {
            let before = root(&units);
            let mut after = before;
            after.add(&key, &digest);
            prop_assert_ne!(after, before);
            after.remove(&key, &digest);
            prop_assert_eq!(after, before);
        }

        #[test]
        fn emptied_set_is_empty(units in units()) {
            let mut sum = root(&units);
            for (key, digest) in &units {
                sum.remove(key, digest);
            }
            prop_assert_eq!(sum, Root::EMPTY);
        }
    }

    #[test]
    fn one_unit_is_its_hash() {
        let mut sum = Root::EMPTY;
        sum.add("application/default/shop", &[7; 32]);
        let mut bytes = vec![0, 0, 0, 24];
        bytes.extend_from_slice(b"application/default/shop");
        bytes.extend_from_slice(&[7; 32]);
        assert_eq!(sum.as_bytes().as_slice(), Sha256::digest(&bytes).as_slice());
    }

    #[test]
    fn sum_wraps() {
        let mut sum = Root::from_bytes([255; 32]);
        sum.add("a", &[1; 32]);
        let mut expected = Root::EMPTY;
        expected.add("a", &[1; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        // (2^256 - 1) + term = term - 1 (mod 2^256): adding one more makes it the term again.
        let mut carry = 1u16;
        let mut bytes = *sum.as_bytes();
        for byte in &mut bytes {
            let value = u16::from(*byte) + carry;
            *byte = value.to_le_bytes()[0];
            carry = value >> 8;
        }
        assert_eq!(Root::from_bytes(bytes), expected);
        assert!(Root::from_slice(&one).is_some());
        assert_eq!(Root::from_slice(&one[1..]), None);
        assert_eq!(
            Root::from_slice(&one).unwrap().to_string(),
            format!("01{}", "00".repeat(31))
        );
    }
}
