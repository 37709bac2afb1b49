//! Attributes by tag in one sorted list. A tree would take 540 bytes for a sequence item's only attribute; this takes 48.

use std::slice;

use dicom_core::Tag;

use super::Attribute;

/// Attributes by tag, in ascending order of tags, each tag once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TagMap(Vec<(Tag, Attribute)>);

/// Which of several attributes with one tag stays.
#[derive(Clone, Copy)]
enum Keep {
    First,
    Last,
}

impl TagMap {
    /// Takes attributes in any order; of several with one tag the first stays. Costs no more than sorting them.
    pub(super) fn keeping_first(attributes: Vec<(Tag, Attribute)>) -> Self {
        let mut map = Self(attributes);
        map.settle(Keep::First);
        map.0.shrink_to_fit();
        map
    }

    /// Returns the attribute with this tag.
    pub fn get(&self, tag: &Tag) -> Option<&Attribute> {
        let at = self.position(*tag).ok()?;
        self.0.get(at).map(|(_, attribute)| attribute)
    }

    /// Tells whether there is an attribute with this tag.
    pub fn contains_key(&self, tag: &Tag) -> bool {
        self.position(*tag).is_ok()
    }

    /// Puts an attribute and returns the one that it replaces. Cheap for tags in ascending order.
    pub fn insert(&mut self, tag: Tag, attribute: Attribute) -> Option<Attribute> {
        match self.position(tag) {
            Ok(at) => self.0.get_mut(at).map(|(_, old)| std::mem::replace(old, attribute)),
            Err(at) => {
                self.0.insert(at, (tag, attribute));
                None
            }
        }
    }

    /// Puts an attribute unless there is one with this tag.
    pub fn insert_absent(&mut self, tag: Tag, attribute: Attribute) {
        if let Err(at) = self.position(tag) {
            self.0.insert(at, (tag, attribute));
        }
    }

    /// Takes the attribute with this tag away.
    pub fn remove(&mut self, tag: &Tag) -> Option<Attribute> {
        let at = self.position(*tag).ok()?;
        Some(self.0.remove(at).1)
    }

    /// Keeps what the function says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&Tag, &Attribute) -> bool) {
        self.0.retain(|(tag, attribute)| keep(tag, attribute));
    }

    /// Takes all away.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns tags and attributes.
    pub fn iter(&self) -> Iter<'_> {
        self.into_iter()
    }

    /// Returns the tags.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Tag> {
        self.0.iter().map(|(tag, _)| tag)
    }

    /// Returns the attributes.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Attribute> {
        self.0.iter().map(|(_, attribute)| attribute)
    }

    /// Finds the place of a tag; that after the last first, where most are put.
    fn position(&self, tag: Tag) -> Result<usize, usize> {
        match self.0.last() {
            Some((last, _)) if *last >= tag => self.0.binary_search_by(|(at, _)| at.cmp(&tag)),
            Some(_) | None => Err(self.0.len()),
        }
    }

    /// Brings the list in order.
    fn settle(&mut self, keep: Keep) {
        if self.0.is_sorted_by(|(a, _), (b, _)| a < b) {
            return;
        }
        self.0.sort_by_key(|(tag, _)| *tag);
        // `dedup_by` drops the later one of two, which comes as its first argument.
        self.0.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same && matches!(keep, Keep::Last) {
                std::mem::swap(later, earlier);
            }
            same
        });
    }
}

/// Tags and attributes of a [`TagMap`].
pub type Iter<'a> = std::iter::Map<slice::Iter<'a, (Tag, Attribute)>, fn(&(Tag, Attribute)) -> (&Tag, &Attribute)>;

impl<'a> IntoIterator for &'a TagMap {
    type Item = (&'a Tag, &'a Attribute);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.0.iter().map(|(tag, attribute)| (tag, attribute))
    }
}

impl IntoIterator for TagMap {
    type Item = (Tag, Attribute);
    type IntoIter = std::vec::IntoIter<(Tag, Attribute)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Extend<(Tag, Attribute)> for TagMap {
    /// Adds attributes; they replace what has their tags.
    fn extend<I: IntoIterator<Item = (Tag, Attribute)>>(&mut self, attributes: I) {
        self.0.extend(attributes);
        self.settle(Keep::Last);
    }
}

impl FromIterator<(Tag, Attribute)> for TagMap {
    fn from_iter<I: IntoIterator<Item = (Tag, Attribute)>>(attributes: I) -> Self {
        let mut map = Self::default();
        map.extend(attributes);
        map
    }
}

impl<const N: usize> From<[(Tag, Attribute); N]> for TagMap {
    fn from(attributes: [(Tag, Attribute); N]) -> Self {
        attributes.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dicom_core::VR;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::Value;

    fn pair((element, value): (u16, i128)) -> (Tag, Attribute) {
        (Tag(8, element), Attribute { vr: VR::US, value: Value::Integers(vec![value]) })
    }

    fn same(map: &TagMap, tree: &BTreeMap<Tag, Attribute>) -> bool {
        map.iter().eq(tree.iter()) && tree.iter().all(|(tag, value)| map.get(tag) == Some(value))
    }

    proptest! {
        #[test]
        fn it_does_what_a_tree_does(
            begin in vec((0..20_u16, 0..9_i128), 0..20),
            more in vec((0..20_u16, 0..9_i128), 0..20),
            one in (0..20_u16, 0..9_i128),
        ) {
            let pairs = || begin.iter().copied().map(pair);
            let mut first = BTreeMap::new();
            for (tag, attribute) in pairs() {
                first.entry(tag).or_insert(attribute);
            }
            prop_assert!(same(&TagMap::keeping_first(pairs().collect()), &first));

            let (mut map, mut tree): (TagMap, BTreeMap<_, _>) = (pairs().collect(), pairs().collect());
            prop_assert!(same(&map, &tree));
            map.extend(more.iter().copied().map(pair));
            tree.extend(more.iter().copied().map(pair));
            let (tag, attribute) = pair(one);
            prop_assert_eq!(map.insert(tag, attribute.clone()), tree.insert(tag, attribute.clone()));
            prop_assert!(same(&map, &tree));
            prop_assert_eq!(map.remove(&tag), tree.remove(&tag));
            map.insert_absent(tag, attribute.clone());
            tree.insert(tag, attribute);
            map.retain(|tag, _| tag.element() % 3 > 0);
            tree.retain(|tag, _| tag.element() % 3 > 0);
            prop_assert!(same(&map, &tree) && map.len() == tree.len() && map.contains_key(&tag) == tree.contains_key(&tag));
        }
    }
}
