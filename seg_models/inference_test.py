import argparse
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from network.segsort.compression import compress
from seg_models import bank as banks
from seg_models import inference
from seg_models.bank_conversion import ConversionConfig, convert
from seg_models.bank_test import assert_equal, make_bank
from seg_models.inference_setup import NetworkConfig
from seg_models.models import ModelConfig, build_model, variable_names
from utils import checkpoints, colors, files

ROOT = pathlib.Path(__file__).resolve().parents[1]
SIZES = [(40, 56), (33, 47), (40, 56), (56, 40)]
CLASSES = 4


def save_checkpoint(prefix, method='segsort', output_dim=8, change=lambda name, value: value,
                    outputs='logits', **fields):
  config = ModelConfig(
      **{'name': 'fcn_resnet50', **fields}, output_dim=output_dim, width=0.125, blocks=(1, 1, 1, 1))
  variables = variable_names(build_model(config, outputs=outputs))
  arrays = {name: change(name, value.numpy()) for name, value in variables.items()}
  checkpoints.save(str(prefix), arrays, {
      'model': dataclasses.asdict(config), 'method': method,
      'method_config': {'location_weight': 0.5} if method == 'segsort' else {},
      'dataset': {'name': None, 'num_classes': CLASSES, 'ignore_label': 255}})
  return str(prefix)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  """Images of blocks of colour with masks, a list, and checkpoints of small random networks."""
  folder = tmp_path_factory.mktemp('data')
  rng = np.random.default_rng(0)
  lines = []
  for index, (height, width) in enumerate(SIZES):
    label = np.kron(rng.integers(0, CLASSES, [2, 2]), np.ones([28, 28], int))[:height, :width]
    label = np.pad(label, [[0, height - label.shape[0]], [0, width - label.shape[1]]])
    regions = np.arange(height)[:, None] // 10 * 8 + np.arange(width) // 9
    (folder / 'regions').mkdir(exist_ok=True)
    Image.fromarray(regions.astype(np.uint8)).save(folder / 'regions' / f'{index}.png')
    label[:, :3] = 255
    image = np.clip(label[..., None] * [60, 20, 40] + rng.normal(0, 9, [height, width, 3]), 0, 255)
    Image.fromarray(image.astype(np.uint8)).save(folder / f'{index}.jpg')
    Image.fromarray(label.astype(np.uint8)).save(folder / f'{index}.png')
    lines.append(f'/{index}.jpg /{index}.png\n')
  (folder / 'list.txt').write_text(''.join(lines))
  save_checkpoint(folder / 'model.ckpt-1')
  save_checkpoint(folder / 'softmax.ckpt-1', 'softmax', CLASSES)
  return folder


def flags(data, save_dir, **more):
  values = {'data_dir': data, 'data_list': data / 'list.txt', 'save_dir': save_dir,
            'restore_from': data / 'model.ckpt-1', **more}
  arguments = []
  for name, value in values.items():
    arguments += [f'--{name}'] if value is True else [f'--{name}', str(value)]
  return arguments


def extract(data, save_dir, **more):
  return inference.run_from_arguments(
      inference.extract, argparse.ArgumentParser(), inference.EXTRACTION,
      flags(data, save_dir, **more))


def predict(data, save_dir, bank, defaults=None, **more):
  return inference.run_from_arguments(
      inference.predict_segsort, argparse.ArgumentParser(), inference.SEGSORT,
      flags(data, save_dir, prototype_dir=bank, **{'k_in_nearest_neighbors': 3, **more}), defaults)


def predict_softmax(data, save_dir, **more):
  more = {'restore_from': data / 'softmax.ckpt-1', **more}
  return inference.run_from_arguments(
      inference.predict_softmax, argparse.ArgumentParser(), inference.SOFTMAX,
      flags(data, save_dir, **more))


def grays(folder):
  return [np.array(Image.open(folder / 'gray' / f'{index}.png')) for index in range(len(SIZES))]


