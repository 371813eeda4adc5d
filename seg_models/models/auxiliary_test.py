"""The auxiliary classifier: its widths, where it looks, and that inference does without it."""

import numpy as np
import pytest
import tensorflow as tf

from seg_models.models import ModelConfig, build_model, is_head, variable_names

IMAGE = np.random.default_rng(0).normal(size=(1, 33, 41, 3)).astype(np.float32) * 50


@pytest.mark.parametrize('backbone, fields, channels', [
    ('resnet50', {'width': 1 / 16, 'blocks': (1, 1, 1, 1)}, 64),
    ('mobilenet_v2', {'width': 0.35}, 32)])
def test_it_sees_the_trunk_before_its_last_block(backbone, fields, channels):
  config = ModelConfig(name=f'deeplab_v3_{backbone}', output_dim=4, head_dim=8, **fields)
  model = build_model(config, outputs=('logits', 'auxiliary'))
  with tf.GradientTape() as tape:
    outputs = model(IMAGE, training=True)
    value = tf.reduce_mean(tf.square(outputs['auxiliary']))
  assert set(outputs) == {'logits', 'auxiliary'}
  for output in outputs.values():
    assert output.shape == (1, 5, 6, 4) and output.dtype == tf.float32
  names = variable_names(model)
  own = [name for name in names if '/block5/auxiliary/' in name]
  assert len(own) == 7 and all(is_head(name) for name in own)
  kernel = next(names[name] for name in own if name.endswith('conv1/weights'))
  assert kernel.shape == (3, 3, channels, channels // 4)
  taught = {name for (name, variable), gradient in zip(
      ((name, variable) for name, variable in names.items() if variable.trainable),
      tape.gradient(value, model.trainable_variables), strict=True) if gradient is not None}
  last = 'block4/' if backbone == 'resnet50' else 'block_16_'
  before = 'block3/' if backbone == 'resnet50' else 'block_12_'
  assert not any(last in name for name in taught)
  assert any(before in name for name in taught)


def test_inference_has_neither_its_variables_nor_other_values():
  config = ModelConfig(name='deeplab_v3_resnet50', output_dim=4, head_dim=8, width=1 / 16,
                       blocks=(1, 1, 1, 1))
  with_it, without = build_model(config, outputs=('logits', 'auxiliary')), build_model(config)
  more = set(variable_names(with_it)) - set(variable_names(without))
  assert more and all('/block5/auxiliary/' in name for name in more)
  # Initial values follow from names alone.
  np.testing.assert_allclose(
      with_it(IMAGE, training=False)['logits'], without(IMAGE, training=False), atol=1e-5)


def test_ocr_gives_its_own():
  fields = {'output_dim': 4, 'head_dim': 8, 'width': 1 / 16, 'blocks': (1, 1, 1, 1)}
  with_it = build_model(
      ModelConfig(name='ocr_resnet50', **fields), outputs=('logits', 'auxiliary'))
  without = build_model(ModelConfig(name='ocr_resnet50', **fields))
  assert set(variable_names(with_it)) == set(variable_names(without))
  outputs = with_it(IMAGE, training=False)
  assert outputs['auxiliary'].shape == outputs['logits'].shape == (1, 5, 6, 4)
  np.testing.assert_allclose(outputs['logits'], without(IMAGE, training=False), atol=1e-5)
