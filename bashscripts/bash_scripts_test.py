"""The shell scripts as a user calls them."""

import argparse
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from seg_models import experiment, inference
from seg_models.datasets import dataset_for
from seg_models.frozen import run
from seg_models.frozen.inference import ClusterConfig
from seg_models.frozen.methods import FROZEN_METHODS
from seg_models.methods import METHODS
from seg_models.models import ModelConfig
from utils.configuration import add_arguments, from_arguments

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / 'bashscripts').rglob('*.sh'))


def bash(script, *arguments, folder=ROOT, **environment):
  return subprocess.run(
      ['bash', str(ROOT / 'bashscripts' / script), *arguments], cwd=folder, text=True,
      capture_output=True, timeout=600, check=False,
      env={**os.environ, 'SEGSORT_VENV': sys.prefix, **environment})


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.name)
def test_syntax(script):
  subprocess.run(['bash', '-n', str(script)], check=True)


@pytest.mark.parametrize('arguments, message', [
    (['--number', '3'], 'unknown argument --number'),
    (['--num_steps'], '--num_steps needs a value'),
    (['--data_dir', '/data'], 'needs --data_list'),
    (['--val_list', '/val.txt'], 'needs --data_list'),
])
def test_the_demo_names_wrong_arguments(arguments, message):
  result = bash('demo.sh', *arguments)
  assert result.returncode == 2
  assert message in result.stderr


def test_camvid_scripts_say_what_to_set():
  result = bash('camvid/train_segsort.sh', DATA_DIR='')
  assert result.returncode != 0 and 'set DATA_DIR' in result.stderr
  for script in ('table.sh', 'table_clusters.sh', 'boundary.sh'):
    result = bash(f'camvid/{script}', NUM_STEPS='3', RESULTS='')
    assert result.returncode == 2 and 'NUM_STEPS is set' in result.stderr


def commands(tmp_path, script, *arguments, **environment):
  """The commands that a script gives to Python, without running any."""
  log, stub = tmp_path / 'log', tmp_path / 'venv' / 'bin' / 'python'
  stub.parent.mkdir(parents=True, exist_ok=True)
  # What scripts copy from there is made.
  stub.write_text('''#!/bin/sh
printf "%s\\t" "$@" >> "$LOG"; echo >> "$LOG"
while [ $# -gt 1 ]; do
  case "$1" in
    --json) mkdir -p "$(dirname "$2")"; touch "$2" ;;
    --save_dir) mkdir -p "$2"; touch "$2/metrics.json" "$2/metrics_linear.json" ;;
  esac
  shift
done
''')
  stub.chmod(0o755)
  log.write_text('')
  result = bash(script, *arguments, LOG=str(log), SEGSORT_VENV=str(stub.parents[1]), **environment)
  assert result.returncode == 0, result.stderr
  lines = [line.rstrip('\t').split('\t') for line in log.read_text().splitlines()]
  return [line for line in lines if line[0].startswith('pyscripts/')]


def parsed(command):
  """The configurations that a training or inference command means, by their fields' names."""
  script, *arguments = command
  parser = argparse.ArgumentParser(allow_abbrev=False)
  if 'train' in script:
    experiment.add_training_arguments(parser, 'contrast')
    namespace = parser.parse_args(arguments)
    configs = [from_arguments(cls, namespace)
               for cls in (*experiment.CONFIGS, METHODS['contrast'].Config)]
  else:
    configs = inference.run_from_arguments(
        lambda *configs: configs, parser, inference.SOFTMAX, arguments)
  return {name: value for config in configs for name, value in vars(config).items()}


def contrast_config(options):
  """The method's own among `parsed` options."""
  cls = METHODS['contrast'].Config
  return cls(**{field.name: options[field.name] for field in dataclasses.fields(cls)})


@pytest.mark.parametrize('folder, steps, classes, weight_decay', [
    ('cityscapes', 40000, 19, 5e-4), ('coco_stuff', 60000, 171, 1e-4),
    ('pascal_context', 60000, 59, 1e-4)])
@pytest.mark.parametrize('model', [
    'hrnet_hrnet_w48', 'ocr_hrnet_w18', 'deeplab_v3_resnet101_deep', 'pspnet_resnet50',
    'deeplab_v3plus_resnet101', 'deeplab_v3_mobilenet_v2'])
