use proptest::prelude::*;

use super::*;

/// A kernel that does as it is told.
struct FakeKernel {
    segments_max: usize,
    /// What happens to the next calls; afterwards all is well.
    script: VecDeque<Option<io::ErrorKind>>,
    taken: Vec<(SocketAddr, Vec<u8>)>,
    calls: u64,
}

impl FakeKernel {
    fn new(script: impl IntoIterator<Item = Option<io::ErrorKind>>) -> Self {
        let script = script.into_iter().collect();
        Self { segments_max: 64, script, taken: Vec::new(), calls: 0 }
    }

    fn first_bytes(&self) -> Vec<u8> {
        self.taken.iter().map(|(_, bytes)| bytes[1]).collect()
    }
}

impl Sink for FakeKernel {
    fn segments_max(&self) -> usize {
        self.segments_max
    }

    fn send(
        &mut self,
        _: SocketAddr,
        destination: SocketAddr,
        contents: &[u8],
        segment: Option<usize>,
    ) -> io::Result<()> {
        self.calls += 1;
        if let Some(Some(kind)) = self.script.pop_front() {
            return Err(kind.into());
        }
        for datagram in contents.chunks(segment.unwrap_or(contents.len())) {
            self.taken.push((destination, datagram.to_vec()));
        }
        Ok(())
    }
}

const RTP: u8 = 0x80;
const STUN: u8 = 0x01;

/// `number` tells the datagram from others; the kind is in the first byte.
fn transmit(kind: u8, destination: u16, number: u8, size: usize) -> Transmit {
    let mut contents = vec![0; size];
    contents[0] = kind;
    contents[1] = number;
    let local = ([127, 0, 0, 1], 1).into();
    Transmit { local, destination: ([127, 0, 0, 1], destination).into(), contents }
}

fn media(count: u8) -> Vec<Transmit> {
    (0..count).map(|n| transmit(RTP, 1, n, 100)).collect()
}

const BLOCK: Option<io::ErrorKind> = Some(io::ErrorKind::WouldBlock);

#[test]
fn one_call_for_one_peers_equal_datagrams() {
    let (mut queue, mut kernel) = (SendQueue::new(10), FakeKernel::new([]));
    let mut transmits = media(5);
    queue.flush(&mut kernel, &mut transmits);
    assert!(transmits.is_empty());
    assert_eq!(kernel.first_bytes(), [0, 1, 2, 3, 4]);
    let counts = SendCounts { calls: 1, gso_calls: 1, gso_datagrams: 5, drops: 0 };
    assert_eq!(queue.counts(), counts);
}

#[test]
fn what_the_kernel_does_not_take_waits_and_goes_first() {
    let mut queue = SendQueue::new(10);
    let mut kernel = FakeKernel::new([BLOCK]);
    queue.flush(&mut kernel, &mut media(2));
    assert!(queue.waits());
    queue.flush(&mut kernel, &mut vec![transmit(RTP, 1, 9, 50)]);
    assert!(!queue.waits());
    assert_eq!(kernel.first_bytes(), [0, 1, 9]);
    assert_eq!(queue.counts().drops, 0);
}

#[test]
fn at_the_bound_the_oldest_media_goes() {
    let mut queue = SendQueue::new(3);
    let mut kernel = FakeKernel::new([BLOCK]);
    let mut transmits = vec![transmit(STUN, 1, 100, 40)];
    transmits.extend(media(4));
    queue.flush(&mut kernel, &mut transmits);
    assert_eq!(queue.counts().drops, 2);
    queue.flush(&mut kernel, &mut Vec::new());
    assert_eq!(kernel.first_bytes(), [100, 2, 3]);
}

#[test]
fn control_alone_is_bounded_too() {
    let mut queue = SendQueue::new(2);
    let mut kernel = FakeKernel::new([BLOCK]);
    let mut transmits = (0..5).map(|n| transmit(STUN, 1, n, 40)).collect();
    queue.flush(&mut kernel, &mut transmits);
    queue.flush(&mut kernel, &mut Vec::new());
    assert_eq!(kernel.first_bytes(), [3, 4]);
    assert_eq!(queue.counts().drops, 3);
}

#[test]
fn a_refused_group_is_sent_one_by_one() {
    let mut queue = SendQueue::new(10);
    let invalid = Some(io::ErrorKind::InvalidInput);
    let mut kernel = FakeKernel::new([invalid, None, invalid, BLOCK]);
    queue.flush(&mut kernel, &mut media(4));
    // The group, then 0 taken, 1 refused for good, 2 blocked.
    assert_eq!(kernel.first_bytes(), [0]);
    assert_eq!(queue.counts().drops, 1);
    queue.flush(&mut kernel, &mut Vec::new());
    assert_eq!(kernel.first_bytes(), [0, 2, 3]);
}

#[test]
fn a_refused_datagram_is_dropped_and_the_next_goes_on() {
    let mut queue = SendQueue::new(10);
    let mut kernel = FakeKernel::new([Some(io::ErrorKind::PermissionDenied)]);
    let mut transmits = vec![transmit(RTP, 1, 0, 100), transmit(RTP, 2, 1, 100)];
    queue.flush(&mut kernel, &mut transmits);
    assert_eq!(kernel.first_bytes(), [1]);
    assert_eq!(queue.counts().drops, 1);
}

proptest! {
    /// Whatever the kernel does, nothing is lost below the bound, nothing is sent twice, and the
    /// media of one peer keeps its order.
    #[test]
    fn nothing_is_lost_or_reordered(
        turns in prop::collection::vec(
            prop::collection::vec((1_u16..4, prop::sample::select(vec![60_usize, 100, 1_000])), 0..20),
            1..8,
        ),
        blocked in prop::collection::vec(prop::bool::weighted(0.3), 0..40),
        segments_max in 1_usize..=64,
    ) {
        let mut kernel = FakeKernel::new(blocked.iter().map(|b| if *b { BLOCK } else { None }));
        kernel.segments_max = segments_max;
        let mut queue = SendQueue::new(1_000);
        let mut number = 0;
        let mut expected = Vec::new();
        for turn in &turns {
            let mut transmits = Vec::new();
            for (destination, size) in turn {
                let one = transmit(RTP, *destination, number, *size);
                number = number.wrapping_add(1);
                expected.push((one.destination, one.contents.clone()));
                transmits.push(one);
            }
            queue.flush(&mut kernel, &mut transmits);
        }
        kernel.script.clear();
        queue.flush(&mut kernel, &mut Vec::new());
        prop_assert_eq!(&kernel.taken, &expected);
        prop_assert_eq!(queue.counts().calls, kernel.calls);
        prop_assert_eq!(queue.counts().drops, 0);
    }
}
