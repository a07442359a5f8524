//! Host load and bytes sent (Plex Pass).

use serde::Deserialize;

use crate::plex::lenient::{Flag, LenientVec, Number, streamed};

/// `/statistics/resources?timespan=6`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Some two minutes of samples.
    #[serde(rename = "StatisticsResources", deserialize_with = "streamed")]
    pub samples: LenientVec<ResourceSample, 4_000>,
}

/// One sample of the host's load.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceSample {
    /// When.
    pub at: Number,
    /// The machine's (or container host's).
    pub host_cpu_utilization: Number,
    /// The machine's (or container host's).
    pub host_memory_utilization: Number,
    /// Plex's own.
    pub process_cpu_utilization: Number,
    /// Plex's own.
    pub process_memory_utilization: Number,
}

/// `/statistics/bandwidth?timespan=6`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Bandwidth {
    /// Absent when nothing was sent.
    #[serde(rename = "StatisticsBandwidth", deserialize_with = "streamed")]
    pub rows: LenientVec<BandwidthRow, 50_000>,
}

/// Bytes sent within one second, to one device of one account, in one kind of network.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub struct BandwidthRow {
    /// To whom.
    #[serde(rename = "accountID")]
    pub account_id: Number,
    /// To what.
    #[serde(rename = "deviceID")]
    pub device_id: Number,
    /// When.
    pub at: Number,
    /// Within the server's network.
    pub lan: Flag,
    /// How much.
    pub bytes: Number,
}
