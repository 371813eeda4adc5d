import numpy as np
import pytest
from scipy import ndimage

from utils.boundary_f import BoundaryF
from utils.metrics import NO_CLASS

NAN = float('nan')


def scored(truth, prediction, tolerance, num_classes=2):
  """Precision, recall and F of each class of one image."""
  metric = BoundaryF(num_classes, 255, tolerance)
  metric.update(np.array(truth), np.array(prediction))
  return metric.scores[0]


def columns(*labels, height=6):
  return np.repeat([labels], height, axis=0)


def naive(truth, prediction, radius, num_classes):
  """Pixel by pixel; only which of equally near labelled pixels an ignored one takes is SciPy's."""
  ignored = truth == 255
  depth, nearest = ndimage.distance_transform_edt(ignored, return_indices=True)
  truth, prediction = truth[tuple(nearest)], prediction[tuple(nearest)]

  def boundary(labels, index):
    points = []
    for (y, x), label in np.ndenumerate(labels):
      around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
      if label == index and any(
          0 <= v < labels.shape[0] and 0 <= u < labels.shape[1] and labels[v, u] != index
          for v, u in around):
        points.append((y, x))
    return points

  def judged(points):
    return [point for point in points if not ignored[point] or depth[point] < radius]

  def share(points, others):
    near = [any(np.hypot(y - v, x - u) < radius for v, u in others) for y, x in judged(points)]
    return sum(near) / len(near) if near else NAN

  rows = []
  for index in range(num_classes):
    ours, theirs = boundary(prediction, index), boundary(truth, index)
    precision, recall = share(ours, theirs), share(theirs, ours)
    both = precision + recall
    if not (judged(ours) or judged(theirs)):
      score = NAN
    else:
      score = 2 * precision * recall / both if both > 0 else 0  # a NaN is not above 0
    rows.append((precision, recall, score))
  return rows


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('radius', [0.5, 1.001, 2.3])
@pytest.mark.parametrize('ignored', [0, 0.4])
def test_agrees_with_the_definition(seed, radius, ignored):
  rng = np.random.default_rng(seed)
  truth, prediction = (
      np.kron(rng.choice([0, 1, 2, 3], (4, 5), p=(0.6, 0.3, 0.1, 0)), np.ones((3, 3), int))
      for _ in range(2))
  prediction[rng.random(prediction.shape) < 0.05] = 3
  truth[ndimage.uniform_filter(rng.random(truth.shape), 3) < ignored] = 255
  assert (truth == 255).any() == (ignored > 0)
  got = scored(truth, prediction, radius / np.hypot(*truth.shape), 5)
  np.testing.assert_allclose(got, naive(truth, prediction, radius, 5), rtol=1e-12)
  assert np.isnan(got[4]).all() and not np.isnan(got[0, 2])


def test_a_shift_by_one_pixel_and_the_tolerance():
  """The diagonal of 6 x 8 is 10 pixels; a match is nearer than the tolerance, not at it."""
  truth, shifted = columns(0, 0, 0, 0, 1, 1, 1, 1), columns(0, 0, 0, 0, 0, 1, 1, 1)
  assert scored(truth, shifted, 0.101).tolist() == [[1, 1, 1], [1, 1, 1]]
  assert scored(truth, shifted, 0.1).tolist() == [[0, 0, 0], [0, 0, 0]]
  assert scored(truth, truth, 0.0075).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_a_boundary_too_many_by_hand():
  """Class 0 has its true boundary and two false ones, class 1 a true and a false one at a stripe.

  The predicted boundary columns of class 0 are 1, 3 and 6, of class 1 they are 2, 4 (wrong) and 5.
  """
  truth = columns(0, 0, 1, 1, 1, 1, 1, 1)
  prediction = columns(0, 0, 1, 0, 1, 1, 0, 0)
  got = scored(truth, prediction, 0.01)
  np.testing.assert_allclose(got, [[1 / 3, 1, 1 / 2], [1 / 3, 1, 1 / 2]])


def test_the_frame_is_no_boundary():
  assert np.isnan(scored(np.zeros((5, 5), int), np.zeros((5, 5), int), 0.1)).all()
  assert np.isnan(scored(np.zeros((5, 5), int), np.ones((5, 5), int), 0.1)).all()


