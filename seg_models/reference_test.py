import numpy as np
import pytest

from seg_models import reference
from utils.shared_data import shared


def unit(x):
  with np.errstate(invalid='ignore'):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def sums(vectors, labels, count):
  total = np.zeros([count, vectors.shape[1]])
  np.add.at(total, labels, vectors)
  return total


def kmeans(features, labels, count):
  for _ in range(10):
    similarity = features @ unit(sums(features, labels, count)).T
    labels = np.where(np.isnan(similarity), -np.inf, similarity).argmax(axis=1)
  return labels


def original_case(seed=0, batch=2, height=9, width=7, dim=5, banks=(4, 6, 3)):
  """A file of another size, made by the original's formulas in float64; cluster 3 is empty."""
  rng = np.random.default_rng(seed)
  shape = [batch, height, width]
  grid = np.repeat([[0, 1, 2, 4]], [3, 2, 1, 1], axis=1)
  rows, columns = np.arange(height) / height, np.arange(width) / width
  location = np.stack(np.meshgrid(rows, columns, indexing='ij'), axis=-1)
  arrays = {
      'embedding': rng.standard_normal([*shape, dim]).astype(np.float32),
      'semantic_labels': rng.choice([0, 1, 2, 6, 255], [*shape, 1]).astype(np.int32),
      'initial_cluster_labels': np.broadcast_to(grid[..., None], [*shape, 1]).astype(np.int32),
      'location_features': np.broadcast_to(location, [*shape, 2]).astype(np.float32),
      'oversegmentation': rng.integers(0, 4, [*shape, 1]).astype(np.int32),
      'bank_features': unit(rng.standard_normal([30, dim])).astype(np.float32),
      'bank_labels': rng.integers(0, 3, 30).astype(np.int32)}
  for number, size in enumerate(banks):
    arrays[f'memory_{number}'] = rng.standard_normal([size, dim]).astype(np.float32)
    arrays[f'memory_labels_{number}'] = rng.integers(0, 3, size).astype(np.int32)

  embedding = unit(arrays['embedding'].astype(np.float64)).reshape([batch, -1, dim])
  places = arrays['location_features'].reshape([batch, -1, 2])
  features = unit(np.concatenate([embedding, places], axis=-1))
  labels = arrays['semantic_labels'].reshape([batch, -1])
  initial = arrays['initial_cluster_labels'].reshape([batch, -1])
  pixels, own, members, classes = [], [], [], []
  for image in range(batch):
    valid = labels[image] != 255
    clusters = kmeans(features[image][valid], initial[image][valid], 5)
    keys, inverse = np.unique(labels[image][valid] + 256 * clusters, return_inverse=True)
    own.append(inverse + sum(map(len, members)))
    pixels.append(embedding[image][valid])
    members.append(unit(sums(embedding[image][valid], inverse, len(keys))))
    classes.append(keys % 256)
    if image == 0:
      kept, kept_labels = embedding[0][valid], labels[0][valid]
      order = list(dict.fromkeys(clusters))
      majority = [np.bincount(kept_labels[clusters == c]).argmax() for c in order]
      arrays['trained_prototypes'] = np.array([
          unit(kept[(clusters == c) & (kept_labels == y)].sum(axis=0))
          for c, y in zip(order, majority, strict=True)]).astype(np.float32)
      arrays['trained_prototype_labels'] = np.array(majority)
  pixels, own = np.concatenate(pixels), np.concatenate(own)
  members, classes = np.concatenate(members), np.concatenate(classes)

  def supervised(members, classes):
    similarity = np.exp(10 * pixels @ members.T)
    same = classes[own][:, None] == classes
    itself = similarity[np.arange(len(own)), own]
    positive = (similarity * same).sum(axis=1) - itself
    positive = np.where(same.sum(axis=1) > 1, positive, itself)
    return np.float32(-np.log(positive / (positive + (similarity * ~same).sum(axis=1))).mean())

  arrays['supervised_loss'] = supervised(members, classes)
  arrays['supervised_loss_with_memory'] = supervised(
      np.concatenate([members] + [unit(arrays[f'memory_{i}']) for i in range(len(banks))]),
      np.concatenate([classes] + [arrays[f'memory_labels_{i}'] for i in range(len(banks))]))

  segments = arrays['oversegmentation'].reshape([batch, -1]) + 256 * np.arange(batch)[:, None]
  _, segments = np.unique(segments, return_inverse=True)
  segments = segments.ravel()
  everything = embedding.reshape([-1, dim])
  logits = 10 * everything @ unit(sums(everything, segments, segments.max() + 1)).T
  arrays['unsupervised_loss'] = np.float32(
      (np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(segments)), segments]).mean())

  clusters = kmeans(features[0], initial[0], 5)
  prototypes = unit(sums(embedding[0], clusters, 5))
  nearest = np.argsort(-prototypes @ arrays['bank_features'].T, axis=1, kind='stable')
  arrays['inference_cluster_labels'] = clusters.reshape([1, height, width])
  arrays['inference_prototypes'] = prototypes.astype(np.float32)
  for k in (1, 3, 30):
    votes = np.array([np.bincount(arrays['bank_labels'][row[:k]]).argmax() for row in nearest])
    arrays[f'knn_prediction_k{k}'] = votes[clusters].reshape([1, height, width])
  return arrays


