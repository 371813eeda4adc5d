import numpy as np
import pytest
import tensorflow as tf

from network.contrast.sampling import sample_anchors
from utils.training import make_strategy

CLASSES = 4


def batch(seed=0, images=2, height=7, width=9, dim=3, wrong=0.4):
  """Embeddings, labels of uneven frequency with -1 among them, and predictions."""
  random = np.random.default_rng(seed)
  embedding = random.normal(size=[images, height, width, dim]).astype(np.float32)
  shares = [0.1, 0.45, 0.3, 0.1, 0.05]
  labels = random.choice([-1, 0, 1, 2, 3], p=shares, size=[images, height, width])
  other = random.integers(0, CLASSES, labels.shape)
  prediction = np.where(random.random(labels.shape) < wrong, other, labels)
  return embedding, labels.astype(np.int32), prediction.astype(np.int32)


def sample(data, max_samples, max_views, **options):
  return sample_anchors(
      *map(tf.convert_to_tensor, data), num_classes=CLASSES, max_samples=max_samples,
      max_views=max_views, **options)


def oracle(labels, prediction, max_samples, max_views):
  """Pixels of each group when the first of each kind are drawn, straight from the text."""
  groups = []
  for image in range(len(labels)):
    truth, guess = labels[image].ravel(), prediction[image].ravel()
    for label in range(CLASSES):
      if (truth == label).sum() > max_views:
        hard = np.flatnonzero((truth == label) & (guess != label)) + image * truth.size
        easy = np.flatnonzero((truth == label) & (guess == label)) + image * truth.size
        groups.append((label, hard, easy))
  views = min(max_samples // len(groups), max_views)
  chosen = []
  for _, hard, easy in groups:
    half = views / 2
    if len(hard) >= half and len(easy) >= half:
      count = views // 2
    elif len(hard) >= half:
      count = views - len(easy)
    else:
      count = len(hard)
    chosen.append(np.concatenate([hard[:count], easy[:views - count]]))
  return [group[0] for group in groups], np.array(chosen), views


def by_group(anchors):
  """Labels [A] and pixels [A, views] of the valid anchors."""
  groups, views = int(anchors.num_groups), int(anchors.num_views)
  count = groups * views
  np.testing.assert_array_equal(anchors.valid, np.arange(len(anchors.valid)) < count)
  labels = anchors.labels.numpy()[:count].reshape(views, groups)
  assert (labels == labels[:1]).all()
  return labels[0].tolist(), anchors.pixels.numpy()[:count].reshape(views, groups).T


@pytest.mark.parametrize('wrong', [0.0, 0.15, 0.5, 0.9, 1.0])
@pytest.mark.parametrize('max_samples, max_views', [(100, 6), (40, 5), (33, 8), (12, 1)])
def test_the_first_pixels_equal_the_oracle(max_samples, max_views, wrong):
  for seed in range(3):
    embedding, labels, prediction = batch(seed, wrong=wrong)
    anchors = sample((embedding, labels, prediction), max_samples, max_views)
    classes, pixels = by_group(anchors)
    expected_classes, expected, views = oracle(labels, prediction, max_samples, max_views)
    assert classes == expected_classes and int(anchors.num_views) == views
    np.testing.assert_array_equal(pixels, expected)
    rows = embedding.reshape(-1, embedding.shape[-1])[anchors.pixels]
    np.testing.assert_array_equal(
        anchors.embedding, np.where(anchors.valid[:, np.newaxis], rows, 0))


def test_random_pixels_keep_the_rule():
  data = batch(1)
  _, labels, prediction = data
  expected, first, _ = oracle(labels, prediction, 60, 6)
  draws = [by_group(sample(data, 60, 6, seed=[0, step])) for step in range(12)]
  for classes, pixels in draws:
    assert classes == expected
    for label, group, usual in zip(classes, pixels, first, strict=True):
      assert len(set(group.tolist())) == len(group)
      assert (labels.ravel()[group] == label).all()
      wrong = (prediction != labels).ravel()
      np.testing.assert_array_equal(wrong[group], wrong[usual])
      assert len(set(group // labels[0].size)) == 1
  assert len({pixels.tobytes() for _, pixels in draws}) == 12
  again = by_group(sample(data, 60, 6, seed=[0, 4]))
  np.testing.assert_array_equal(again[1], draws[4][1])


def test_every_pixel_of_a_kind_has_the_same_chance():
  labels = np.zeros([1, 3, 4], np.int32)
  prediction = labels.copy()
  prediction[0, 0] = 1  # four hard pixels, eight easy ones
  data = np.ones([1, 3, 4, 1], np.float32), labels, prediction
  draw = tf.function(lambda seed: sample(data, 4, 4, seed=seed))
  counts = np.zeros(12)
  for step in range(200):
    np.add.at(counts, by_group(draw(tf.constant([1, step])))[1], 1)
  assert counts[:4].sum() == counts[4:].sum() == 400
  assert counts[:4].min() > 70 and counts[4:].min() > 25  # 100 and 50 expected


@pytest.mark.parametrize('labels', [-1, CLASSES, 0])
def test_no_group_is_no_anchor(labels):
  """All ignored, an unknown class, and a class of not more pixels than views."""
  embedding, like, prediction = batch()
  labels = np.full_like(like, labels)
  embedding = tf.constant(embedding)
  with tf.GradientTape() as tape:
    tape.watch(embedding)
    anchors = sample((embedding, labels, prediction), 100, labels[0].size)
    value = tf.reduce_sum(anchors.embedding)
  assert not np.any(anchors.valid) and int(anchors.num_groups) == 0
  assert not np.any(anchors.embedding) and not np.any(tape.gradient(value, embedding))


@pytest.mark.parametrize('max_samples', [3, 4, 9])
def test_of_too_many_groups_some_are_kept_with_two_views(max_samples):
  data = batch(2, images=5)
  everything = by_group(sample(data, 1000, 2))[0]
  assert len(everything) > max_samples
  kept = set()
  for step in range(10):
    anchors = sample(data, max_samples, 5, seed=[2, step])
    classes, pixels = by_group(anchors)
    assert len(classes) == max_samples // 2 and int(anchors.num_views) == max(
        2, max_samples // len(classes))
    assert list(pixels[:, 0] // 63) == sorted(pixels[:, 0] // 63)
    kept.add(pixels.tobytes())
  assert len(kept) > 5


def test_faithful_groups_may_have_one_view():
  data = batch(2, images=5)
  groups = len(by_group(sample(data, 1000, 5))[0])
  assert int(sample(data, groups + 1, 5).num_views) == 2
  faithful = sample(data, groups + 1, 5, faithful=True)
  assert int(faithful.num_views) == 1 and int(faithful.num_groups) == groups


def test_the_gradient_reaches_the_drawn_pixels_alone():
  embedding, labels, prediction = batch()
  embedding = tf.constant(embedding)
  with tf.GradientTape() as tape:
    tape.watch(embedding)
    anchors = sample((embedding, labels, prediction), 50, 5, seed=[0, 0])
    weights = tf.cast(tf.range(1, 51), tf.float32)[:, tf.newaxis]
    value = tf.reduce_sum(anchors.embedding * weights)
  expected = np.zeros([labels.size, 1])
  count = int(anchors.num_groups * anchors.num_views)
  np.add.at(expected, anchors.pixels.numpy()[:count], weights.numpy()[:count])
  gradient = tf.convert_to_tensor(tape.gradient(value, embedding)).numpy()
  np.testing.assert_allclose(gradient.reshape(labels.size, -1), expected.repeat(3, 1))


@pytest.mark.parametrize('jit_compile', [False, True])
def test_compiled_equals_eager(jit_compile):
  data = tuple(map(tf.constant, batch(3)))
  compiled = tf.function(
      lambda data, seed: sample(data, 30, 4, seed=seed), jit_compile=jit_compile)
  for actual, expected in zip(
      compiled(data, tf.constant([5, 6])), sample(data, 30, 4, seed=[5, 6]), strict=True):
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize('max_samples', [5, 40])
def test_two_replicas_draw_what_one_device_draws(max_samples):
  data = batch(4, images=4)
  expected = sample(data, max_samples, 5, seed=[1, 1])
  strategy = make_strategy(2)
  parts = [strategy.experimental_distribute_values_from_function(
      lambda context, values=values: tf.constant(
          np.split(values, 2)[context.replica_id_in_sync_group])) for values in data]

  def on_replica(embedding, *others):
    with tf.GradientTape() as tape:
      tape.watch(embedding)
      anchors = sample((embedding, *others), max_samples, 5, seed=[1, 1])
      value = tf.reduce_sum(anchors.embedding ** 2) / 2  # half of it on each replica
    return anchors, tape.gradient(value, embedding)
  results = tf.function(lambda: strategy.run(on_replica, args=parts))()
  anchors, gradient = results
  for actual, wanted in zip(anchors, expected, strict=True):
    for part in strategy.experimental_local_results(actual):
      np.testing.assert_array_equal(part, wanted)
  gradient = np.concatenate([
      tf.convert_to_tensor(part) for part in strategy.experimental_local_results(gradient)])
  rows = gradient.reshape(-1, 3)[expected.pixels.numpy()[expected.valid.numpy()]]
  np.testing.assert_allclose(
      rows, 2 * expected.embedding.numpy()[expected.valid.numpy()], rtol=1e-6)
