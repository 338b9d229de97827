//! What a driver keeps of each UDP socket, found by token without a search.

use super::{Kind, Token};

/// Tenants of the places that tokens name.
#[derive(Debug)]
pub(super) struct Watched<T> {
    listeners: Vec<Option<(Token, T)>>,
    relays: Vec<Option<(Token, T)>>,
}

impl<T> Default for Watched<T> {
    fn default() -> Self {
        Self { listeners: Vec::new(), relays: Vec::new() }
    }
}

impl<T> Watched<T> {
    /// Takes the place that a UDP socket's token names.
    pub(super) fn insert(&mut self, token: Token, tenant: T) {
        let places = self.places_mut(token);
        if places.len() <= token.place() {
            places.resize_with(token.place() + 1, || None);
        }
        places[token.place()] = Some((token, tenant));
    }

    /// The tenant, unless it is gone.
    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        match self.places_mut(token).get_mut(token.place()) {
            Some(Some((found, tenant))) if *found == token => Some(tenant),
            _ => None,
        }
    }

    /// Frees the place.
    pub(super) fn remove(&mut self, token: Token) -> Option<T> {
        self.get_mut(token)?;
        let (_, tenant) = self.places_mut(token)[token.place()].take()?;
        Some(tenant)
    }

    fn places_mut(&mut self, token: Token) -> &mut Vec<Option<(Token, T)>> {
        debug_assert!(token.is_udp());
        if token.kind() == Kind::Listener { &mut self.listeners } else { &mut self.relays }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_found_until_it_goes() {
        let mut watched = Watched::default();
        let (relay, listener) = (Token::relay(3, 1), Token::listener(3));
        watched.insert(relay, 'r');
        watched.insert(listener, 'l');
        assert_eq!(watched.get_mut(relay), Some(&mut 'r'));
        assert_eq!(watched.get_mut(listener), Some(&mut 'l'));
        assert_eq!(watched.get_mut(Token::relay(3, 2)), None);
        assert_eq!(watched.get_mut(Token::relay(4, 1)), None);
        assert_eq!(watched.remove(Token::relay(3, 2)), None);
        assert_eq!(watched.remove(relay), Some('r'));
        assert_eq!(watched.remove(relay), None);
        watched.insert(Token::relay(3, 2), 'n');
        assert_eq!(watched.get_mut(relay), None);
    }
}
