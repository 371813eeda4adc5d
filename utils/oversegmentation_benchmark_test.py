import numpy as np
import pytest
from scipy import io

from utils import images, ucm
from utils import oversegmentation_benchmark as benchmark
from utils.shared_data import shared


def truth_of(regions):
  edge = np.zeros(regions.shape, bool)
  edge[:, :-1] = regions[:, :-1] != regions[:, 1:]
  return regions.astype(np.int64), edge


HALVES = np.repeat(np.arange(40)[None] >= 20, 30, axis=0).astype(np.int64)
THIRDS = np.repeat((np.arange(40) >= 10).astype(int)[None] + (np.arange(40) >= 20), 30, axis=0)
TRUTHS = [truth_of(HALVES)]
# THIRDS' left boundary at .3, the true one at .8.
HIERARCHY = ucm.Ucm(THIRDS.astype(np.int32), np.array([[0, 1], [1, 2]]),
                    np.array([0.3, 0.8], np.float32))


def write_truth(path, truths):
  cells = np.empty((1, len(truths)), object)
  for index, (regions, edge) in enumerate(truths):
    cells[0, index] = {'Segmentation': regions.astype(np.uint16) + 1, 'Boundaries': edge}
  path.parent.mkdir(parents=True, exist_ok=True)
  io.savemat(path, {'groundTruth': cells})


def test_thresholds_are_scored():
  scores = benchmark.score_hierarchy(HIERARCHY, TRUTHS, (0.1, 0.5, 0.9))
  np.testing.assert_allclose(scores['covering'], [0.75, 1, 0.5])
  assert scores['regions'].tolist() == [3, 2, 1]
  assert scores['boundary'].tolist() == [[30, 60, 30, 30], [30, 30, 30, 30], [0, 0, 0, 30]]
  assert scores['covering_best'] == 1
  np.testing.assert_allclose(scores['variation_of_information'], [0.5, 0, 1], atol=1e-12)
  report = benchmark.summarize_hierarchies({'x': scores}, (0.1, 0.5, 0.9))
  assert report['covering'] == {'ods': 1, 'ods_threshold': 0.5, 'ois': 1, 'best': 1}
  assert report['boundary']['ods'] == {'precision': 1, 'recall': 1, 'f': 1}


def test_a_common_threshold_is_no_better_than_each_ones_own():
  weak = ucm.Ucm(HIERARCHY.superpixels, HIERARCHY.pairs, HIERARCHY.strength / 3)
  thresholds = (0.05, 0.2, 0.5, 0.9)
  scores = {name: benchmark.score_hierarchy(each, TRUTHS, thresholds)
            for name, each in (('strong', HIERARCHY), ('weak', weak))}
  report = benchmark.summarize_hierarchies(scores, thresholds)
  # At .2 the weak one is right and the strong one has three regions; at .5 one region and two.
  assert report['covering']['ods'] == pytest.approx((0.75 + 1) / 2)
  assert report['covering']['ois'] == pytest.approx(1)
  assert report['boundary']['ods']['f'] < report['boundary']['ois']['f'] == 1
  assert report['per_image']['strong']['covering_ods'] == pytest.approx(0.75)


def test_masks_are_scored():
  scores = benchmark.score_mask(THIRDS + 5, TRUTHS)
  assert scores['covering'] == pytest.approx(0.75) and scores['regions'] == 3
  report = benchmark.summarize_masks({'x': scores, 'y': benchmark.score_mask(HALVES, TRUTHS)})
  assert report['covering'] == pytest.approx(0.875)
  assert report['boundary'] == {'precision': pytest.approx(60 / 90), 'recall': 1,
                                'f': pytest.approx(0.8)}


def test_files_are_found_read_and_compared(tmp_path):
  write_truth(tmp_path / 'truth/x.mat', [*TRUTHS, truth_of(THIRDS)])
  io.savemat(tmp_path / 'x.mat', {'ucm2': HIERARCHY.picture()})
  images.write_png(tmp_path / 'x.png', HALVES.astype(np.uint8))
  pair = benchmark.find_pairs(tmp_path / 'truth', tmp_path, 'ucm')['x']
  assert benchmark.score_ucm_file(pair, (0.1, 0.5))['covering'][1] == pytest.approx((1 + 0.75) / 2)
  pair = benchmark.find_pairs(tmp_path / 'truth', tmp_path, 'masks')['x']
  assert benchmark.score_mask_file(pair)['covering'] == pytest.approx((1 + 0.75) / 2)
  images.write_png(tmp_path / 'x.png', HALVES[:, 1:].astype(np.uint8))
  with pytest.raises(ValueError, match=r'x.png is of 30 x 39 pixels, but .*x.mat of 30 x 40'):
    benchmark.score_mask_file(pair)


def test_what_is_missing_or_damaged_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match='--ground_truth'):
    benchmark.find_pairs(tmp_path, tmp_path, 'ucm')
  write_truth(tmp_path / 'x.mat', TRUTHS)
  with pytest.raises(FileNotFoundError, match=r'(?s)1 of 1 images .*--masks.*x.png'):
    benchmark.find_pairs(tmp_path, tmp_path, 'masks')
  with pytest.raises(ValueError, match='x.mat: no UCM'):
    benchmark.read_hierarchy(tmp_path / 'x.mat')
  (tmp_path / 'y.mat').write_bytes(b'nothing')
  with pytest.raises(ValueError, match='y.mat: no ground truth'):
    benchmark.read_truth(tmp_path / 'y.mat')


def test_the_ground_truth_of_bsds_is_perfect_against_itself():
  truths = benchmark.read_truth(shared('data/bsds40/groundTruth/100007.mat'))
  assert len(truths) == 5 and truths[0][0].shape == (321, 481)
  scores = benchmark.score_mask(truths[0][0], truths[:1])
  assert scores['covering'] == pytest.approx(1)
  right, drawn, found, true = scores['boundary']
  assert right / drawn > 0.99 and found / true > 0.99


def test_thresholds_are_those_of_bsds():
  assert len(benchmark.thresholds_of(99)) == 99
  np.testing.assert_allclose(benchmark.thresholds_of(99)[::49], [0.01, 0.5, 0.99])
  with pytest.raises(ValueError, match='--thresholds 0'):
    benchmark.thresholds_of(0)
