//! Text to vectors: one for a sentence, or one for each of its tokens.
//!
//! Texts are sorted by length and laid end to end in packs, so that nothing is padded and every worker gets its share; a text's
//! vector does not depend on what else is in the call.

#[cfg(test)]
mod tests;
mod tokens;

use crate::ModelError;
use crate::model::{Batch, Fused, Reference, Scratch, Shape, Weights};
use rayon::prelude::*;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tokens::{Encoded, Splitter};

/// Tokens of a pack on the CPU: enough for full tiles, few enough that their rows stay in the second-level cache.
const PACK_CPU: usize = 256;

/// Tokens of a pack on a GPU, padding included.
const PACK_GPU: usize = 16_384;

/// Where and how an embedder runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedderOptions {
    /// Threads that share the texts of one call; 1 runs on the caller's.
    pub threads: usize,
    /// Tokens of a text that are read, its two marks included; the rest is ignored. More than the model has positions for is
    /// taken for as many as it has.
    pub max_tokens: usize,
    /// Where the forward pass runs.
    pub device: Device,
}

impl Default for EmbedderOptions {
    /// One thread of the CPU, and as many tokens as all-MiniLM-L6-v2 was trained with.
    fn default() -> Self {
        Self { threads: 1, max_tokens: 256, device: Device::Cpu }
    }
}

/// Where a forward pass runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// This machine's processor.
    #[default]
    Cpu,
    /// The NVIDIA GPU of this number; only in builds with the feature `cuda`.
    Cuda(usize),
}

/// A loaded encoder with its tokenizer. It is shared between threads by reference.
pub struct Embedder {
    splitter: Splitter,
    engine: Engine,
    pooling: Pooling,
    dimension: usize,
    workers: Option<rayon::ThreadPool>,
    scratch: Mutex<Vec<Scratch>>,
}

enum Engine {
    Fused(Box<Fused>),
    Candle(Box<Reference>),
}

/// How a sentence's vector is made of its tokens'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pooling {
    Mean,
    /// The first token's.
    First,
}

/// The vectors of a text's tokens, without the marks that a tokenizer puts around it.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenEmbeddings {
    dimension: usize,
    /// `dimension` values for each token, one token after another; not normalised.
    pub vectors: Vec<f32>,
    /// Each token's bytes in the text.
    pub offsets: Vec<Range<usize>>,
    /// The first mark's vector (`[CLS]`), which classifiers read.
    pub first: Vec<f32>,
}

impl TokenEmbeddings {
    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// A token's vector.
    pub fn vector(&self, token: usize) -> Option<&[f32]> {
        self.vectors.chunks_exact(self.dimension).nth(token)
    }

    /// The mean of some tokens' vectors, of length 1; `None` where there are none.
    pub fn mean(&self, tokens: Range<usize>) -> Option<Vec<f32>> {
        let rows = self.vectors.get(tokens.start * self.dimension..tokens.end * self.dimension)?;
        (!rows.is_empty()).then(|| mean(rows, self.dimension))
    }

    /// Memory that this takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(self.vectors.as_slice())
            + size_of_val(self.first.as_slice())
            + size_of_val(self.offsets.as_slice())
    }
}

impl Embedder {
    /// Loads a directory with `config.json`, `tokenizer.json` and `model.safetensors`, as the Hub has them for encoders of the
    /// BERT family; where there is a `1_Pooling/config.json`, its pooling is used, else the mean.
    pub fn load(dir: &Path, options: &EmbedderOptions) -> Result<Self, ModelError> {
        if !(1..=1024).contains(&options.threads) {
            return Err(ModelError::Option {
                option: "threads",
                found: options.threads.to_string(),
                expected: "from 1 to 1024".to_owned(),
            });
        }
        let shape = Shape::read(dir)?;
        let weights = Weights::read(dir, &shape)?;
        let splitter = Splitter::load(dir, &shape, options.max_tokens)?;
        let engine = match device(options.device)? {
            candle_core::Device::Cpu => Engine::Fused(Box::new(Fused::new(&shape, &weights)?)),
            device => Engine::Candle(Box::new(Reference::new(&shape, &weights, &device)?)),
        };
        Ok(Self {
            splitter,
            engine,
            pooling: Pooling::read(dir)?,
            dimension: shape.hidden,
            workers: workers(options.threads)?,
            scratch: Mutex::default(),
        })
    }

