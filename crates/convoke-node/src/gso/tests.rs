use proptest::prelude::*;

use super::*;

fn transmit(destination: u16, size: usize) -> Transmit {
    Transmit {
        local: ([127, 0, 0, 1], 1).into(),
        destination: ([127, 0, 0, 1], destination).into(),
        contents: vec![0; size],
    }
}

fn check(input: &[(u16, usize)], segments_max: usize, expect: &[usize]) {
    let transmits: Vec<Transmit> = input.iter().map(|(d, s)| transmit(*d, *s)).collect();
    assert_eq!(groups(&transmits, segments_max), expect, "{input:?}");
}

/// The lengths of all groups.
fn groups(mut rest: &[Transmit], segments_max: usize) -> Vec<usize> {
    let mut lengths = Vec::new();
    while !rest.is_empty() {
        let length = group_len(rest, segments_max);
        assert!(length > 0, "nothing would ever be sent");
        lengths.push(length);
        rest = &rest[length..];
    }
    lengths
}

#[test]
fn equal_sizes_and_one_shorter_last() {
    check(&[], 64, &[]);
    check(&[(1, 900)], 64, &[1]);
    check(&[(1, 900), (1, 900), (1, 900), (1, 80), (1, 80)], 64, &[4, 1]);
    check(&[(1, 80), (1, 900), (1, 900)], 64, &[1, 2]);
    check(&[(1, 900), (2, 900), (2, 900), (1, 900)], 64, &[1, 2, 1]);
    check(&[(1, 900), (1, 0), (1, 900)], 64, &[1, 1, 1]);
}

#[test]
fn limits() {
    check(&[(1, 900); 5], 2, &[2, 2, 1]);
    check(&[(1, 900); 3], 1, &[1, 1, 1]);
    check(&[(1, SEGMENT_MAX + 1); 2], 64, &[1, 1]);
    check(&[(1, SEGMENT_MAX); 2], 64, &[2]);
    check(&[(1, 1_200); 60], 64, &[54, 6]);
}

#[test]
fn another_local_address_is_another_group() {
    let mut other = transmit(1, 900);
    other.local = ([127, 0, 0, 2], 1).into();
    assert_eq!(groups(&[transmit(1, 900), other], 64), [1, 1]);
}

proptest! {
    #[test]
    fn every_group_is_one_that_the_kernel_takes(
        input in prop::collection::vec((1_u16..3, prop::sample::select(vec![0, 80, 900, 1_200, 1_233])), 0..200),
        segments_max in 1_usize..=64,
    ) {
        let transmits: Vec<Transmit> = input.iter().map(|(d, s)| transmit(*d, *s)).collect();
        let mut rest = transmits.as_slice();
        let mut seen = 0;
        for length in groups(&transmits, segments_max) {
            let (group, after) = rest.split_at(length);
            rest = after;
            seen += length;
            let (last, full) = group.split_last().unwrap();
            prop_assert!(length <= segments_max);
            prop_assert!(group.iter().map(|t| t.contents.len()).sum::<usize>() <= GROUP_BYTES_MAX);
            prop_assert!(group.iter().all(|t| t.destination == last.destination));
            if let Some(first) = full.first() {
                let size = first.contents.len();
                prop_assert!(size <= SEGMENT_MAX);
                prop_assert!(full.iter().all(|t| t.contents.len() == size));
                prop_assert!((1..=size).contains(&last.contents.len()));
            }
        }
        prop_assert_eq!(seen, transmits.len());
    }
}
