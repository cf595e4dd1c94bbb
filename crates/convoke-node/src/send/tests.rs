use proptest::prelude::*;

use super::*;

/// A kernel that does as it is told.
struct FakeKernel {
    segments_max: usize,
    /// Whether a call takes many groups.
    takes_groups: bool,
    /// What happens to the next groups; afterwards all is well. Many groups in a call end before an error, which
    /// is then the next call's.
    script: VecDeque<Option<io::ErrorKind>>,
    /// Nothing can be sent there, and why.
    unreachable: Option<(SocketAddr, io::ErrorKind)>,
    refuses_segments: bool,
    taken: Vec<(SocketAddr, Vec<u8>)>,
    calls: u64,
}

impl FakeKernel {
    /// It takes one group in a call.
    fn new(script: impl IntoIterator<Item = Option<io::ErrorKind>>) -> Self {
        Self {
            segments_max: 64,
            takes_groups: false,
            script: script.into_iter().collect(),
            unreachable: None,
            refuses_segments: false,
            taken: Vec::new(),
            calls: 0,
        }
    }

    /// It takes many.
    fn of_groups(script: impl IntoIterator<Item = Option<io::ErrorKind>>) -> Self {
        Self { takes_groups: true, ..Self::new(script) }
    }

    fn first_bytes(&self) -> Vec<u8> {
        self.taken.iter().map(|(_, bytes)| bytes[1]).collect()
    }

    fn take(&mut self, destination: SocketAddr, datagrams: &[&[u8]]) -> io::Result<()> {
        if let Some(Some(kind)) = self.script.pop_front() {
            return Err(kind.into());
        }
        match self.unreachable {
            Some((to, kind)) if to == destination => return Err(kind.into()),
            _ if self.refuses_segments && datagrams.len() > 1 => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            _ => self.taken.extend(datagrams.iter().map(|one| (destination, one.to_vec()))),
        }
        Ok(())
    }
}

impl Sink for FakeKernel {
    fn segments_max(&self) -> usize {
        self.segments_max
    }

    fn takes_groups(&self) -> bool {
        self.takes_groups
    }

    fn send_groups(&mut self, transmits: &[Transmit], lengths: &[usize]) -> io::Result<usize> {
        self.calls += 1;
        let mut rest = transmits;
        for (taken, length) in lengths.iter().enumerate() {
            let (group, after) = rest.split_at(*length);
            let datagrams: Vec<&[u8]> = group.iter().map(|one| &*one.contents).collect();
            if let Err(e) = self.take(group[0].destination, &datagrams) {
                if e.kind() == io::ErrorKind::Unsupported {
                    self.takes_groups = false;
                } else if taken > 0 {
                    self.script.push_front(Some(e.kind()));
                    return Ok(taken);
                }
                return Err(e);
            }
            rest = after;
        }
        Ok(lengths.len())
    }