def test_contrast_scripts_give_commands_that_mean_something(
    tmp_path, folder, steps, classes, weight_decay, model):
  script = f'{folder}/train_contrast.sh'
  train, *rest = commands(tmp_path, script, DATA_DIR='/data', MODEL=model)
  options = parsed(train)
  assert options['num_steps'] == steps and options['weight_decay'] == weight_decay
  assert options['memory'] == 'none' and options['contrast_weight'] == 0.1
  assert options['auxiliary_weight'] == (
      0.4 if model.startswith(('ocr_', 'deeplab_v3_')) else 0)
  network = ModelConfig(name=options['model'], head_dim=options['head_dim'])
  widths = {'hrnet': None, 'deeplab_v3plus': 256}
  assert network.head_dim == widths.get(network.parts()[0], 512)
  assert options['restore_from'] == 'snapshots/imagenet/' + {
      'hrnet_hrnet_w48': 'hrnet_w48.safetensors', 'ocr_hrnet_w18': 'hrnet_w18.safetensors',
      'deeplab_v3_resnet101_deep': 'resnet_v1_101_beta/model.ckpt',
      'pspnet_resnet50': 'trained/resnet_v1_50.ckpt',
      'deeplab_v3plus_resnet101': 'trained/resnet_v1_101.ckpt',
      'deeplab_v3_mobilenet_v2': 'mobilenet_v2.weights.h5'}[model]
  dataset = dataset_for(options['dataset'], options['num_classes'])
  assert dataset.num_classes == classes
  assert len(options['class_weights'] or dataset.classes) == classes
  infer, score, infer_msc, _ = rest
  assert [command[0].rpartition('/')[2] for command in (infer, score, infer_msc)] == [
      'inference.py', 'benchmark_by_mIoU.py', 'inference_msc.py']
  assert parsed(infer)['restore_from'] == f'{options["snapshot_dir"]}/model.ckpt-{steps - 1}'
  assert parsed(infer_msc)['scale_aug'] and not parsed(infer)['scale_aug']


def test_the_memory_on_cityscapes_has_settings_of_its_own(tmp_path):
  options = parsed(commands(
      tmp_path, 'cityscapes/train_contrast.sh', DATA_DIR='/data', MEMORY='both')[0])
  assert (options['contrast_weight'], options['temperature'], options['max_views']) == (1, 0.07, 1)
  assert (options['memory'], options['memory_size']) == ('both', 5000)
  options = parsed(commands(
      tmp_path, 'coco_stuff/train_contrast.sh', DATA_DIR='/data', MEMORY='pixel',
      DATASET='coco_stuff27', CONTRAST_WEIGHT='0', MAX_VIEWS='7')[0])
  assert (options['contrast_weight'], options['temperature'], options['max_views']) == (0, 0.07, 7)
  with pytest.raises(ValueError, match='--memory pixel: with --contrast_weight 0'):  # of a run
    contrast_config(options).check_run(options['num_steps'])
  assert options['dataset'] == 'coco_stuff27'


@pytest.mark.parametrize('weight, memory', [('0.1', 'both'), ('0', 'none')])
def test_the_contrast_on_camvid_gives_commands_that_mean_something(tmp_path, weight, memory):
  _, _, train, infer, _, infer_msc, _, *neighbours = commands(
      tmp_path, 'camvid/train_contrast.sh', DATA_DIR='/data', BACKBONE='/weights.h5',
      OUTPUT='/out', CONTRAST_WEIGHT=weight, MEMORY=memory, KNN='1')
  options = parsed(train)
  assert (options['contrast_weight'], options['memory']) == (float(weight), memory)
  assert (options['dataset'], options['num_classes']) == ('camvid', 11)
  assert options['model'] == 'deeplab_v3_mobilenet_v2'
  assert options['num_steps'] == 8 * options['warmup_steps'] == 1200
  checkpoint = f'{options["snapshot_dir"]}/model.ckpt-1199'
  assert parsed(infer)['restore_from'] == parsed(infer_msc)['restore_from'] == checkpoint
  assert len(neighbours) == (0 if weight == '0' else 3)
  for command in neighbours[:2]:
    assert command[command.index('--embedding') + 1] == 'projection' and checkpoint in command


@pytest.mark.parametrize('folder', ['cityscapes', 'coco_stuff', 'pascal_context'])
def test_contrast_scripts_say_what_to_set(folder):
  result = bash(f'{folder}/train_contrast.sh', DATA_DIR='')
  assert result.returncode != 0 and 'set DATA_DIR' in result.stderr


@pytest.mark.parametrize('script, preset', [
    ('coco_stuff/train_stego.sh', 'coco_stuff27_vits'),
    ('cityscapes/train_stego.sh', 'cityscapes27'), ('potsdam/train_stego.sh', 'potsdam3'),
    ('coco_stuff/train_smooseg.sh', 'coco_stuff27'), ('potsdam/train_smooseg.sh', 'potsdam3'),
    ('cityscapes/train_smooseg.sh', 'cityscapes27')])