    /// Values of a vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// One vector of length 1 for each text, in the order of the texts. An empty text has a vector too: that of its marks.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        let encoded: Vec<Encoded> = self.each(texts, |text| self.splitter.split(text))?;
        let lengths: Vec<usize> = encoded.iter().map(|encoded| encoded.ids.len()).collect();
        let packs = packs(&lengths, self.pack_tokens(&lengths));
        let pooled = self.each(&packs, |pack| {
            let mut batch = Batch::default();
            for index in pack {
                batch.push(&encoded[*index].ids, &encoded[*index].types);
            }
            self.with_rows(&batch, |rows| self.pool(&batch, rows))
        })?;
        let mut vectors = vec![Vec::new(); texts.len()];
        for (index, vector) in packs.iter().flatten().zip(pooled.into_iter().flatten()) {
            vectors[*index] = vector;
        }
        Ok(vectors)
    }

    /// The vectors of a text's tokens. A text with more tokens than `max_tokens` is cut: the last offset tells where.
    pub fn embed_tokens(&self, text: &str) -> Result<TokenEmbeddings, ModelError> {
        let encoded = self.splitter.split_with_offsets(text)?;
        self.with_rows(&encoded.batch(), |rows| self.collect(&encoded, rows, 0))
    }

    /// The vectors of two texts' tokens, read as one sequence, so that each token sees both texts; the longer of the two is cut
    /// first. `first` is the same in both.
    pub fn embed_pair(&self, one: &str, other: &str) -> Result<[TokenEmbeddings; 2], ModelError> {
        let encoded = self.splitter.split_pair(one, other)?;
        self.with_rows(&encoded.batch(), |rows| {
            [self.collect(&encoded, rows, 0), self.collect(&encoded, rows, 1)]
        })
    }

    /// Maps each item, shared among the workers.
    fn each<T: Sync, U: Send>(
        &self,
        items: &[T],
        map: impl Fn(&T) -> Result<U, ModelError> + Sync + Send,
    ) -> Result<Vec<U>, ModelError> {
        match &self.workers {
            Some(workers) if items.len() > 1 => workers.install(|| items.par_iter().map(map).collect()),
            _ => items.iter().map(map).collect(),
        }
    }

    /// How many tokens a pack may have: on the CPU no more than give every worker one.
    fn pack_tokens(&self, lengths: &[usize]) -> usize {
        match (&self.engine, &self.workers) {
            (Engine::Candle(_), _) => PACK_GPU,
            (Engine::Fused(_), None) => PACK_CPU,
            (Engine::Fused(_), Some(workers)) => {
                let share = lengths.iter().sum::<usize>().div_ceil(workers.current_num_threads());
                share.min(PACK_CPU)
            }
        }
    }

    fn with_rows<U>(&self, batch: &Batch, use_rows: impl FnOnce(&[f32]) -> U) -> Result<U, ModelError> {
        match &self.engine {
            Engine::Candle(reference) => reference.run(batch).map(|rows| use_rows(&rows)),
            Engine::Fused(fused) => {
                let lock = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
                let mut scratch = lock().pop().unwrap_or_default();
                let used = use_rows(fused.run(batch, &mut scratch));
                lock().push(scratch);
                Ok(used)
            }
        }
    }

    fn pool(&self, batch: &Batch, rows: &[f32]) -> Vec<Vec<f32>> {
        let mut rest = rows;
        let mut vectors = Vec::with_capacity(batch.lengths.len());
        for length in &batch.lengths {
            let (sequence, others) = rest.split_at(length * self.dimension);
            let sequence = match self.pooling {
                Pooling::Mean => sequence,
                Pooling::First => &sequence[..self.dimension],
            };
            vectors.push(mean(sequence, self.dimension));
            rest = others;
        }
        vectors
    }

    fn collect(&self, encoded: &Encoded, rows: &[f32], part: usize) -> TokenEmbeddings {
        let own = encoded.offsets.iter().zip(rows.chunks_exact(self.dimension));
        let own = own.filter_map(|(place, row)| place.as_ref().map(|place| (place, row)));
        let mut found = TokenEmbeddings {
            dimension: self.dimension,
            vectors: Vec::with_capacity(rows.len()),
            offsets: Vec::with_capacity(encoded.ids.len()),
            first: rows[..self.dimension].to_vec(),
        };
        for (place, row) in own.filter(|(place, _)| place.part == part) {
            found.vectors.extend_from_slice(row);
            found.offsets.push(place.bytes.clone());
        }
        found
    }
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Embedder").field("dimension", &self.dimension).finish_non_exhaustive()
    }
}

