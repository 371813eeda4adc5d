import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from network.segsort.alignment import align_segments, smallest_piece


def example(seed=0, batch=2, height=9, width=11, dim=4, clusters=4):
  """Embeddings, clusters in blobs with holes, and block-shaped regions with some pixels without."""
  rng = np.random.default_rng(seed)
  embedding = rng.standard_normal([batch, height, width, dim]).astype(np.float32)
  embedding /= np.linalg.norm(embedding, axis=-1, keepdims=True)
  ids = rng.integers(0, clusters, [batch, height, width])
  blobs = rng.integers(0, clusters, [batch, 5, 4]).repeat(3, 1).repeat(3, 2)[:, :height, :width]
  ids = np.where(rng.random(ids.shape) < 0.3, ids, blobs)
  ids[rng.random(ids.shape) < 0.1] = -1
  regions = rng.integers(-1, 3, [batch, 4, 4]).repeat(4, 1).repeat(3, 2)[:, :height, :width]
  return embedding, ids.astype(np.int32), regions.astype(np.int32)


def sides(pixels):
  """Pairs of values that meet at a side of a pixel."""
  yield from zip(pixels[:, :-1].ravel(), pixels[:, 1:].ravel(), strict=True)
  yield from zip(pixels[:-1].ravel(), pixels[1:].ravel(), strict=True)


def naive_alignment(embedding, clusters, regions, smallest):
  """The rule, by dictionaries and loops, in float64, for one image."""
  pairs = [(c, r) if c >= 0 else None for c, r in zip(clusters.flat, regions.flat, strict=True)]
  names = sorted({pair for pair in pairs if pair})
  owner = np.array([names.index(pair) if pair else -1 for pair in pairs]).reshape(clusters.shape)
  region = {number: name[1] for number, name in enumerate(names)}
  while True:
    present = [int(number) for number in np.unique(owner) if number >= 0]
    prototype = {}
    for number in present:
      total = embedding[owner == number].astype(np.float64).sum(0)
      prototype[number] = total / np.linalg.norm(total)
    near = {number: set() for number in present}
    for a, b in sides(owner):
      if a != b and min(a, b) >= 0:
        near[a].add(int(b))
        near[b].add(int(a))
    goal = {}
    for number in present:
      if np.sum(owner == number) < smallest and near[number]:
        own = [other for other in near[number] if region[other] == region[number]]
        goal[number] = max(own or near[number], key=lambda other, mine=number: (
            prototype[other] @ prototype[mine], -other))
    if not goal:
      break
    end = {}
    for number in present:
      last = number
      while last in goal and not (goal.get(goal[last]) == last and last < goal[last]):
        last = goal[last]
      end[number] = last
    owner = np.array([end.get(int(value), -1) for value in owner.flat]).reshape(owner.shape)
  return np.where(owner < 0, -1, np.searchsorted(present, owner)) if present else owner


def canonical(segments):
  """The same partition by numbers in the order of first appearance."""
  seen = {-1: -1}
  return np.array([seen.setdefault(int(value), len(seen) - 1) for value in np.ravel(segments)])


