use super::*;

fn meta(len: usize, stride: usize) -> RecvMeta {
    let mut meta = RecvMeta::default();
    meta.addr = ([10, 0, 0, 1], 5).into();
    meta.len = len;
    meta.stride = stride;
    meta.dst_ip = Some([10, 0, 0, 2].into());
    meta
}

/// A batch of these buffers, each filled with 0, 1, 2, …
fn batch(metas: &[RecvMeta]) -> ReceiveBatch {
    let mut batch = ReceiveBatch::new();
    batch
        .refill(|buffers, out| {
            for (index, meta) in metas.iter().enumerate() {
                out[index] = *meta;
                for (byte, value) in buffers[index].iter_mut().zip(0_u8..=255) {
                    *byte = value;
                }
            }
            Ok(metas.len())
        })
        .unwrap();
    batch
}

fn all(batch: &mut ReceiveBatch) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    while let Some(datagram) = batch.next() {
        assert_eq!(datagram.source, ([10, 0, 0, 1], 5).into());
        assert_eq!(datagram.destination, Some([10, 0, 0, 2].into()));
        datagrams.push(datagram.bytes.to_vec());
    }
    datagrams
}

#[test]
fn joined_datagrams_are_split() {
    let mut batch = batch(&[meta(7, 3), meta(2, 2)]);
    assert_eq!(all(&mut batch), [vec![0, 1, 2], vec![3, 4, 5], vec![6], vec![0, 1]]);
    assert!(batch.is_empty());
}

#[test]
fn odd_sizes_are_harmless() {
    let mut batch = batch(&[meta(0, 0), meta(2, 0), meta(3, 100), meta(0, 5)]);
    assert_eq!(all(&mut batch), [vec![0], vec![1], vec![0, 1, 2]]);
}

#[test]
fn a_length_beyond_the_buffer_is_no_datagram() {
    let mut batch = batch(&[meta(BUFFER_BYTES + 1, BUFFER_BYTES + 1)]);
    assert!(batch.next().is_none());
}

#[test]
fn a_turn_can_stop_in_the_middle() {
    let mut batch = batch(&[meta(4, 2)]);
    assert_eq!(batch.next().unwrap().bytes, [0, 1]);
    assert!(!batch.is_empty());
    assert_eq!(batch.next().unwrap().bytes, [2, 3]);
    assert!(batch.next().is_none());
}

#[test]
fn a_full_batch_says_that_there_may_be_more() {
    let mut batch = ReceiveBatch::new();
    assert!(!batch.refill(|_, _| Ok(BATCH_SIZE - 1)).unwrap());
    assert!(batch.refill(|buffers, _| Ok(buffers.len())).unwrap());
}

#[test]
fn an_error_leaves_it_empty() {
    let mut batch = batch(&[meta(4, 2)]);
    assert!(batch.refill(|_, _| Err(io::ErrorKind::WouldBlock.into())).is_err());
    assert!(batch.is_empty());
    assert!(batch.next().is_none());
}

#[test]
fn a_mapped_source_is_ipv4() {
    let mut mapped = meta(1, 1);
    mapped.addr = "[::ffff:10.0.0.1]:5".parse().unwrap();
    assert_eq!(all(&mut batch(&[mapped])).len(), 1);
}
