"""The originals' command lines reach the library with the originals' meaning."""

import importlib
import pathlib

import pytest

from seg_models import inference, label_free
from seg_models.multi_scale import SCALES

COMMON = ('--data_dir VOC2012/ --data_list val.txt --input_size 720,720 --strides 320,320 '
          '--restore_from model.ckpt-30000 --num_classes 21 --ignore_label 255 --save_dir results '
          '--colormap misc/colormapvoc.mat ')
SEGMENTS = '--embedding_dim 32 --num_clusters 5 --kmeans_iterations 10 '
BANK = '--prototype_dir results/prototypes --k_in_nearest_neighbors 21 '


@pytest.fixture
def run(monkeypatch):
  """Runs a script's main with a command line and returns what reached the library."""
  monkeypatch.syspath_prepend(pathlib.Path(__file__).parent)

  def call(script, line):
    reached = {}

    def capture(name):
      def function(*configs):
        reached.update(function=name, **{type(config).__name__: config for config in configs})
        return 0
      return function

    for name in ('extract', 'predict_segsort', 'predict_softmax'):
      monkeypatch.setattr(inference, name, capture(name))
    monkeypatch.setattr(label_free, 'predict_label_free', capture('predict_label_free'))
    # What the multi-scale script imports.
    monkeypatch.setattr(importlib.import_module('inference'), 'inference', inference)
    assert importlib.import_module(script).main(arguments=line.split()) == 0
    return reached
  return call


def test_extract_prototypes(run):
  reached = run('extract_prototypes', COMMON + SEGMENTS)
  assert reached['function'] == 'extract'
  assert reached['SegmentConfig'].num_clusters == 5
  assert reached['ExtractionConfig'].prototype_mode == 'majority'
  assert reached['NetworkConfig'].sliding_windows() is None


def test_inference_segsort(run):
  reached = run('inference_segsort', COMMON + SEGMENTS + BANK)
  assert reached['function'] == 'predict_segsort'
  assert reached['RetrievalConfig'].k_in_nearest_neighbors == 21
  assert not reached['RetrievalConfig'].window_clusters
  assert reached['ScaleConfig'].scales == (1.0,) and not reached['ScaleConfig'].flip_aug


@pytest.mark.parametrize('script', ['inference_segsort', 'inference_segsort_msc'])
@pytest.mark.parametrize('more, classes', [('--no_bank', None), ('--cluster_classes 11', 11)])
def test_inference_without_labels(run, script, more, classes):
  reached = run(script, COMMON + SEGMENTS + more)
  assert reached['function'] == 'predict_label_free'
  assert reached['LabelFreeConfig'].cluster_classes == classes
  assert reached['ScaleConfig'].several == ('msc' in script)  # which is refused then


@pytest.mark.parametrize('script', ['extract_prototypes', 'inference_segsort', 'inference'])
def test_a_flag_is_never_guessed_from_its_beginning(run, script, capsys):
  with pytest.raises(SystemExit):
    run(script, '--data_li val.txt')
  assert 'unrecognized arguments: --data_li' in capsys.readouterr().err


@pytest.mark.parametrize('more, scales, mirror', [
    ('--flip_aug --scale_aug', SCALES, True), ('', SCALES, True),
    ('--no-flip_aug --no-scale_aug', (1.0,), False)])
def test_inference_segsort_msc(run, more, scales, mirror):
  reached = run('inference_segsort_msc', COMMON + SEGMENTS + BANK + more)
  assert reached['function'] == 'predict_segsort'
  assert reached['ScaleConfig'].scales == scales and reached['ScaleConfig'].flip_aug is mirror
  assert reached['RetrievalConfig'].window_clusters is None
  assert reached['NetworkConfig'].sliding_windows() is None


@pytest.mark.parametrize('dashes', [False, True])
@pytest.mark.parametrize('script, scales', [('inference', (1.0,)), ('inference_msc', SCALES)])
def test_softmax_scripts_take_dashes_and_underscores(run, script, scales, dashes):
  line = COMMON + ('--flip_aug --scale_aug' if script == 'inference_msc' else '')
  if dashes:
    line = ' '.join(word.replace('_', '-') if word.startswith('--') else word
                    for word in line.split())
  reached = run(script, line)
  assert reached['function'] == 'predict_softmax'
  assert reached['DataConfig'].data_list == 'val.txt' and reached['DataConfig'].num_classes == 21
  assert reached['NetworkConfig'].input_size == (720, 720)
  assert reached['OutputConfig'].colormap == 'misc/colormapvoc.mat'
  assert reached['ScaleConfig'].scales == scales
