"""Every recipe's commands as the scripts that they are given to would take them."""

import argparse
import contextlib
import pathlib
import runpy
import sys

import pytest

from bashscripts.bash_scripts_test import ROOT, SCRIPTS, commands, contrast_config, parsed


class Parsed(Exception):
  """A script's own parser has taken a command line."""


@contextlib.contextmanager
def stopped_when_parsed(monkeypatch):
  parse = argparse.ArgumentParser.parse_args

  def parse_and_stop(parser, *arguments):
    raise Parsed(parse(parser, *arguments))
  with monkeypatch.context() as patch:
    patch.setattr(argparse.ArgumentParser, 'parse_args', parse_and_stop)
    yield


# Scripts that are run, with what of Python they call at least.
RECIPES = [
    ('demo.sh', {}, {'make_scenes', 'train_segsort', 'extract_prototypes', 'inference_segsort',
                     'show_neighbours'}),
    ('voc12/train_segsort.sh', {}, {'extract_prototypes', 'inference_segsort_msc'}),
    ('voc12/train_segsort_mgpu.sh', {}, {'train_segsort_mgpu'}),
    ('voc12/train_segsort_unsup.sh', {}, {'train_segsort_unsup', 'inference_segsort_msc'}),
    ('voc12/train_softmax.sh', {}, {'train_softmax', 'inference', 'inference_msc'}),
    ('camvid/boundary.sh', {}, {'make_oversegmentation', 'train_segsort', 'make_table'}),
    # These call the other CamVid scripts, with each of their settings.
    ('camvid/table.sh', {}, {'train_segsort', 'train_softmax', 'train_contrast', 'make_table',
                             'train_segsort_unsup', 'extract_prototypes', 'resize_dataset'}),
    ('camvid/table_clusters.sh', {}, {'train_segsort_unsup', 'train_frozen', 'inference_clusters'}),
    ('cityscapes/train_segsort.sh', {}, {'train_segsort_mgpu'}),
    *((f'{folder}/train_{method}.sh', {'CRF': '1'}, {f'train_{method}', 'convert_weights'})
      for folder in ('cityscapes', 'coco_stuff', 'potsdam') for method in ('stego', 'smooseg')),
    *((f'{folder}/train_contrast.sh', {'MEMORY': memory}, {'train_contrast', 'inference_msc'})
      for folder in ('cityscapes', 'coco_stuff', 'pascal_context') for memory in ('none', 'both'))]


def test_every_recipe_is_tried():
  parts = {'environment.sh', 'test.sh', 'contrast_recipe.sh', 'frozen_recipe.sh', 'voc12/recipe.sh',
           'camvid/recipe.sh', 'camvid/results.sh'}
  of_tables = {f'camvid/train_{name}.sh' for name in (
      'segsort', 'softmax', 'contrast', 'segsort_unsup', 'frozen')}
  assert {str(path.relative_to(ROOT / 'bashscripts')) for path in SCRIPTS} == (
      parts | of_tables | {script for script, *_ in RECIPES})


# Sets are sorted: tests that run in several processes need the same names in each.
@pytest.mark.parametrize('recipe, variables, called', RECIPES, ids=lambda value: str(
    sorted(value) if isinstance(value, set) else value)[:60])
def test_what_recipes_call_takes_their_flags(tmp_path, monkeypatch, recipe, variables, called):
  """The scripts' own parsers do, and what can be known of a run before it begins is in order."""
  monkeypatch.chdir(ROOT)
  given = {'SEEDS': '1', 'DATA_DIR': str(tmp_path / 'data'), 'BACKBONE': str(tmp_path / 'w.h5'),
           'OUTPUT': str(tmp_path / 'out'), 'RESULTS': str(tmp_path / 'results'),
           'SNAPSHOT_DIR': str(tmp_path / 'run')}
  if recipe.endswith(('train_stego.sh', 'train_smooseg.sh')):
    del given['BACKBONE']  # which names the trunk there
  arguments = ['--output', str(tmp_path / 'out')] if recipe == 'demo.sh' else []
  lines = commands(tmp_path, recipe, *arguments, **given, **variables)
  assert called <= {pathlib.Path(script).stem for script, *_ in lines}
  monkeypatch.setattr(sys, 'path', sys.path.copy())
  for script, *arguments in {tuple(line) for line in lines}:
    sys.path[:0] = [str(ROOT / pathlib.Path(script).parent)]  # as Python does for a script
    main = runpy.run_path(str(ROOT / script))['main']
    with stopped_when_parsed(monkeypatch), pytest.raises(Parsed):
      main(arguments=arguments)
    if script.endswith('train_contrast.py'):
      options = parsed([script, *arguments])
      contrast_config(options).check_run(options['num_steps'])