@pytest.fixture(scope='module')
def bank_dir(data, tmp_path_factory):
  folder = tmp_path_factory.mktemp('bank')
  assert extract(data, folder, num_clusters=3) == 0
  return folder


def test_a_bank_of_a_list(data, bank_dir):
  bank = banks.load_bank(bank_dir)
  assert bank.dim == 8 and 4 < len(bank) <= 9 * len(SIZES)
  assert bank.images.tolist() == ['0.jpg', '1.jpg', '2.jpg', '3.jpg']
  assert set(bank.labels) <= set(range(CLASSES))
  for image, (height, width) in enumerate(SIZES):
    mine = bank.image == image
    assert bank.pixels[mine].sum() <= height * (width - 3)
    assert (bank.box[mine] <= [height, width, height, width]).all()
    assert (bank.box[mine][:, 1] >= 3).all()  # the first columns are ignored
  settings = files.read_json(bank_dir / 'prototypes' / 'extraction.json')['settings']
  assert settings['num_clusters'] == 3 and settings['location_weight'] == 0.5


def test_what_is_complete_is_not_done_again(data, bank_dir, capsys):
  before = (bank_dir / 'prototypes' / 'prototype_features.npy').stat().st_mtime_ns
  assert extract(data, bank_dir, num_clusters=3) == 0
  assert 'is complete: nothing to do' in capsys.readouterr().out
  assert (bank_dir / 'prototypes' / 'prototype_features.npy').stat().st_mtime_ns == before


def test_single_scale_predictions_fit_the_images(data, bank_dir, tmp_path, capsys):
  assert predict(data, tmp_path, bank_dir, num_clusters=3, save_neighbours=True) == 0
  assert '4 predictions in' in capsys.readouterr().out
  for index, gray in enumerate(grays(tmp_path)):
    assert gray.shape == SIZES[index]
    neighbours = files.read_json(tmp_path / 'neighbours' / f'{index}.json')
    assert sum(record['pixels'] for record in neighbours['segments']) == gray.size
    best = [record['neighbours'][0] for record in neighbours['segments']]
    assert all(record['image'] in ('0.jpg', '1.jpg', '2.jpg', '3.jpg') for record in best)
    # The images are those of the bank: their own segments are near.
    assert np.mean([record['similarity'] for record in best]) > 0.9
  assert predict(data, tmp_path, bank_dir, num_clusters=3, save_neighbours=True) == 0
  assert 'holds all 4 predictions: nothing to do' in capsys.readouterr().out


@pytest.mark.slow
def test_a_bank_in_bytes_and_one_with_an_index_name_the_same(data, tmp_path):
  network = {'restore_from': save_checkpoint(
      tmp_path / 'model.ckpt-1', name='pspnet_resnet50', head_dim=16), 'num_clusters': 3}
  bank_dir = tmp_path / 'float32'
  assert extract(data, bank_dir, **network) == 0
  bank = banks.load_bank(bank_dir)
  assert extract(data, tmp_path / 'int8', **network, bank_storage='int8') == 0
  small = banks.load_bank(tmp_path / 'int8')
  np.testing.assert_array_equal(small.features, compress(bank.features, 'int8'), strict=True)
  assert_equal(dataclasses.replace(small, features=bank.features), bank)
  records = [files.read_json(folder / 'prototypes' / 'extraction.json')['settings']
             for folder in (bank_dir, tmp_path / 'int8')]
  assert records[1] == {**records[0], 'bank_storage': 'int8'} != records[0]
  assert convert(ConversionConfig(
      str(bank_dir), str(tmp_path / 'cells'), index=True, k_in_nearest_neighbors=3)) == 0
  options = {**network, 'save_neighbours': True}
  predict(data, tmp_path / 'exact', bank_dir, **options)
  predict(data, tmp_path / 'a', tmp_path / 'int8', **options)
  predict(data, tmp_path / 'b', tmp_path / 'cells', search='ivf', **options)
  expected = grays(tmp_path / 'exact')
  for folder in ('a', 'b'):
    for one, other in zip(grays(tmp_path / folder), expected, strict=True):
      assert (one == other).mean() > 0.9
    records = files.read_json(tmp_path / folder / 'neighbours' / '0.json')['segments']
    # Each image is in the bank: its own segment is nearest, by name and box.
    assert all(record['neighbours'][0]['image'] == '0.jpg' for record in records)
  settings = files.read_json(tmp_path / 'b' / 'inference.json')['settings']
  assert settings['index']['cells'] > 1
  assert 'index' not in files.read_json(tmp_path / 'exact' / 'inference.json')['settings']
  with pytest.raises(FileNotFoundError, match='prototype_index.npz is missing'):
    predict(data, tmp_path / 'c', bank_dir, search='ivf', restore_from='none')


