import argparse
import dataclasses
import json

import numpy as np
import pytest

from seg_models.datasets import dataset_for
from seg_models.frozen import run
from seg_models.frozen.geometry import Geometry
from seg_models.frozen.inference import ClusterConfig, predict_clusters
from seg_models.frozen.trained import (
  Trained,
  load_trained,
  log_probs_in_stripes,
)
from seg_models.frozen.views import View, find_entries, load_view
from seg_models.inference import run_from_arguments
from seg_models.models import ModelConfig, build_model, variable_names
from utils import checkpoints, cluster_matching, images
from utils.cluster_matching import ClusterCounts
from utils.dense_crf import DenseCRFConfig, dense_crf
from utils.metrics import NO_CLASS
from utils.scenes import write_scenes

DATASET = dataset_for('scenes')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """Scenes, and a run of k-means on a random trunk with two checkpoints."""
  folder = tmp_path_factory.mktemp('clusters')
  write_scenes(folder / 'scenes', train=6, val=3)
  model = ModelConfig('features_resnet50', width=0.125, blocks=(1, 1, 1, 1))
  checkpoints.save(folder / 'trunk', {
      name: value.numpy() for name, value in variable_names(build_model(model)).items()},
      {'model': dataclasses.asdict(model)})
  parser = argparse.ArgumentParser()
  run.add_training_arguments(parser, 'dino_kmeans')
  assert run.train_from_arguments('dino_kmeans', parser.parse_args([
      '--backbone', 'resnet50', '--restore_from', str(folder / 'trunk'), '--size', '32',
      '--data_dir', str(folder / 'scenes'), '--data_list', str(folder / 'scenes/train.txt'),
      '--dataset', 'scenes', '--cache_dir', str(folder / 'cache'), '--snapshot_dir',
      str(folder / 'run'), '--batch_size', '2', '--num_steps', '3', '--save_pred_every', '1',
      '--kmeans_restarts', '2', '--num_clusters', '8'])) == 0
  return folder


def config_of(folder, name, **changes):
  scenes = folder / 'scenes'
  return ClusterConfig(**{
      'restore_from': str(folder / 'run'), 'data_dir': str(scenes),
      'data_list': str(scenes / 'val.txt'), 'save_dir': str(folder / name), 'size': 48, **changes})


def masks_of(folder):
  for line in (folder / 'scenes/val.txt').read_text().splitlines():
    path = folder / 'scenes' / line.split()[1].lstrip('/')
    yield path.stem, DATASET.from_file(images.read_mask(path), path)


def check_scores(folder, labels):
  """The scores and the map of clusters are those of the files, by their own definition."""
  counts = ClusterCounts(DATASET.num_classes, DATASET.ignore_label, 8)
  for name, label in labels:
    counts.update(label, images.read_mask(folder / f'gray/{name}.png'))
  classes = cluster_matching.match(counts.counts)
  matrix = cluster_matching.matched_confusion(counts.counts, classes, DATASET.ignore_label)
  metrics = json.loads((folder / 'metrics.json').read_text())
  assert metrics['mean_iou'] == pytest.approx(matrix.mean_iou())
  assert metrics['probe'] == 'clusters' and not metrics['hungarian']['many_to_one']
  stored = json.loads((folder / 'clusters.json').read_text())
  assert stored['classes'] == list(DATASET.classes)
  classes = np.where(counts.counts.any(1), classes, NO_CLASS)
  for entry in stored['clusters']:
    index = classes[entry['cluster']]
    assert entry['class'] == (None if index == NO_CLASS else index)
  return classes


def test_whole_images_at_their_own_size(trained, capsys):
  assert predict_clusters(config_of(trained, 'whole')) == 0
  labels = dict(masks_of(trained))
  classes = check_scores(trained / 'whole', labels.items())
  assert json.loads((trained / 'whole/metrics_linear.json').read_text())['probe'] == 'linear'
  for name, label in labels.items():
    gray = images.read_mask(trained / f'whole/gray/{name}.png')
    assert gray.shape == label.shape
    color = images.read_image(trained / f'whole/color/{name}.png')
    named = classes[gray] != NO_CLASS
    np.testing.assert_array_equal(color[named], DATASET.palette[classes[gray[named]]])
    assert images.read_image(trained / f'whole/overlay/{name}.png').shape == color.shape
  assert images.read_image(trained / 'whole/clusters.png').ndim == 3
  assert 'Hungarian' in capsys.readouterr().out


def test_the_middle_is_scored_on_labels_cut_alike(trained):
  assert predict_clusters(config_of(trained, 'middle', middle='centre')) == 0
  geometry = Geometry(48)
  labels = {name: geometry.label(label) for name, label in masks_of(trained)}
  assert {label.shape for label in labels.values()} == {(48, 48)}
  check_scores(trained / 'middle', labels.items())


