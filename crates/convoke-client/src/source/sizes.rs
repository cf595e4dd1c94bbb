//! How large frames are, as a real encoder made them.
//!
//! Owns: the sizes of a recording, relative to their mean, so that they fit any rate.
//! Never: records; whoever has a recording brings it.

/// A recording: see [`FrameSizes::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameSizes {
    keyframes: Vec<u32>,
    /// By temporal layer.
    layers: [Vec<u32>; 3],
    /// All but keyframes, in order.
    all: Vec<u32>,
}

impl FrameSizes {
    /// Reads a recording of an encoder with three temporal layers: a line for each frame, its layer
    /// (`0` to `2`, `K` for a keyframe) and its size in thousandths of the mean. Lines that begin
    /// with `#` say nothing. `None` where a line is wrong, or one of the four has no frames.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut found = Self { keyframes: Vec::new(), layers: Default::default(), all: Vec::new() };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (layer, size) = line.split_once(' ')?;
            let size: u32 = size.parse().ok().filter(|size| (1..1_000_000).contains(size))?;
            if layer == "K" {
                found.keyframes.push(size);
                continue;
            }
            found.layers.get_mut(layer.parse::<usize>().ok()?)?.push(size);
            found.all.push(size);
        }
        let whole = !found.keyframes.is_empty() && found.layers.iter().all(|l| !l.is_empty());
        whole.then_some(found)
    }

    /// The size of a frame, `mean` bytes on average: of a keyframe, of a temporal layer, or (with
    /// neither) of any frame. `at` says where in the recording.
    pub(super) fn bytes(&self, mean: usize, keyframe: bool, layer: Option<u8>, at: usize) -> usize {
        let sizes = match (keyframe, layer) {
            (true, _) => &self.keyframes,
            (false, None) => &self.all,
            (false, Some(layer)) => self.layers.get(usize::from(layer)).unwrap_or(&self.all),
        };
        let thousandths = sizes.get(at % sizes.len().max(1)).copied().unwrap_or(1_000);
        mean * usize::try_from(thousandths).unwrap_or(1_000) / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_read_and_goes_round() {
        let sizes =
            FrameSizes::parse("# of a test\nK 4000\n2 500\n1 800\n0 1500\n").expect("whole");
        assert_eq!(sizes.bytes(1_000, true, Some(0), 7), 4_000);
        assert_eq!(sizes.bytes(2_000, false, Some(1), 7), 1_600);
        let any: Vec<usize> = (0..4).map(|at| sizes.bytes(1_000, false, None, at)).collect();
        assert_eq!(any, [500, 800, 1_500, 500]);
    }

    #[test]
    fn what_is_no_recording_is_refused() {
        for text in
            ["", "K 4000\n", "K 4000\n0 1\n1 1\n2 x\n", "K 1\n3 1\n", "K 0\n0 1\n1 1\n2 1\n"]
        {
            assert_eq!(FrameSizes::parse(text), None, "{text:?}");
        }
    }
}
