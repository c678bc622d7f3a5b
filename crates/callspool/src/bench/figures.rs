//! What a callspool says of itself, read from `/metrics`.

use std::time::Instant;

use super::traffic::Spread;

/// The text of `/metrics`.
pub(super) struct Told<'a>(pub(super) &'a str);

impl Told<'_> {
    /// The lines of a number: labels, value.
    fn lines(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.split_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            Some((labels, value.split(' ').next()?.parse().ok()?))
        })
    }

    /// The sum over all labels; none when it is not told of.
    pub(super) fn sum(&self, name: &str) -> Option<f64> {
        self.lines(name).map(|(_, value)| value).reduce(|a, b| a + b)
    }

    /// Of one label's value.
    fn of(&self, name: &str, label: &str) -> f64 {
        self.lines(name).filter(|(labels, _)| *labels == label).map(|(_, value)| value).sum()
    }

    /// A histogram without labels.
    fn spread(&self, name: &str) -> Option<Spread> {
        let all = self.sum(&format!("{name}_count"))?;
        let (mut ends, mut counts) = (Vec::new(), Vec::new());
        for (labels, value) in self.lines(&format!("{name}_bucket")) {
            let end: f64 = labels.strip_prefix("le=\"")?.strip_suffix('"')?.parse().ok()?;
            if end.is_finite() {
                ends.push(end);
                counts.push(whole(value));
            }
        }
        Some(Spread::of_cumulative(ends, &counts, whole(all)))
    }
}

/// Figures at a moment. Counters are since its start.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) at: Instant,
    /// Datagrams that came to media ports.
    pub(super) received: u64,
    /// Packets that were received and not written.
    pub(super) dropped: u64,
    /// Datagrams that the kernel of its machine dropped, for all programs.
    pub(super) kernel: u64,
    /// From the kernel's time of arrival until a packet was in its buffer.
    pub(super) delay: Option<Spread>,
    pub(super) cpu_s: f64,
    pub(super) memory: f64,
    /// Calls that began, and that are in progress.
    pub(super) begun: u64,
    pub(super) live: u64,
    /// Segments that are recorded or being sealed.
    pub(super) segments: u64,
    /// RTP packets that the accounts of ended segments hold.
    pub(super) accounted: u64,
    /// Changes that the catalog took, and that wait for it.
    pub(super) catalog_written: u64,
    pub(super) catalog_queued: u64,
    pub(super) version: String,
}

impl Figures {
    /// None when it is not what a recorder tells.
    pub(super) fn read(text: &str, at: Instant) -> Option<Self> {
        let told = Told(text);
        let count = |name| told.sum(name).map_or(0, whole);
        let version = told.lines("callspool_build_info").next()?.0;
        Some(Self {
            at,
            received: whole(told.sum("callspool_media_datagrams_received_total")?),
            dropped: count("callspool_media_packets_dropped_total"),
            kernel: count("callspool_udp_receive_buffer_errors_total"),
            delay: told.spread("callspool_media_delay_seconds"),
            cpu_s: told.sum("process_cpu_seconds_total").unwrap_or(f64::NAN),
            memory: told.sum("process_resident_memory_bytes").unwrap_or(f64::NAN),
            begun: count("callspool_calls_begun_total"),
            live: count("callspool_calls_live"),
            segments: count("callspool_segments_live"),
            accounted: whole(told.of("callspool_rtp_packets_total", "outcome=\"received\"")),
            catalog_written: whole(told.of("callspool_catalog_changes_total", "outcome=\"written\"")),
            catalog_queued: count("callspool_catalog_queued"),
            version: version.trim_start_matches("version=\"").trim_end_matches('"').to_owned(),
        })
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are whole and far below 2^53"
)]
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP callspool_build_info x\ncallspool_build_info{version=\"0.1.0\"} 1.0\n\
        callspool_media_datagrams_received_total 1200\ncallspool_media_datagrams_received_total_other 5\n\
        callspool_rtp_packets_total{outcome=\"received\"} 70\ncallspool_rtp_packets_total{outcome=\"lost\"} 2\n\
        callspool_media_delay_seconds_sum 0.4\ncallspool_media_delay_seconds_count 10\n\
        callspool_media_delay_seconds_bucket{le=\"0.005\"} 4\ncallspool_media_delay_seconds_bucket{le=\"0.01\"} 10\n\
        callspool_media_delay_seconds_bucket{le=\"+Inf\"} 10\nprocess_cpu_seconds_total 1.5\n";

    #[test]
    fn what_is_told_is_read() {
        let figures = Figures::read(TEXT, Instant::now()).unwrap();
        assert_eq!((figures.received, figures.accounted, figures.version.as_str()), (1_200, 70, "0.1.0"));
        let p99 = figures.delay.unwrap().quantile_ms(0.99).unwrap();
        assert!(p99 > 9.0 && p99 <= 10.0, "{p99}");
        assert!((figures.cpu_s - 1.5).abs() < 1e-9 && figures.memory.is_nan());
        assert!(Figures::read("nginx_up 1\n", Instant::now()).is_none());
    }
}