@pytest.mark.parametrize('smallest', [0, 2, 6, 20, 1000])
@pytest.mark.parametrize('seed', range(3))
def test_segments_are_those_of_the_naive_rule(seed, smallest):
  embedding, clusters, regions = example(seed)
  limits = [smallest, smallest // 2]
  segments = align_segments(embedding, clusters, regions, limits).numpy()
  assert segments.dtype == np.int32
  for image in range(2):
    np.testing.assert_array_equal(
        segments[image],
        naive_alignment(embedding[image], clusters[image], regions[image], limits[image]))


@pytest.mark.parametrize('mode', ['graph', 'jit'])
def test_graphs_of_any_size_and_compiled_ones_equal_eager(mode):
  embedding, clusters, regions = example(7, batch=3)
  arguments = [tf.constant(value) for value in (embedding, clusters, regions, [5, 3, 50])]
  # Without sizes the borders are found; with them all stay in their places.
  signature = None if mode == 'jit' else [
      tf.TensorSpec([None] * 4), *[tf.TensorSpec([None] * 3, tf.int32)] * 2,
      tf.TensorSpec([None], tf.int32)]
  function = tf.function(align_segments, input_signature=signature, jit_compile=mode == 'jit')
  np.testing.assert_array_equal(function(*arguments), align_segments(*arguments))
  assert function.experimental_get_tracing_count() == 1
  if mode == 'jit':
    assert function.get_concrete_function(*arguments).outputs[0].shape == clusters.shape


def assert_borders_are_kept(segments, clusters, regions, smallest):
  """Of what a segment holds of other regions than one, every part is a whole small one."""
  for segment in range(segments.max() + 1):
    inside = segments == segment
    foreign = []
    for region in np.unique(regions[inside]):
      parts, _ = ndimage.label((regions == region) & (clusters >= 0))
      for part in np.unique(parts[inside & (regions == region)]):
        whole = parts == part
        if not inside[whole].all() or whole.sum() >= smallest:
          foreign.append(region)
    assert len(set(foreign)) <= 1


@pytest.mark.parametrize('seed', range(5))
def test_laws(seed):
  embedding, clusters, regions = example(seed, batch=1, height=13, width=12, clusters=5)
  smallest = 4 + 3 * seed
  segments = align_segments(embedding, clusters, regions, [smallest]).numpy()[0]
  clusters, regions = clusters[0], regions[0]
  np.testing.assert_array_equal(segments < 0, clusters < 0)
  present = np.unique(segments[segments >= 0])
  np.testing.assert_array_equal(present, range(len(present)))  # no gaps
  pieces = align_segments(embedding, clusters[None], regions[None], [0]).numpy()[0]
  sizes = np.bincount(pieces[pieces >= 0])
  for segment in present:
    members = np.unique(pieces[segments == segment])
    assert np.isin(pieces, members).sum() == np.sum(segments == segment)  # pieces stay whole
    assert np.sum(sizes[members] >= smallest) <= 1  # and large ones apart
  assert_borders_are_kept(segments, clusters, regions, smallest)
  small = np.bincount(segments[segments >= 0]) < smallest
  assert small.sum() < len(present)
  for a, b in sides(segments):
    assert a == b or min(a, b) < 0 or not (small[a] or small[b])


def test_ids_may_be_any_and_their_order_is_of_no_matter():
  embedding, clusters, regions = example(2, batch=3)
  rng = np.random.default_rng(0)
  limits = [6, 6, 6]
  expected = align_segments(embedding, clusters, regions, limits).numpy()
  new = rng.choice(10 ** 6, 10, replace=False).astype(np.int32)
  other = align_segments(
      embedding, np.where(clusters < 0, -7, new[clusters]),
      np.where(regions < 0, -7, new[::-1][regions]), limits).numpy()
  assert np.any(other != expected)
  for image in range(3):
    np.testing.assert_array_equal(canonical(other[image]), canonical(expected[image]))


def test_without_small_pieces_segments_are_the_pairs_of_cluster_and_region():
  embedding, clusters, regions = example(1)
  segments = align_segments(embedding, clusters, regions, [1, 0]).numpy()
  for image in range(2):
    pairs = np.where(clusters[image] < 0, -1, clusters[image] * 5 + regions[image] + 1)
    np.testing.assert_array_equal(canonical(segments[image]), canonical(pairs))


@pytest.mark.parametrize('region', [0, -1])
def test_one_region_leaves_the_clusters(region):
  embedding, clusters, _ = example(3)
  regions = np.full_like(clusters, region)
  segments = align_segments(embedding, clusters, regions, [1, 1]).numpy()
  np.testing.assert_array_equal(segments, clusters)  # all four occur


def row(*columns):
  """A map of one row."""
  return np.array(columns, np.int32)[None, None]


def directions(*degrees):
  """Embeddings of one row in the plane."""
  angle = np.deg2rad(np.array(degrees))[None, None]
  return np.stack([np.cos(angle), np.sin(angle)], -1).astype(np.float32)


def aligned(embedding, clusters, regions, smallest):
  return align_segments(embedding, clusters, regions, [smallest]).numpy().ravel().tolist()


def test_the_own_region_comes_before_similarity():
  # The middle pixel equals the right side, but is of the left side's region.
  arguments = directions(0, 0, 90, 90, 90), row(0, 0, 1, 1, 1), row(0, 0, 0, 1, 1)
  assert aligned(*arguments, 2) == [0, 0, 0, 1, 1]
  # As a whole region it may join the more similar side.
  arguments = directions(0, 0, 80, 90, 90), row(0, 0, 1, 1, 1), row(0, 0, 2, 1, 1)
  assert aligned(*arguments, 2) == [0, 0, 1, 1, 1]


def test_a_small_region_is_joined_in_itself_before_it_joins_another():
  arguments = (
      directions(0, 0, 0, 60, 90, 90, 90), row(0, 0, 0, 1, 2, 2, 2), row(0, 0, 1, 1, 1, 2, 2))
  assert aligned(*arguments, 2) == [0, 0, 1, 1, 1, 2, 2]
  # Of 60 degrees in the mean of 0, 60 and 90, it is nearer to 90 than to 0.
  assert aligned(*arguments, 4) == [0] * 7  # the other regions are small as well
  larger = [np.concatenate([part[:, :, :1]] * 3 + [part] + [part[:, :, -1:]] * 3, axis=2)
            for part in arguments]
  assert aligned(*larger, 4) == [0] * 5 + [1] * 8


def test_chains_end_in_the_large_piece():
  # Angles lie closer and closer together: each pixel's best neighbour is the next one.
  degrees = [0, 40, 70, 90, 105, 115, 120, 120, 120]
  arguments = directions(*degrees), row(*range(7), 6, 6), row(*[0] * 9)
  assert aligned(*arguments, 3) == [0] * 9
  # Two halves that lead away from each other.
  degrees = [120, 120, 120, 115, 105, 90, 50, 35, 25, 20, 20, 20]
  arguments = directions(*degrees), row(0, 0, *range(1, 9), 8, 8), row(*[0] * 12)
  assert aligned(*arguments, 2) == [0] * 6 + [1] * 6


def test_equal_neighbours_are_taken_in_order():
  # Both sides are as similar; and two small ones that choose each other become one.
  assert aligned(directions(30, 30, 0, -30, -30), row(0, 0, 1, 2, 2), row(*[0] * 5), 2) == [
      0, 0, 0, 1, 1]
  assert aligned(directions(30, 30, 0, -30, -30), row(2, 2, 1, 0, 0), row(*[0] * 5), 2) == [
      1, 1, 0, 0, 0]
  assert aligned(directions(0, 0, 0, 0), row(3, 2, 1, 0), row(*[0] * 4), 2) == [0, 0, 0, 0]


def test_what_has_no_neighbour_stays_small():
  arguments = directions(0, 0, 0, 0, 0), row(0, -1, 1, 1, 1), row(0, 0, 0, 0, 0)
  assert aligned(*arguments, 3) == [0, -1, 1, 1, 1]


@pytest.mark.parametrize('signature', [None, [
    tf.TensorSpec([None] * 4), *[tf.TensorSpec([None] * 3, tf.int32)] * 2,
    tf.TensorSpec([None], tf.int32)]])
def test_images_without_a_counted_pixel(signature):
  function = tf.function(align_segments, input_signature=signature)
  arguments = directions(0, 0), row(-1, -1), row(0, 0)
  np.testing.assert_array_equal(function(*arguments, [5]), row(-1, -1))


def test_pieces_without_direction_join_too():
  # Opposite pixels cancel; the cosine to their piece is 0, better than that to an opposite one.
  arguments = directions(180, 180, 0, 0, 180), row(0, 0, 1, 2, 2), row(*[0] * 5)
  assert aligned(*arguments, 2) == [0, 0, 1, 1, 1]


def test_the_smallest_piece_is_a_share_of_the_mean_cluster():
  clusters = np.array([[[0, 0, 0, 0], [2, 2, 2, 2]], [[1, 1, 1, -1], [-1] * 4], [[-1] * 4] * 2])
  assert smallest_piece(clusters.astype(np.int32), 3, 0.3).numpy().tolist() == [2, 1, 0]
  assert smallest_piece(clusters.astype(np.int32), 3, 0.0).numpy().tolist() == [0, 0, 0]
