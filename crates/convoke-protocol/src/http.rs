//! What WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep) clients send: offers and ICE fragments.
//!
//! Owns: the reading of both, what is asked of them, and the fragments that answer ICE restarts.
//! Never: negotiates; whether codecs and keys fit is for whoever answers the offer.

mod fragment;
mod offer;

pub use fragment::{Fragment, FragmentError, answer_fragment, read_fragment};
pub use offer::{HttpOffer, OfferError, Way, read_offer};

/// An ICE user name fragment (RFC 8839 §5.4): 4 to 256 ice-chars.
fn is_ufrag(text: &str) -> bool {
    (4..=256).contains(&text.len()) && text.bytes().all(is_ice_char)
}

/// An ICE password (RFC 8839 §5.4): 22 to 256 ice-chars.
fn is_pwd(text: &str) -> bool {
    (22..=256).contains(&text.len()) && text.bytes().all(is_ice_char)
}

fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

#[cfg(test)]
mod tests;
