//! A map of few entries in the order of their keys, which lie side by side.

/// A map of at most some dozen entries: walks and look-ups touch little memory, in the order of the keys.
#[derive(Clone, Debug)]
pub(crate) struct Few<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Self { keys: Vec::new(), values: Vec::new() }
    }
}

impl<K: Ord, V> Few<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.place(key).is_ok()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.values.get(self.place(key).ok()?)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.place(key).ok()?;
        self.values.get_mut(place)
    }

    /// Puts a value in place of the one that the key had, if any.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        match self.place(&key) {
            Ok(place) => self.values[place] = value,
            Err(place) => {
                self.keys.insert(place, key);
                self.values.insert(place, value);
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.place(key).ok()?;
        self.keys.remove(place);
        Some(self.values.remove(place))
    }

    /// Returns a key's value, made by `make` if there was none.
    pub(crate) fn or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let place = self.place(&key).unwrap_or_else(|place| {
            self.keys.insert(place, key);
            self.values.insert(place, make());
            place
        });
        &mut self.values[place]
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.keys.iter()
    }

    pub(crate) fn values(&self) -> std::slice::Iter<'_, V> {
        self.values.iter()
    }

    pub(crate) fn values_mut(&mut self) -> std::slice::IterMut<'_, V> {
        self.values.iter_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.keys.iter().zip(&self.values)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.keys.iter().zip(&mut self.values)
    }

    fn place(&self, key: &K) -> Result<usize, usize> {
        self.keys.binary_search(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_in_the_order_of_their_keys() {
        let mut few = Few::default();
        [5, 1, 3, 1].into_iter().for_each(|key| few.insert(key, key * 10));
        *few.or_insert_with(2, || 0) += 7;
        *few.or_insert_with(3, || 0) += 1;
        assert_eq!(few.iter().collect::<Vec<_>>(), [(&1, &10), (&2, &7), (&3, &31), (&5, &50)]);
        assert_eq!((few.remove(&1), few.remove(&4), few.len()), (Some(10), None, 3));
        assert!(few.get(&1).is_none() && few.contains_key(&5) && few.get_mut(&2) == Some(&mut 7));
        assert_eq!(few.keys().chain(few.values()).sum::<i32>(), 2 + 3 + 5 + 7 + 31 + 50);
    }
}
