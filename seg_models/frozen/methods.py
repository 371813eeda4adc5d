"""The methods that train a head on frozen features, by name.

A method is a class with

  name, Config, DEFAULTS (what its script changes of the configurations' defaults), PRESETS (name ->
  fields that reproduce a published run), needs_labels (whether it is nothing without masks);
  build_head(channels, config, seed) -> keras.Model, features [B, h, w, C] -> code [B, h, w, D];
  __init__(model, dataset, config, batch_size, seed), the model being that head;
  variables() -> name in a checkpoint -> Keras variable, and rate_multipliers() by the same names;
  initial_state() and loss(batch, state, step) as in `utils.train_step`, the batch being
    `seg_models.frozen.batches`', with partners where `Config` has a field num_neighbors;
  codes(features) without dropout; cluster_log_probs(code [..., D], state) and
    linear_log_probs(code) -> float32 [..., K], either of which may be None;
  histograms(batch, state, step) -> name -> float array, and warning(metrics) -> text or None;
  and, if it likes, num_clusters, where they are not as many as classes; needs_images(config),
    whether batches must hold images; least_batch, the images that its loss takes at least;
    prepare(store), called before a new run's first step, by each of several workers.
"""

from seg_models.methods.frozen_baselines import DinoKMeans, DinoLinear
from seg_models.methods.smooseg import Smooseg
from seg_models.methods.stego import Stego

FROZEN_METHODS = {method.name: method for method in (Stego, Smooseg, DinoKMeans, DinoLinear)}
