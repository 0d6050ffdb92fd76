//! Whom an event of the poll is for, and the token that says so.

use mio::Token;

/// The owner of a socket that the poll watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Waker,
    /// The listener of this number.
    Listener(usize),
    /// The client in this slot.
    Client(usize),
    /// The way inside, and its connection of this number.
    Inside(usize),
}

impl Owner {
    pub(super) fn token(self) -> Token {
        let (kind, number) = match self {
            Self::Waker => (0, 0),
            Self::Listener(number) => (1, number),
            Self::Client(number) => (2, number),
            Self::Inside(number) => (3, number),
        };
        Token(number * 4 + kind)
    }

    pub(super) fn of(token: Token) -> Self {
        let number = token.0 / 4;
        match token.0 % 4 {
            0 => Self::Waker,
            1 => Self::Listener(number),
            2 => Self::Client(number),
            _ => Self::Inside(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_their_owner() {
        for owner in [Owner::Waker, Owner::Listener(0), Owner::Client(7), Owner::Inside(255)] {
            assert_eq!(Owner::of(owner.token()), owner);
        }
    }
}
