import dataclasses

import numpy as np
import pytest

from network.segsort.inverted_file import search_cells
from network.segsort.retrieval import nearest_neighbours
from seg_models import bank as banks
from seg_models.bank_index import load_index, make_index, save_index
from seg_models.bank_test import make_bank


def images_bank(images=40, each=50, dim=8, seed=0):
  """Segments of images: around directions that images share, and nearer within an image."""
  rng = np.random.default_rng(seed)
  kinds = np.random.default_rng(9).standard_normal([20, dim])  # the same for all seeds
  image = np.repeat(np.arange(images), each)
  features = kinds[rng.integers(0, 20, len(image))] + rng.standard_normal([images, dim])[image]
  features += 0.2 * rng.standard_normal(features.shape)
  features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
  return banks.Bank(
      features, np.zeros(len(image), np.int32), np.array([f'{i}.jpg' for i in range(images)]),
      image.astype(np.int32))


def search(bank, order, index, queries, k):
  """Places in the bank that the index finds."""
  found = search_cells(
      queries, bank.features[order], index.centres, index.offsets, k, index.probes)[1]
  return order[found]


def recall(found, expected):
  return np.mean([np.isin(*rows).mean() for rows in zip(expected, found, strict=True)])


def test_the_probes_reach_the_recall_on_other_images():
  bank, queries = images_bank(), images_bank(4, seed=1).features
  expected = nearest_neighbours(queries, bank.features, 10)[1].numpy()
  probes = []
  for target in (0.5, 0.9, 0.99):
    index, order = make_index(bank, 10, target, 40)
    assert target <= index.recall
    assert abs(recall(search(bank, order, index, queries, 10), expected) - index.recall) < 0.05
    probes.append(index.probes)
  assert probes == sorted(set(probes)) and probes[-1] < 40


def test_the_recall_is_that_of_searching(monkeypatch):
  """Of all prototypes, each of which alone is left out: found beside itself."""
  monkeypatch.setattr('seg_models.bank_index._QUERIES', 10**6)
  bank = dataclasses.replace(images_bank(6), images=None, image=None)
  index, order = make_index(bank, 4, 0.8, 30)
  expected = nearest_neighbours(bank.features, bank.features, 5)[1].numpy()
  found = search(bank, order, index, bank.features, 5)
  own = np.arange(len(bank))[:, None]
  assert (expected[:, 0] == own[:, 0]).all()
  np.testing.assert_allclose(recall(found, expected[:, 1:]), index.recall, atol=2e-3)


def test_neighbours_of_the_same_image_do_not_count():
  """They are nearer than those of others, and easier to find."""
  bank = images_bank()
  alone = dataclasses.replace(bank, images=None, image=None)
  assert make_index(bank, 10, 0.9, 40)[0].probes > make_index(alone, 10, 0.9, 40)[0].probes


def test_cells_hold_all_prototypes_in_the_order_of_their_places():
  bank = make_bank(200, 4)
  index, order = make_index(bank, 3, 0.9)
  assert len(index.centres) <= 14 and index.offsets.dtype == np.int32
  assert (np.diff(index.offsets) > 0).all() and index.offsets[-1] == 200
  np.testing.assert_array_equal(np.sort(order), np.arange(200))
  nearest = np.argmax(bank.features @ index.centres.T, axis=1)
  for cell, (begin, end) in enumerate(zip(index.offsets, index.offsets[1:], strict=False)):
    assert (nearest[order[begin:end]] == cell).all() and (np.diff(order[begin:end]) > 0).all()


def test_so_many_cells_are_searched_that_there_are_always_k_prototypes():
  bank = make_bank(30, 4)
  index, order = make_index(bank, 20, 0.01, 10)
  smallest = np.sort(np.diff(index.offsets))[:index.probes]
  assert smallest.sum() >= 20 > smallest[:-1].sum()
  found = search(bank, order, index, make_bank(50, 4, seed=1).features, 20)
  assert all(len(set(row)) == 20 for row in found.tolist())


def test_equal_prototypes_are_one_cell():
  bank = make_bank(1, 4)
  bank = banks.Bank(np.repeat(bank.features, 9, 0), np.zeros(9, np.int32))
  index, order = make_index(bank, 2, 1.0, 3)
  assert len(index.centres) == 1 and index.probes == 1 and order.tolist() == list(range(9))


@pytest.mark.parametrize('options, message', [
    (dict(cells=0), '--index_cells 0: choose from 1 to 5'), (dict(cells=6), '--index_cells 6'),
    (dict(k=6), '--k_in_nearest_neighbors 6: the bank has 5'),
    (dict(recall=1.1), '--index_recall 1.1'), (dict(recall=0.0), '--index_recall 0.0')])
def test_values_out_of_range_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    make_index(make_bank(), **{'k': 2, 'recall': 0.9, **options})


@pytest.fixture
def folder(tmp_path):
  bank = make_bank(30, 4)
  banks.save_bank(bank, tmp_path / 'prototypes')
  save_index(make_index(bank, 3, 0.9)[0], tmp_path / 'prototypes', bank.fingerprint())
  return tmp_path


def test_an_index_goes_through_its_file(folder):
  bank = banks.load_bank(folder)
  index, expected = load_index(folder, bank.fingerprint(), 3), make_index(bank, 3, 0.9)[0]
  for field in dataclasses.fields(index):
    one, other = getattr(index, field.name), getattr(expected, field.name)
    np.testing.assert_array_equal(one, other, strict=True)
    assert type(one) is type(other)
  assert index.settings() == {'cells': len(index.centres), 'probes': index.probes}


def test_an_index_that_does_not_fit_is_refused(folder):
  fingerprint = banks.load_bank(folder).fingerprint()
  with pytest.raises(ValueError, match='is of another bank.*convert_bank.py --index'):
    load_index(folder, make_bank().fingerprint(), 3)
  with pytest.raises(ValueError, match='--k_in_nearest_neighbors 4: .* was made for 3 neighbours'):
    load_index(folder, fingerprint, 4)
  path = folder / 'prototypes' / 'prototype_index.npz'
  path.write_bytes(path.read_bytes()[:300])
  with pytest.raises(ValueError, match='prototype_index.npz is damaged'):
    load_index(folder, fingerprint, 3)
  path.unlink()
  with pytest.raises(FileNotFoundError, match='prototype_index.npz is missing.*--search exact'):
    load_index(folder, fingerprint, 3)