    fn send(
        &mut self,
        _: SocketAddr,
        destination: SocketAddr,
        contents: &[u8],
        segment: Option<usize>,
    ) -> io::Result<()> {
        self.calls += 1;
        let datagrams: Vec<&[u8]> = contents.chunks(segment.unwrap_or(contents.len())).collect();
        let sent = self.take(destination, &datagrams);
        if sent.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::InvalidInput) {
            // As quinn-udp has it.
            self.segments_max = 1;
        }
        sent
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
    let counts = SendCounts { calls: 1, gso_groups: 1, gso_datagrams: 5, drops: 0 };
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

/// One datagram to each of so many peers.
fn to_each(count: u8) -> Vec<Transmit> {
    (0..count).map(|n| transmit(RTP, u16::from(n), n, 100)).collect()
}

#[test]
fn one_call_for_a_datagram_to_each_of_many() {
    let (mut queue, mut kernel) = (SendQueue::new(10), FakeKernel::of_groups([]));
    queue.flush(&mut kernel, &mut to_each(GROUPS_MAX as u8));
    assert_eq!(kernel.first_bytes(), (0..GROUPS_MAX as u8).collect::<Vec<_>>());
    assert_eq!((kernel.calls, queue.counts().calls), (1, 1));
    queue.flush(&mut kernel, &mut to_each(GROUPS_MAX as u8 + 1));
    // The one that is left over goes by itself.
    assert_eq!((kernel.calls, queue.counts().calls), (3, 3));
    assert_eq!(queue.counts().gso_groups, 0);
}

#[test]
fn groups_and_single_datagrams_share_a_call() {
    let (mut queue, mut kernel) = (SendQueue::new(10), FakeKernel::of_groups([]));
    let mut transmits = media(3);
    transmits.push(transmit(RTP, 2, 3, 100));
    transmits.extend((4..6).map(|n| transmit(RTP, 3, n, 1_200)));
    queue.flush(&mut kernel, &mut transmits);
    assert_eq!(kernel.first_bytes(), [0, 1, 2, 3, 4, 5]);
    let counts = SendCounts { calls: 1, gso_groups: 2, gso_datagrams: 5, drops: 0 };
    assert_eq!(queue.counts(), counts);
}

#[test]
fn what_a_call_leaves_over_waits_in_order() {
    let mut queue = SendQueue::new(10);
    let mut kernel = FakeKernel::of_groups([None, None, BLOCK]);
    queue.flush(&mut kernel, &mut to_each(5));
    assert_eq!(kernel.first_bytes(), [0, 1]);
    assert!(queue.waits());
    // The call that took two, and the one that was told to wait.
    assert_eq!(queue.counts().calls, 2);
    let mut more = vec![transmit(RTP, 0, 9, 50)];
    kernel.script.push_back(BLOCK);
    queue.flush(&mut kernel, &mut more);
    assert_eq!(kernel.first_bytes(), [0, 1]);
    queue.flush(&mut kernel, &mut Vec::new());
    assert_eq!(kernel.first_bytes(), [0, 1, 2, 3, 4, 9]);
    assert_eq!(queue.counts().drops, 0);
}

#[test]
fn what_waits_of_control_goes_before_media() {
    let mut queue = SendQueue::new(10);
    let mut kernel = FakeKernel::of_groups([BLOCK]);
    let mut transmits = to_each(3);
    transmits.push(transmit(STUN, 1, 100, 40));
    transmits.push(transmit(STUN, 2, 101, 40));
    queue.flush(&mut kernel, &mut transmits);
    queue.flush(&mut kernel, &mut Vec::new());
    assert_eq!(kernel.first_bytes(), [100, 101, 0, 1, 2]);
}

#[test]
fn one_peers_error_costs_only_its_datagram() {
    use io::ErrorKind::{InvalidInput, NetworkUnreachable, PermissionDenied};
    for (kind, at) in [PermissionDenied, NetworkUnreachable, InvalidInput]
        .into_iter()
        .flat_map(|kind| [0, 1, 4].map(|at| (kind, at)))
    {
        let (mut queue, mut kernel) = (SendQueue::new(10), FakeKernel::of_groups([]));
        let mut transmits = to_each(5);
        kernel.unreachable = Some((transmits[at].destination, kind));
        queue.flush(&mut kernel, &mut transmits);
        let others: Vec<u8> = (0..5).filter(|n| usize::from(*n) != at).collect();
        assert_eq!(kernel.first_bytes(), others, "{kind} at {at}");
        assert_eq!(queue.counts().drops, 1);
        assert_eq!(queue.counts().calls, kernel.calls);
        assert!(!queue.waits());
    }
}

#[test]
fn a_card_that_refuses_segments_gets_all_of_it_in_order() {
    let (mut queue, mut kernel) = (SendQueue::new(10), FakeKernel::of_groups([]));
    kernel.refuses_segments = true;
    let mut transmits = vec![transmit(RTP, 9, 50, 100)];
    transmits.extend(media(3));
    transmits.extend((3..6).map(|n| transmit(RTP, 2, n, 100)));
    queue.flush(&mut kernel, &mut transmits);
    assert_eq!(kernel.first_bytes(), [50, 0, 1, 2, 3, 4, 5]);
    let counts = queue.counts();
    assert_eq!((counts.drops, counts.gso_groups, counts.gso_datagrams), (0, 0, 0));
    // One for what came first, the refusal, the group itself, its three, and the rest as singles in one call.
    assert_eq!((counts.calls, kernel.segments_max), (7, 1));
}

#[test]
fn a_kernel_without_such_a_call_gets_groups_one_by_one() {
    let mut queue = SendQueue::new(10);
    let mut kernel = FakeKernel::of_groups([Some(io::ErrorKind::Unsupported)]);
    queue.flush(&mut kernel, &mut to_each(4));
    assert_eq!(kernel.first_bytes(), [0, 1, 2, 3]);
    let counts = SendCounts { calls: 5, ..SendCounts::default() };
    assert_eq!(queue.counts(), counts);
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
        takes_groups: bool,
    ) {
        let mut kernel = FakeKernel::new(blocked.iter().map(|b| if *b { BLOCK } else { None }));
        kernel.segments_max = segments_max;
        kernel.takes_groups = takes_groups;
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
