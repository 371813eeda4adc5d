"""STEGO: codes that agree where frozen features correspond (ICLR 2022)."""

import keras
import numpy as np
import tensorflow as tf

from network.common import replicas
from network.common.channel_dropout import channel_masks
from network.common.preprocessing import MEAN_RGB
from network.common.vision_transformer import IMAGENET_DEVIATION
from network.stego import probes
from network.stego.collapse import effective_rank, used_clusters
from network.stego.correspondence import Correspondence, correspondence_loss
from network.stego.crf_loss import crf_loss
from network.stego.head import SegmentationHead, uniform_initializer
from network.stego.pairing import pairings
from network.stego.sampling import uniform_points
from seg_models.frozen.cluster_fit import fit_clusters
from seg_models.methods.linear_probe import LinearProbe
from seg_models.methods.stego_config import DEFAULTS, PRESETS, StegoConfig
from utils.train_step import StepOutput

# Codes have collapsed that lie in fewer directions than this, or are this much alike in random
# images, and pixels that are spread over fewer clusters. Fresh codes may: it has to last.
_LEAST_RANK, _MOST_ALIKE, _LEAST_USED = 1.2, 0.95, 1.2
_PATIENCE = 200
_DIM = 70
_RESTARTS = 3  # of k-means
# Kinds of random numbers of a step.
_DROPOUT, _POINTS, _OTHER_POINTS, _PAIRING, _PIXELS, _KINDS = range(6)


