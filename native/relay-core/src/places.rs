//! A table whose places are used again, with a number that tells one tenant from the next.

/// Things by place; a place that was freed is taken first.
#[derive(Debug)]
pub struct Places<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    tenant: Option<T>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Places<T> {
    /// Takes a place; `make` is told it, and which tenant of it this is.
    ///
    /// # Panics
    /// With more than 2^32 tenants.
    pub fn add(&mut self, make: impl FnOnce(u32, u32) -> T) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, tenant: None });
            #[expect(clippy::expect_used, reason = "descriptors run out long before")]
            u32::try_from(self.places.len() - 1).expect("fewer places than 2^32")
        });
        let found = &mut self.places[place as usize];
        found.generation = found.generation.wrapping_add(1);
        found.tenant = Some(make(place, found.generation));
        place
    }

    /// Who has the place, if it was not freed.
    #[must_use]
    pub fn get(&self, place: u32) -> Option<&T> {
        self.places.get(place as usize)?.tenant.as_ref()
    }

    /// Who has the place, if it was not freed.
    pub fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.places.get_mut(place as usize)?.tenant.as_mut()
    }

    /// Frees the place.
    pub fn remove(&mut self, place: u32) -> Option<T> {
        let tenant = self.places.get_mut(place as usize)?.tenant.take()?;
        self.free.push(place);
        Some(tenant)
    }

    /// Everybody, with their places.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0u32..).zip(&self.places).filter_map(|(place, p)| Some((place, p.tenant.as_ref()?)))
    }

    /// Everybody.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|place| place.tenant.as_mut())
    }

    /// How many places there have ever been at once.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.places.len() as u32
    }

    /// How many tenants there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_place_has_a_new_tenant_that_can_be_told_from_the_former() {
        let mut places = Places::default();
        let first = places.add(|place, generation| (place, generation));
        let second = places.add(|place, generation| (place, generation));
        assert_ne!(first, second);
        let (_, former) = places.remove(first).unwrap();
        assert!(places.get(first).is_none() && places.remove(first).is_none());
        assert_eq!(places.len(), 1);
        assert_eq!(places.add(|place, generation| (place, generation)), first);
        assert_ne!(places.get(first).unwrap().1, former);
        assert_eq!(places.capacity(), 2);
    }

    #[test]
    fn everybody_is_found() {
        let mut places = Places::default();
        for _ in 0..3 {
            places.add(|place, _| place * 10);
        }
        places.remove(1);
        assert_eq!(places.iter().collect::<Vec<_>>(), [(0, &0), (2, &20)]);
        for tenant in places.iter_mut() {
            *tenant += 1;
        }
        assert_eq!(places.get(2), Some(&21));
        assert!(places.get(7).is_none() && places.get_mut(7).is_none());
    }
}
