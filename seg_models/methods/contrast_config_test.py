import argparse
import dataclasses

import pytest

from seg_models.methods.contrast_config import ContrastConfig
from utils.configuration import add_arguments


@pytest.mark.parametrize('options', [
    {'temperature': 0.0}, {'max_views': 0}, {'contrast_weight': -0.1}, {'warmup_steps': -1},
    {'memory': 'all'}, {'projection': 'mlp'}, {'memory_size': 0}, {'class_weights': (1.0, -1.0)},
    {'contrast_weight': float('nan')}, {'max_samples': 1},
    {'auxiliary_weight': -1.0}])
def test_impossible_options_are_refused_by_flag(options):
  with pytest.raises(ValueError, match=f'--{next(iter(options))}'):
    ContrastConfig(**options)
  assert dataclasses.asdict(ContrastConfig())['memory'] == 'none'


def test_the_help_says_why_there_is_no_memory_by_default():
  parser = argparse.ArgumentParser()
  add_arguments(parser, ContrastConfig)
  text = ' '.join(parser.format_help().split())
  assert 'Off by default' in text and 'no result with one' in text


def test_a_run_that_ends_in_the_warm_up_is_refused():
  with pytest.raises(ValueError, match='--warmup_steps 5000: the run ends after --num_steps 1200'):
    ContrastConfig().check_run(1200)
  ContrastConfig().check_run(5001)
  ContrastConfig(contrast_weight=0.0).check_run(1200)


@pytest.mark.parametrize('memory', ['pixel', 'region', 'both'])
def test_a_memory_of_no_contrast_is_refused(memory):
  with pytest.raises(ValueError, match=f'--memory {memory}: with --contrast_weight 0 .*none'):
    ContrastConfig(contrast_weight=0.0, memory=memory).check_run(6000)
  ContrastConfig(memory=memory).check_run(6000)