REGIONS = {'initial_segments': 'oversegmentation', 'align_segments': True}


@pytest.mark.slow
def test_extraction_and_inference_over_the_oversegmentation(data, tmp_path):
  options = {**REGIONS, 'oversegmentation_dir': data / 'regions', 'min_piece_share': 0}
  assert extract(data, tmp_path, **options) == 0
  bank = banks.load_bank(tmp_path)
  regions = {f'{index}.jpg': np.array(Image.open(data / 'regions' / f'{index}.png'))
             for index in range(len(SIZES))}
  for name, (top, left, bottom, right) in zip(
      bank.images[bank.image], bank.box, strict=True):
    assert len(np.unique(regions[name][top:bottom, left:right])) == 1  # no segment crosses a border
  settings = files.read_json(tmp_path / 'prototypes' / 'extraction.json')['settings']
  expected = {**REGIONS, 'min_piece_share': 0.0}
  assert {name: settings[name] for name in expected} == expected
  assert predict(data, tmp_path / 'val', tmp_path, save_neighbours=True, **options) == 0
  settings = files.read_json(tmp_path / 'val' / 'inference.json')['settings']
  assert {name: settings[name] for name in expected} == expected
  for index, gray in enumerate(grays(tmp_path / 'val')):
    segments = files.read_json(tmp_path / 'val' / 'neighbours' / f'{index}.json')['segments']
    assert sum(record['pixels'] for record in segments) == gray.size
    for top, left, bottom, right in (record['box'] for record in segments):
      assert len(np.unique(regions[f'{index}.jpg'][top:bottom, left:right])) == 1
  # The third column does as well as the folder, and regions that change make predictions anew.
  (tmp_path / 'list.txt').write_text(''.join(
      f'{data}/{i}.jpg {data}/{i}.png {data}/regions/{i}.png\n' for i in range(len(SIZES))))
  again = {'data_dir': '', 'data_list': tmp_path / 'list.txt', 'flip_aug': True, **REGIONS}
  assert predict(data, tmp_path / 'mirrored', tmp_path, **again) == 0
  assert predict(data, tmp_path / 'windows', tmp_path, windows=True, input_size='32,32',
                 window_clusters=True, **again) == 0
  for folder in ('mirrored', 'windows'):
    assert [gray.shape for gray in grays(tmp_path / folder)] == SIZES