def assert_same_results(folder, expected):
  """Scores, matching and pictures; as many files."""
  for name in ('metrics.json', 'metrics_linear.json', 'clusters.json'):
    assert json.loads((folder / name).read_text()) == json.loads((expected / name).read_text())
  found, wanted = (sorted(path.relative_to(root) for path in root.rglob('*.png'))
                   for root in (folder, expected))
  assert found == wanted
  for path in wanted:
    assert (folder / path).read_bytes() == (expected / path).read_bytes(), path
  assert json.loads((folder / 'inference.json').read_text())['complete']


def test_parts_of_a_list_meet_in_the_scores_of_one_process(trained, monkeypatch, capsys):
  assert predict_clusters(config_of(trained, 'alone', middle='centre')) == 0
  predicted = []
  code = Trained.code
  monkeypatch.setattr(
      Trained, 'code', lambda *arguments: predicted.append(0) or code(*arguments))
  parts = config_of(trained, 'parts', middle='centre')
  capsys.readouterr()
  assert predict_clusters(dataclasses.replace(parts, shard='1/2')) == 0
  assert 'part 1 of 2 (1 images) is done; 2 images are left' in capsys.readouterr().out
  assert not (trained / 'parts/metrics.json').exists() and len(predicted) == 1
  assert not json.loads((trained / 'parts/inference.json').read_text())['complete']
  assert predict_clusters(dataclasses.replace(parts, workers='a:1,b:2', task=0)) == 0
  assert len(predicted) == 3  # each image once
  assert_same_results(trained / 'parts', trained / 'alone')


@pytest.mark.slow
def test_several_processes_score_as_one(trained):
  assert predict_clusters(config_of(trained, 'lonely')) == 0
  config = config_of(trained, 'both')
  assert run_from_arguments(
      predict_clusters, argparse.ArgumentParser(), (ClusterConfig, DenseCRFConfig), [
          '--restore_from', config.restore_from, '--data_dir', config.data_dir, '--data_list',
          config.data_list, '--size', '48', '--save_dir', config.save_dir, '--num_gpu', '2']) == 0
  assert_same_results(trained / 'both', trained / 'lonely')


@pytest.mark.parametrize('middle', ['none', 'centre'])
def test_the_crf_smooths_what_is_predicted_without_it(trained, middle):
  crf = DenseCRFConfig(iterations=3, bilateral_sxy=9.0)
  for name, use in (('plain', False), ('smooth', True)):
    assert predict_clusters(config_of(
        trained, f'{name}_{middle}', middle=middle, crf=use), crf if use else None) == 0
  model = load_trained(str(trained / 'run'))
  config = config_of(trained, '', middle=middle)
  for entry in find_entries('', config.data_list, config.data_dir):
    image, _ = load_view(
        View(entry), Geometry(config.size, middle, model.resampling), None, model.trunk.stride)
    pixels = image if middle == 'centre' else images.read_image(entry.image)
    log_probs = np.concatenate(list(log_probs_in_stripes(
        model.probes()['clusters'], model.code(image), pixels.shape[:2])))
    plain, smooth = (
        images.read_mask(trained / f'{name}_{middle}/gray/{entry.id}.png')
        for name in ('plain', 'smooth'))
    np.testing.assert_array_equal(plain, log_probs.argmax(-1))
    np.testing.assert_array_equal(smooth, dense_crf(log_probs, pixels, crf).argmax(-1))
    assert (smooth != plain).any()


def test_a_second_call_predicts_nothing_again(trained, monkeypatch):
  config = config_of(trained, 'again')
  assert predict_clusters(config) == 0
  before = json.loads((trained / 'again/metrics.json').read_text())
  monkeypatch.setattr('seg_models.frozen.inference.predict', None)
  assert predict_clusters(config) == 0
  assert json.loads((trained / 'again/metrics.json').read_text()) == before
  with pytest.raises(TypeError):
    predict_clusters(dataclasses.replace(config, flip=False))


def test_images_without_labels_are_painted_by_an_older_map(trained):
  source = config_of(trained, 'mapped')
  assert predict_clusters(source) == 0
  photos = dataclasses.replace(
      source, data_list='', data_dir='', images=str(trained / 'scenes/JPEGImages'),
      save_dir=str(trained / 'photos'))
  assert predict_clusters(photos) == 0
  assert not (trained / 'photos/metrics.json').exists()
  stored = json.loads((trained / 'photos/clusters.json').read_text())
  assert stored['classes'] is None and stored['clusters'][0]['class'] is None
  assert predict_clusters(dataclasses.replace(
      photos, cluster_map=str(trained / 'mapped/clusters.json'))) == 0
  for name, _ in masks_of(trained):
    for kind in ('gray', 'color'):
      np.testing.assert_array_equal(
          images.read_mask(trained / f'photos/{kind}/{name}.png'),
          images.read_mask(trained / f'mapped/{kind}/{name}.png'))


