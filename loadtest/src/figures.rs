//! Figures of media that reached the callers.
//!
//! Owns: what is counted, and adding it up over threads and time.
//! Never: decides what a packet means; [`crate::meter`] does.

use hdrhistogram::Histogram;

/// The longest time that a histogram tells apart, in microseconds.
const LONGEST_US: u64 = 60_000_000;

/// A histogram of microseconds, to three digits.
#[derive(Debug, Clone)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, 3);
        Self(histogram.unwrap_or_else(|_| unreachable!("the bounds are right")))
    }
}

impl Times {
    /// Counts a time in microseconds; longer than a minute counts as a minute.
    pub fn add(&mut self, us: u64) {
        self.0.saturating_record(us.max(1));
    }

    /// Counts a duration.
    pub fn add_time(&mut self, time: std::time::Duration) {
        self.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        // Fails only for other bounds.
        let _ = self.0.add(&other.0);
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// What this share (0 to 1) does not exceed, in milliseconds; `None` of nothing.
    #[must_use]
    pub fn ms(&self, share: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(share) as f64 / 1e3)
    }

    /// The largest, in milliseconds; `None` of nothing.
    #[must_use]
    pub fn ms_max(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.max() as f64 / 1e3)
    }
}

macro_rules! figures {
    ($(#[$doc:meta])* counts { $($(#[$cdoc:meta])* $count:ident,)* }
     times { $($(#[$tdoc:meta])* $time:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default)]
        pub struct Figures {
            $($(#[$cdoc])* pub $count: u64,)*
            $($(#[$tdoc])* pub $time: Times,)*
            /// Sequence numbers that never came, by no fault of an impaired path; less those that
            /// came late, so a second of it may be negative.
            pub missing: i64,
            /// The same where an impaired path lies between publisher and receiver.
            pub missing_impaired: i64,
        }

        impl Figures {
            /// Adds all of `other`.
            pub fn merge(&mut self, other: &Self) {
                $(self.$count += other.$count;)*
                $(self.$time.merge(&other.$time);)*
                self.missing += other.missing;
                self.missing_impaired += other.missing_impaired;
            }
        }
    };
}

figures! {
    /// What the callers of one or several threads counted in some time.
    counts {
        /// RTP packets that callers sent.
        sent_packets,
        /// Their payload bytes.
        sent_bytes,
        /// RTP packets that callers received, retransmissions undone.
        received_packets,
        /// Their payload bytes.
        received_bytes,
        /// Packets without a whole stamp: damaged, or not ours.
        damaged,
        /// Pictures that a decoder could show.
        frames_decoded,
        /// Frames that came whole, but without what they refer to.
        frames_undecodable,
        /// Gaps that a viewer takes for a freeze (W3C webrtc-stats).
        freezes,
        /// How long they lasted together, in microseconds.
        frozen_us,
        /// Audio packets that came in time.
        audio_packets,
        /// Gaps in a voice.
        audio_gaps,
        /// Pictures of the size that was wished.
        frames_as_wished,
        /// Smaller ones.
        frames_below_wish,
        /// Larger ones.
        frames_above_wish,
        /// Changes of a tile's size.
        resizes,
        /// Times that a slot went to another publisher.
        switches,
        /// Keyframe requests that callers sent.
        keyframe_requests_sent,
        /// Keyframe requests that publishers got.
        keyframe_requests_received,
        /// RTP packets that impairments dropped on the way up.
        impaired_up,
        /// The same on the way down.
        impaired_down,
        /// Datagrams that the load test's own sockets did not take.
        unsent,
    }
    times {
        /// From sending to receiving, audio.
        audio_delay,
        /// The same, video.
        video_delay,
        /// The difference between a publisher's sound and picture at a receiver.
        skew,
        /// How late the load test's own timers were.
        lag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_to_three_digits_and_nothing_has_none() {
        let mut times = Times::default();
        assert_eq!((times.ms(0.5), times.ms_max()), (None, None));
        (1..=10_000).for_each(|us| times.add(us));
        let near = |value: Option<f64>, wanted: f64| {
            assert!(value.is_some_and(|v| (v - wanted).abs() < wanted / 500.0), "{value:?}");
        };
        near(times.ms(0.5), 5.0);
        near(times.ms(0.99), 9.9);
        near(times.ms_max(), 10.0);
        times.add(u64::MAX);
        near(times.ms_max(), 60_000.0);
    }

    #[test]
    fn merging_adds_up() {
        let mut all = Figures::default();
        for missing in [3, -2] {
            let mut one = Figures { freezes: 2, missing, ..Figures::default() };
            one.audio_delay.add(7);
            all.merge(&one);
        }
        assert_eq!((all.freezes, all.missing, all.audio_delay.count()), (4, 1, 2));
    }
}