def test_an_oversegmentation_that_is_missing_or_of_no_use_is_an_error_before_any_work(
    data, bank_dir, tmp_path):
  (tmp_path / 'list.txt').write_text(f'{data}/0.jpg {data}/0.png {data}/0.png\n')
  for option in ({'align_segments': True}, {'initial_segments': 'oversegmentation'}):
    for call, bank in ((extract, []), (predict, [bank_dir])):
      with pytest.raises(ValueError, match='third column.*--oversegmentation_dir'):
        call(data, tmp_path / 'a', *bank, restore_from='none', **option)
      with pytest.raises(FileNotFoundError, match='4 of 4 oversegmentations do not exist'):
        call(data, tmp_path / 'a', *bank, restore_from='none', oversegmentation_dir=tmp_path,
             **option)
      with pytest.raises(ValueError, match='is the label file itself'):
        call(data, tmp_path / 'a', *bank, restore_from='none', data_dir='',
             data_list=tmp_path / 'list.txt', **option)
  with pytest.raises(ValueError, match='--oversegmentation_dir .* but nothing makes use of it'):
    predict(data, tmp_path / 'a', bank_dir, oversegmentation_dir=data / 'regions')
  with pytest.raises(ValueError, match='regions, more than --max_regions 3'):
    extract(data, tmp_path / 'b', oversegmentation_dir=data / 'regions', align_segments=True,
            max_regions=3)
  assert not (tmp_path / 'a').exists()


@pytest.mark.slow
def test_batches_change_nothing(data, bank_dir, tmp_path):
  predict(data, tmp_path / 'one', bank_dir)
  predict(data, tmp_path / 'three', bank_dir, batch_size=3)
  for one, three in zip(grays(tmp_path / 'one'), grays(tmp_path / 'three'), strict=True):
    assert (one == three).mean() > 0.99  # convolutions may round otherwise
  extract(data, tmp_path / 'bank', num_clusters=3, batch_size=2)
  joined, alone = banks.load_bank(tmp_path / 'bank'), banks.load_bank(bank_dir)
  assert joined.image.tolist() == sorted(joined.image) and abs(len(joined) - len(alone)) <= 2


@pytest.mark.slow
def test_several_scales_by_the_scripts_defaults(data, bank_dir, tmp_path):
  defaults = {'flip_aug': True, 'scale_aug': True}
  assert predict(data, tmp_path / 'whole', bank_dir, defaults) == 0
  assert predict(data, tmp_path / 'windows', bank_dir, defaults, windows=True,
                 input_size='32,32', strides='24,24') == 0
  for folder in ('whole', 'windows'):
    assert [gray.shape for gray in grays(tmp_path / folder)] == SIZES
  record = files.read_json(tmp_path / 'windows' / 'inference.json')['settings']
  assert record['clustered_windows'] == {'size': [32, 32], 'strides': [24, 24]}
  assert record['windows'] is None and len(record['scales']) == 6
  with pytest.raises(ValueError, match='--save_neighbours'):
    predict(data, tmp_path / 'more', bank_dir, defaults, save_neighbours=True)


@pytest.mark.parametrize('scales, given, expected', [
    ({}, None, False), ({}, True, True), ({'flip_aug': True}, None, True),
    ({'scale_aug': True}, None, True), ({'scale_aug': True}, False, False)])
def test_windows_are_clustered_one_by_one_with_several_scales_or_on_request(
    scales, given, expected):
  scales = inference.ScaleConfig(**scales)
  retrieval = inference.RetrievalConfig(window_clusters=given)
  windows = NetworkConfig(windows=True, input_size=(32, 32))
  found = inference.clustered_windows(windows, retrieval, scales)
  assert found == (windows.sliding_windows() if expected else None)
  if given:
    with pytest.raises(ValueError, match='--window_clusters needs --windows'):
      inference.clustered_windows(NetworkConfig(), retrieval, scales)
  else:
    assert inference.clustered_windows(NetworkConfig(), retrieval, scales) is None


@pytest.mark.slow
def test_windows_of_a_single_scale_join_embeddings(data, tmp_path):
  assert extract(data, tmp_path, windows=True, input_size='32,32', strides='16,16') == 0
  assert predict(data, tmp_path, tmp_path, windows=True, input_size='32,32', strides='16,16') == 0
  record = files.read_json(tmp_path / 'inference.json')['settings']
  assert record['windows'] == {'size': [32, 32], 'strides': [16, 16]}
  assert record['clustered_windows'] is None