def test_the_checkpoints_classes_are_kept_whatever_else_is_said(trained):
  """With other classes clusters are scored; the linear probe, which tells its own apart, is not."""
  config = config_of(trained, 'own', ignore_label=255, num_classes=DATASET.num_classes)
  assert predict_clusters(config) == 0
  stored = json.loads((trained / 'own/clusters.json').read_text())
  assert stored['classes'] == list(DATASET.classes)
  assert predict_clusters(config_of(trained, 'more', num_classes=DATASET.num_classes + 1)) == 0
  assert not (trained / 'more/metrics_linear.json').exists()
  assert (trained / 'more/metrics.json').exists() and not (trained / 'more/linear').exists()


def test_a_cluster_that_is_nowhere_means_nothing(trained):
  """All clusters are listed; those without a pixel have no class, though they were given one."""
  data_list = trained / 'scenes/one.txt'
  data_list.write_text((trained / 'scenes/val.txt').read_text().splitlines()[0])
  assert predict_clusters(config_of(
      trained, 'few', data_list=str(data_list), size=8, overwrite=True)) == 0
  clusters = json.loads((trained / 'few/clusters.json').read_text())['clusters']
  assert [entry['cluster'] for entry in clusters] == list(range(8))
  nowhere = [entry for entry in clusters if not entry['pixels']]
  assert nowhere and all(entry['class'] is None for entry in nowhere)


def test_parameters_of_a_crf_need_the_crf(trained):
  with pytest.raises(ValueError, match='without --crf'):
    predict_clusters(config_of(trained, 'wrong'), DenseCRFConfig(iterations=3))


def test_an_image_too_large_for_the_crf_is_named(trained, monkeypatch):
  monkeypatch.setattr('utils.dense_crf._memory', lambda: 1000)
  with pytest.raises(ValueError, match=r'\.jpg: a CRF of \d+x\d+ pixels and 8 classes'):
    predict_clusters(config_of(trained, 'huge', crf=True))


@pytest.mark.parametrize('middle', ['none', 'centre'])
@pytest.mark.parametrize('name, meanings', [
    ('potsdam3', {0: 0, 4: 0, 5: 1, 3: 2, 255: None}), ('cityscapes27', {7: 0, 33: 26, 3: None}),
    ('coco_stuff27', {0: 9, 181: 24, 255: None}), (None, {0: 0, 5: 5, 255: None})])
def test_masks_of_any_data_set_are_scored(trained, tmp_path, name, meanings, middle):
  """The originals know three by name, and no images of one's own."""
  lines, numbers = [], np.array(list(meanings), np.uint8)
  for index, line in enumerate((trained / 'scenes/val.txt').read_text().splitlines()):
    image = trained / 'scenes' / line.split()[0].lstrip('/')
    mask = tmp_path / f'{index}_labelIds.png'
    shape = images.read_image(image).shape[:2]
    images.write_png(mask, np.random.default_rng(index).choice(numbers, shape))
    lines.append(f'{image} {mask}\n')
  (tmp_path / 'list.txt').write_text(''.join(lines))
  assert predict_clusters(config_of(
      trained, '', data_dir='/', data_list=str(tmp_path / 'list.txt'), dataset=name, size=16,
      num_classes=None if name else 6, middle=middle, save_dir=str(tmp_path / 'out'))) == 0
  metrics = json.loads((tmp_path / 'out/metrics.json').read_text())
  assert metrics['images'] == len(lines)
  there = [index for index, entry in enumerate(metrics['classes']) if entry['true_pixels']]
  assert there == sorted({meaning for meaning in meanings.values() if meaning is not None})


@pytest.mark.parametrize('changes, message', [
    ({'restore_from': ''}, '--restore_from is missing'),
    ({'save_dir': ''}, '--save_dir is missing'),
    ({'images': 'photos'}, 'which images'),
    ({'choose_on_labels': True, 'data_list': '', 'images': 'JPEGImages'}, 'needs a --data_list'),
    ({'data_list': '', 'images': 'JPEGImages', 'save_dir': 'JPEGImages/out'}, 'is in --images'),
    ({'data_list': '', 'images': 'JPEGImages', 'cluster_map': '../mapped/clusters.json',
      'dataset': 'camvid'}, 'is of other classes than --dataset camvid')])
def test_what_is_wrong_is_named(trained, changes, message, monkeypatch):
  monkeypatch.chdir(trained / 'scenes')
  with pytest.raises(ValueError, match=message):
    predict_clusters(config_of(trained, 'wrong', **changes))