def spoiled(array):
  """The array with one number off by 1e-3 of its scale, or one label by one."""
  array = np.array(array)
  place = np.unravel_index(np.nanargmax(np.abs(array)), array.shape)
  array[place] += 1 if array.dtype.kind in 'iu' else 1e-3 * np.abs(array[place])
  return array


def test_everything_in_the_reference_file_agrees():
  arrays = dict(np.load(shared('reference', 'segsort.npz')))
  comparisons, not_compared = reference.compare_segsort(arrays)
  assert {entry.name for entry in comparisons} == {
      'supervised_loss', 'supervised_grad', 'supervised_loss_with_memory', 'unsupervised_loss',
      'unsupervised_grad', 'inference_cluster_labels', 'inference_prototypes',
      'trained_prototypes', 'trained_prototype_labels', 'knn_prediction_k7'}
  assert not not_compared
  assert [entry for entry in comparisons if not entry.ok] == []


def test_one_wrong_number_is_found_in_every_quantity():
  arrays = dict(np.load(shared('reference', 'segsort.npz')))
  names = {entry.name for entry in reference.compare_segsort(arrays)[0]}
  wrong = {name: spoiled(array) if name in names else array for name, array in arrays.items()}
  comparisons, _ = reference.compare_segsort(wrong)
  assert len(comparisons) == 10
  assert [entry for entry in comparisons if entry.ok] == []


def test_a_file_of_other_sizes_agrees_and_its_wrong_numbers_are_found():
  arrays = original_case()
  assert np.isnan(arrays['inference_prototypes'][3]).all()
  comparisons, not_compared = reference.compare_segsort(arrays)
  assert len(comparisons) == 10 and not not_compared
  assert [entry for entry in comparisons if not entry.ok] == []
  names = {entry.name for entry in comparisons}
  wrong = {name: spoiled(array) if name in names else array for name, array in arrays.items()}
  assert [entry for entry in reference.compare_segsort(wrong)[0] if entry.ok] == []


def test_an_empty_cluster_must_be_empty_on_both_sides():
  arrays = original_case()
  for row, value in ((3, 0.0), (0, np.nan)):
    prototypes = arrays['inference_prototypes'].copy()
    prototypes[row] = value
    (comparison,), _ = reference.compare_segsort({
        name: array for name, array in arrays.items()
        if name in ('embedding', 'initial_cluster_labels', 'location_features')
    } | {'inference_prototypes': prototypes})
    assert not comparison.ok


@pytest.mark.parametrize('missing, lost', [
    (('memory_0', 'memory_1', 'memory_2'), ['supervised_loss_with_memory']),
    (('memory_labels_1',), ['supervised_loss_with_memory']),
    (('oversegmentation',), ['unsupervised_loss']),
    (('bank_labels',), ['knn_prediction_k1', 'knn_prediction_k3', 'knn_prediction_k30'])])
def test_what_lacks_its_inputs_is_listed_with_the_reason(missing, lost):
  arrays = {name: array for name, array in original_case().items() if name not in missing}
  comparisons, not_compared = reference.compare_segsort(arrays)
  assert sorted(not_compared) == lost
  assert all(f'{missing[0]} is not in the file' in reason for reason in not_compared.values())
  assert all(entry.ok for entry in comparisons)


def test_without_an_embedding_nothing_is_compared():
  arrays = original_case()
  del arrays['embedding']
  comparisons, not_compared = reference.compare_segsort(arrays)
  assert comparisons == [] and len(not_compared) == 10


def test_unknown_names_unusable_values_and_large_k_are_listed():
  arrays = original_case() | {
      'boundary_loss': np.zeros(3), 'knn_prediction_k31': np.zeros([1, 9, 7], np.int32)}
  arrays['supervised_loss'] = np.float32('nan')  # what the original gives without a valid pixel
  _, not_compared = reference.compare_segsort(arrays)
  assert not_compared == {
      'boundary_loss': 'not known', 'knn_prediction_k31': 'the bank has only 30 prototypes',
      'supervised_loss': "the original's value is not finite"}


def test_labels_of_several_images_are_compared():
  arrays = original_case()
  alone = {name: array[1:] for name, array in arrays.items()
           if name in ('embedding', 'initial_cluster_labels', 'location_features')}
  second = reference._Case(alone)._clusters(0, False)[1].numpy().reshape([1, 9, 7])
  both = np.concatenate([arrays['inference_cluster_labels'], second])
  (comparison,), _ = reference.compare_segsort(
      {name: arrays[name] for name in alone} | {'inference_cluster_labels': both})
  assert comparison.ok
  both[1, 0, 0] += 1
  (comparison,), _ = reference.compare_segsort(
      {name: arrays[name] for name in alone} | {'inference_cluster_labels': both})
  assert comparison.error == 1