def test_a_class_on_one_side_only():
  one, two = columns(0, 0, 0, 0), columns(0, 0, 1, 1)
  np.testing.assert_array_equal(scored(one, two, 0.1), [[0, NAN, 0], [0, NAN, 0]])
  np.testing.assert_array_equal(scored(two, one, 0.1), [[NAN, 0, 0], [NAN, 0, 0]])
  np.testing.assert_array_equal(
      scored(two, np.where(two == 1, NO_CLASS, 0), 0.1), [[1, 1, 1], [NAN, 0, 0]])


def test_what_is_predicted_in_ignored_pixels_plays_no_part():
  rng = np.random.default_rng(0)
  truth = np.kron(rng.integers(0, 3, (4, 5)), np.ones((4, 4), int))
  prediction = np.roll(truth, (1, 2), (0, 1))
  truth[3:9, 5:12] = 255
  expected = scored(truth, prediction, 0.06, 3)
  assert 0 < np.nanmean(expected) < 1
  for _ in range(5):
    prediction[3:9, 5:12] = rng.integers(0, 300, (6, 7))
    np.testing.assert_array_equal(scored(truth, prediction, 0.06, 3), expected)


def test_contours_drawn_with_the_ignore_label():
  """As in VOC: right up to the contour is right, and a missed object is a missed boundary."""
  truth = np.zeros((20, 20), int)
  truth[5:15, 5:15] = 255
  truth[7:13, 7:13] = 1
  right = np.zeros((20, 20), int)
  right[7:13, 7:13] = 1
  for prediction in (right, np.where(truth == 0, 0, 1)):
    assert scored(truth, prediction, 0.1).tolist() == [[1, 1, 1], [1, 1, 1]]
  np.testing.assert_array_equal(
      scored(truth, np.zeros((20, 20), int), 0.1), [[NAN, 0, 0], [NAN, 0, 0]])


def test_boundaries_deep_in_ignored_pixels_are_not_judged():
  truth = columns(*[0] * 5, *[255] * 20, *[1] * 5, height=40)  # the diagonal is 50 pixels
  right, moved = columns(*[0] * 15, *[1] * 15, height=40), columns(*[0] * 26, *[1] * 4, height=40)
  for tolerance in (0.04, 0.2):  # the middle is 10 pixels deep
    assert np.isnan(scored(truth, right, tolerance)).all()
  np.testing.assert_array_equal(scored(truth, moved, 0.04), [[0, NAN, 0], [0, NAN, 0]])
  assert scored(truth, right, 0.4).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_means_are_over_classes_then_images():
  metric = BoundaryF(3, 255, 0.01)
  for truth, prediction in [
      (columns(0, 0, 1, 1), columns(0, 0, 1, 1)),
      (columns(0, 0, 1, 1), columns(0, 0, 2, 2)),
      (columns(0, 0, 0, 0), columns(0, 0, 0, 0)),
      (columns(255, 255, 255, 255), columns(0, 1, 2, 3))]:
    metric.update(truth, prediction)
  np.testing.assert_array_equal(metric.image_scores(), [
      [1, 1, 1], [1 / 2, 1 / 2, 1 / 3], [NAN, NAN, NAN], [NAN, NAN, NAN]])
  np.testing.assert_array_equal(metric.class_scores(), [[1, 1, 1], [1, 1 / 2, 1 / 2], [0, NAN, 0]])
  assert metric.mean() == pytest.approx((3 / 4, 3 / 4, 2 / 3))


def test_no_image_or_no_boundary_is_nan():
  metric = BoundaryF(2)
  assert np.isnan(metric.mean()).all() and metric.image_scores().shape == (0, 3)
  metric.update(np.zeros((4, 4), int), np.zeros((4, 4), int))
  assert np.isnan(metric.mean()).all()


@pytest.mark.parametrize('truth,prediction,message', [
    ([[0, 2]], [[0, 0]], r'truth holds labels \[2\]'),
    ([[0, 1]], [[0, 5]], r'prediction holds labels \[5\]'),
    ([[0, 1]], [[0], [1]], 'differ in shape')])
def test_faulty_pairs(truth, prediction, message):
  with pytest.raises(ValueError, match=message):
    scored(truth, prediction, 0.1)
