"""What frozen features give by themselves: k-means and a linear probe on them, with no head.

STEGO's users found that they come close to it (specs/stego.md, section 7a).
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from network.stego.probes import cluster_log_probs
from seg_models.frozen.cluster_fit import fit_clusters
from seg_models.methods.linear_probe import LinearProbe
from utils.configuration import option
from utils.train_step import StepOutput


def build_head(channels, config, seed):
  """The head that is none: features float32 [B, h, w, C] -> themselves."""
  del config, seed
  features = keras.Input([None, None, channels], name='features')
  return keras.Model(features, keras.layers.Identity()(features), name='none')


@dataclasses.dataclass(frozen=True)
class LinearConfig:
  """A linear probe has no options of its own."""


class DinoLinear:
  """A linear classifier of the features, whose logits are interpolated to the labels' size.

  Args:
    model: `build_head`'s.
    dataset: `seg_models.datasets.Dataset`.
    config: `LinearConfig`.
    batch_size: unused; every method takes it.
    seed: int, of the initial weights.
  """
  Config = LinearConfig
  name = 'dino_linear'
  needs_labels = True
  # The rate of STEGO's probes.
  DEFAULTS = {'optimizer': 'adam', 'power': 0.0, 'weight_decay': 0.0, 'learning_rate': 5e-3,
              'batch_size': 16, 'num_steps': 2000, 'save_pred_every': 1000}
  PRESETS = {}
  build_head = staticmethod(build_head)
  cluster_log_probs = None

  def __init__(self, model, dataset, config, batch_size, seed):
    del batch_size
    self.model = model
    self.config = config
    self.seed = seed
    self.probe = LinearProbe(model.input_shape[-1], dataset.num_classes, seed)

  def variables(self):
    """Name in a checkpoint -> Keras variable."""
    return self.probe.variables()

  def rate_multipliers(self):
    return dict.fromkeys(self.variables(), 1.0)

  def initial_state(self):
    return {}

  def loss(self, batch, state, step, draw):
    """Mean cross-entropy over the labelled pixels of all replicas; see `utils.train_step`."""
    del step, draw
    loss, metrics = self.probe.loss(batch['features'], batch['label'])
    return StepOutput(loss, metrics, state)

  def codes(self, features):
    """The code float32 [..., D] of features [..., C]: themselves."""
    return tf.cast(features, tf.float32)

  def linear_log_probs(self, code):
    """Log-probabilities of classes: codes [..., D] -> float32 [..., K]."""
    return self.probe.log_probs(code)

  def histograms(self, batch, state, step):
    """There is nothing that changes."""
    del batch, state, step
    return {}

  def warning(self, metrics):
    """Features that are never trained cannot collapse."""
    del metrics


@dataclasses.dataclass(frozen=True)
class KMeansConfig:
  """Options of the clustering."""
  num_clusters: int | None = option(
      None, 'clusters; default: as many as the data set has classes')
  kmeans_restarts: int = option(
      10, 'attempts of k-means, of which the one with the greatest mean cosine is taken')

  def __post_init__(self):
    for name in ('num_clusters', 'kmeans_restarts'):
      value = getattr(self, name)
      if value is not None and value < 1:
        raise ValueError(f'--{name} {value}: must be at least 1')


class DinoKMeans(DinoLinear):
  """Spherical k-means of the features, found before the first step; steps train the linear probe.

  Without labels there is nothing to train, and a single step will do.
  """
  Config = KMeansConfig
  name = 'dino_kmeans'
  needs_labels = False

  def __init__(self, model, dataset, config, batch_size, seed):
    super().__init__(model, dataset, config, batch_size, seed)
    self.num_clusters = config.num_clusters or dataset.num_classes
    self._centroids = keras.Variable(
        np.zeros([self.num_clusters, model.input_shape[-1]], np.float32), trainable=False,
        name='centroids')

  def variables(self):
    return {**super().variables(), 'cluster_probe/centroids': self._centroids}

  def prepare(self, store):
    """Finds the clusters among a data set's features, before a new run's first step."""
    found = fit_clusters(
        self.codes, store, self.num_clusters, self.config.kmeans_restarts, self.seed)
    self._centroids.assign(found.centres)
    print(f'k-means: the mean cosine of features and their centres is {found.objective:.4f}')

  def cluster_log_probs(self, code, state):
    """Log-probabilities of clusters: codes [..., D] -> float32 [..., K]."""
    del state
    return cluster_log_probs(code, self._centroids)