def test_scripts_on_frozen_features_give_commands_that_mean_something(tmp_path, script, preset):
  convert, train, infer = commands(tmp_path, script, DATA_DIR='/data', SEED='3', LABELS='0')
  assert convert[0].endswith('convert_weights.py') and convert[1].endswith('pretrain.pth')
  method = FROZEN_METHODS[re.search(r'train_(\w+)\.py', train[0])[1]]
  assert train[train.index('--preset') + 1] == preset in method.PRESETS
  parser = argparse.ArgumentParser(allow_abbrev=False)
  run.add_training_arguments(parser, method.name)
  options = vars(parser.parse_args(train[1:]))
  # The script's own default, by which it finds the weights, is the preset's.
  assert options['backbone'] == method.PRESETS[preset]['backbone']
  assert options['restore_from'] == convert[2] == convert[1].replace('.pth', '.safetensors')
  assert options['seed'] == 3 and options['labels'] is False
  parser = argparse.ArgumentParser(allow_abbrev=False)
  add_arguments(parser, ClusterConfig)
  config = from_arguments(ClusterConfig, parser.parse_args(infer[1:]))
  assert config.restore_from == options['snapshot_dir']
  assert (config.middle, config.size, config.choose_on_labels) == ('centre', 320, False)
  other, _, smoothed = commands(
      tmp_path, script, DATA_DIR='/data', BACKBONE='mobilenet_v2', CRF='1')
  assert '--crf' in smoothed and '--crf' not in infer
  assert 'snapshots/imagenet/mobilenet_v2.weights.h5' in other and '--seed' not in other
  result = bash(script, DATA_DIR='')
  assert result.returncode != 0 and 'set DATA_DIR' in result.stderr


@pytest.mark.parametrize('method', ['dino_kmeans', 'stego', 'smooseg'])
def test_camvid_without_labels_gives_commands_that_mean_something(tmp_path, method):
  *_, train, infer = commands(
      tmp_path, 'camvid/train_frozen.sh', DATA_DIR='/data', BACKBONE='/weights.h5', METHOD=method,
      OUTPUT='/out', FLAGS='--crops five')
  assert train[:2] == ['pyscripts/train/train_frozen.py', method]
  parser = argparse.ArgumentParser(allow_abbrev=False)
  run.add_training_arguments(parser, method)
  options = vars(parser.parse_args(train[2:]))
  assert options['backbone'] == 'mobilenet_v2' and options['crops'] == 'five'
  assert options['dataset'] == 'camvid'
  parser = argparse.ArgumentParser(allow_abbrev=False)
  add_arguments(parser, ClusterConfig)
  config = from_arguments(ClusterConfig, parser.parse_args(infer[1:]))
  assert config.restore_from == f'{options["snapshot_dir"]}/model.ckpt-{options["num_steps"] - 1}'
  assert config.middle == 'none' and not config.choose_on_labels


@pytest.mark.slow
def test_the_demo_goes_the_whole_way_and_reuses_it(tmp_path):
  """With a few steps; what the full number reaches is in the README."""
  first = bash('demo.sh', '--num_steps', '4', '--output', 'out', folder=tmp_path)
  assert first.returncode == 0, first.stderr
  assert re.fullmatch(r'mean IoU: \d+\.\d\d %', first.stdout.splitlines()[-1])
  value = json.loads((tmp_path / 'out/val/metrics.json').read_text())['mean_iou']
  assert first.stdout.splitlines()[-1] == f'mean IoU: {100 * value:.2f} %'
  assert re.search(r'Took \d+ s', first.stdout)
  for place in ('val/gray/val_0000.png', 'val/color/val_0000.png', 'val/explained/val_0000.png',
                'val/neighbours/val_0000.json', 'run/prototypes/prototype_features.npy'):
    assert (tmp_path / 'out' / place).exists(), place
  second = bash('demo.sh', '--num_steps', '4', '--output', 'out', folder=tmp_path)
  assert second.returncode == 0, second.stderr
  assert second.stdout.count('nothing to do') == 3
  assert second.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]


def test_only_environments_are_ever_cleared(tmp_path):
  """SEGSORT_VENV may be a mistake; `venv` is stubbed, for making one takes its time."""
  stub = tmp_path / 'python'
  stub.write_text('#!/bin/sh\n[ "$1" = -c ] || echo "called with $@"\n[ "$2" != venv ]\n')
  stub.chmod(0o755)
  folder = tmp_path / 'folder'
  folder.mkdir()
  for name, cleared in (('letters', False), ('pyvenv.cfg', True)):
    (folder / name).touch()
    result = subprocess.run(
        ['bash', '-c', 'set -e; source bashscripts/environment.sh requirements.txt'], cwd=ROOT,
        env={**os.environ, 'PYTHON_BASE': str(stub), 'SEGSORT_VENV': str(folder)}, text=True,
        capture_output=True, check=False)
    assert 'called with -m venv' in result.stdout
    assert ('--clear' in result.stdout) == cleared
