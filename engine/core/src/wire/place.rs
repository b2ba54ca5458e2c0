//! Where a header stands among those that one signature covers.
//!
//! The headers of a batch are the leaves of a binary tree of hashes whose root is signed. Neighbours are joined level
//! by level; the last of an odd number goes up as it is (as in RFC 6962, section 2.1).

/// Most headers of a batch: an eighth of a signature each, for three hashes of 16 bytes.
pub const BATCH_HEADERS_MAX: u8 = 8;

/// Which side of a header's branch another one is joined to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sibling {
    Left,
    Right,
}

/// The place of a header among those that were signed together; a header signed by itself is alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    index: u8,
    count: u8,
}

impl Place {
    /// The place of a header that is signed by itself.
    pub const ALONE: Self = Self { index: 0, count: 1 };

    /// Returns place `index` of `count`, 1 to 8, or nothing when there is none such.
    pub fn new(index: u8, count: u8) -> Option<Self> {
        (index < count && count <= BATCH_HEADERS_MAX).then_some(Self { index, count })
    }

    /// Returns whether the header is signed by itself.
    pub fn is_alone(self) -> bool {
        self == Self::ALONE
    }

    /// Returns the headers that share the signature, 1 to 8.
    pub fn count(self) -> u8 {
        self.count
    }

    /// Returns on which side the branch is joined, from the leaf to the root, at each level at which it is.
    pub(crate) fn siblings(self) -> impl Iterator<Item = Sibling> {
        let (mut index, mut width) = (self.index, self.count);
        std::iter::from_fn(move || {
            while width > 1 {
                let (at, of) = (index, width);
                (index, width) = (index / 2, width.div_ceil(2));
                if at % 2 == 1 {
                    return Some(Sibling::Left);
                }
                if at + 1 < of {
                    return Some(Sibling::Right);
                }
            }
            None
        })
    }

    /// Reads the place of a header in a batch; one that is alone is never written.
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::new(byte & 0x0f, byte >> 4).filter(|place| !place.is_alone())
    }

    pub(super) fn to_byte(self) -> u8 {
        self.count << 4 | self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_joined_once_a_level_and_a_lonely_one_goes_up() {
        use Sibling::{Left, Right};
        let siblings = |index, count| -> Vec<_> {
            Place::new(index, count).map(|place| place.siblings().collect()).unwrap_or_default()
        };
        assert_eq!(siblings(0, 1), []);
        assert_eq!(siblings(1, 2), [Left]);
        assert_eq!(siblings(2, 3), [Left]);
        assert_eq!(siblings(3, 5), [Left, Left, Right]);
        assert_eq!(siblings(4, 5), [Left]);
        assert_eq!(siblings(5, 7), [Left, Right, Left]);
        assert_eq!(siblings(0, 8), [Right, Right, Right]);
    }

    #[test]
    fn a_byte_is_a_place_in_a_batch_or_refused() {
        for byte in 0..=u8::MAX {
            let (count, index) = (byte >> 4, byte & 0x0f);
            let expected = (2..=8).contains(&count) && index < count;
            let place = Place::from_byte(byte);
            assert_eq!(place.is_some(), expected, "{byte:#x}");
            assert!(place.is_none_or(|place| place.to_byte() == byte));
        }
    }
}