class Stego:
  """A head that correspondence trains, and beside it clusters and a linear probe of its codes.

  Source: specs/stego.md. The head learns from the correspondence of features alone (and, if asked
  for, from colours and reconstruction); no probe's gradient reaches it.

  Deviates from the original: random others are a derangement (`faithful_pairing`); clusters begin
  by k-means (`cluster_start`); points, masks and others depend on the seed and the batch's number
  alone; each replica has its share of the joined batch's loss.

  Args:
    model: keras.Model of `build_head`.
    dataset: descriptor (`seg_models.datasets.Dataset`).
    config: `StegoConfig`.
    batch_size: unused here; every method takes it.
    seed: int >= 0, of probes, points, masks and others.
  """
  Config = StegoConfig
  name = 'stego'
  needs_labels = False
  least_batch = 2
  once_a_step = 'collapsed_steps',
  DEFAULTS = DEFAULTS
  PRESETS = PRESETS

  def __init__(self, model, dataset, config, batch_size, seed):
    del batch_size
    self.model = model
    self.config = config
    self.seed = seed
    self.head = model.get_layer('head')
    self.num_clusters = config.num_clusters or dataset.num_classes
    channels, dim = model.input_shape[-1], model.output_shape[-1]
    random = np.random.default_rng([seed, 0x57e60])
    self.centroids = keras.Variable(
        random.normal(size=[self.num_clusters, dim]), dtype='float32', name='centroids')
    self.probe = LinearProbe(dim, dataset.num_classes, seed)
    self.decoder = None
    if config.rec_weight:
      self.decoder = keras.layers.Dense(
          channels, name='decoder', dtype='float32', **uniform_initializer('decoder', dim, seed))
      self.decoder.build([None, dim])

  @staticmethod
  def build_head(channels, config, seed):
    """The head: keras.Model, features [B, h, w, channels] -> code float32 [B, h, w, D]."""
    dim = config.dim or (channels if config.projection == 'none' else _DIM)
    features = keras.Input([None, None, channels], dtype='float32', name='features')
    head = SegmentationHead(channels, dim, config.projection, seed)
    return keras.Model(features, head(features))

  @staticmethod
  def needs_images(config):
    """Whether batches must hold images beside features."""
    return config.crf_weight > 0

  def variables(self):
    """Name -> Keras variable, all that is trained."""
    own = {f'head/{variable.path}': variable for variable in self.head.variables}
    if self.decoder is not None:
      own.update({'decoder/kernel': self.decoder.kernel, 'decoder/bias': self.decoder.bias})
    return {**own, 'cluster_probe/centroids': self.centroids, **self.probe.variables()}

  def rate_multipliers(self):
    """Name -> factor of the learning rate, which is the head's."""
    return {name: 10.0 if '_probe/' in name else 1.0 for name in self.variables()}

  def initial_state(self):
    """For how many steps codes have been collapsed."""
    return {'collapsed_steps': np.zeros([], np.int32)}

  def prepare(self, store):
    """Finds what clusters begin as, before a new run's first step.

    Args:
      store: `seg_models.frozen.store.FeatureStore`.
    """
    if self.config.cluster_start == 'kmeans':
      found = fit_clusters(self.codes, store, self.num_clusters, _RESTARTS, self.seed)
      # As long as random directions are: a step of Adam turns them by the same angle.
      self.centroids.assign(found.centres * np.sqrt(self.centroids.shape[1]))

  def loss(self, batch, state, step, draw):
    """Correspondence and the probes' losses; see `utils.train_step`.

    Args:
      batch: of two images at least, over all replicas: features and partner_features float32
        [B, h, w, C], label int32 [B, H, W] and, where `needs_images`, image float32 [B, H, W, 3],
        RGB minus `MEAN_RGB`.
    """
    config, features = self.config, batch['features']
    images, count = features.shape[0], replicas.num_replicas()
    masks = channel_masks(
        self._seed(draw, _DROPOUT), images, features.shape[-1], config.dropout, 6,
        replicas.own_offset(images))
    code, seen = self._train_code(features, masks[:3])
    losses = {}  # name -> (its weight, the mean of this replica's part)
    metrics = {}
    if config.correspondence_weight:
      partner_code, partner_seen = self._train_code(batch['partner_features'], masks[3:])
      pairs = self._pairs(seen, partner_seen, code, partner_code, draw, config.neg_samples)
      for name, kind in _named(pairs).items():
        weight = config.correspondence_weight * getattr(config, f'{name}_weight')
        losses[f'{name}_loss'] = weight, tf.reduce_mean(kind.loss)
        metrics[f'{name}_similarity'] = tf.reduce_mean(kind.similarity)
        metrics[f'{name}_feature_similarity'] = tf.reduce_mean(kind.feature_similarity)
    if config.rec_weight:
      alike = probes.cosines(self.decoder(code), tf.stop_gradient(seen))
      losses['reconstruction_loss'] = config.rec_weight, -tf.reduce_mean(alike)
    if config.crf_weight:
      losses['crf_loss'] = config.crf_weight, self._crf(batch['image'], code, draw)
    code = tf.stop_gradient(code)
    losses['cluster_loss'] = 1.0, probes.cluster_loss(code, self.centroids, config.cluster_alpha)
    probe_loss, probe_metrics = self.probe.loss(code, batch['label'])
    loss = probe_loss + tf.add_n([weight * value for weight, value in losses.values()]) / count

    metrics.update(
        {name: value for name, (_, value) in losses.items()},
        effective_rank=effective_rank(code),
        used_clusters=used_clusters(probes.cluster_similarities(code, self.centroids)))
    metrics, state = self._watch(metrics, state, count)
    return StepOutput(loss, {**metrics, **probe_metrics}, state)

  def _seed(self, draw, kind):
    return tf.stack([self.seed, _KINDS * draw + kind])

  def _train_code(self, features, masks):
    """The code with dropout, and the features that similarities are of."""
    features = tf.stop_gradient(features)
    code = self.head(features * masks[0], features * masks[1])
    return code, features * masks[2] if self.config.drop_features else features

  def _pairs(self, features, partners, code, partner_code, draw, others):
    """`Correspondence` at the points and with the random others of a batch."""
    config, images = self.config, features.shape[0]
    first, count = replicas.own_offset(images), config.feature_samples ** 2
    points = (uniform_points(self._seed(draw, kind), images, count, first)
              for kind in (_POINTS, _OTHER_POINTS))
    partner = pairings(self._seed(draw, _PAIRING), images * replicas.num_replicas(), others,
                       config.faithful_pairing)
    own = tf.reshape(tf.gather(partner, first + tf.range(images), axis=1), [others, images])
    return correspondence_loss(
        features, partners, code, partner_code, *points, own, self_shift=config.self_shift,
        neighbour_shift=config.neighbour_shift, random_shift=config.random_shift,
        pointwise=config.pointwise, zero_clamp=config.zero_clamp, stabilize=config.stabilize)

  def _crf(self, images, code, draw):
    """The mean of this replica's images; all are sampled at the same pixels."""
    config = self.config
    colors = (images + tf.constant(MEAN_RGB)) / tf.constant(255 * IMAGENET_DEVIATION, tf.float32)
    return crf_loss(
        colors, code, self._seed(draw, _PIXELS), config.crf_samples, alpha=config.crf_alpha,
        beta=config.crf_beta, gamma=config.crf_gamma, bilateral_weight=config.crf_w1,
        spatial_weight=config.crf_w2, shift=config.crf_shift)

  def _watch(self, metrics, state, count):
    """Metrics as totals and weights, and the state, which counts collapsed steps in a row."""
    alike = replicas.sum_over_replicas(
        metrics.get('random_similarity', tf.constant(0.0))) / count
    collapsed = ((metrics['effective_rank'] < _LEAST_RANK) | (alike > _MOST_ALIKE)
                 | (metrics['used_clusters'] < _LEAST_USED))
    steps = tf.where(collapsed, state['collapsed_steps'] + 1, 0)
    share = tf.constant(1.0 / count)
    metrics = {name: (value * share, share) for name, value in metrics.items()}
    metrics['collapsed_steps'] = tf.cast(steps, tf.float32), tf.constant(1.0)
    return metrics, {'collapsed_steps': steps}

  def codes(self, features):
    """Codes without dropout: [B, h, w, C] -> float32 [B, h, w, D]."""
    return self.model(features, training=False)

  def cluster_log_probs(self, code, state):
    """Log-probabilities of clusters: codes [..., D] -> float32 [..., K]."""
    del state
    return probes.cluster_log_probs(code, self.centroids, self.config.test_alpha)

  def linear_log_probs(self, code):
    """Log-probabilities of classes by the linear probe: codes [..., D] -> float32 [..., K]."""
    return self.probe.log_probs(code)

  def histograms(self, batch, state, step):
    """Name -> cosines of pairs without dropout: of codes, and of the features that lead them.

    What to look for (the authors' advice): codes of random pairs should be mostly different, those
    of self and neighbour pairs partly the same. Shifts part the features' similarities.
    """
    del state
    features, partners = batch['features'], batch['partner_features']
    pairs = self._pairs(
        features, partners, self.codes(features), self.codes(partners), step, others=1)
    values = {}
    for name, kind in _named(pairs).items():
      values[f'similarity/{name}'] = kind.similarity.numpy()
      values[f'feature_similarity/{name}'] = kind.feature_similarity.numpy()
    return values

  @staticmethod
  def warning(metrics):
    """What is to be said of a step's metrics, name -> float: a text, or None."""
    if metrics['collapsed_steps'] < _PATIENCE:
      return None
    if metrics['used_clusters'] < _LEAST_USED:
      return ('nearly all pixels are in one cluster: other --seed, or --cluster_alpha, which moves '
              'all clusters')
    return ('codes have collapsed, they are alike everywhere: raise --random_weight or '
            '--random_shift, or lower --self_weight and --neighbour_weight')


def _named(pairs: Correspondence):
  """`Correspondence` by the names of options and metrics."""
  return {'self': pairs.itself, 'neighbour': pairs.neighbour, 'random': pairs.random}
