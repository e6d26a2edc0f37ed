//! What servers and exporters tell of their load, and how long it counts.

use super::*;
use proptest::prelude::*;

const VLLM: &str = r#"
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="llama"} 30.0
vllm:num_requests_running{engine="1",model_name="llama"} 10.0
vllm:num_requests_running{engine="0",model_name="qwen"} 7.0
vllm:num_requests_waiting{engine="0",model_name="llama"} 20.0
vllm:kv_cache_usage_perc{engine="0",model_name="llama"} 0.9
vllm:kv_cache_usage_perc{engine="1",model_name="llama"} 0.5
"#;

#[test]
fn a_vllm_server_tells_of_its_engines() {
    let sample = Sample::of_server(VLLM, LoadKind::Vllm, "llama");
    let expected =
        Sample { waiting: Some(20.0), running: Some(40.0), kv_cache: Some(0.9), ..Sample::default() };
    assert_eq!(sample, expected);
    let pressure = sample.pressure().unwrap();
    assert!(
        (pressure - 1.0).abs() < 1e-9,
        "half a batch waits, half of what the cache has left is gone: {pressure}"
    );
    assert_eq!(Sample::of_server(VLLM, LoadKind::Vllm, "qwen").running, Some(7.0));
    // A name that the server does not use: all that it serves.
    assert_eq!(Sample::of_server(VLLM, LoadKind::Vllm, "other").running, Some(47.0));
    let older = "vllm:gpu_cache_usage_perc{model_name=\"llama\"} 0.25";
    assert_eq!(Sample::of_server(older, LoadKind::Vllm, "llama").kv_cache, Some(0.25));
}

#[test]
fn the_other_servers_tell_the_same_under_their_names() {
    let sglang = "sglang:num_running_reqs{model_name=\"m\"} 3\nsglang:num_queue_reqs{model_name=\"m\"} 2\nsglang:token_usage{model_name=\"m\"} 0.28\n";
    let sample = Sample::of_server(sglang, LoadKind::Sglang, "m");
    assert_eq!((sample.running, sample.waiting, sample.kv_cache), (Some(3.0), Some(2.0), Some(0.28)));
    let llama = "llamacpp:requests_processing 4\nllamacpp:requests_deferred 1\n";
    let sample = Sample::of_server(llama, LoadKind::LlamaCpp, "m");
    assert_eq!((sample.running, sample.waiting, sample.kv_cache), (Some(4.0), Some(1.0), None));
    let sample = Sample::of_server("tgi_queue_size 5\ntgi_batch_current_size 8\n", LoadKind::Tgi, "m");
    assert_eq!((sample.running, sample.waiting), (Some(8.0), Some(5.0)));
}

#[test]
fn exporters_tell_of_the_gpus_that_are_meant() {
    let dcgm = r#"
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",modelName="H100"} 90
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-b",modelName="H100"} 10
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-a"} 75000
DCGM_FI_DEV_FB_FREE{gpu="0",UUID="GPU-a"} 5000
DCGM_FI_DEV_FB_USED{gpu="1",UUID="GPU-b"} 0
DCGM_FI_DEV_FB_FREE{gpu="1",UUID="GPU-b"} 80000
"#;
    let all = Sample::of_gpus(dcgm, GpuKind::Dcgm, &[]);
    assert_eq!((all.gpu_busy, all.gpu_memory), (Some(0.5), Some(0.46875)));
    let one = Sample::of_gpus(dcgm, GpuKind::Dcgm, &["GPU-a".to_owned()]);
    assert_eq!((one.gpu_busy, one.gpu_memory), (Some(0.9), Some(0.9375)));
    assert_eq!(Sample::of_gpus(dcgm, GpuKind::Dcgm, &["1".to_owned()]).gpu_busy, Some(0.1));
    let nvml = "nvidia_smi_utilization_gpu_ratio{uuid=\"a\"} 0.4\nnvidia_smi_memory_used_bytes{uuid=\"a\"} 2\nnvidia_smi_memory_total_bytes{uuid=\"a\"} 8\n";
    let sample = Sample::of_gpus(nvml, GpuKind::Nvml, &[]);
    assert_eq!((sample.gpu_busy, sample.gpu_memory), (Some(0.4), Some(0.25)));
}

#[test]
fn nothing_told_is_no_pressure_rather_than_none() {
    assert_eq!(Sample::of_server("", LoadKind::Vllm, "m").pressure(), None);
    assert_eq!(Sample { waiting: Some(0.0), ..Sample::default() }.pressure(), Some(0.0));
    let cache = Sample { kv_cache: Some(0.5), ..Sample::default() };
    assert_eq!(
        cache.or(Sample { waiting: Some(3.0), kv_cache: Some(0.9), ..Sample::default() }).kv_cache,
        Some(0.5)
    );
}

#[test]
fn a_sample_fades_between_fresh_and_stale() {
    let [fresh, stale] = [5, 30].map(Duration::from_secs);
    let at = |seconds: f64| confidence(Duration::from_secs_f64(seconds), fresh, stale);
    let percent = [0.0, 5.0, 17.5, 30.0, 500.0].map(|seconds| format!("{:.0}", at(seconds) * 100.0));
    assert_eq!(percent, ["100", "100", "50", "0", "0"]);
}

proptest! {
    #[test]
    fn whatever_is_told_the_pressure_is_bounded(values in prop::collection::vec(any::<f64>(), 4)) {
        let text = format!(
            "vllm:num_requests_waiting {}\nvllm:num_requests_running {}\nvllm:kv_cache_usage_perc {}\n",
            values[0], values[1], values[2],
        );
        let pressure = Sample::of_server(&text, LoadKind::Vllm, "m").pressure().unwrap_or_default();
        prop_assert!((0.0..=10.0).contains(&pressure), "{}", pressure);
        let _ = Sample::of_gpus(&text, GpuKind::Dcgm, &[]);
    }
}
