//! Which deployment has a prompt's beginning in its KV cache: rendezvous hashing with bounded loads.
//!
//! Every deployment gets a score from its name and the prompt's beginning, and the highest wins (Thaler and Ravishankar, "Using
//! name-based mappings to increase hit rates", 1998; with weights as `−w / ln u`, Schindelhauer and Schomaker, 2005). All gateways
//! agree without talking, and when a deployment goes only its own prompts move. The load is bounded as in "Consistent Hashing with
//! Bounded Loads" (Mirrokni, Thorup, Zadimoghaddam, 2018): who has more than `c` times its even part is passed over for the next.

use contracts::policy::pool::PrefixAffinity;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A prompt's beginning, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Affinity(u64);

impl Affinity {
    /// Of a prompt as the server sees it, given in parts (system prompt, then messages); `None` if it is too short to matter. `seed`
    /// separates what must not be compared, such as models that share deployments.
    pub fn of<'a>(
        prompt: impl IntoIterator<Item = &'a [u8]>,
        policy: &PrefixAffinity,
        seed: u64,
    ) -> Option<Self> {
        let mut hash = seed;
        let mut left = policy.prefix_bytes;
        for part in prompt {
            let taken = part.get(..left).unwrap_or(part);
            if !taken.is_empty() {
                hash = xxh3_64_with_seed(taken, hash);
            }
            left -= taken.len();
            if left == 0 {
                break;
            }
        }
        (policy.prefix_bytes - left >= policy.min_prefix_bytes).then_some(Self(hash))
    }

    /// How well a deployment fits; the highest is the one.
    pub(crate) fn score(self, deployment: u64, weight: f64) -> f64 {
        let mixed = mix(self.0 ^ deployment);
        // 53 bits of it, between 0 and 1 and neither of them.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
        let unit = ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -weight / unit.ln()
    }
}

/// What stands for a deployment in scores.
pub(crate) fn key(deployment: &str) -> u64 {
    xxh3_64_with_seed(deployment.as_bytes(), 0)
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood, 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(affinity: Affinity, deployments: &[(u64, f64)]) -> u64 {
        let score = |(key, weight): &(u64, f64)| affinity.score(*key, *weight);
        deployments.iter().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap().0
    }

    #[test]
    fn only_the_beginning_counts_and_only_if_it_is_long_enough() {
        let policy = PrefixAffinity { min_prefix_bytes: 4, prefix_bytes: 8, ..PrefixAffinity::default() };
        let of = |parts: &[&str]| Affinity::of(parts.iter().map(|part| part.as_bytes()), &policy, 1);
        assert_eq!(of(&["abc"]), None);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["abcd", "efgh", "x"]), of(&["abcd", "efghij"]));
        assert_ne!(of(&["abcdefgh"]), of(&["abcdefgi"]));
        assert_eq!(of(&["abcdefghx"]), of(&["abcdefghy"]));
    }

    #[test]
    fn prompts_spread_by_weight_and_only_those_of_a_lost_deployment_move() {
        let deployments: Vec<(u64, f64)> =
            (0..4).map(|n| (key(&format!("d{n}")), if n == 0 { 3.0 } else { 1.0 })).collect();
        let (mut first, mut moved) = (0, 0);
        for number in 0..12_000 {
            let affinity = Affinity(mix(number));
            let chosen = best(affinity, &deployments);
            first += u32::from(chosen == deployments[0].0);
            let without_last = best(affinity, &deployments[..3]);
            if chosen != deployments[3].0 {
                moved += u32::from(without_last != chosen);
            }
        }
        assert_eq!(moved, 0);
        assert!((5_700..6_300).contains(&first), "half by weight: {first}");
    }
}
