"""Scores of hierarchies and of masks against several human segmentations an image (BSDS)."""

import pathlib

import numpy as np
from scipy import io

from utils import boundary_scores, images, region_scores, ucm


def thresholds_of(count):
  """`count` thresholds evenly between 0 and 1, without them: 99 are 0.01 .. 0.99, as in BSDS."""
  if count < 1:
    raise ValueError(f'--thresholds {count}: must be 1 or more')
  return tuple((np.arange(count) + 1) / (count + 1))


def read_truth(path):
  """The human segmentations in a file of BSDS.

  Args:
    path: .mat file with a cell array `groundTruth` of structs with `Segmentation`, `Boundaries`.

  Returns:
    List of (int64 [height, width] ids 0.., bool [height, width] boundaries), one for each person.

  Raises:
    ValueError: it is no such file; names it.
  """
  try:
    cells = io.loadmat(path)['groundTruth'].ravel()
    pairs = [(cell['Segmentation'][0, 0], cell['Boundaries'][0, 0]) for cell in cells]
  except FileNotFoundError:
    raise
  except Exception as error:  # scipy raises whatever a damaged file leads it to
    raise ValueError(f'{path}: no ground truth in the layout of BSDS ({error!r}); copy it again'
                     ) from error
  return [(ucm.relabel(regions).astype(np.int64), boundary > 0) for regions, boundary in pairs]


def read_hierarchy(path):
  """The UCM in a .mat (`ucm2`, as of MATLAB's tools) or .npy file; a damaged file is named."""
  path = pathlib.Path(path)
  try:
    if path.suffix == '.npy':
      return ucm.from_picture(np.load(path, allow_pickle=False))
    return ucm.from_picture(io.loadmat(path)['ucm2'])
  except FileNotFoundError:
    raise
  except Exception as error:
    raise ValueError(f'{path}: no UCM ({error!r}); make it with make_oversegmentation.py --save_ucm'
                     ) from error


def find_pairs(truth_dir, directory, kind):
  """The files to compare: {name: (ground truth, 'ucm' or 'masks' file)}, by ground truth.

  Raises:
    FileNotFoundError: there is no ground truth, or some has no file to compare; lists them.
  """
  truths = sorted(pathlib.Path(truth_dir).glob('*.mat'))
  if not truths:
    raise FileNotFoundError(f'{truth_dir}: no files <id>.mat (--ground_truth)')
  endings = ('.mat', '.npy') if kind == 'ucm' else ('.png',)
  pairs, missing = {}, []
  for truth in truths:
    paths = [pathlib.Path(directory) / f'{truth.stem}{ending}' for ending in endings]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
      missing.append(str(paths[0]))
    pairs[truth.stem] = truth, found
  if missing:
    raise FileNotFoundError(f'{len(missing)} of {len(truths)} images are missing (--{kind}):\n  '
                            + '\n  '.join(missing))
  return pairs


def score_ucm_file(pair, thresholds):
  """`score_hierarchy` of (ground truth's path, UCM's path)."""
  truths, hierarchy = read_truth(pair[0]), read_hierarchy(pair[1])
  _check_size(pair, truths, hierarchy.superpixels.shape)
  return score_hierarchy(hierarchy, truths, thresholds)


def score_mask_file(pair):
  """`score_mask` of (ground truth's path, mask's path)."""
  truths, mask = read_truth(pair[0]), images.read_mask(pair[1])
  _check_size(pair, truths, mask.shape)
  return score_mask(mask, truths)


def _check_size(pair, truths, shape):
  if shape != truths[0][0].shape:
    raise ValueError(f'{pair[1]} is of {shape[0]} x {shape[1]} pixels, but {pair[0]} of '
                     f'{" x ".join(map(str, truths[0][0].shape))}: make it from the image itself')


def score_regions(counts):
  """Scores of one segmentation against each person's.

  Args:
    counts: list of int [regions, true regions], of `region_scores.overlaps`.

  Returns:
    Best overlap of each true region (list of float64 [true regions], all people's), Rand index and
    variation of information, means over people.
  """
  return ([region_scores.best_overlaps(each) for each in counts],
          float(np.mean([region_scores.rand_index(each) for each in counts])),
          float(np.mean([region_scores.variation_of_information(each) for each in counts])))


