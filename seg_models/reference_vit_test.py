"""The comparison of transformers: stored outputs are met, and what is off is found."""

import numpy as np
import pytest

from seg_models.reference_vit import compare_vit, compare_vit_keys
from utils.shared_data import shared


@pytest.fixture(scope='module')
def arrays():
  return dict(np.load(shared('reference', 'dino_vit.npz')))


@pytest.fixture(scope='module')
def small(arrays):
  """One size of it."""
  return {name: value for name, value in arrays.items()
          if '/params/' in name or '48x80' in name}


def of_smooseg(arrays):
  """The same model in the other format."""
  renamed = {'inputs/48x80': 'vit/48x80/img', 'vit64/48x80/tokens_f64': 'vit/48x80/tokens',
             'vit64/48x80/patch_tokens_nchw_f64': 'vit/48x80/featmap',
             'vit64/48x80/pos_embed_interp_f64': 'vit/48x80/pos'}
  return {renamed.get(name) or name.replace('vit64/params/', 'vit/param/'): value
          for name, value in arrays.items() if name in renamed or '/params/' in name}


def test_the_reference_file_passes(arrays):
  comparisons, not_compared = compare_vit(arrays)
  assert all(entry.ok for entry in comparisons), comparisons
  assert len({entry.name for entry in comparisons}) == len(comparisons) == 17
  assert set(not_compared) == {name for name in arrays if name.startswith('vit64/80x48/')
                               and 'pos_embed' not in name}
  assert set(not_compared.values()) == {'there is no input of the size 80x48'}


def test_smoosegs_position_embedding_passes():
  comparisons, not_compared = compare_vit_keys(np.load(shared('reference', 'smooseg.npz')))
  assert [(entry.name, entry.ok) for entry in comparisons] == [('pos28/out320', True)]
  assert not not_compared


def test_smoosegs_format_passes(small):
  comparisons, not_compared = compare_vit_keys({**of_smooseg(small), 'small/code': np.zeros(2)})
  assert [entry.name for entry in comparisons] == [
      f'vit/48x80/{name}' for name in ('tokens', 'featmap', 'pos')]
  assert all(entry.ok for entry in comparisons) and not not_compared


@pytest.mark.parametrize('name', [
    'tokens_f32', 'patch_tokens_nchw_f64', 'pos_embed_interp_f64', 'embedded_f64', 'last_attn_f64',
    'KK_feat_nchw_f64'])
def test_a_wrong_number_is_found(small, name):
  name = f'vit64/48x80/{name}'
  value = small[name].copy()
  value.flat[np.abs(value).argmax()] *= 1.001
  weights = {key: small[key] for key in small if '/params/' in key or key.startswith('inputs/')}
  # The attention tells the number of heads.
  weights['vit64/48x80/last_attn_f64'] = small['vit64/48x80/last_attn_f64']
  comparisons, _ = compare_vit({**weights, name: value})
  assert [entry.name for entry in comparisons if not entry.ok] == [name]


def test_heads_are_three_where_nothing_tells(small):
  tokens = {name: value for name, value in small.items()
            if '/params/' in name or name.startswith('inputs/') or name.endswith('tokens_f64')}
  assert [entry.ok for entry in compare_vit(tokens)[0]] == [True]
  assert [entry.ok for entry in compare_vit({**tokens, 'vit64/heads': np.array(6)})[0]] == [False]
  with pytest.raises(ValueError, match='48 channels cannot be shared by 5 heads'):
    compare_vit({**tokens, 'vit64/heads': np.array(5)})


def test_what_cannot_be_compared_is_named(small):
  others = {'version': np.zeros(1), 'vit64/48x80/colour_f64': np.zeros(1),
            'vit64/where/tokens_f32': np.zeros(1), 'vit9/48x80/tokens_f32': np.zeros(1)}
  comparisons, not_compared = compare_vit({**small, **others})
  assert len(comparisons) == 8 and set(not_compared) == set(others)
  assert 'parameters are not in the file' in not_compared['vit9/48x80/tokens_f32']
  _, not_compared = compare_vit_keys({
      'pos28/out320': np.zeros(1), 'pos28/scale': np.zeros(1), 'vit/8x8/tokens': np.zeros(1)})
  assert not_compared == {
      'vit/8x8/tokens': "the model's parameters are not in the file",
      'pos28/out320': 'pos28/in is not in the file', 'pos28/scale': 'not known'}


def test_parameters_of_something_else_are_refused(small):
  bias = 'vit64/params/norm.bias'
  with pytest.raises(ValueError, match='vit64: vit/norm/beta is in the network alone'):
    compare_vit({name: value for name, value in small.items() if name != bias})
  with pytest.raises(ValueError, match='vit64: extra.weight is in the network alone or'):
    compare_vit({**small, 'vit64/params/extra.weight': np.zeros(2)})
  patch = 'vit64/params/patch_embed.proj.weight'
  with pytest.raises(ValueError, match='vit64: patch_embed.proj.weight is not among'):
    compare_vit({name: value for name, value in small.items() if name != patch})
