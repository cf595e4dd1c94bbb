use proptest::prelude::*;

use super::*;

const CANON: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

#[test]
fn every_accepted_spelling_is_the_same_call() {
    let want = GroupId::parse(CANON).unwrap();
    for spelling in [
        "6BA7B810-9DAD-11D1-80B4-00C04FD430C8",
        "6ba7B810-9dad-11D1-80b4-00c04FD430c8",
        "6ba7b8109dad11d180b400c04fd430c8",
        "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}",
        "{6BA7B8109DAD11D180B400C04FD430C8}",
        "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "URN:UUID:6BA7B8109DAD11D180B400C04FD430C8",
    ] {
        assert_eq!(GroupId::parse(spelling), Ok(want), "{spelling}");
    }
    assert_eq!(want.to_string(), CANON);
}

#[test]
fn everything_else_is_refused_with_the_reason() {
    use GroupIdError as E;
    for (text, want) in [
        ("", E::Empty),
        (" 6ba7b810-9dad-11d1-80b4-00c04fd430c8", E::WhiteSpace),
        ("6ba7b810-9dad-11d1-80b4-00c04fd430c8\n", E::WhiteSpace),
        ("6ba7b810 9dad 11d1 80b4 00c04fd430c8", E::WhiteSpace),
        ("{6ba7b810-9dad-11d1-80b4-00c04fd430c8", E::Brace),
        ("6ba7b810-9dad-11d1-80b4-00c04fd430c8}", E::Brace),
        ("{}", E::Digits { digits: 0 }),
        ("{", E::Brace),
        ("urn:uuid:", E::Digits { digits: 0 }),
        ("my-meeting", E::Character { character: 'm', position: 1 }),
        ("{6ba7b810-9dag-11d1-80b4-00c04fd430c8}", E::Character { character: 'g', position: 14 }),
        (
            "6ba7b810-9dad-11d1-80b4-00c04fd430c\u{1F600}",
            E::Character { character: '\u{1F600}', position: 36 },
        ),
        ("(6ba7b810-9dad-11d1-80b4-00c04fd430c8)", E::Character { character: '(', position: 1 }),
        (
            "urn:uuid:{6ba7b810-9dad-11d1-80b4-00c04fd430c8}",
            E::Character { character: '{', position: 10 },
        ),
        ("6ba7b810-9dad-11d1-80b4-00c04fd430c", E::Digits { digits: 31 }),
        ("6ba7b810-9dad-11d1-80b4-00c04fd430c88", E::Digits { digits: 33 }),
        ("6ba7b8109-dad-11d1-80b4-00c04fd430c8", E::Hyphens),
        ("-6ba7b8109dad11d180b400c04fd430c8", E::Hyphens),
        ("6ba7b810-9dad-11d1-80b400c04fd430c8", E::Hyphens),
        ("00000000-0000-0000-0000-000000000000", E::Nil),
        ("{00000000000000000000000000000000}", E::Nil),
    ] {
        assert_eq!(GroupId::parse(text), Err(want), "{text:?}");
    }
}

/// Upper-cases some letters of `text`, chosen by `mask`.
fn mix_case(text: &str, mask: u64) -> String {
    let upper = |i: usize| mask & (1 << (i % 64)) != 0;
    text.char_indices().map(|(i, c)| if upper(i) { c.to_ascii_uppercase() } else { c }).collect()
}

proptest! {
    #[test]
    fn any_guid_in_any_spelling_comes_back_canonical(raw in 1u128.., form in 0..6, mask: u64) {
        let id = Uuid::from_u128(raw);
        let text = match form {
            0 => id.as_hyphenated().to_string(),
            1 => id.as_simple().to_string(),
            2 => id.as_braced().to_string(),
            3 => format!("{{{}}}", id.as_simple()),
            4 => id.as_urn().to_string(),
            _ => format!("urn:uuid:{}", id.as_simple()),
        };
        let parsed = GroupId::parse(&mix_case(&text, mask)).unwrap();
        prop_assert_eq!(parsed.to_string(), id.as_hyphenated().to_string());
        prop_assert_eq!(parsed.to_string().parse::<GroupId>().unwrap(), parsed);
    }

    #[test]
    fn no_text_panics_and_what_is_accepted_has_32_digits(text in ".{0,60}") {
        if let Ok(id) = GroupId::parse(&text) {
            let digits: String = text
                .to_ascii_lowercase()
                .trim_start_matches("urn:uuid:")
                .chars()
                .filter(char::is_ascii_hexdigit)
                .collect();
            prop_assert_eq!(digits, id.as_uuid().as_simple().to_string());
        }
    }

    #[test]
    fn near_misses_never_panic(text in "(urn:uuid:|\\{)?[0-9a-fA-F-]{30,38}\\}?") {
        let _ = GroupId::parse(&text);
    }
}
