"""SmooSeg: labels that are smooth where frozen features are close (NeurIPS 2023)."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from network.common import replicas
from network.common.channel_dropout import channel_masks
from network.smooseg import losses, predictor
from network.smooseg.projector import Projector
from network.stego.collapse import effective_rank, used_clusters
from network.stego.head import PROJECTIONS
from network.stego.pairing import pairings
from seg_models.methods.linear_probe import LinearProbe
from utils.configuration import option
from utils.train_step import StepOutput

# Pixels a side of the maps that histograms are made of.
_HISTOGRAM_SIDE = 14
# Codes have collapsed that lie in fewer directions than this, and pixels that are spread over fewer
# clusters. Fresh ones may: it has to last.
_LEAST_RANK, _LEAST_USED = 1.1, 1.2
_PATIENCE = 200


@dataclasses.dataclass(frozen=True)
class SmoosegConfig:
  """Options of SmooSeg; defaults are those of the original on COCO-Stuff."""
  dim: int | None = option(
      None, 'channels of the code; default: 64, of --projection none those of the features')
  projection: str = option(
      'nonlinear', 'of features to codes; with none only the prototypes are trained',
      choices=PROJECTIONS)
  num_clusters: int | None = option(
      None, 'clusters; default: as many as the data set has classes. More than that are matched '
      'all together')
  within_threshold: float = option(
      -0.02, 'pixels of an image whose closeness is above it are drawn together, others apart. Set '
      'it for a trunk or data set by within_distance and across_distance in the log, which are to '
      'be small and large', flags=('pos_intra_shift',))
  across_threshold: float = option(
      0.48, 'the same for pixels of two images', flags=('neg_inter_shift',))
  within_weight: float = option(1.0, 'weight of the smoothness within images')
  across_weight: float = option(1.0, 'weight of the smoothness across images')
  data_weight: float = option(
      1.0, 'weight of the cross-entropy that moves the prototypes')
  temperature: float = option(0.1, 'of the labels that are to be smooth')
  teacher_momentum: float = option(
      0.998, 'how much of the teacher is left when it moves to the student, at each step')
  teacher_first: bool = option(
      False, "move the teacher before a step's loss, to the student that the last update made; "
      'otherwise after the loss, to the same student as the loss had, like the original')
  teacher_each_batch: bool = option(
      False, 'of the batches that --iter_size joins in a step move the teacher with each, as the '
      "original's loop would; otherwise with the last alone")
  dropout: float = option(0.2, 'share of channels that an image lacks in training')
  drop_closeness: bool = option(
      True, 'closeness is that of features which lack channels too, as in the original; otherwise '
      'of the features as they are')
  pointwise: bool = option(True, "center each pixel's closeness over the other image")
  faithful_pairing: bool = option(
      False, "pair images as the original does, where some are nobody's partner")
  test_scale: float = option(
      2.0, 'of cosines in cluster probabilities; labels in training have 1 / --temperature. The '
      'most probable cluster is the same; a CRF sees the difference')

  def __post_init__(self):
    for name in ('dim', 'num_clusters', 'temperature', 'test_scale'):
      value = getattr(self, name)
      if value is not None and not value > 0:
        raise ValueError(f'--{name} {value}: must be above 0')
    for name in ('within_weight', 'across_weight', 'data_weight'):
      if getattr(self, name) < 0:
        raise ValueError(f'--{name} {getattr(self, name)}: must not be negative')
    for name in ('teacher_momentum', 'dropout'):
      if not 0 <= getattr(self, name) < 1:
        raise ValueError(f'--{name} {getattr(self, name)}: must be at least 0 and less than 1')
    if self.projection not in PROJECTIONS:
      raise ValueError(f'--projection {self.projection}: one of {", ".join(PROJECTIONS)}')


_TRAINING = {'optimizer': 'adam', 'learning_rate': 1e-4, 'power': 0.0, 'weight_decay': 0.0,
             'batch_size': 32, 'num_steps': 3000, 'size': 224}


def _preset(dataset, backbone, crops, within, across, seed=0, **training):
  return {'dataset': dataset, 'backbone': backbone, 'crops': crops, 'within_threshold': within,
          'across_threshold': across, 'seed': seed, 'resampling': 'nearest', **training}


class Smooseg:
  """A projector and a teacher that smoothness trains, and a student that follows the teacher.

  Source: specs/smooseg.md. The projector learns from smoothness alone, the student from the data
  term alone; the teacher is the moving mean of the student, taken before the student's step.

  Deviates from the original: partners are a permutation without fixed point (`faithful_pairing`);
  the teacher is a state, which no optimizer knows, and moves once a step of several batches, with
  the last (`teacher_each_batch`), and in no step that a loss scale skips; masks and pairs depend on
  the seed and the batch's number alone; each replica has the smoothness of the joined batch.

  Args:
    model: keras.Model of `build_head`.
    dataset: descriptor (`seg_models.datasets.Dataset`).
    config: `SmoosegConfig`.
    batch_size: unused here.
    seed: int >= 0, of prototypes, masks and pairs.
  """
  Config = SmoosegConfig
  name = 'smooseg'
  needs_labels = False
  least_batch = 2
  DEFAULTS = _TRAINING
  # As published. 3000 or 8000 steps; that the latter are COCO-Stuff's is from the paper.
  PRESETS = {
      'cityscapes27': _preset('cityscapes27', 'dino_vits8', 'five', -0.02, 0.50),
      'coco_stuff27': _preset(
          'coco_stuff27', 'dino_vits8', 'five', -0.02, 0.48, seed=123456, num_steps=8000),
      'potsdam3': _preset('potsdam3', 'dino_vitb8', 'one', 0.10, 0.50),
      'potsdam3_dinov2': _preset('potsdam3', 'dinov2_vitb14', 'one', 0.32, 0.50)}

  def __init__(self, model, dataset, config, batch_size, seed):
    del batch_size
    self.model = model
    self.config = config
    self.seed = seed
    self.once_a_step = 'collapsed_steps', *(() if config.teacher_each_batch else ('teacher',))
    self.projector = model.get_layer('head')
    self.num_clusters = config.num_clusters or dataset.num_classes
    dim = model.output_shape[-1]
    self._initial = predictor.initial_prototypes(self.num_clusters, dim, seed)
    self.student = keras.Variable(self._initial, dtype='float32', name='prototypes')
    self.probe = LinearProbe(dim, dataset.num_classes, seed)

  @staticmethod
  def build_head(channels, config, seed):
    """The projector: keras.Model, features [B, h, w, channels] -> code float32 [B, h, w, D]."""
    dim = config.dim or (channels if config.projection == 'none' else 64)
    features = keras.Input([None, None, channels], dtype='float32', name='features')
    return keras.Model(features, Projector(channels, dim, config.projection, seed)(features))

  def variables(self):
    """Name -> Keras variable, all that is trained."""
    own = {f'head/{variable.path}': variable for variable in self.projector.variables}
    return {**own, 'student/prototypes': self.student, **self.probe.variables()}

  def rate_multipliers(self):
    """Name -> factor of the learning rate, which is the projector's."""
    factors = {'head': 1.0, 'student': 5.0, 'linear_probe': 50.0}
    return {name: factors[name.partition('/')[0]] for name in self.variables()}

  def initial_state(self):
    """The teacher, which begins as the student, and for how many steps there was a collapse."""
    return {'teacher': self._initial, 'collapsed_steps': np.zeros([], np.int32)}

  def loss(self, batch, state, step, draw):
    """Smoothness plus data term, and the probe's beside them; see `utils.train_step`."""
    config, features, teacher = self.config, batch['features'], state['teacher']
    # Of the student before its own step.
    moved = predictor.next_teacher(teacher, self.student, config.teacher_momentum)
    if config.teacher_first:
      teacher = moved
    images, count = features.shape[0], replicas.num_replicas()
    masks = channel_masks(
        self._seed(draw, 0), images, features.shape[-1], config.dropout, 3,
        replicas.own_offset(images))
    code, dropped = self.projector.project(features, masks)
    by_student = predictor.student_cosines(code, self.student)
    by_teacher = predictor.teacher_cosines(code, teacher)
    own = losses.summarize(dropped if config.drop_closeness else features,
                           losses.unit_labels(by_teacher, config.temperature))
    # Means of the joined batch, which each replica has: each adds its share.
    whole = losses.Summary(*map(replicas.gather_rows, own))
    within = losses.smoothness(whole, whole, config.within_threshold, config.pointwise)
    across = losses.smoothness(
        whole, losses.gather_summary(whole, self._partners(draw, images * count)),
        config.across_threshold, config.pointwise)
    data = losses.data_loss(by_student, by_teacher)
    loss = (config.within_weight * within.loss + config.across_weight * across.loss
            + config.data_weight * data) / count
    probe_loss, probe_metrics = self.probe.loss(code, batch['label'])
    metrics = {
        'within_loss': within.loss, 'across_loss': across.loss, 'data_loss': data,
        'within_distance': within.distance, 'across_distance': across.distance,
        'within_closeness': within.closeness, 'across_closeness': across.closeness,
        'effective_rank': effective_rank(tf.stop_gradient(code)),
        'used_clusters': used_clusters(by_teacher)}
    metrics, collapsed = _watch(metrics, state['collapsed_steps'], count)
    return StepOutput(loss + probe_loss, {**metrics, **probe_metrics},
                      {'teacher': moved, 'collapsed_steps': collapsed})

  def codes(self, features):
    """Codes without dropout: [B, h, w, C] -> float32 [B, h, w, D]."""
    return self.model(features, training=False)

  def cluster_log_probs(self, code, state):
    """Log-probabilities of clusters by the teacher: codes [..., D] -> float32 [..., K]."""
    return predictor.log_probabilities(code, state['teacher'], self.config.test_scale)

  def linear_log_probs(self, code):
    """Log-probabilities of classes by the linear probe: codes [..., D] -> float32 [..., K]."""
    return self.probe.log_probs(code)

  def histograms(self, batch, state, step):
    """Name -> values of pixel pairs without dropout, within images and across the step's pairs.

    closeness is what the thresholds are held against; distance, of labels, is to be large across
    and small within; similarity is the cosine of codes, all of it 1 where they have collapsed.
    """
    features = batch['features']
    strides = [-(-length // _HISTOGRAM_SIDE) for length in features.shape[1:3]]
    features = features[:, ::strides[0], ::strides[1]]
    code = self.codes(features)
    labels = losses.unit_labels(
        predictor.teacher_cosines(code, state['teacher']), self.config.temperature)
    partners = self._partners(step, features.shape[0])
    values = {}
    for place in ('within', 'across'):
      def others(x, place=place):
        return x if place == 'within' else tf.gather(x, partners)
      values[f'closeness/{place}'] = losses.closeness(
          features, others(features), self.config.pointwise)
      values[f'distance/{place}'] = losses.label_distance(labels, others(labels))
      values[f'similarity/{place}'] = losses.closeness(code, others(code), pointwise=False)
    return {name: value.numpy() for name, value in values.items()}

  @staticmethod
  def warning(metrics):
    """What is to be said of a step's metrics, name -> float: a text, or None."""
    if metrics['collapsed_steps'] < _PATIENCE:
      return None
    what = ('nearly all pixels are in one cluster' if metrics['used_clusters'] < _LEAST_USED else
            'codes have collapsed, they are alike everywhere')
    return (f'{what}: raise --across_threshold or --within_threshold, below which pixels are '
            'pushed apart')

  def _seed(self, draw, kind):
    return tf.stack([self.seed, 2 * draw + kind])

  def _partners(self, draw, images):
    """The partner of each image of the joined batch, int32 [images]."""
    return pairings(self._seed(draw, 1), images, 1, self.config.faithful_pairing)[0]


def _watch(metrics, collapsed_steps, count):
  """Metrics as totals and weights, and for how many steps in a row there was a collapse."""
  collapsed = (metrics['effective_rank'] < _LEAST_RANK) | (metrics['used_clusters'] < _LEAST_USED)
  steps = tf.where(collapsed, collapsed_steps + 1, 0)
  share = tf.constant(1.0 / count)
  metrics = {name: (value * share, share) for name, value in metrics.items()}
  return {**metrics, 'collapsed_steps': (tf.cast(steps, tf.float32), tf.constant(1.0))}, steps
