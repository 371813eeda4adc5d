import numpy as np
import pytest

from seg_models import scoring
from seg_models.datasets import dataset_for
from seg_models.evaluation import Pair
from utils import images
from utils.boundary_bands import BoundaryBands
from utils.boundary_f import BoundaryF
from utils.metrics import ConfusionMatrix

DATASET = dataset_for(None, 3)


@pytest.fixture
def maps(tmp_path):
  """Two images: pairs of files, truths, predictions of classes."""
  rng = np.random.default_rng(0)
  truths = [np.kron(rng.choice([0, 1, 2, 255], (4, 5)), np.ones((4, 4), int)) for _ in range(2)]
  predictions = [np.where(rng.random(truth.shape) < 0.2, 1, np.minimum(np.roll(truth, 1), 2))
                 for truth in truths]
  return write(tmp_path / 'classes', truths, predictions), truths, predictions


def write(directory, truths, predictions):
  pairs = []
  for index, (truth, prediction) in enumerate(zip(truths, predictions, strict=True)):
    pairs.append(Pair(str(directory / f'{index}p.png'), str(directory / f'{index}t.png')))
    images.write_png(pairs[-1].prediction, prediction.astype(np.uint16))
    images.write_png(pairs[-1].truth, truth.astype(np.uint8))
  return pairs


def expected(truths, predictions):
  metrics = ConfusionMatrix(3), BoundaryBands(3, 255, (1, 2)), BoundaryF(3)
  for metric in metrics:
    for truth, prediction in zip(truths, predictions, strict=True):
      metric.update(truth, prediction)
  return metrics


def test_scores_of_classes(maps):
  pairs, truths, predictions = maps
  matrix, bands, boundary_f = expected(truths, predictions)
  scores = scoring.score(pairs, DATASET, (1, 2))
  np.testing.assert_array_equal(scores.matrix.counts, matrix.counts)
  report = scores.as_dict()
  assert report['mean_iou'] == matrix.mean_iou() and 'hungarian' not in report
  assert [band['mean_iou'] for band in report['boundary']['bands']] == [
      each.mean_iou() for each in bands.matrices]
  assert report['boundary']['f'] == boundary_f.mean()[2]
  assert any('boundary F' in line for line in scores.lines())
  assert 'boundary' not in scoring.score(pairs, DATASET).as_dict()


def test_clusters_score_like_the_classes_that_they_are(maps, tmp_path):
  """Ids of 16 bits: bands and F are of the matched classes."""
  _, truths, predictions = maps
  pairs = write(tmp_path / 'ids', truths, [np.array([700, 2, 300])[each] for each in predictions])
  matrix, bands, boundary_f = expected(truths, predictions)
  scores = scoring.score(pairs, DATASET, (1, 2), hungarian=True)
  np.testing.assert_array_equal(scores.matrix.counts, matrix.counts)
  for one, other in zip(scores.boundary[0].matrices, bands.matrices, strict=True):
    np.testing.assert_array_equal(one.counts, other.counts)
  assert scores.boundary[1].mean() == boundary_f.mean()
  report = scores.as_dict()
  assert [(each['cluster'], each['class']) for each in report['hungarian']['matching']] == [
      (2, 1), (300, 2), (700, 0)]
  assert report['hungarian']['clusters'] == 701
  assert report['mean_iou'] == matrix.mean_iou()
  assert any('Hungarian' in line for line in scores.lines())


@pytest.mark.parametrize('many_to_one', [False, True])
def test_clusters_left_over(maps, tmp_path, many_to_one):
  """Class 0 in two clusters: one to one the smaller has no class, near boundaries too."""
  _, truths, _ = maps
  ids = []
  for truth in truths:
    ids.append(np.where(truth == 255, 0, truth))
    ids[-1][:, 12:] = np.where(ids[-1][:, 12:] == 0, 3, ids[-1][:, 12:])
  pairs = write(tmp_path / 'four', truths, ids)
  scores = scoring.score(pairs, DATASET, (1,), True, many_to_one, num_clusters=4)
  lost = sum(((truth == 0) & (each == 3)).sum() for truth, each in zip(truths, ids, strict=True))
  kept = sum(((truth == 0) & (each == 0)).sum() for truth, each in zip(truths, ids, strict=True))
  assert 0 < lost < kept
  assert scores.matrix.unassigned.tolist() == [0 if many_to_one else lost, 0, 0]
  assert (scores.matrix.mean_iou() == 1) == many_to_one
  assert (scores.boundary[0].matrices[0].mean_iou() == 1) == many_to_one
  assert (scores.boundary[1].mean()[2] == 1) == many_to_one


def test_faults_name_the_files(maps, tmp_path):
  pairs, truths, predictions = maps
  with pytest.raises(ValueError, match=r'0p\.png against .*0t\.png.*clusters 0 to 1'):
    scoring.score(pairs, DATASET, hungarian=True, num_clusters=2)
  with pytest.raises(ValueError, match='increasing'):
    scoring.score(pairs, DATASET, (3, 1))
  empty = write(tmp_path / 'empty', [np.full((3, 4), 255)], [np.zeros((3, 4))])
  for hungarian in (False, True):
    with pytest.raises(ValueError, match='none of the 1 masks has a pixel that counts'):
      scoring.score(empty, DATASET, (1,), hungarian)