impl Pooling {
    fn read(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join("1_Pooling/config.json");
        if !path.is_file() {
            return Ok(Self::Mean);
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ModelError::Read { path: path.clone(), source })?;
        let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| ModelError::Malformed {
            path: path.clone(),
            expected: "a pooling configuration in JSON",
            reason: error.to_string(),
        })?;
        let is = |key: &str| json.get(key).and_then(serde_json::Value::as_bool).unwrap_or(false);
        match (is("pooling_mode_mean_tokens"), is("pooling_mode_cls_token")) {
            (true, false) => Ok(Self::Mean),
            (false, true) => Ok(Self::First),
            (mean, first) => Err(ModelError::Config {
                path,
                key: "pooling_mode_mean_tokens, pooling_mode_cls_token".to_owned(),
                found: format!("{mean}, {first}"),
                expected: "one of the two true".to_owned(),
            }),
        }
    }
}

/// Candle's device; the error says what this build lacks.
fn device(device: Device) -> Result<candle_core::Device, ModelError> {
    match device {
        Device::Cpu => Ok(candle_core::Device::Cpu),
        Device::Cuda(number) if cfg!(feature = "cuda") => candle_core::Device::new_cuda(number)
            .map_err(|source| ModelError::Device { action: "open the GPU", source }),
        Device::Cuda(number) => Err(ModelError::Option {
            option: "device",
            found: format!("cuda:{number}"),
            expected: "cpu: this binary was built without the feature cuda".to_owned(),
        }),
    }
}

fn workers(threads: usize) -> Result<Option<rayon::ThreadPool>, ModelError> {
    if threads == 1 {
        return Ok(None);
    }
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|n| format!("embed-{n}")).build();
    pool.map(Some).map_err(|error| ModelError::Option {
        option: "threads",
        found: threads.to_string(),
        expected: format!("as many threads as the system grants ({error})"),
    })
}

/// Groups texts of like length, longest first, into packs of at most `most` tokens; a longer text is a pack of its own.
fn packs(lengths: &[usize], most: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(lengths[*index]));
    let mut packs: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for index in order {
        // A padded pack is as wide as its first text, its longest.
        let cost = packs.last().and_then(|pack| pack.first()).map_or(0, |first| lengths[*first]);
        match packs.last_mut() {
            Some(pack) if room >= cost && cost > 0 => {
                room -= cost;
                pack.push(index);
            }
            _ => {
                room = most.saturating_sub(lengths[index]);
                packs.push(vec![index]);
            }
        }
    }
    packs
}

/// The mean of rows, scaled to length 1.
#[expect(clippy::cast_precision_loss, reason = "a text has some hundreds of tokens")]
fn mean(rows: &[f32], dimension: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f32; dimension];
    for row in rows.chunks_exact(dimension) {
        for (sum, value) in sum.iter_mut().zip(row) {
            *sum += value;
        }
    }
    let count = (rows.len() / dimension) as f32;
    let length = sum.iter().map(|value| (value / count).powi(2)).sum::<f32>().sqrt();
    // As PyTorch's `normalize` does, so that a vector of zeros stays one.
    let scale = 1.0 / (count * length.max(1e-12));
    for value in &mut sum {
        *value *= scale;
    }
    sum
}