def score_hierarchy(hierarchy, truths, thresholds):
  """Scores a hierarchy at each threshold.

  Args:
    hierarchy: `ucm.Ucm`.
    truths: of `read_truth`.
    thresholds: increasing.

  Returns:
    Dict of float64 arrays [thresholds]: 'covering' (mean over pixels and people), 'rand_index',
    'variation_of_information', 'regions'; 'boundary' [thresholds, 4] of `boundary_counts`; and
    the float 'covering_best' (each true region by the best region of any threshold).
  """
  superpixels = [region_scores.overlaps(hierarchy.superpixels, regions) for regions, _ in truths]
  area = np.concatenate([each.sum(0) for each in superpixels])
  outlines = [boundary_scores.thin(boundary) for _, boundary in truths]
  crossings = hierarchy.picture()[2::2, 2::2]
  radius = boundary_scores.tolerance(crossings.shape)
  result = {key: [] for key in (
      'covering', 'rand_index', 'variation_of_information', 'regions', 'boundary')}
  best, last = np.zeros(len(area)), None
  for threshold in thresholds:
    groups = hierarchy.groups(threshold)
    count = int(groups.max()) + 1
    if count != last:  # otherwise nothing has merged since the last threshold
      counts = [_joined_rows(each, groups, count) for each in superpixels]
      overlap, rand, variation = score_regions(counts)
      overlap = np.concatenate(overlap)
      best = np.maximum(best, overlap)
      boundary = boundary_scores.thin(crossings > threshold)
      values = (float(overlap @ area / area.sum()), rand, variation, count,
                boundary_scores.boundary_counts(boundary, outlines, radius))
      last = count
    for key, value in zip(result, values, strict=True):
      result[key].append(value)
  return {**{key: np.asarray(value, np.float64) for key, value in result.items()},
          'covering_best': float(best @ area / area.sum())}


def score_mask(mask, truths):
  """Scores one segmentation: a dict of floats, and 'boundary' counts, int64 [4].

  Args:
    mask: int [height, width], ids 0.. .
    truths: of `read_truth`.
  """
  mask = ucm.relabel(mask)
  counts = [region_scores.overlaps(mask, regions) for regions, _ in truths]
  overlap, rand, variation = score_regions(counts)
  area = np.concatenate([each.sum(0) for each in counts])
  edge = np.zeros(mask.shape, bool)
  edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
  edge[:-1] |= mask[:-1] != mask[1:]
  boundary = boundary_scores.boundary_counts(
      boundary_scores.thin(edge), [boundary_scores.thin(each) for _, each in truths],
      boundary_scores.tolerance(mask.shape))
  return {'covering': float(np.concatenate(overlap) @ area / area.sum()), 'rand_index': rand,
          'variation_of_information': variation, 'regions': int(mask.max()) + 1,
          'boundary': boundary}


def summarize_masks(scores):
  """Means over images, and each image's own numbers, of {name: `score_mask`'s result}."""
  keys = 'covering', 'rand_index', 'variation_of_information', 'regions'
  total = {key: float(np.mean([each[key] for each in scores.values()])) for key in keys}
  total['boundary'] = _f(sum(each['boundary'] for each in scores.values()))
  return {'images': len(scores), **total, 'per_image': {
      name: {**{key: each[key] for key in keys}, 'boundary': _f(each['boundary'])}
      for name, each in scores.items()}}


def summarize_hierarchies(scores, thresholds):
  """Scores at the best common threshold (ODS) and at each image's best one (OIS).

  Args:
    scores: {name: `score_hierarchy`'s result}.
    thresholds: those that they were made with.

  Returns:
    Dict for JSON: 'covering', 'rand_index', 'variation_of_information' and 'boundary', each with
    'ods', 'ods_threshold' and 'ois' (covering with 'best' too), and 'per_image'.
  """
  results = list(scores.values())
  report = {'images': len(results)}
  choose = {'covering': np.argmax, 'rand_index': np.argmax, 'variation_of_information': np.argmin}
  for key, best in choose.items():
    values = np.stack([each[key] for each in results])
    common = int(best(values.mean(0)))
    own = values[np.arange(len(values)), best(values, axis=1)]
    report[key] = {'ods': float(values[:, common].mean()),
                   'ods_threshold': float(thresholds[common]), 'ois': float(own.mean())}
  report['covering']['best'] = float(np.mean([each['covering_best'] for each in results]))
  counts = np.stack([each['boundary'] for each in results])  # [images, thresholds, 4]
  scored = boundary_scores.precision_recall_f(counts)
  common = int(boundary_scores.precision_recall_f(counts.sum(0))[:, 2].argmax())
  own = scored[..., 2].argmax(1)
  report['boundary'] = {
      'ods': _f(counts[:, common].sum(0)), 'ods_threshold': float(thresholds[common]),
      'ois': _f(counts[np.arange(len(counts)), own].sum(0))}
  covering = int(np.argmax(np.mean([each['covering'] for each in results], axis=0)))
  report['per_image'] = {
      name: {'covering_ods': float(each['covering'][covering]),
             'covering_ois': float(each['covering'].max()),
             'covering_best': each['covering_best'],
             'regions_ods': int(each['regions'][covering]),
             'rand_index_ois': float(each['rand_index'].max()),
             'variation_of_information_ois': float(each['variation_of_information'].min()),
             'boundary_ods': _f(each['boundary'][common]),
             'boundary_ois': _f(each['boundary'][own[index]])}
      for index, (name, each) in enumerate(scores.items())}
  return report


def _f(counts):
  precision, recall, score = boundary_scores.precision_recall_f(counts).tolist()
  return {'precision': precision, 'recall': recall, 'f': score}


def _joined_rows(counts, groups, count):
  """Sums rows of [superpixels, true regions] into those of their groups."""
  joined = np.zeros((count, counts.shape[1]), np.int64)
  np.add.at(joined, groups, counts)
  return joined