def test_softmax_predictions_fit_the_images(data, tmp_path):
  assert predict_softmax(data, tmp_path / 'one') == 0
  assert predict_softmax(data, tmp_path / 'several', flip_aug=True, scale_aug=True) == 0
  for folder in ('one', 'several'):
    assert [gray.shape for gray in grays(tmp_path / folder)] == SIZES


@pytest.mark.slow
def test_a_contrast_checkpoint_as_a_classifier_and_by_its_projection(data, tmp_path, capsys):
  path = save_checkpoint(
      tmp_path / 'contrast.ckpt-1', 'contrast', CLASSES, projection='convmlp', projection_dim=6,
      outputs=('logits', 'projection'))
  assert predict_softmax(data, tmp_path / 'softmax', restore_from=path) == 0
  assert 'projection_head' in capsys.readouterr().out  # skipped, and said so
  assert extract(
      data, tmp_path / 'bank', restore_from=path, embedding='projection', num_clusters=3) == 0
  assert np.load(tmp_path / 'bank/prototypes/prototype_features.npy').shape[1] == 6
  assert predict(data, tmp_path / 'segsort', tmp_path / 'bank/prototypes', restore_from=path,
                 num_clusters=3) == 0
  for folder in ('softmax', 'segsort'):
    assert [gray.shape for gray in grays(tmp_path / folder)] == SIZES


def test_a_colormap_that_does_not_exist_gives_way_to_the_built_in_colours(
    data, bank_dir, tmp_path, capsys):
  predict(data, tmp_path / 'a', bank_dir, colormap='misc/colormapvoc.mat')
  lines = capsys.readouterr().out.splitlines()
  assert sum('--colormap misc/colormapvoc.mat does not exist' in line for line in lines) == 1
  color = Image.open(tmp_path / 'a' / 'color' / '0.png')
  np.testing.assert_array_equal(color, colors.voc_palette()[grays(tmp_path / 'a')[0]])
  (tmp_path / 'b.mat').write_bytes(b'damaged')
  for call, bank in ((predict, [bank_dir]), (predict_softmax, [])):
    with pytest.raises(ValueError, match='b.mat is damaged'):  # before the checkpoint is looked for
      call(data, tmp_path / 'b', *bank, colormap=tmp_path / 'b.mat', restore_from='none')


def test_unused_flags_are_reported_in_one_line(data, bank_dir, tmp_path, capsys):
  predict(data, tmp_path / 'a', bank_dir, input_size='720,720', strides='320,320')
  lines = capsys.readouterr().out.splitlines()
  assert sum('--input_size and --strides unused' in line for line in lines) == 1
  predict(data, tmp_path / 'b', bank_dir)
  assert '--input_size' not in capsys.readouterr().out


def test_an_interrupted_inference_goes_on(data, bank_dir, tmp_path, monkeypatch):
  predict(data, tmp_path / 'whole', bank_dir)
  write, written = inference.PredictionFolder.write, []

  def interrupted(self, entry, *rest):
    if len(written) == 2:
      raise KeyboardInterrupt
    written.append(entry.id)
    write(self, entry, *rest)

  monkeypatch.setattr(inference.PredictionFolder, 'write', interrupted)
  with pytest.raises(KeyboardInterrupt):
    predict(data, tmp_path / 'part', bank_dir)
  assert len(list((tmp_path / 'part' / 'gray').iterdir())) == 2
  monkeypatch.undo()
  with pytest.raises(ValueError, match='unfinished run with other settings .k: 3 there, 4 now'):
    predict(data, tmp_path / 'part', bank_dir, k_in_nearest_neighbors=4)
  again = []
  monkeypatch.setattr(inference.PredictionFolder, 'write', lambda self, entry, *rest: (
      again.append(entry.id), write(self, entry, *rest)))
  assert predict(data, tmp_path / 'part', bank_dir) == 0
  assert again == ['2', '3']
  for whole, part in zip(grays(tmp_path / 'whole'), grays(tmp_path / 'part'), strict=True):
    np.testing.assert_array_equal(whole, part)


