import dataclasses
import json
import types

import numpy as np
import pytest

from network.segsort.pseudo_classes import nearest_centres
from seg_models import pseudo_classes
from seg_models.bank import Bank
from seg_models.pseudo_classes import (
  check_network,
  embedding_of,
  find_pseudo_classes,
  load_pseudo_classes,
  pseudo_dataset,
  save_pseudo_classes,
)


def planted_bank(seed=0, sizes=(20, 10, 6), pixels=(5, 5, 100)):
  """Segments around orthogonal directions, with the pixels of each."""
  rng = np.random.default_rng(seed)
  group = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
  features = np.eye(6)[group] + 0.02 * rng.standard_normal([len(group), 6])
  features /= np.linalg.norm(features, axis=1, keepdims=True)
  return Bank(features.astype(np.float32), np.full(len(group), -1, np.int32),
              pixels=np.array(pixels)[group]), group


@pytest.mark.parametrize('weights, order', [('pixels', [2, 0, 1]), ('segments', [0, 1, 2])])
def test_groups_are_found_counted_and_kept(tmp_path, weights, order):
  bank, group = planted_bank()
  path = tmp_path / 'clusters.npz'
  found = find_pseudo_classes(bank, 3, 'net', path, weights=weights)
  labels, similarity = nearest_centres(bank.features, found.centres)
  np.testing.assert_array_equal(np.array(order)[labels], group)  # the heaviest first
  assert found.segments.tolist() == [(20, 10, 6)[index] for index in order]
  assert found.pixels.tolist() == [(100, 50, 600)[index] for index in order]
  mean = np.average(similarity, weights=bank.pixels if weights == 'pixels' else None)
  assert found.objective == pytest.approx(mean, abs=1e-6)
  loaded = load_pseudo_classes(path)
  assert loaded.fingerprint() == found.fingerprint() and loaded.dim == 6 and len(loaded) == 3
  for field in dataclasses.fields(loaded):
    np.testing.assert_array_equal(getattr(loaded, field.name), getattr(found, field.name))


def test_what_embedding_they_are_of_is_kept_and_may_be_unknown(tmp_path):
  path = tmp_path / 'clusters.npz'
  assert find_pseudo_classes(planted_bank()[0], 3, 'net', path, embedding='{}').embedding == '{}'
  with np.load(path) as stored:
    values = {name: value for name, value in stored.items() if name != 'embedding'}
  np.savez(path, **values)  # as older versions have written it
  assert load_pseudo_classes(path).embedding == ''


def network_of(untrained_head=False, **model):
  settings = {'checkpoint': 'net', 'windows': None, 'model': {
      'name': 'pspnet_resnet50', 'output_dim': 6, **model}}
  if untrained_head:
    settings['untrained_head'] = True
  return types.SimpleNamespace(dim=6, settings=settings)


@pytest.mark.parametrize('other, difference', [
    ({'untrained_head': True}, 'untrained_head: True there, False now'),
    ({'name': 'features_resnet50'}, "name: 'features_resnet50' there, 'pspnet_resnet50' now"),
    ({'projection': 'linear', 'projection_dim': 6}, "output: 'projection' there, 'head' now")])
def test_groups_of_another_embedding_of_the_checkpoint_are_refused(tmp_path, other, difference):
  found = find_pseudo_classes(planted_bank()[0], 3, 'net', tmp_path / 'clusters.npz',
                              embedding=embedding_of(network_of(**other)))
  check_network(found, network_of(**other), 'there.npz')
  with pytest.raises(ValueError, match=rf'there.npz are of another embedding .*\({difference}'):
    check_network(found, network_of(), 'there.npz')
  newer = json.dumps({**json.loads(embedding_of(network_of())), 'newer': 1})
  for unknown in ('', newer):  # written by other versions of this project
    check_network(dataclasses.replace(found, embedding=unknown), network_of(), 'there.npz')


def test_nothing_is_computed_twice(tmp_path, monkeypatch):
  bank, _ = planted_bank()
  path, computed = tmp_path / 'clusters.npz', []
  cluster = pseudo_classes.cluster_prototypes
  monkeypatch.setattr(pseudo_classes, 'cluster_prototypes', lambda *arguments: (
      computed.append(1) or cluster(*arguments)))
  other = planted_bank(seed=1)[0]
  calls = [((bank, 3, 'net'), {}), ((bank, 2, 'net'), {}), ((bank, 2, 'other'), {}),
           ((other, 2, 'other'), {}), ((other, 2, 'other'), {'weights': 'segments'}),
           ((other, 2, 'other'), {'seed': 1}), ((other, 2, 'other'), {'restarts': 3})]
  for number, (arguments, options) in enumerate(calls, 1):
    first = find_pseudo_classes(*arguments, path, **options)
    again = find_pseudo_classes(*arguments, path, **options)
    assert len(computed) == number and again.fingerprint() == first.fingerprint()


def test_more_groups_than_segments_are_refused(tmp_path):
  bank, _ = planted_bank()
  with pytest.raises(ValueError, match='--cluster_classes 37: the images have 36 segments'):
    find_pseudo_classes(bank, 37, 'net', tmp_path / 'clusters.npz')
  twins = Bank(bank.features[:1].repeat(3, 0), bank.labels[:3], pixels=bank.pixels[:3])
  with pytest.raises(ValueError, match='--cluster_classes 2: only 1 of 3'):
    find_pseudo_classes(twins, 2, 'net', tmp_path / 'clusters.npz')
  assert not list(tmp_path.iterdir())


def test_files_that_are_no_pseudo_classes_are_refused(tmp_path):
  path = tmp_path / 'clusters.npz'
  with pytest.raises(FileNotFoundError, match='clusters.npz does not exist.*--cluster_classes'):
    load_pseudo_classes(path)
  find_pseudo_classes(planted_bank()[0], 2, 'net', path)
  good = load_pseudo_classes(path)
  whole = path.read_bytes()
  path.write_bytes(whole[:len(whole) // 2])
  with pytest.raises(ValueError, match='clusters.npz cannot be read'):
    load_pseudo_classes(path)
  np.savez(path, other=np.zeros(3))
  with pytest.raises(ValueError, match='clusters.npz cannot be read.*--cluster_classes'):
    load_pseudo_classes(path)
  save_pseudo_classes(dataclasses.replace(good, centres=np.zeros([3])), path)
  with pytest.raises(ValueError, match=r'centres of shape \(3,\)'):
    load_pseudo_classes(path)


def test_every_pseudo_class_has_a_colour_of_its_own():
  dataset = pseudo_dataset(255)
  assert len(np.unique(dataset.palette, axis=0)) == 255 and dataset.palette.any(axis=1).all()
  assert pseudo_dataset(500).num_classes == 500
