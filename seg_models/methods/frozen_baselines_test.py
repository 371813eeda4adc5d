import numpy as np
import pytest
import tensorflow as tf

from seg_models.datasets import dataset_for
from seg_models.frozen.batches import frozen_batches
from seg_models.methods.frozen_baselines import DinoKMeans, DinoLinear, build_head
from utils.train_step import TrainStep
from utils.training import TrainingConfig

DATASET = dataset_for(None, 3)


class Store:
  """Cells in the direction of their class, which their labels are twice as fine of."""

  def __init__(self, labelled=True):
    random = np.random.default_rng(0)
    kinds = random.integers(0, 3, [8, 4, 6])
    self.maps = np.eye(4, dtype=np.float32)[kinds] * 2
    self.maps += random.normal(size=self.maps.shape, scale=0.1)
    self.kinds = kinds.repeat(2, 1).repeat(2, 2).astype(np.int32) if labelled else None

  def __len__(self):
    return 8

  def features(self, indices):
    return self.maps[indices]

  def labels(self, indices):
    if self.kinds is None:
      return np.full([len(indices), 8, 12], -1, np.int32)
    return self.kinds[indices]


def make(method, store, **options):
  config = TrainingConfig(**{**method.DEFAULTS, 'num_steps': 30, 'batch_size': 4,
                             'learning_rate': 0.1, **options})
  made = method(build_head(4, None, 0), DATASET, method.Config(), 4, 0)
  step = TrainStep(made, made.variables(), config, tf.distribute.get_strategy(),
                   made.rate_multipliers())
  return made, step, frozen_batches(store, 4, 0)


@pytest.mark.parametrize('method', [DinoLinear, DinoKMeans])
def test_the_linear_probe_learns_and_the_features_stay(method):
  store = Store()
  made, step, batches = make(method, store)
  losses = [float(step([next(batches)], index)['linear_loss']) for index in range(30)]
  assert losses[-1] < 0.6 * losses[0]
  code = made.codes(store.features(np.arange(8)))
  np.testing.assert_array_equal(code, store.maps)
  log_probs = made.linear_log_probs(code).numpy()
  np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, rtol=1e-5)
  assert np.mean(log_probs.argmax(-1) == store.kinds[:, ::2, ::2]) > 0.95
  assert made.warning({}) is None and made.histograms(None, {}, 0) == {}


def test_without_labels_nothing_is_learned_and_nothing_is_nan():
  made, step, batches = make(DinoKMeans, Store(labelled=False))
  before = {name: variable.numpy() for name, variable in made.variables().items()}
  metrics = step([next(batches)], 0)
  assert float(metrics['loss']) == float(metrics['linear_loss']) == 0
  for name, variable in made.variables().items():
    np.testing.assert_array_equal(variable.numpy(), before[name])


def test_clusters_are_the_directions_of_features():
  store = Store()
  made, step, batches = make(DinoKMeans, store)
  made.prepare(store)
  centroids = made.variables()['cluster_probe/centroids'].numpy()
  step([next(batches)], 0)
  np.testing.assert_array_equal(made.variables()['cluster_probe/centroids'].numpy(), centroids)
  assert set(centroids.argmax(1)) == {0, 1, 2}
  log_probs = made.cluster_log_probs(made.codes(store.maps), {}).numpy()
  found = centroids.argmax(1)[log_probs.argmax(-1)]
  np.testing.assert_array_equal(found, store.kinds[:, ::2, ::2])


def test_a_linear_probe_has_no_clusters():
  assert DinoLinear.cluster_log_probs is None and DinoLinear.needs_labels
  assert not DinoKMeans.needs_labels


def test_no_attempt_is_no_clustering():
  with pytest.raises(ValueError, match='--kmeans_restarts 0'):
    DinoKMeans.Config(kmeans_restarts=0)