def test_several_scales_after_one_into_the_same_folder(data, bank_dir, tmp_path, capsys):
  """As the original's train_segsort.sh has it."""
  predict(data, tmp_path / 'both', bank_dir)
  predict(data, tmp_path / 'both', bank_dir, {'flip_aug': True})
  lines = capsys.readouterr().out.splitlines()
  assert sum('finished run with other settings (flip: False there, True now)' in line
             for line in lines) == 1
  predict(data, tmp_path / 'mirrored', bank_dir, {'flip_aug': True})
  for both, mirrored in zip(grays(tmp_path / 'both'), grays(tmp_path / 'mirrored'), strict=True):
    np.testing.assert_array_equal(both, mirrored)


def test_a_truncated_image_stops_with_its_name_and_the_rest_is_kept(data, bank_dir, tmp_path):
  broken = tmp_path / 'data'
  broken.mkdir()
  for path in data.glob('[0-9].*'):
    (broken / path.name).write_bytes(path.read_bytes())
  whole = (broken / '2.jpg').read_bytes()
  (broken / '2.jpg').write_bytes(whole[:len(whole) // 2])
  options = {'data_dir': broken, 'num_clusters': 3}
  with pytest.raises(ValueError, match='2.jpg.*truncated'):
    extract(data, tmp_path, **options)
  assert len(list((tmp_path / 'prototypes' / 'parts').iterdir())) == 2
  (broken / '2.jpg').write_bytes(whole)
  assert extract(data, tmp_path, **options) == 0
  assert_equal(banks.load_bank(tmp_path), banks.load_bank(bank_dir))


def test_an_image_without_a_label_is_skipped_and_counted(data, tmp_path, capsys):
  Image.fromarray(np.full([40, 56], 255, np.uint8)).save(tmp_path / 'void.png')
  (tmp_path / 'list.txt').write_text(f'{data}/0.jpg {data}/0.png\n{data}/2.jpg '
                                     f'{tmp_path}/void.png')
  assert extract(data, tmp_path, data_dir='', data_list=tmp_path / 'list.txt') == 0
  assert '1 images without a labelled pixel gave none' in capsys.readouterr().out
  assert len(set(banks.load_bank(tmp_path).image)) == 1


def test_what_does_not_fit_is_refused_before_the_first_image(data, bank_dir, tmp_path):
  banks.save_bank(make_bank(20, 5), tmp_path / 'five')
  with pytest.raises(ValueError, match='prototypes of 5 dimensions, the network embeddings of 8'):
    predict(data, tmp_path, tmp_path / 'five')
  with pytest.raises(ValueError, match='--k_in_nearest_neighbors 999'):
    predict(data, tmp_path, bank_dir, k_in_nearest_neighbors=999)
  with pytest.raises(ValueError, match='softmax.ckpt-1 is a checkpoint of softmax: use inference'):
    extract(data, tmp_path, restore_from=data / 'softmax.ckpt-1')
  with pytest.raises(ValueError, match='is a checkpoint of segsort: use extract_prototypes'):
    predict_softmax(data, tmp_path, restore_from=data / 'model.ckpt-1')
  with pytest.raises(ValueError):  # the message is the restoring's own
    extract(data, tmp_path, model='pspnet_mobilenet_v2')
  with pytest.raises(ValueError):
    extract(data, tmp_path, embedding_dim=32)
  (tmp_path / 'list.txt').write_text('0.jpg 0.png\nx.jpg 1.png\n1.jpg y.png\n')
  with pytest.raises(FileNotFoundError, match=r'(?s)2 files.*x.jpg.*y.png'):
    extract(data, tmp_path, data_list=tmp_path / 'list.txt')
  with pytest.raises(ValueError, match='--prototype_dir missing'):
    predict(data, tmp_path, '')
  assert not list(tmp_path.rglob('*.json'))


@pytest.mark.parametrize('value, error, message', [
    (np.nan, ValueError, 'NaN or infinity in .*fc1_voc12'),  # seen at loading
    (3e38, FloatingPointError, 'NaN or infinity for 0.jpg: the checkpoint is damaged'),
])
def test_a_diverged_checkpoint_is_reported(data, tmp_path, value, error, message):
  save_checkpoint(tmp_path / 'bad.ckpt-1', change=lambda name, old: (
      np.full_like(old, value) if 'fc1_voc12' in name else old))
  with pytest.raises(error, match=message):
    extract(data, tmp_path, restore_from=tmp_path / 'bad.ckpt-1')


def parsed(classes, line):
  return inference.run_from_arguments(
      lambda *configs: {key: value for config in configs
                        for key, value in dataclasses.asdict(config).items()},
      argparse.ArgumentParser(), classes, line.split())


SEGSORT_LINE = (
    '--data_dir D --data_list L --input_size 480,480 --strides 320,320 --restore_from M '
    '--num_classes 21 --ignore_label 255 --save_dir S --embedding_dim 32 --num_clusters 5 '
    '--kmeans_iterations 10 --colormap misc/colormapvoc.mat ')


@pytest.mark.parametrize('classes, line', [
    (inference.EXTRACTION, SEGSORT_LINE),
    (inference.SEGSORT, SEGSORT_LINE + '--prototype_dir P --k_in_nearest_neighbors 15'),
    (inference.SEGSORT, SEGSORT_LINE + '--prototype_dir P --flip_aug --scale_aug'),
])
def test_the_originals_flags_are_understood(classes, line):
  values = parsed(classes, line)
  assert values['input_size'] == (480, 480) and values['strides'] == (320, 320)
  assert values['colormap'] == 'misc/colormapvoc.mat' and values['num_clusters'] == 5
  assert values.get('scale_aug') in (None, 'scale_aug' in line)


def test_dashes_and_underscores_are_the_same():
  line = ('--data-dir D --data-list L --input-size 720,720 --strides 480,480 --restore-from M '
          '--num-classes 21 --ignore-label 255 --save-dir S --colormap C --flip-aug --scale-aug')
  values = parsed(inference.SOFTMAX, line)
  assert values == parsed(inference.SOFTMAX, line.replace('-', '_').replace('__', '--'))
  assert values['flip_aug'] and values['scale_aug'] and values['save_dir'] == 'S'


@pytest.mark.slow
def test_a_killed_extraction_goes_on_to_the_same_bank(data, tmp_path):
  for copy in range(6):
    for path in data.glob('[0-9].*'):
      (tmp_path / f'{copy}_{path.name}').write_bytes(path.read_bytes())
  line = ''.join(f'{copy}_{i}.jpg {copy}_{i}.png\n' for copy in range(6) for i in range(4))
  (tmp_path / 'list.txt').write_text(line)
  options = {'data_dir': tmp_path, 'data_list': tmp_path / 'list.txt', 'num_clusters': 3}
  script = str(ROOT / 'pyscripts' / 'inference' / 'extract_prototypes.py')
  parts = tmp_path / 'killed' / 'prototypes' / 'parts'
  process = subprocess.Popen(
      [sys.executable, script, *flags(data, tmp_path / 'killed', **options)],
      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
      env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2'})
  deadline = time.monotonic() + 120
  while len(list(parts.glob('*.npz'))) < 3:
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.002)
  process.send_signal(signal.SIGKILL)
  process.wait()
  done = len(list(parts.glob('*.npz')))
  assert 3 <= done < 24
  assert extract(data, tmp_path / 'killed', **options) == 0
  assert extract(data, tmp_path / 'whole', **options) == 0
  killed, whole = banks.load_bank(tmp_path / 'killed'), banks.load_bank(tmp_path / 'whole')
  assert killed.image.tolist() == whole.image.tolist() and len(set(whole.image)) == 24
  assert_equal(killed, whole)
